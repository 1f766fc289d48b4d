"""Computed sequences on disk: what a model has read stays known when it is unloaded or its cells are needed.

One file a sequence, readable by its owner alone, named by the model it belongs to. A file holds the tokens and
llama.cpp's state of them behind a hash of both; what does not hash as it says is thrown away. All models share one
folder with one bound, and the files used longest ago go first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import struct
import threading
from array import array
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from queue import Full, Queue
from typing import Final

from corral.runtime.engine.computed import Computed, SequenceIndex

SUFFIX: Final = ".sequence"
_MAGIC: Final = b"corral sequence 1\n"
_HEAD: Final = struct.Struct("<32sI")
_HASHED_FROM: Final = len(_MAGIC) + 32
_WAITING: Final = 2
_KEY_LENGTH: Final = 16


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


def forget_models(folder: Path, *, besides: Iterable[str]) -> None:
    """Delete the sequences of all models but those whose weights have these file names."""
    kept = {_key(name) for name in besides}
    for path in folder.glob(f"*{SUFFIX}"):
        if path.name.partition("-")[0] not in kept:
            path.unlink(missing_ok=True)


class Shelf:
    """The sequences of one model on disk. Belongs to the loop's thread; what is put away in the background is written
    by a thread of its own.

    `weights` is the name of the model's file, `settings` all else that its states depend on. `most_bytes` bounds the
    folder. `whole` says that a sequence can only be gone on with at its end.
    """

    def __init__(self, folder: Path, most_bytes: int, weights: str, settings: str, *, whole: bool) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._prefix = f"{_key(weights)}-{_key(settings)}-"
        self._index: SequenceIndex[Path] = SequenceIndex(whole=whole)
        self._sizes: dict[Path, int] = {}
        self._waiting: Queue[Computed] = Queue(_WAITING)
        self._written: deque[tuple[list[int], Path]] = deque()
        self._writer: threading.Thread | None = None
        for path in self._files():
            if path.name.startswith(self._prefix):
                with contextlib.suppress(OSError, ValueError):
                    self._add(_read_tokens(path), path)

    @property
    def held(self) -> tuple[int, int]:
        """Return how many sequences are known to be here, and how many bytes their files have."""
        self._take_written()
        return len(self._sizes), sum(self._sizes.values())

    def match(self, prompt: list[int]) -> tuple[int, int]:
        """Return how much of a prompt's beginning is here and can be used, and the number of a sequence with it."""
        self._take_written()
        return self._index.match(prompt)

    def take(self, number: int) -> Computed | None:
        """Read a sequence; None, and it forgotten, where its file is gone or damaged."""
        try:
            computed = _read(self._index.items[number])
            os.utime(self._index.items[number])
        except (OSError, ValueError):
            self.drop(number)
            return None
        return computed

    def drop(self, number: int) -> None:
        """Forget a sequence and delete its file; one that goes on from it may have taken its place already."""
        if path := self._index.remove(number):
            self._sizes.pop(path, None)
            path.unlink(missing_ok=True)

    def put_soon(self, computed: Computed) -> None:
        """Write a sequence in the background; not at all where others wait already."""
        if not self._fits(computed):
            return
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_waiting, name="shelf", daemon=True)
            self._writer.start()
        with contextlib.suppress(Full):
            self._waiting.put_nowait(computed)

    def put(self, computed: Computed) -> bool:
        """Write a sequence now; False where it is too large or the disk will not have it."""
        if not self._fits(computed):
            return False
        try:
            self._written.append((computed.tokens, self._write(computed)))
        except OSError:
            return False
        return True

    def _fits(self, computed: Computed) -> bool:
        """Say whether a sequence is worth a file: small enough, and not there yet."""
        known, _ = self.match(computed.tokens)
        return known < len(computed.tokens) and len(computed.state) <= self._most_bytes // 2

    def _write_waiting(self) -> None:
        while True:
            computed = self._waiting.get()
            with contextlib.suppress(OSError):
                self._written.append((computed.tokens, self._write(computed)))

    def _write(self, computed: Computed) -> Path:
        """Write a file whole or not at all, and make room for it. Raises OSError."""
        tokens = array("i", computed.tokens).tobytes()
        count = struct.pack("<I", len(computed.tokens))
        digest = hashlib.sha256(count + tokens)
        digest.update(computed.state)  # other threads run meanwhile
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        size = _HASHED_FROM + len(count) + len(tokens) + len(computed.state)
        self._make_room(size)
        path = self._folder / f"{self._prefix}{digest.hexdigest()[:_KEY_LENGTH]}{SUFFIX}"
        scratch = self._folder / f".{secrets.token_hex(8)}"
        try:
            with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                for part in (_MAGIC, digest.digest(), count, tokens, computed.state):
                    file.write(part)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
        return path

    def _make_room(self, size: int) -> None:
        """Delete what was used longest ago until `size` bytes more are within the bound. Raises OSError."""
        files = self._files()
        total = size + sum(path.stat().st_size for path in files)
        for path in files:
            if total <= self._most_bytes:
                break
            total -= path.stat().st_size
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """Return the sequences of all models, the one used longest ago first."""
        found = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):
                found.append((path.stat().st_mtime_ns, path))
        return [path for _, path in sorted(found)]

    def _take_written(self) -> None:
        while self._written:
            self._add(*self._written.popleft())

    def _add(self, tokens: list[int], path: Path) -> None:
        """Note a file; those it goes on from are no longer needed where any beginning of it can be used."""
        for number in self._index.superseded(tokens):
            self.drop(number)
        self._index.add(tokens, path)
        with contextlib.suppress(OSError):  # another model's sequences may have needed the room
            self._sizes[path] = path.stat().st_size


def _read_tokens(path: Path) -> list[int]:
    """Return what a file says it holds. Raises OSError, and ValueError for what is no sequence."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("not a sequence")
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise ValueError("cut off")
        count = _HEAD.unpack(head)[1]
        tokens = array("i")
        if 4 * count > path.stat().st_size:
            raise ValueError("cut off")
        tokens.frombytes(file.read(4 * count))
        return list(tokens)


def _read(path: Path) -> Computed:
    """Return a file's sequence. Raises OSError, and ValueError for what does not hash as it says."""
    data = memoryview(path.read_bytes())
    if bytes(data[: len(_MAGIC)]) != _MAGIC or len(data) < len(_MAGIC) + _HEAD.size:
        raise ValueError("not a sequence")
    digest, count = _HEAD.unpack_from(data, len(_MAGIC))
    if hashlib.sha256(data[_HASHED_FROM:]).digest() != digest:
        raise ValueError("damaged")
    begin = len(_MAGIC) + _HEAD.size
    tokens = array("i", data[begin : begin + 4 * count].tobytes())
    return Computed(list(tokens), data[begin + 4 * count :])
