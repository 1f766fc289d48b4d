"""Leaving the terminal without leaving the service, and coming back to it: the real program, real terminals."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.programs import CORRAL, answers, environment, free_port, serving
from tests.pty.test_workbench import ApiStream, answer_briefly, chat
from tests.terminal import Terminal
from tests.waiting import PATIENCE_S, block_until

ESCAPE, F3, F6 = "\x1b", "\x1bOR", "\x1b[17~"
READY = "Prompt to"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def processes_on(port: int) -> Iterator[psutil.Process]:
    for connection in psutil.net_connections("inet"):
        if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
            yield psutil.Process(connection.pid)


@pytest.mark.timeout(300)
def test_a_service_outlives_its_screen_and_is_attached_to_again(own_store: Path, home: Path) -> None:
    port = free_port()
    environ = environment(own_store, port, home)
    with Terminal([CORRAL], environ) as terminal:
        terminal.wait_for(READY)
        stream = ApiStream(port)
        terminal.press(ESCAPE)
        terminal.wait_for("q quit")
        terminal.press("D")
        assert terminal.wait_exit() == 0
        block_until(lambda: b"corral attach" in terminal.raw)
        pid = int(re.findall(rb"process (\d+)", terminal.raw)[-1])
    before = stream.count
    block_until(lambda: stream.count > before + 50 or bool(stream.error), 60)
    stream.stop()
    assert not stream.error, "who was being answered noticed"
    service = psutil.Process(pid)
    assert os.getsid(pid) == pid, "it still belongs to the terminal's session"
    assert [one.pid for one in processes_on(port)] == [pid]
    try:
        with Terminal([CORRAL, "attach", f"http://127.0.0.1:{port}"], environ) as terminal:
            terminal.wait_for(READY, f"127.0.0.1:{port}")
            terminal.press(F3)
            terminal.wait_for("Models 1")
            chat(port, "Hello")
            terminal.press(F6)
            terminal.wait_for("/api/chat", "200")
            terminal.press("q")
            assert terminal.wait_exit() == 0
        assert answers(port), "leaving the screen stopped the server"
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(PATIENCE_S)
    assert not answers(port)


@pytest.mark.timeout(300)
def test_a_prompt_is_answered_by_the_server_that_is_attached_to(own_store: Path, home: Path) -> None:
    with (
        serving(own_store, home) as port,
        Terminal([CORRAL, "--host", f"127.0.0.1:{port}"], environment(home / "nothing", free_port(), home)) as terminal,
    ):
        terminal.wait_for(READY)
        answer_briefly(port)
        terminal.press("Say one word.\r")
        terminal.wait_for("tok/s · ttft")


def test_a_server_that_is_not_there_is_told_before_a_screen_opens(home: Path) -> None:
    port = free_port()
    with Terminal([CORRAL, "attach", f"127.0.0.1:{port}"], environment(home, port, home)) as terminal:
        assert terminal.wait_exit() == 1
        block_until(lambda: b"could not connect" in terminal.raw)
        assert b"\x1b[?1049h" not in terminal.raw


def test_a_key_that_is_missing_is_told(own_store: Path, home: Path) -> None:
    with serving(own_store, home, CORRAL_API_KEY="secret") as port:
        environ = environment(home, port, home)
        with Terminal([CORRAL, "attach"], environ) as terminal:
            assert terminal.wait_exit() == 1
            block_until(lambda: b"CORRAL_API_KEY" in terminal.raw)
        with Terminal([CORRAL, "attach"], environ | {"CORRAL_API_KEY": "secret"}) as terminal:
            terminal.wait_for(READY)


@pytest.mark.timeout(300)
def test_the_exit_code_is_the_one_of_the_workbench(own_store: Path, home: Path) -> None:
    with Terminal([CORRAL], environment(own_store, free_port(), home) | {"CORRAL_HOST": "10.255.255.1:1"}) as terminal:
        assert terminal.wait_exit() == 1
        block_until(lambda: b"Error" in terminal.raw)


@pytest.mark.timeout(300)
def test_what_keeps_the_service_from_starting_is_told_when_the_screen_has_gone(own_store: Path, home: Path) -> None:
    environ = environment(own_store, free_port(), home) | {"CORRAL_ORIGINS": "nonsense"}
    with Terminal([CORRAL], environ) as terminal:
        assert terminal.wait_exit() == 1
        block_until(lambda: b"Error: " in terminal.raw and b"nonsense" in terminal.raw)
        assert terminal.raw.index(b"Error: ") > terminal.raw.index(b"\x1b[?1049l")
