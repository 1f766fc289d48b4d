"""The parent's end of one runner: the child process that holds one model.

A runner is started idle, told to load, then takes requests until it is closed. Everything here belongs to the service
loop. When the child ends, for whatever reason, every request on it gets a `RunnerDied` that says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from corral.runtime.cache_figures import CacheFigures
from corral.runtime.child_pipes import ChildPipes, start_child
from corral.runtime.engine import protocol
from corral.runtime.engine.framing import Frames, frame, from_runner
from corral.runtime.errors import BadRequest, LoadFailed, PromptTooLong, RunError, RunnerDied, TemplateFailed
from corral.runtime.rates import Rate
from corral.runtime.runner_stream import RunnerStream
from corral.runtime.stderr_tail import StderrTail

HELLO_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 3.0
_PROGRAM = (sys.executable, "-P", "-m", "corral.runtime.engine")
"""With `-P`, because the folder we were started in must not shadow modules."""

_PASSED_ON = (
    "PATH",
    "HOME",
    "USERPROFILE",
    "LANG",
    "TMPDIR",
    "TEMP",
    "TMP",
    "SYSTEMROOT",
    "VIRTUAL_ENV",
    "TZ",
    "PYTHONPATH",
    "GPU_DEVICE_ORDINAL",
    "JETSON_JETPACK",
)
_PASSED_ON_PREFIXES = (
    "LC_",
    "LD_LIBRARY",
    "DYLD_",
    "CUDA",
    "NVIDIA",
    "GGML_",
    "LLAMA_",
    "HIP_",
    "ROC",
    "HSA_",
    "OMP_",
    "GOMP_",
)
_KILLED = (-signal.SIGTERM, *([] if sys.platform == "win32" else [-signal.SIGKILL]))
_NO_MEMORY = re.compile(r"\balloc|out of memory|bad_alloc|MemoryError", re.IGNORECASE)
"""What ggml, CUDA, C++ and Python say when there is none left."""
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSW")

R = TypeVar("R", bound=protocol.Reply)


def runner_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a runner may know of our environment: where libraries and devices are, and no secrets."""
    passed = {
        name: value
        for name, value in environ.items()
        if (name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)) and not any(word in name for word in _SECRET)
    }
    return {**passed, "PYTHONUNBUFFERED": "1"}


