"""Operations of `tests.store_child` under strace, which kills them at a call or lets the call fail."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: The calls that change what lies on a disk; those with a question mark are not on every machine.
CHANGING = (
    "?open,openat,?creat,write,?writev,pwrite64,ftruncate,truncate,fallocate,fsync,fdatasync,?rename,renameat,renameat2,"
    "?link,linkat,?symlink,symlinkat,?unlink,unlinkat,?mkdir,mkdirat,?rmdir,?chmod,fchmod,fchmodat,?utimensat"
)
KILL = "signal=KILL"
#: What can happen at a call; of the errors only those that it can have.
FAULTS = (KILL, "error=ENOSPC", "error=EIO", "error=EROFS")
_NEVER_FULL = {"unlink", "unlinkat", "rmdir"}
_LINE = re.compile(r"^\d+\s+(?P<call>\w+)\((?P<rest>.*)$")


@functools.cache
def _why_not() -> str:
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-qq", "-o", "/dev/null", sys.executable, "-c", ""], capture_output=True)
    return "" if done.returncode == 0 else "this system lets no process be traced"


needs_strace = pytest.mark.skipif(bool(_why_not()), reason=_why_not())


@dataclass(frozen=True, slots=True)
class Point:
    """The `number`-th `call` of an operation, and what is to happen there; `line` is how it went without."""

    call: str
    number: int
    fault: str
    line: str

    def __str__(self) -> str:
        return f"{self.fault} at {self.call} {self.number}: {self.line}"


class StoreProcess:
    """Runs operations on stores in children, one at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls) -> AsyncIterator[StoreProcess]:
        """Have the process for a while; what still runs in it is killed at the end."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.store_child",
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            child = cls(process)
            assert await child._read() == "ready"
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _read(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            return (await self._process.stdout.readline()).decode().strip()

    async def begin(self, operation: str, root: Path, argument: str = "", *, user: int = 0) -> int:
        """Make the child that waits to do it; returns its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([operation, str(root), argument, user]).encode() + b"\n")
        return int(await self._read())

    async def ended(self) -> int:
        """The status of the child, once it has ended."""
        return int(await self._read())

    async def run(self, operation: str, root: Path, argument: str = "", *, user: int = 0) -> int:
        """Do it, untroubled."""
        os.kill(await self.begin(operation, root, argument, user=user), signal.SIGUSR1)
        return await self.ended()

    async def traced(self, options: Sequence[str], operation: str, root: Path, argument: str = "") -> int:
        """Do it under strace."""
        pid = await self.begin(operation, root, argument)
        tracer = await asyncio.create_subprocess_exec(
            "strace", "-f", "-p", str(pid), *options, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert tracer.stderr is not None
        async with asyncio.timeout(60):
            said = await tracer.stderr.readline()
        assert b"attached" in said, said
        os.kill(pid, signal.SIGUSR1)
        status = await self.ended()
        await tracer.communicate()
        return status

    async def points(self, log: Path, operation: str, root: Path, argument: str = "") -> list[Point]:
        """Do it, and find every call that changes something under `root`, with all that can happen at it."""
        status = await self.traced(["-y", "-o", str(log), "-e", f"trace={CHANGING}"], operation, root, argument)
        assert status == 0, f"{operation} does not even work by itself"
        found: list[Point] = []
        numbers: Counter[str] = Counter()
        for line in log.read_text(errors="replace").splitlines():
            match = _LINE.match(line)
            if match is None:
                continue
            call, rest = match["call"], match["rest"]
            numbers[call] += 1
            if str(root) not in rest or (call in {"open", "openat"} and not re.search("O_CREAT|O_TRUNC", rest)):
                continue
            for fault in FAULTS:
                if not (fault == "error=ENOSPC" and call in _NEVER_FULL):
                    found.append(Point(call, numbers[call], fault, rest[:160]))
        return found

    async def faulted(self, point: Point, operation: str, root: Path, argument: str = "") -> int:
        """Do it with the fault at that point."""
        inject = f"inject={point.call}:{point.fault}:when={point.number}"
        options = ["-o", os.devnull, "-e", f"trace={point.call}", "-e", inject]
        return await self.traced(options, operation, root, argument)
