"""Runs `pip download` as the user would, with the user's own settings, and watches how far it is.

Only ready-made wheels are taken: building a source package would run a stranger's code.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from importlib import metadata
from pathlib import Path

from corral.store.disk import free_bytes, megabytes
from corral.store.errors import NoSpace, SourceError
from corral.store.sources.source import STEP_S

_GRACE_S = 2.0
_LINES_KEPT = 200
_LONGEST_LINE = 4096
_LONGEST_MESSAGE = 300
_RAW_PROGRESS_SINCE = (24, 1)

_SIZE = re.compile(r"(?:Downloading|Using cached) .*\((\d+(?:\.\d+)?) (bytes|kB|MB|GB)\)")
_RAW = re.compile(r"Progress (\d+) of (\d+)")
_UNITS = {"bytes": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


class PipDownload:
    """One run of pip into a folder. Owned by the task that iterates over `steps`."""

    def __init__(self, requirement: str, folder: Path, environ: Mapping[str, str]) -> None:
        self._requirement = requirement
        self._into = folder / "wheels"
        self._temp = folder / "pip"
        self._environ = environ
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._total = 0
        self._completed = 0

    async def steps(self) -> AsyncGenerator[tuple[int, int], None]:
        """Download: bytes done and bytes in all (0 as long as that is unknown), each time they have changed.

        Left early, it kills pip and whatever pip has started, and waits for them.

        Raises:
            SourceError: pip failed; in pip's words.
            NoSpace: pip filled the disk.
        """
        self._into.mkdir()
        self._temp.mkdir()
        process = await self._started()
        readers = [
            asyncio.create_task(self._read(stream)) for stream in (process.stdout, process.stderr) if stream is not None
        ]
        done = asyncio.gather(process.wait(), *readers)
        told = (0, 0)
        try:
            while not done.done():
                await asyncio.wait({done}, timeout=STEP_S)
                now = self._measure()
                if now != told:
                    told = now
                    yield now
            await done
        finally:
            await _kill(process)
            # With everybody dead the pipes are at their end; only a child that left the session could hold them open.
            await asyncio.wait({done}, timeout=_GRACE_S)
            done.cancel()
            await asyncio.gather(done, *readers, return_exceptions=True)
        if process.returncode:
            raise self._failure()

    def wheel(self) -> Path:
        """The file that pip has brought.

        Raises:
            SourceError: it has brought no wheel.
        """
        found = sorted(self._into.glob("*.whl"))
        if len(found) != 1:
            raise SourceError(f"pip brought no wheel for {self._requirement}")
        return found[0]

    async def _started(self) -> asyncio.subprocess.Process:
        starting = asyncio.create_task(self._start())
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Cancelled in its midst, asyncio kills pip alone and then waits for the pipes its children hold open.
            with contextlib.suppress(SourceError):
                process = await starting
                await _kill(process)
                await process.communicate()
            raise

    async def _start(self) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
        command += ["--disable-pip-version-check", "--progress-bar", _progress_bar()]
        command += ["--dest", str(self._into), "--", self._requirement]
        # What pip downloads goes through TMPDIR: on the store's file system, and where its growth can be seen.
        folders = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self._temp))
        quiet = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                # `-m` looks into the working directory first: into an empty one, not into a stranger's.
                cwd=self._temp,
                env={**self._environ, **folders, **quiet},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise SourceError(f"pip cannot be started: {error.strerror}") from error

    async def _read(self, stream: asyncio.StreamReader) -> None:
        rest = ""
        while chunk := await stream.read(1 << 16):
            *lines, rest = re.split(r"[\r\n]+", rest + chunk.decode("utf-8", "replace"))
            rest = rest[-_LONGEST_LINE:]
            for line in lines:
                self._hear(line[:_LONGEST_LINE])
        self._hear(rest)

    def _hear(self, line: str) -> None:
        line = _ESCAPES.sub("", line).strip()
        if match := _RAW.match(line):
            self._completed, self._total = int(match[1]), int(match[2])
        elif line:
            self._lines.append(line)
            if (match := _SIZE.match(line)) and not self._total:
                self._total = int(float(match[1]) * _UNITS[match[2]])

    def _measure(self) -> tuple[int, int]:
        if not _reports_progress():
            self._completed = max(self._completed, _largest_file(self._temp), _largest_file(self._into))
        # pip rounds the size it prints, so the sum of the bytes may come to a little more.
        return (min(self._completed, self._total) if self._total else self._completed, self._total)

    def _failure(self) -> SourceError | NoSpace:
        if any("No space left on device" in line or "Disk quota exceeded" in line for line in self._lines):
            free = megabytes(free_bytes(self._into))
            wanted = f"{megabytes(self._total)} needed, " if self._total else ""
            return NoSpace(f"not enough disk space for the model: {wanted}{free} free")
        return SourceError(last_words(self._lines, self._requirement))


def last_words(lines: deque[str] | list[str], requirement: str) -> str:
    """What pip says went wrong, as one line without escape sequences and passwords."""
    clean = [_CREDENTIALS.sub("", " ".join(_ESCAPES.sub("", line).split())) for line in lines]
    errors = [line.removeprefix("ERROR: ") for line in clean if line.startswith("ERROR: ")]
    if any("connection broken by" in line for line in clean) and any("from versions: none" in line for line in errors):
        return f"the package index cannot be reached, so {requirement} was not fetched"
    # The last line only repeats what the one before says with the versions there are.
    telling = [line for line in errors if not line.startswith("No matching distribution")] or errors
    if telling and telling[-1].endswith("(from versions: none)"):
        return f"the package index has no ready-made package {requirement}"
    message = (telling or clean or ["it said nothing"])[-1]
    if len(message) > _LONGEST_MESSAGE:
        message = message[: _LONGEST_MESSAGE - 1] + "…"
    return f"pip: {message}"


def _reports_progress() -> bool:
    """Whether this pip tells its progress to programs."""
    try:
        version = metadata.version("pip").split(".")
        return (int(version[0]), int(version[1])) >= _RAW_PROGRESS_SINCE
    except (metadata.PackageNotFoundError, ValueError, IndexError):
        return False


def _progress_bar() -> str:
    return "raw" if _reports_progress() else "off"


def _largest_file(folder: Path) -> int:
    """The size of the largest file under a folder that changes while it is looked at."""
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                largest = max(largest, os.lstat(os.path.join(root, name)).st_size)
    return largest


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End pip and its children, politely first; nothing happens if it has ended."""
    if process.returncode is not None:
        return
    try:
        _signal(process, signal.SIGTERM)
        await asyncio.wait_for(process.wait(), _GRACE_S)
    except TimeoutError:
        pass
    finally:
        # Also where pip went at once: a child of it may not have.
        _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    await process.wait()


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.terminate()
        else:
            # pip leads a session of its own, so this reaches its children and nobody else.
            os.killpg(process.pid, number)
