"""A screen that fails while its terminal goes away is left as one whose terminal went away."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from corral.tui import terminal
from corral.tui.terminal import ExitReason, run_on_terminal

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="terminals hang up on Unix")


class DrawnApp:
    """One that has drawn its first screen, and goes on until it is told to leave."""

    return_code = 0
    _is_mounted = True
    is_mounted = True

    def __init__(self) -> None:
        self.screen = self
        self.screen_stack = [self]
        self._left: asyncio.Queue[ExitReason] = asyncio.Queue()

    def exit(self, reason: ExitReason) -> None:
        self._left.put_nowait(reason)

    async def run_async(self, *, mouse: bool) -> ExitReason:
        return await self._left.get()


class FailingApp:
    """Fails as it runs, once its terminal is gone where it `hangs_up`."""

    return_code = 0

    def __init__(self, *, hangs_up: bool) -> None:
        self._hangs_up = hangs_up

    async def run_async(self, *, mouse: bool) -> None:
        assert mouse
        if self._hangs_up:
            os.kill(os.getpid(), signal.SIGHUP)
        raise ValueError("no such attribute")


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGINT, ExitReason.QUIT),
        (signal.SIGTERM, ExitReason.QUIT),
        (signal.SIGHUP, ExitReason.HANGUP),
    ],
)
def test_signals_that_come_before_the_loop_runs_are_obeyed(
    number: signal.Signals, reason: ExitReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_event_loop = asyncio.new_event_loop

    def interrupted() -> asyncio.AbstractEventLoop:
        signal.raise_signal(number)
        return new_event_loop()

    monkeypatch.setattr(terminal, "forget_terminal", lambda: None)
    monkeypatch.setattr("asyncio.events.new_event_loop", interrupted)
    app: Any = DrawnApp()
    assert run_on_terminal(app) is reason


def test_the_service_outlives_a_screen_that_fails_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(terminal, "forget_terminal", lambda: None)
    app: Any = FailingApp(hangs_up=True)
    assert run_on_terminal(app) is ExitReason.HANGUP
    assert "no such attribute" in caplog.text, "what failed is told in the log"


def test_a_screen_that_fails_before_its_terminal_tells_so() -> None:
    app: Any = FailingApp(hangs_up=False)
    with pytest.raises(ValueError, match="no such attribute"):
        run_on_terminal(app)
