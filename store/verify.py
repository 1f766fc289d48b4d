"""Reading every byte of models again, to tell which blobs are no longer what their digest says."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from corral.store.blobs import CHUNK_BYTES
from corral.store.catalog import Files, StoredModel
from corral.store.disk import TEMP_SUFFIX
from corral.store.names import Digest
from corral.store.paths import StorePaths


@dataclass(frozen=True, slots=True)
class Damage:
    """A blob that is not what it should be: `reason` says how, `is_missing` that there is nothing at all."""

    digest: Digest
    reason: str
    is_missing: bool = False


def blobs_of(models: Iterable[StoredModel]) -> dict[Digest, int]:
    """Every blob of some models, each once, with the bytes their manifests say it has."""
    found: dict[Digest, int] = {}
    for model in models:
        for layer in (model.manifest.config, *model.manifest.layers):
            found[layer.digest] = layer.size
    return found


def check_blob(paths: Files, digest: Digest, size: int, on_bytes: Callable[[int], None]) -> Damage | None:
    """Read a blob; None where it is as it should be. `on_bytes` is told how much is read. Blocks its thread."""
    sha = hashlib.sha256()
    done = 0
    try:
        with paths.blob(digest).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                sha.update(chunk)
                done += len(chunk)
                on_bytes(done)
    except FileNotFoundError:
        return Damage(digest, "is missing", is_missing=True)
    except OSError as error:
        return Damage(digest, f"cannot be read: {error.strerror}")
    if done < size:
        return Damage(digest, f"is cut off: {done} of {size} bytes")
    return None if sha.hexdigest() == digest.hex else Damage(digest, "is damaged: its bytes have changed")


@contextlib.contextmanager
def set_aside(paths: StorePaths, damages: Iterable[Damage]) -> Iterator[None]:
    """Take damaged blobs out of the way of a pull, which would take them for whole.

    What has not come back by the end is put back: a damaged file may still be of use, and is nobody's to throw away.
    """
    moved: list[tuple[Path, Path]] = []
    try:
        for damage in damages:
            path = paths.blob(damage.digest)
            aside = path.with_name(f"{path.name}.damaged{TEMP_SUFFIX}")
            with contextlib.suppress(FileNotFoundError):
                path.rename(aside)
                moved.append((path, aside))
        yield
    finally:
        for path, aside in moved:
            if path.exists():
                aside.unlink()
            else:
                aside.rename(path)
