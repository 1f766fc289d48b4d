"""Pulls that were begun and have not come to their end, noted beside what came of them.

A note outlives a kill: whoever starts again sees what was being fetched, and can go on. It lies in the blobs folder,
one file a pull, and goes with the partial downloads where nobody takes them up for long.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from corral.store.disk import make_folder, replace_file, try_lock
from corral.store.errors import InvalidDigest, StoreError
from corral.store.names import Digest
from corral.store.paths import PULL_SUFFIX, StorePaths

_LONGEST_NOTE = 1 << 20


class Note(msgspec.Struct, frozen=True):
    """What is remembered of a pull: the text it was asked for by, when, how fast it may be, and its parts' sizes.

    `since_s` is a Unix time, `limit_rate` in bytes a second with 0 for none; `parts` are known as they begin, `whole`
    is the bytes of all of them, 0 where that is not known. `insecure` says that it may go over http.
    """

    model: str
    since_s: float
    limit_rate: int = 0
    parts: dict[str, int] = {}
    whole: int = 0
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A pull that was interrupted: of `total` bytes so many as `completed` are safely on the disk."""

    note: Note
    completed: int
    total: int


class UnfinishedPulls:
    """The notes of a store. Used from any thread; two processes that pull the same share its note."""

    def __init__(self, paths: StorePaths) -> None:
        self._paths = paths

    def write(self, note: Note) -> None:
        """Remember a pull, or what is new of it. A disk that does not take it costs the memory, never the pull."""
        with contextlib.suppress(OSError, StoreError):
            make_folder(self._paths.blobs)
            replace_file(self._path(note.model), msgspec.json.encode(note))

    def forget(self, model: str) -> None:
        """Remember a pull no longer; what came of it stays."""
        with contextlib.suppress(OSError):
            self._path(model).unlink(missing_ok=True)

    def drop(self, model: str) -> int:
        """Remove what came of a pull, and its note; what another download is at stays.

        Returns:
            The bytes freed.
        """
        freed = 0
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            note = _read(self._path(model))
            for key in _keys(note):
                freed += self._remove(key)
        self.forget(model)
        return freed

    def list(self) -> tuple[Unfinished, ...]:
        """Every pull of which something lies on the disk, oldest first."""
        found = []
        with contextlib.suppress(OSError):
            for path in self._paths.blobs.glob(f"corral-*{PULL_SUFFIX}"):
                with contextlib.suppress(OSError, msgspec.MsgspecError):
                    found.append(_read(path))
        known = [unfinished for note in found if (unfinished := self._measured(note)) is not None]
        return tuple(sorted(known, key=lambda one: one.note.since_s))

    def has_come(self, note: Note) -> bool:
        """Whether anything of a pull waits to be taken up again."""
        return self._measured(note) is not None

    def _path(self, model: str) -> Path:
        return self._paths.blobs / f"corral-{hashlib.sha256(model.encode()).hexdigest()}{PULL_SUFFIX}"

    def _measured(self, note: Note) -> Unfinished | None:
        completed, is_partial = 0, False
        for key in _keys(note):
            size = note.parts[str(key)]
            with contextlib.suppress(OSError):
                if self._paths.blob(key).stat().st_size == size:
                    completed += size
                    continue
            with contextlib.suppress(OSError):
                come = _noted_bytes(self._paths.journal(key))
                is_partial = is_partial or come > 0
                completed += min(come, size)
        total = max(note.whole, sum(note.parts.values()))
        return Unfinished(note, completed, total) if is_partial else None

    def _remove(self, key: Digest) -> int:
        path = self._paths.partial(key)
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDWR)
            try:
                if try_lock(handle):
                    size = _noted_bytes(self._paths.journal(key))
                    self._paths.journal(key).unlink(missing_ok=True)
                    path.unlink(missing_ok=True)
                    return size
            finally:
                os.close(handle)
        return 0


def _read(path: Path) -> Note:
    with path.open("rb") as file:
        return msgspec.json.decode(file.read(_LONGEST_NOTE), type=Note)


def _keys(note: Note) -> Iterator[Digest]:
    for text in note.parts:
        with contextlib.suppress(InvalidDigest):
            yield Digest.parse(text)


def _noted_bytes(journal: Path) -> int:
    """How many bytes a journal of `store.partial` says are there."""
    total = 0
    for line in journal.read_bytes().split(b"\n")[1:-1]:
        try:
            start, end = msgspec.json.decode(line, type=tuple[int, int])
        except msgspec.MsgspecError:
            break
        total += max(0, end - start)
    return total
