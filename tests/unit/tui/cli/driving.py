"""Runs the command line in this process against a workbench from memory."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from corral.runtime.settings import Settings
from corral.runtime.verbs import Client
from corral.tui.cli import main
from corral.tui.cli.session import Session
from tests.fakes.client import FakeClient

T = TypeVar("T")


@dataclass
class FakeSession:
    """A session on this thread; counts how often it was closed."""

    fake: FakeClient
    own: bool = True
    closed: int = 0
    runner: asyncio.Runner = field(default_factory=asyncio.Runner)

    @property
    def client(self) -> Client:
        return self.fake

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def close(self) -> None:
        self.closed += 1
        self.runner.close()


@dataclass
class Driver:
    """`corral WORDS` with a home of its own."""

    home: Path
    fake: FakeClient = field(default_factory=lambda: FakeClient.with_models("smollm2:135m"))
    environ: Mapping[str, str] = field(default_factory=dict)
    sessions: list[FakeSession] = field(default_factory=list)
    own: bool = True

    def __call__(self, *words: str) -> int:
        environ = {"HOME": str(self.home), **self.environ}
        try:
            return main(words, environ, self.connect)
        finally:
            assert all(session.closed == 1 for session in self.sessions)

    def connect(self, settings: Settings) -> Session:
        self.sessions.append(FakeSession(self.fake, self.own))
        return self.sessions[-1]
