"""A screen that fails while its terminal goes away is left as one whose terminal went away."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from corral.tui import terminal
from corral.tui.terminal import ExitReason, run_on_terminal

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="terminals hang up on Unix")


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
