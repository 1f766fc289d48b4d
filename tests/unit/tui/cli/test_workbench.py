from __future__ import annotations

import gc
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from corral.runtime.settings import Settings
from corral.tui.cli import workbench
from corral.tui.cli.workbench import on_port
from tests.unit.tui.cli.driving import Driver


def test_it_needs_a_terminal(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral() == 1
    assert capsys.readouterr().err.splitlines()[0] == "Error: the workbench needs a terminal"


def test_arguments_are_not_for_the_workbench(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("--no-mouse", "smollm2") == 1
    assert capsys.readouterr().err == "Error: accepts 0 arg(s), received 1\n"


def test_another_port_changes_both_addresses(tmp_path: Path) -> None:
    settings = on_port(Settings(tmp_path, "0.0.0.0"), 11500)
    assert (settings.listen_host, settings.listen_port, settings.base_url) == (
        "0.0.0.0",
        11500,
        "http://127.0.0.1:11500",
    )
    assert on_port(Settings(tmp_path, "::1"), 11500).base_url == "http://[::1]:11500"


def test_the_service_gets_the_interpreter_soon_from_a_screen_that_draws(
    corral: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbench, "demand_terminal", lambda: None)
    monkeypatch.setattr(workbench, "enter", object)
    monkeypatch.setattr(workbench, "keep_log_quiet", lambda: None)
    seen: list[float] = []

    def listened(launch: workbench.Launch) -> None:
        seen.append(sys.getswitchinterval())

    monkeypatch.setattr(workbench.Launch, "listen", listened)
    before_s = sys.getswitchinterval()
    try:
        assert corral() == 0
    finally:
        sys.setswitchinterval(before_s)
        gc.enable()
    assert seen == [pytest.approx(0.001)]


_NESTED = """
import signal, threading
from corral.tui.cli import workbench

notify = threading.Condition.notify

def interrupted(self, *count):
    signal.raise_signal(signal.SIGINT)
    notify(self, *count)

threading.Condition.notify = interrupted
previous = signal.signal

def told(number, handler):
    previous(number, handler)
    if number == signal.SIGHUP:
        print("waits", flush=True)

signal.signal = told
workbench._wait_for_the_end()
"""


def test_a_second_signal_while_the_first_is_noted_ends_it_too() -> None:
    waiting = subprocess.Popen([sys.executable, "-c", _NESTED], stdout=subprocess.PIPE)
    try:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == b"waits\n"
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(10) == 0
    finally:
        waiting.kill()
        waiting.communicate()
