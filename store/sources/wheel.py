"""Takes the GGUF out of a wheel that may come from anybody: nothing is extracted by path, everything is checked."""

from __future__ import annotations

import base64
import csv
import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from corral.store.blobs import CHUNK_BYTES, Blob, BlobStore
from corral.store.errors import DigestMismatch, InvalidDigest, NotGguf, SourceError
from corral.store.gguf import GgufHeader, read_header
from corral.store.names import Digest

_LONGEST_RECORD = 16 << 20
_MOST_MEMBERS = 10_000
_SYMLINK = 0o120000
_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True)
class Member:
    """The model in a wheel: its path there, its size in bytes unpacked and the digest the wheel's RECORD gives it."""

    path: str
    size: int
    digest: Digest

    @property
    def file_name(self) -> str:
        """The last part of its path."""
        return self.path.rsplit("/", 1)[-1]


def find_model(wheel: Path) -> Member:
    """Find the model in a wheel, the largest if there are several. Blocks its thread.

    Raises:
        SourceError: no valid wheel, or none with a GGUF file that its RECORD vouches for.
    """
    with _opened(wheel) as archive:
        infos = archive.infolist()
        if len(infos) > _MOST_MEMBERS:
            raise SourceError(f"{wheel.name} holds {len(infos)} files, which no model package does")
        for info in infos:
            _check_member(wheel, info)
        if len({info.filename for info in infos}) != len(infos):
            raise SourceError(f"{wheel.name} is damaged: it holds a file twice")
        models = [info for info in infos if info.filename.lower().endswith(".gguf")]
        if not models:
            raise SourceError(f"{wheel.name} holds no GGUF file, so no model")
        chosen = max(models, key=lambda info: info.file_size)
        digest, size = _recorded(archive, wheel, chosen.filename)
        if size != chosen.file_size:
            raise SourceError(f"{wheel.name} is damaged: its model has {chosen.file_size} bytes instead of {size}")
        return Member(chosen.filename, size, digest)


def store_model(
    wheel: Path, member: Member, blobs: BlobStore, on_bytes: Callable[[int], None]
) -> tuple[Blob, GgufHeader]:
    """Unpack the model straight into the store, where it appears only once it is known to be what it should be.

    Blocks its thread; `on_bytes` is told the bytes unpacked.

    Raises:
        SourceError: the bytes are not those the RECORD names, or no GGUF.
        NoSpace, StoreReadOnly, StoreError: the store cannot take it.
    """
    with _opened(wheel) as archive, _member(archive, wheel, member.path) as stream:
        first = _read(stream, wheel, len(_MAGIC))
        if first != _MAGIC:
            raise SourceError(f"{wheel.name}: {member.file_name} is not a GGUF file")
        with blobs.writer(member.digest, member.size) as writer:
            chunk = first
            while chunk:
                writer.write(chunk)
                if writer.size > member.size:
                    raise SourceError(f"{wheel.name} is damaged: its model is longer than it says")
                on_bytes(writer.size)
                chunk = _read(stream, wheel, CHUNK_BYTES)
            try:
                header = read_header(writer.staged())
                return writer.commit(), header
            except NotGguf as error:
                raise SourceError(f"{wheel.name}: {member.file_name}: {error}") from error
            except DigestMismatch as error:
                raise SourceError(f"{wheel.name} is damaged: {error}") from error


def _opened(wheel: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(wheel)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, NotImplementedError) as error:
        raise SourceError(f"{wheel.name} is not a valid wheel: {error}") from error


def _member(archive: zipfile.ZipFile, wheel: Path, path: str) -> IO[bytes]:
    try:
        return archive.open(path)
    except (zipfile.BadZipFile, KeyError, OSError, RuntimeError) as error:
        # RuntimeError covers encryption and compression methods this Python does not have.
        raise SourceError(f"{wheel.name} is damaged: {path} cannot be unpacked") from error


def _read(stream: IO[bytes], wheel: Path, count: int) -> bytes:
    try:
        return stream.read(count)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise SourceError(f"{wheel.name} is damaged: {error}") from error


def _check_member(wheel: Path, info: zipfile.ZipInfo) -> None:
    name = info.filename
    parts = name.removesuffix("/").split("/")
    if "\\" in name or ":" in name or not name.isprintable() or any(part in ("", ".", "..") for part in parts):
        raise SourceError(f"{wheel.name} is damaged: it holds a file with an insecure path")
    if (info.external_attr >> 16) & 0o170000 == _SYMLINK:
        raise SourceError(f"{wheel.name} is damaged: it holds a link")
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SourceError(f"{wheel.name} is no valid wheel: it is encrypted or packed in an unusual way")


def _recorded(archive: zipfile.ZipFile, wheel: Path, path: str) -> tuple[Digest, int]:
    """What the wheel's RECORD says about one of its files."""
    records = [info for info in archive.infolist() if info.filename.endswith(".dist-info/RECORD")]
    if len(records) != 1 or records[0].file_size > _LONGEST_RECORD:
        raise SourceError(f"{wheel.name} is not a valid wheel: it has no RECORD")
    with _member(archive, wheel, records[0].filename) as stream:
        text = _read(stream, wheel, _LONGEST_RECORD).decode("utf-8", "replace")
    try:
        for row in csv.reader(io.StringIO(text)):
            if len(row) == 3 and row[0] == path and row[1].startswith("sha256="):
                encoded = row[1].removeprefix("sha256=")
                raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
                return Digest(raw.hex()), int(row[2])
    except (ValueError, InvalidDigest, csv.Error) as error:
        raise SourceError(f"{wheel.name} is damaged: its RECORD cannot be read") from error
    raise SourceError(f"{wheel.name} is damaged: its RECORD does not name its model")
