from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from corral.store.errors import NoSpace, SourceError
from corral.store.sources.wheel import find_model, store_model
from tests.unit.store.handmade import Gguf
from tests.unit.store.stocked import Stocked
from tests.unit.store.wheels import MEMBER, Wheel, record_hash


def nothing(_: int) -> None:
    pass


def test_the_model_is_found_and_stored(store: Stocked, tmp_path: Path) -> None:
    path = Wheel().write(tmp_path)
    member = find_model(path)
    assert (member.path, member.file_name, member.size) == (MEMBER, MEMBER.split("/")[1], len(bytes(Gguf())))
    told: list[int] = []
    blob, header = store_model(path, member, store.blobs, told.append)
    assert blob.digest == member.digest
    assert told[-1] == blob.size
    assert header.quantization == "Q4_K_M"
    assert store.files() == {store.blob_file(bytes(Gguf()))}


def test_of_several_models_the_largest_is_taken(tmp_path: Path) -> None:
    assert find_model(Wheel(more={"tiny_model/a.gguf": b"GGUF"}).write(tmp_path)).path == MEMBER


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


def squeezed(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_BZIP2
    return info


BAD = {
    "holds no GGUF file": Wheel(member=""),
    "insecure path": Wheel(more={"../evil.py": b""}),
    "insecure path ": Wheel(more={"/etc/passwd": b""}),
    "insecure path  ": Wheel(more={"a\\..\\b": b""}),
    "insecure path   ": Wheel(more={"a//b": b""}),
    "holds a link": Wheel(more={link("a"): b"/etc/passwd"}),
    "unusual way": Wheel(more={squeezed("a"): b"x"}),
    "RECORD does not name its model": Wheel(record=""),
    "RECORD does not name its model ": Wheel(record=f"{MEMBER},md5=x,1"),
    "RECORD cannot be read": Wheel(record=f"{MEMBER},sha256=!!,1"),
    "RECORD cannot be read ": Wheel(record=f"{MEMBER},sha256=AAAA,1"),
    "RECORD cannot be read  ": Wheel(record=f"{MEMBER},{record_hash(b'')},many"),
    "instead of 5": Wheel(record=f"{MEMBER},{record_hash(b'')},5"),
    "it has no RECORD": Wheel(more={"other.dist-info/RECORD": b""}),
}


@pytest.mark.parametrize("why", BAD)
def test_a_bad_wheel_is_refused(tmp_path: Path, why: str) -> None:
    path = BAD[why].write(tmp_path)
    with pytest.raises(SourceError, match=why.strip()):
        find_model(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="twice"):
        find_model(Wheel(more={MEMBER: b"GGUF"}).write(tmp_path))


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    for data in (b"", b"PK\3\4", b"\0" * 1000):
        path.write_bytes(data)
        with pytest.raises(SourceError, match="not a valid wheel"):
            find_model(path)


@pytest.mark.parametrize(
    ("wheel", "why"),
    [
        (Wheel(model=b"PK not a model"), "is not a GGUF file"),
        (Wheel(model=b"GGUF but no more"), "not a GGUF file"),
        (
            Wheel(record=f"{MEMBER},{record_hash(b'other')},{len(bytes(Gguf()))}"),
            "is damaged: digest mismatch, expected",
        ),
    ],
)
def test_a_model_that_is_none_never_reaches_the_store(store: Stocked, tmp_path: Path, wheel: Wheel, why: str) -> None:
    path = wheel.write(tmp_path)
    with pytest.raises(SourceError, match=why):
        store_model(path, find_model(path), store.blobs, nothing)
    assert store.files() == set()


def test_damaged_bytes_are_noticed(store: Stocked, tmp_path: Path) -> None:
    path = Wheel().write(tmp_path)
    member = find_model(path)
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo(MEMBER).header_offset + 30 + len(MEMBER)
    data = bytearray(path.read_bytes())
    for at in range(offset + 20, offset + 60):
        data[at] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(SourceError, match="damaged"):
        store_model(path, member, store.blobs, nothing)
    assert store.files() == set()


def test_a_model_larger_than_the_disk_is_refused_before_it_is_unpacked(
    store: Stocked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.store.disk.free_bytes", lambda _: 10)
    path = Wheel().write(tmp_path)
    with pytest.raises(NoSpace):
        store_model(path, find_model(path), store.blobs, nothing)
    assert store.files() == set()
