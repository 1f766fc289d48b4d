"""The pipes of a child whose words are taken as they come: no buffer and no task stands between pipe and reader.

A runner speaks once a step to all its streams, many times a second; each turn of the loop in between costs more than
what is said.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import Callable, Mapping, Sequence

_BUFFERED = 1 << 16
_STDOUT = 1


class ChildPipes(SubprocessStreamProtocol):
    """What asyncio has for children, but for standard output: its bytes go to `take` as soon as there is one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_BUFFERED, loop=loop)
        self._take: Callable[[bytes], None] | None = None
        self._early: list[bytes] = []

    def follow(self, take: Callable[[bytes], None]) -> None:
        """Hand on what comes from now on, and before it what came already; the end is still read as the stream's."""
        self._take = take
        early, self._early = self._early, []
        for data in early:
            take(data)

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        """Called by the loop."""
        if fd != _STDOUT or isinstance(data, str):
            super().pipe_data_received(fd, data)
        elif self._take is not None:
            self._take(data)
        else:
            self._early.append(data)


async def start_child(program: Sequence[str], environ: Mapping[str, str]) -> tuple[Process, ChildPipes]:
    """Start a program in a session of its own, so that a Ctrl-C in our terminal is not meant for it. Raises OSError."""
    loop = asyncio.get_running_loop()
    transport, pipes = await loop.subprocess_exec(
        lambda: ChildPipes(loop), *program, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environ, start_new_session=True
    )
    return Process(transport, pipes, loop), pipes