class Runner:
    """One child process. `loaded` is set once it has a model; `cells_used`, `cache` and the rates follow its steps.

    `heard_at` is when it last said anything, by the clock; `streams_waiting` of its requests wait for room in it.
    """

    def __init__(self, process: asyncio.subprocess.Process, pipes: ChildPipes, clock: Callable[[], float]) -> None:
        self._process = process
        self._clock = clock
        self._frames = Frames()
        self._garbled = ""
        self._streams: dict[int, RunnerStream] = {}
        self._next_id = 1
        self.stderr = StderrTail()
        self._cause = ""
        self._workers: Sequence[str] = ()
        self._hello: asyncio.Future[protocol.Hello] = asyncio.get_running_loop().create_future()
        self._load: asyncio.Future[protocol.Loaded] | None = None
        self._stirred = asyncio.Event()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._read_stderr())]
        self._closing = False
        self.exited = asyncio.Event()
        self.loaded: protocol.Loaded | None = None
        self.load_fraction = 0.0
        self.load_phase = protocol.LoadPhase.START
        self.load_split = (0, 0)
        self.heard_at = clock()
        self.cells_used = 0
        self.streams_waiting = 0
        self.cache = CacheFigures(clock)
        self.decode_rate = Rate(clock)
        self.prompt_rate = Rate(clock)
        self._prompt_done: dict[int, int] = {}
        self._asked: dict[int, asyncio.Future[protocol.Reply]] = {}
        pipes.follow(self._hear)

    @classmethod
    async def start(cls, clock: Callable[[], float] = time.monotonic, program: Sequence[str] = _PROGRAM) -> Runner:
        """Start a child and wait until it has llama.cpp imported; it then waits for `load` and costs no processor time.

        Raises:
            LoadFailed: the child did not come up.
        """
        process, pipes = await start_child(program, runner_environment(os.environ))
        runner = cls(process, pipes, clock)
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                await runner._hello
        except (TimeoutError, RunnerDied) as error:
            await runner.close()
            raise LoadFailed(f"the model runner did not start: {runner.last_words() or error}") from None
        except asyncio.CancelledError:
            await runner.close()
            raise
        return runner

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the child still runs and is not being closed."""
        return not self._closing and not self.exited.is_set()

    @property
    def running(self) -> int:
        """How many requests are on it."""
        return len(self._streams) + len(self._asked)

    def last_words(self) -> str:
        """Why the child ended; as long as it lives, the last line it wrote to its stderr."""
        return self._cause or self.stderr.last

    async def load(self, message: protocol.Load, stall_s: float) -> protocol.Loaded:
        """Load a model; gives up when nothing moves for `stall_s` seconds.

        Raises:
            LoadFailed: the model cannot be loaded, with llama.cpp's reason.
        """
        self._load = asyncio.get_running_loop().create_future()
        self._workers = message.rpc_servers if message.placement.gpu_layers else ()
        self._send(message)
        limit = None if stall_s == float("inf") else stall_s
        while not self._load.done():
            self._stirred.clear()
            try:
                async with asyncio.timeout(limit):
                    await self._stirred.wait()
            except TimeoutError:
                raise LoadFailed(f"loading made no progress for {stall_s:g} seconds") from None
        self.loaded = self._load.result()
        return self.loaded

    def submit(self, make: Callable[[int], protocol.Submit]) -> RunnerStream:
        """Send a request, made by `make` from the id it gets here."""
        request_id = self._next_id
        self._next_id += 1
        stream = RunnerStream(request_id, self._send)
        self._streams[request_id] = stream
        if not self.alive:
            stream.fail(RunnerDied(self.last_words()))
        else:
            self._send(make(request_id))
        return stream

    def release(self, stream: RunnerStream) -> None:
        """Forget a request; one that has not ended is cancelled in the child."""
        self._streams.pop(stream.id, None)
        self._prompt_done.pop(stream.id, None)
        if not stream.over and self.alive:
            self._send(protocol.Cancel(stream.id))

    async def ask(self, make: Callable[[int], protocol.Question], kind: type[R]) -> R:
        """Ask what is answered in one piece, of `kind`; `make` gets the request's id.

        A caller who stops waiting cancels it in the child. Raises RunError where it failed.
        """
        request_id = self._next_id
        self._next_id += 1
        if not self.alive:
            raise RunnerDied(self.last_words())
        answer: asyncio.Future[protocol.Reply] = asyncio.get_running_loop().create_future()
        self._asked[request_id] = answer
        self._send(make(request_id))
        try:
            reply = await answer
        finally:
            del self._asked[request_id]
            if answer.cancelled() and self.alive:
                self._send(protocol.Cancel(request_id))
        if isinstance(reply, protocol.Embedded | protocol.Ranked):
            self.prompt_rate.add(reply.prompt_tokens)
        assert isinstance(reply, kind)
        return reply

    async def close(self) -> None:
        """End the child and reap it: by closing its stdin, and by force where that does not do in time."""
        self._closing = True
        with contextlib.suppress(OSError, RuntimeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.exited.wait()
        except TimeoutError:
            self.kill()
            await self.exited.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._send(protocol.Ping(0))

    def kill(self, cause: str = "") -> None:
        """End the child at once; `cause` is what its requests are told."""
        self._cause = cause
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _send(self, message: protocol.ToRunner) -> None:
        """Write without waiting: what goes to a runner is small, and its main thread always reads."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.is_closing():
            with contextlib.suppress(OSError, RuntimeError):
                stdin.write(frame(message))

    async def _read(self) -> None:
        """Wait for the end of what it says; `_hear` takes all before it."""
        stdout = self._process.stdout
        assert stdout is not None
        with contextlib.suppress(ConnectionError):
            await stdout.read()
        await self._reap(self._garbled)

    def _hear(self, data: bytes) -> None:
        if self._garbled:
            return
        try:
            for body in self._frames.feed(data):
                self._take(from_runner.decode(body))
        except (ValueError, msgspec.MsgspecError) as error:
            self._garbled = f"it sent what is no message: {error}"
            self.kill()

    async def _reap(self, cause: str) -> None:
        code = await self._process.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.gather(self._tasks[1], return_exceptions=True)
        self.exited.set()
        self._cause = cause or self._among_workers(self._cause or self._describe(code))
        error = RunnerDied(self._cause)
        for stream in self._streams.values():
            stream.fail(error)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(error)
        if not self._hello.done():
            self._hello.set_exception(error)
            self._hello.exception()  # read, so that a start that was given up says nothing
        if self._load is not None and not self._load.done():
            failed = _load_failed(f"the model runner stopped while loading: {self._cause}")
            failed.out_of_memory |= sys.platform != "win32" and code == -signal.SIGKILL
            self._load.set_exception(failed)
            self._load.exception()
            self._stirred.set()

    def _among_workers(self, cause: str) -> str:
        """Name who else it may be: llama.cpp ends the process where an RPC worker fails, and does not say which did."""
        if not self._workers:
            return cause
        workers = ", ".join(self._workers)
        return f"{cause}; its model is shared with the RPC workers {workers}: look whether one of them ended"

    def _describe(self, code: int) -> str:
        if code < 0:
            try:
                how = signal.Signals(-code).name
            except ValueError:
                how = f"signal {-code}"
        else:
            how = f"exit status {code}"
        # Who is killed has no last words: what it wrote before was about something else.
        words = "" if code in _KILLED else self.stderr.last
        return f"{how}: {words}" if words else how

    async def _read_stderr(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        await self.stderr.read(stderr)

    def _take(self, message: protocol.FromRunner) -> None:
        self.heard_at = self._clock()
        match message:
            case protocol.Step():
                self._take_step(message)
            case protocol.Started():
                if stream := self._streams.get(message.id):
                    self._prompt_done[message.id] = message.cached_tokens
                    self.cache.started(message)
                    stream.put(message)
            case protocol.Rendered():
                if stream := self._streams.get(message.id):
                    stream.put(message)
            case protocol.Refused():
                if stream := self._streams.get(message.id):
                    stream.fail(_refusal(message))
                elif (answer := self._asked.get(message.id)) and not answer.done():
                    answer.set_exception(_refusal(message))
            case protocol.Embedded() | protocol.Ranked() | protocol.Tokenized() | protocol.Detokenized():
                if (answer := self._asked.get(message.id)) and not answer.done():
                    answer.set_result(message)
            case protocol.Hello():
                if not self._hello.done():
                    self._hello.set_result(message)
            case protocol.Loading():
                self.load_fraction, self.load_phase = message.fraction, message.phase
                self.load_split = (message.gpu_layers, message.num_layers)
                self._stirred.set()
            case protocol.Loaded():
                self.load_fraction = 1.0
                if self._load is not None and not self._load.done():
                    self._load.set_result(message)
                self._stirred.set()
            case protocol.LoadRefused():
                if self._load is not None and not self._load.done():
                    self._load.set_exception(_load_failed(message.message))
                self._stirred.set()
            case protocol.Pong():
                pass

    def _take_step(self, step: protocol.Step) -> None:
        self.cells_used = step.cells_used
        self.streams_waiting = step.waiting
        self.cache.use = step.cache or self.cache.use
        prompt_tokens = decoded = 0
        for progress in step.progress:
            prompt_tokens += progress.done - self._prompt_done.get(progress.id, 0)
            self._prompt_done[progress.id] = progress.done
            if stream := self._streams.get(progress.id):
                stream.put(progress)
        for piece in step.pieces:
            decoded += piece.tokens
            if stream := self._streams.get(piece.id):
                stream.put(piece)
        for finished in step.finished:
            self._prompt_done.pop(finished.id, None)
            if stream := self._streams.get(finished.id):
                stream.put(finished)
        if decoded:
            self.decode_rate.add(decoded)
        if prompt_tokens > 0:
            self.prompt_rate.add(prompt_tokens)


def _load_failed(message: str) -> LoadFailed:
    error = LoadFailed(message)
    error.out_of_memory = _NO_MEMORY.search(message) is not None
    return error


def _refusal(message: protocol.Refused) -> RunError:
    match message.kind:
        case "template":
            return TemplateFailed(message.message)
        case "too_long":
            error = PromptTooLong(message.num_tokens, 0)
            error.args = (message.message,)
            return error
        case "bad_request":
            return BadRequest(message.message)
        case _:
            return RunnerDied(message.message)
