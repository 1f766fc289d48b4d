"""A runner driven over its pipes: the exact handshake, and answers gathered for tests."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from corral.runtime.engine.framing import LENGTH, frame, from_runner
from corral.runtime.engine.protocol import (
    Cancel,
    ChatPrompt,
    Finished,
    FromRunner,
    Hello,
    Load,
    Loaded,
    Loading,
    LoadRefused,
    Logprob,
    RawPrompt,
    Refused,
    Rendered,
    Sampling,
    Started,
    Step,
    Submit,
    ToolCall,
    ToRunner,
    Turn,
)

WAIT_S = 60.0
GREEDY = Sampling(temperature=0)


@dataclass
class Answer:
    """What came back for one request."""

    text: str = ""
    thinking: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    tokens: int = 0
    started: Started | None = None
    refused: Refused | None = None
    rendered: Rendered | None = None
    finished: Finished | None = None
    prompt_done: list[int] = field(default_factory=list)
    logprobs: list[Logprob] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.finished is not None or self.refused is not None or self.rendered is not None


class RunnerProcess:
    """A child `python -m corral.runtime.engine`, its frames read by a thread."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "corral.runtime.engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.answers: dict[int, Answer] = {}
        self.others: list[FromRunner] = []
        self.steps: list[Step] = []
        self._incoming: queue.SimpleQueue[FromRunner | None] = queue.SimpleQueue()
        self._errors = b""
        self._threads = [threading.Thread(target=self._read_frames), threading.Thread(target=self._read_errors)]
        for thread in self._threads:
            thread.start()
        hello = self.read()
        assert isinstance(hello, Hello)
        assert hello.pid == self.process.pid

    def __enter__(self) -> RunnerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def computed_s(self) -> float:
        """Seconds its threads have had of processors."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def load(self, path: Path, **changes: object) -> Loaded | LoadRefused:
        """Load a model and return what the runner says of it.

        One thread computes unless `num_threads` says otherwise: two of each of two runners that tests start side by
        side spin for each other longer than they compute.
        """
        settings: dict[str, object] = {
            "num_ctx": 512,
            "num_cells": 2048,
            "num_sequences": 4,
            "num_threads": 1,
            **changes,
        }
        self.send(Load(path=str(path), **settings))  # type: ignore[arg-type]
        while isinstance(message := self.read(), Loading):
            assert 0 <= message.fraction <= 1
        assert isinstance(message, Loaded | LoadRefused), message
        return message

    def send(self, message: ToRunner) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(frame(message))
        self.process.stdin.flush()

    def submit(self, request_id: int, prompt: str | list[Turn] | ChatPrompt, **fields: object) -> Answer:
        """Send a request; text is a raw prompt, turns are a chat."""
        chat = {name: fields.pop(name) for name in ("go_template", "think", "tools", "parser") if name in fields}
        images: Any = fields.pop("images", [])
        if isinstance(prompt, list):
            prompt = ChatPrompt(prompt, **chat)  # type: ignore[arg-type]
        asked = RawPrompt(prompt, images) if isinstance(prompt, str) else prompt
        given: dict[str, object] = {"sampling": GREEDY, "num_ctx": 512, "num_predict": 24, **fields}
        answer = self.answers[request_id] = Answer()
        self.send(Submit(id=request_id, prompt=asked, **given))  # type: ignore[arg-type]
        return answer

    def ask(self, request_id: int, prompt: str | list[Turn] | ChatPrompt, **fields: object) -> Answer:
        """Send a request and wait for its end."""
        answer = self.submit(request_id, prompt, **fields)
        self.read_until(lambda: answer.is_over)
        return answer

    def answer(self, request_id: int) -> Answer:
        """Return where what comes for a request will be noted."""
        return self.answers.setdefault(request_id, Answer())

    def cancel(self, request_id: int) -> None:
        self.send(Cancel(request_id))

    def read(self, timeout_s: float = WAIT_S) -> FromRunner | None:
        """Return the next message, None at the end."""
        message = self._incoming.get(timeout=timeout_s)
        if message is not None:
            self._note(message)
        return message

    def read_until(self, condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
        while not condition():
            assert self.read(timeout_s) is not None, self.wait_end()

    def wait_end(self) -> str:
        """Wait for the process and return what it wrote to stderr."""
        self.process.wait(WAIT_S)
        for thread in self._threads:
            thread.join(WAIT_S)
        return self._errors.decode(errors="replace")

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.wait_end()
        finally:
            self.process.kill()
            self.process.stdout.close()
            self.process.stderr.close()

    def _note(self, message: FromRunner) -> None:
        match message:
            case Started():
                self.answers[message.id].started = message
            case Refused():
                self.answers[message.id].refused = message
            case Rendered():
                self.answers[message.id].rendered = message
            case Step():
                self._note_step(message)
            case _:
                self.others.append(message)

    def _note_step(self, step: Step) -> None:
        self.steps.append(step)
        for progress in step.progress:
            self.answers[progress.id].prompt_done.append(progress.done)
        for piece in step.pieces:
            assert not (piece.thinking and self.answers[piece.id].text)
            self.answers[piece.id].thinking += piece.thinking
            self.answers[piece.id].text += piece.text
            self.answers[piece.id].calls += piece.tool_calls
            self.answers[piece.id].logprobs += piece.logprobs
            self.answers[piece.id].tokens += piece.tokens
        for finished in step.finished:
            self.answers[finished.id].finished = finished

    def _read_frames(self) -> None:
        pipe = self.process.stdout
        assert pipe is not None
        while len(head := pipe.read(LENGTH.size)) == LENGTH.size:
            (length,) = LENGTH.unpack(head)
            self._incoming.put(from_runner.decode(pipe.read(length)))
        self._incoming.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors = self.process.stderr.read()
