"""Models as one file, and files that pretend to be one."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from corral.store.archive import export_model, import_model, name_of, open_archive
from corral.store.errors import ArchiveError, DigestMismatch, ModelNotFound, NoSpace
from corral.store.names import ModelName
from tests.unit.store.handmade import Gguf
from tests.unit.store.stocked import Stocked

NAME = ModelName.parse("mine")
Entry = tuple[str, bytes, bytes]
Entries = list[Entry]


def nobody(_: int) -> None:
    pass


@pytest.fixture
def exported(store: Stocked, tmp_path: Path) -> Path:
    store.model("mine", bytes(Gguf()))
    export_model(store.blobs, NAME, tmp_path / "mine.tar", nobody)
    return tmp_path / "mine.tar"


@pytest.fixture
def other(tmp_path: Path) -> Stocked:
    return Stocked(tmp_path / "other")


def entries_of(path: Path) -> Entries:
    with tarfile.open(path) as tar:
        return [(one.name, one.type, (tar.extractfile(one) or io.BytesIO()).read()) for one in tar]


def write_tar(path: Path, entries: Entries) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, kind, data in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            entry.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def test_a_model_goes_from_one_store_to_another(store: Stocked, other: Stocked, exported: Path) -> None:
    archive = open_archive(exported)
    assert name_of(archive) == NAME
    told: list[int] = []
    import_model(other.blobs, archive, NAME, told.append)
    assert other.files() == store.files()
    assert other.manifests.read_bytes(NAME) == store.manifests.read_bytes(NAME)
    assert told[-1] == other.catalog.find(NAME).size
    import_model(other.blobs, archive, NAME, told.append)  # the same again is nothing new


def test_the_file_is_an_oci_layout_and_always_the_same(store: Stocked, exported: Path, tmp_path: Path) -> None:
    entries = {name: data for name, _, data in entries_of(exported)}
    assert json.loads(entries["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (manifest,) = json.loads(entries["index.json"])["manifests"]
    for name, data in entries.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(data).hexdigest() == name.removeprefix("blobs/sha256/")
    assert entries[f"blobs/{manifest['digest'].replace(':', '/')}"] == store.manifests.read_bytes(NAME)
    export_model(store.blobs, NAME, tmp_path / "again.tar", nobody)
    assert (tmp_path / "again.tar").read_bytes() == exported.read_bytes()


def test_what_is_not_here_is_not_exported(store: Stocked, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        export_model(store.blobs, NAME, tmp_path / "mine.tar", nobody)
    assert not (tmp_path / "mine.tar").exists()


def test_another_model_of_that_name_stays(other: Stocked, exported: Path) -> None:
    other.model("mine", b"something else")
    with pytest.raises(ArchiveError, match="another model is called mine:latest here"):
        import_model(other.blobs, open_archive(exported), NAME, nobody)
    import_model(other.blobs, open_archive(exported), ModelName.parse("theirs"), nobody)
    assert len(other.catalog.scan().models) == 2


def renamed(name: str) -> Callable[[Entries], Entries]:
    return lambda entries: [*entries, (name, tarfile.REGTYPE, b"x")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed("/etc/cron.d/x"), "insecure path"),
        (renamed("blobs/../../x"), "insecure path"),
        (renamed("..\\x"), "insecure path"),
        (lambda entries: [*entries, ("x", tarfile.SYMTYPE, b"")], "holds what is no file"),
        (lambda entries: [*entries, ("x", tarfile.LNKTYPE, b"")], "holds what is no file"),
        (lambda entries: [*entries, ("x", tarfile.CHRTYPE, b"")], "holds what is no file"),
        (lambda entries: [*entries, ("x", tarfile.FIFOTYPE, b"")], "holds what is no file"),
        (lambda entries: [*entries, entries[0]], "twice"),
        (lambda entries: entries[:1], "index.json is missing"),
        (lambda entries: entries[:-1], "not whole: blob .* is missing"),
        (lambda entries: [*entries[:-1], (*entries[-1][:2], entries[-1][2] + b"x")], "of another size"),
        (
            lambda entries: [entries[0], ("index.json", tarfile.REGTYPE, b"[" * 9999), *entries[2:]],
            "not what it should",
        ),
        (lambda entries: [entries[0], ("index.json", tarfile.REGTYPE, b"{}"), *entries[2:]], "no model, or several"),
    ],
)
def test_a_hostile_file_is_refused(
    other: Stocked, exported: Path, change: Callable[[Entries], Entries], message: str
) -> None:
    write_tar(exported, change(entries_of(exported)))
    with pytest.raises(ArchiveError, match=message):
        open_archive(exported)
    assert other.files() == set()


def test_bytes_that_are_others_are_refused(other: Stocked, exported: Path) -> None:
    entries = entries_of(exported)
    name, kind, data = entries[-1]
    write_tar(exported, [*entries[:-1], (name, kind, data[:-1] + bytes([data[-1] ^ 1]))])
    with pytest.raises(DigestMismatch):
        import_model(other.blobs, open_archive(exported), NAME, nobody)
    assert other.catalog.scan().models == ()


def test_weights_that_are_no_gguf_are_refused(store: Stocked, other: Stocked, tmp_path: Path) -> None:
    store.model("mine", b"no weights")
    export_model(store.blobs, NAME, tmp_path / "mine.tar", nobody)
    with pytest.raises(ArchiveError, match="holds no model: not a GGUF file"):
        import_model(other.blobs, open_archive(tmp_path / "mine.tar"), NAME, nobody)
    assert other.catalog.scan().models == ()


@pytest.mark.parametrize("size", [b"77777777777\0", b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", b"-0000000001\0"])
def test_a_size_that_cannot_be_is_refused(exported: Path, size: bytes) -> None:
    data = bytearray(exported.read_bytes())
    data[124:136] = size
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    exported.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"lies about its sizes|not a tar file"):
        open_archive(exported)


@pytest.mark.parametrize("data", [b"", b"\0" * 2048, b"GGUF" * 999, b"\x1f\x8b" + b"x" * 600])
def test_what_is_no_tar_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(ArchiveError):
        open_archive(tmp_path / "x.tar")


def test_a_full_disk_is_told_before_anything_is_copied(
    other: Stocked, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.store.disk.free_bytes", lambda _: 10)
    with pytest.raises(NoSpace):
        import_model(other.blobs, open_archive(exported), NAME, nobody)
    assert other.files() == set()
