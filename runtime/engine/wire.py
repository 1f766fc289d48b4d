"""Frames over the runner's two pipes."""

from __future__ import annotations

import os
import sys
import threading

from corral.runtime.engine.framing import LENGTH, MAX_FRAME_BYTES, frame, to_runner
from corral.runtime.engine.protocol import FromRunner, ToRunner


class FrameWriter:
    """Writes whole frames; any thread may send. A full pipe blocks the sender: the parent must keep reading."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, message: FromRunner) -> None:
        """Send a message. Raises OSError where the parent is gone."""
        view = memoryview(frame(message))
        with self._lock:
            while view:
                view = view[os.write(self._fd, view) :]


class FrameReader:
    """Reads frames from a file descriptor; belongs to one thread."""

    def __init__(self, fd: int) -> None:
        self._file = os.fdopen(fd, "rb")

    def read(self) -> ToRunner | None:
        """Return the next message, None at the end. Raises ValueError for a frame that is too long or malformed."""
        head = self._file.read(LENGTH.size)
        if len(head) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack(head)
        if length > MAX_FRAME_BYTES:
            raise ValueError(f"frame of {length} bytes")
        body = self._file.read(length)
        return to_runner.decode(body) if len(body) == length else None


def take_standard_streams() -> tuple[FrameReader, FrameWriter]:
    """Keep stdin and stdout for frames and send whatever a library prints to stderr instead."""
    incoming, outgoing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(incoming, os.O_BINARY)
        msvcrt.setmode(outgoing, os.O_BINARY)
    return FrameReader(incoming), FrameWriter(outgoing)
