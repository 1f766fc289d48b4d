"""The real program in a real terminal with the real model: what a new user does, and what terminals do to it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
from ollama import Client as OllamaClient

from tests.conftest import ENDLESS, STARTER_MODEL
from tests.programs import CORRAL, answers, environment, free_port, serving
from tests.terminal import Terminal
from tests.waiting import block_until

SIZES = [(120, 36), (80, 24)]
STOOD_STILL_S = 10.0
"""Who waits for the terminal waits until it goes on; where others have the processors, a line may wait for seconds."""
F2, F3, F4, F5, F6 = "\x1bOQ", "\x1bOR", "\x1bOS", "\x1b[15~", "\x1b[17~"
ESCAPE, ENTER = "\x1b", "\r"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


class ApiStream:
    """An API client that reads one answer after another in a thread and notes when lines came."""

    def __init__(self, port: int, num_predict: int = 1000) -> None:
        body = {
            "model": STARTER_MODEL,
            "prompt": "Count: 1, 2, 3,",
            "raw": True,
            "options": {"temperature": 0.9, "num_predict": num_predict, "repeat_penalty": 1.3},
        }
        self._request = urllib.request.Request(f"http://127.0.0.1:{port}/api/generate", json.dumps(body).encode())
        self.arrived: list[float] = []
        self.error = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        block_until(lambda: len(self.arrived) > 3 or bool(self.error), 60)

    def _read(self) -> None:
        try:
            while not self._stop.is_set():
                with urllib.request.urlopen(self._request, timeout=60) as reply:
                    for line in reply:
                        self.arrived.append(time.monotonic())
                        if self._stop.is_set():
                            return
                        self.error = json.loads(line).get("error", "")
        except Exception as error:
            self.error = repr(error)

    @property
    def count(self) -> int:
        return len(self.arrived)

    def longest_gap_s(self, since: int) -> float:
        """The longest that a line came after another, from that line on."""
        times = self.arrived[since - 1 :]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)


def children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def chat(port: int, text: str) -> dict[str, Any]:
    with OllamaClient(host=f"http://127.0.0.1:{port}") as client:
        reply = client.chat(STARTER_MODEL, [{"role": "user", "content": text}], options={"num_predict": 8})
    return dict(reply.model_dump())


def answer_briefly(port: int) -> None:
    """Have the model say a few words to everything: how long a drawn answer gets is luck."""
    with OllamaClient(host=f"http://127.0.0.1:{port}") as client:
        client.create(STARTER_MODEL, from_=STARTER_MODEL, parameters={"num_predict": 12})


def answer_at_length(port: int) -> None:
    """Have the model never end an answer by itself, which it would do soon now and then."""
    with OllamaClient(host=f"http://127.0.0.1:{port}") as client:
        client.create(STARTER_MODEL, from_=STARTER_MODEL, parameters=ENDLESS)


@pytest.fixture(params=SIZES, ids=["120x36", "80x24"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    pair: tuple[int, int] = request.param
    return pair


@pytest.mark.timeout(300)
def test_from_an_empty_store_to_an_answer_seen_by_everybody(size: tuple[int, int], home: Path, tmp_path: Path) -> None:
    port = free_port()
    store = tmp_path / "models"
    with Terminal([CORRAL], environment(store, port, home), columns=size[0], lines=size[1]) as terminal:
        terminal.wait_for("There is no model to chat with here yet", "starter model")
        terminal.press(ENTER)
        terminal.wait_for(f"Prompt to {STARTER_MODEL}", patience_s=180)
        answer_briefly(port)
        terminal.press("Write one sentence about the sea.")
        terminal.wait_for("about the sea.")
        terminal.press(ENTER)
        terminal.wait_for("you", "tok/s · ttft", patience_s=60)
        assert chat(port, "Hello")["message"]["content"]
        terminal.press(F6)
        shown = terminal.wait_for("Requests", "/api/chat", "tui", "ollama")
        assert STARTER_MODEL in shown
        terminal.press(F3)
        terminal.wait_for("Models 1", STARTER_MODEL, "Q4_1")
        terminal.press(F4)
        terminal.wait_for(STARTER_MODEL, "goes next", "CPU")
        terminal.press(F5)
        terminal.wait_for("Modelfile", "FROM")
        assert "Traceback" not in terminal.text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.timeout(300)
def test_what_curl_asks_is_answered_and_shown(own_store: Path, home: Path) -> None:
    port = free_port()
    ask = {"messages": [{"role": "user", "content": "Hi"}], "stream": False, "options": {"num_predict": 12}}
    body = json.dumps({"model": STARTER_MODEL, **ask})
    with Terminal([CORRAL], environment(own_store, port, home)) as terminal:
        terminal.wait_for(f"Prompt to {STARTER_MODEL}")
        terminal.press(F6)
        curl = ["curl", "-s", f"http://127.0.0.1:{port}/api/chat", "-d", body]
        assert json.loads(subprocess.run(curl, capture_output=True, check=True, timeout=60).stdout)["done"]
        terminal.wait_for("curl", "/api/chat", "200")


@pytest.mark.timeout(300)
def test_escape_stops_an_answer_and_keeps_what_came(own_store: Path, home: Path) -> None:
    port = free_port()
    with Terminal([CORRAL], environment(own_store, port, home)) as terminal:
        terminal.wait_for(f"Prompt to {STARTER_MODEL}")
        answer_at_length(port)
        terminal.press("Tell me a very long story.")
        terminal.wait_for("very long story.")
        terminal.press(ENTER)
        terminal.wait_for("live", patience_s=60)
        terminal.press(ESCAPE)
        terminal.wait_for("stopped")
        terminal.press(F6)
        terminal.wait_for("/api/chat", "499")


@pytest.mark.timeout(300)
def test_what_was_cut_of_a_prompt_is_said_on_the_screen_and_by_the_command(own_store: Path, home: Path) -> None:
    port = free_port()
    small = {**environment(own_store, port, home), "CORRAL_CONTEXT_LENGTH": "128"}
    long = "Tell me of the fox and the sea and the sun. " * 20
    with Terminal([CORRAL], small) as terminal:
        terminal.wait_for(f"Prompt to {STARTER_MODEL}")
        answer_briefly(port)
        terminal.press(long)
        terminal.press(ENTER)
        terminal.wait_for("! the prompt is longer than the context", patience_s=60)
        command = [CORRAL, "run", STARTER_MODEL, long]
        done = subprocess.run(command, env=small, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        assert done.returncode == 0
        assert done.stdout.strip()
        assert "Warning: the prompt is longer than the context" in done.stderr
        terminal.press(ESCAPE)
        terminal.press(F6)
        terminal.wait_for("Requests", "! the prompt is longer than")


@pytest.mark.timeout(300)
def test_a_terminal_that_is_not_read_does_not_touch_a_stream(own_store: Path, home: Path) -> None:
    port = free_port()
    with Terminal([CORRAL], environment(own_store, port, home)) as terminal:
        block_until(lambda: answers(port))
        terminal.wait_for(f"Prompt to {STARTER_MODEL}")
        terminal.press(F4)
        stream = ApiStream(port)
        terminal.stall()
        before = stream.count
        block_until(lambda: stream.count > before + 200 or bool(stream.error), 90)
        terminal.go_on()
        longest_s = stream.longest_gap_s(before)
        stream.stop()
        assert not stream.error
        assert longest_s < STOOD_STILL_S, "the stream stood still while the terminal did"
        terminal.press(F2)
        terminal.wait_for(f"Prompt to {STARTER_MODEL}")


@pytest.mark.timeout(300)
def test_a_terminal_that_goes_away_leaves_the_service(own_store: Path, home: Path) -> None:
    port = free_port()
    terminal = Terminal([CORRAL], environment(own_store, port, home))
    try:
        terminal.wait_for(f"Prompt to {STARTER_MODEL}")
        stream = ApiStream(port)
        terminal.hang_up()
        before = stream.count
        block_until(lambda: stream.count > before + 100 or bool(stream.error), 60)
        stream.stop()
        assert not stream.error
        assert terminal.process.poll() is None
        assert chat(port, "Still there?")["done"]
        process = psutil.Process(terminal.process.pid)
        block_until(lambda: process.cpu_percent(interval=0.5) < 30)
        runners = children(terminal.process.pid)
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.wait_exit() == 0
        block_until(lambda: not any(runner.is_running() for runner in runners))
    finally:
        terminal.end()


@pytest.mark.timeout(300)
def test_neither_suspending_nor_resizing_touches_a_stream(own_store: Path, home: Path) -> None:
    port = free_port()
    with Terminal([CORRAL], environment(own_store, port, home)) as terminal:
        terminal.wait_for(f"Prompt to {STARTER_MODEL}")
        stream = ApiStream(port)
        process = psutil.Process(terminal.process.pid)
        begun = stream.count
        terminal.press("\x1a")  # Ctrl+Z
        terminal.process.send_signal(signal.SIGTSTP)
        for columns, lines in ((1, 1), (500, 200), (2, 60), (1, 1), (80, 24), (1, 1), (120, 36)):
            before = stream.count
            terminal.resize(columns, lines)
            block_until(lambda before=before: stream.count > before + 20 or bool(stream.error), 60)  # type: ignore[misc]
        assert process.status() != psutil.STATUS_STOPPED
        longest_s = stream.longest_gap_s(begun)
        terminal.press(F4)
        shown = terminal.wait_for(STARTER_MODEL, "● busy", "TOK/S").split("\n")
        assert [len(line) for line in shown if line.endswith(("│", "┃"))][:1] == [120]
        stream.stop()
        assert not stream.error
        assert longest_s < STOOD_STILL_S, "the stream stood still"
        assert b"Traceback" not in terminal.raw


@pytest.mark.timeout(300)
def test_quitting_leaves_nothing_behind(own_store: Path, home: Path) -> None:
    port = free_port()
    with Terminal([CORRAL], environment(own_store, port, home)) as terminal:
        terminal.wait_for(f"Prompt to {STARTER_MODEL}")
        chat(port, "Load yourself.")
        runners = children(terminal.process.pid)
        assert runners
        terminal.wait_for("idle", "q0")
        terminal.press("\x11")  # Ctrl+Q
        assert terminal.wait_exit() == 0
        block_until(lambda: not any(runner.is_running() for runner in runners))
        block_until(lambda: b"\x1b[?1049l" in terminal.raw)  # the terminal is given back as it was
        assert b"Traceback" not in terminal.raw


@pytest.mark.timeout(300)
def test_a_killed_workbench_takes_its_runners_along(own_store: Path, home: Path) -> None:
    port = free_port()
    with Terminal([CORRAL], environment(own_store, port, home)) as terminal:
        terminal.wait_for(f"Prompt to {STARTER_MODEL}")
        chat(port, "Load yourself.")
        runners = children(terminal.process.pid)
        os.kill(terminal.process.pid, signal.SIGKILL)
        block_until(lambda: not any(runner.is_running() for runner in runners))


@pytest.mark.parametrize(
    "reached",
    ["corral.tui.cli.registry", "corral.api.server", "textual.app", "corral.tui.app"],
)
def test_an_interrupt_while_it_starts_ends_it_quietly(own_store: Path, home: Path, reached: str) -> None:
    """Python itself tells on the terminal which module it has just imported."""
    environ = {**environment(own_store, free_port(), home), "PYTHONPROFILEIMPORTTIME": "1"}
    imported = re.compile(rb"\| +" + re.escape(reached.encode()) + rb"\r?\n")
    with Terminal([CORRAL], environ) as terminal:
        block_until(lambda: imported.search(bytes(terminal.raw)) is not None)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait_exit() in (0, 130)
        assert b"Traceback" not in terminal.raw
        assert b"Error" not in terminal.raw


@pytest.mark.timeout(300)
def test_a_taken_port_is_said_by_whom_and_its_screens_or_another_offered(own_store: Path, home: Path) -> None:
    with serving(own_store, home) as port:
        with Terminal([CORRAL], environment(own_store, port, home)) as terminal:
            terminal.wait_for(str(port), "corral", "Show that server here")
            terminal.press(ENTER)
            terminal.wait_for(f"● 127.0.0.1:{port}", "Prompt to")
            assert not answers(port + 1)
        assert answers(port)
        with Terminal([CORRAL], environment(own_store, port, home)) as terminal:
            terminal.wait_for(str(port + 1))
            terminal.press("\x1b[B")
            terminal.press(ENTER)
            terminal.wait_for(f"127.0.0.1:{port + 1}")
            block_until(lambda: answers(port + 1))


@pytest.mark.timeout(300)
def test_text_from_a_model_cannot_command_the_terminal(own_store: Path, home: Path) -> None:
    port = free_port()
    hostile = "\x1b]52;c;aGFja2Vk\x07\x1b[2J\x1b]0;owned\x07[@click=app.exit]x[/] [/nope]"
    with Terminal([CORRAL], environment(own_store, port, home)) as terminal:
        terminal.wait_for(f"Prompt to {STARTER_MODEL}")
        with OllamaClient(host=f"http://127.0.0.1:{port}") as client:
            client.create("hostile", from_=STARTER_MODEL, system=hostile, template=hostile + "{{ .Prompt }}")
            with pytest.raises(Exception, match="not found"):
                client.generate(model="nosuch", prompt=hostile)
        terminal.press(F3)
        terminal.wait_for("hostile", "Models 2")
        terminal.press("jk]]]")
        terminal.wait_for("owned")
        terminal.press(F5)
        terminal.wait_for("Modelfile")
        terminal.press(F6)
        terminal.wait_for("Requests", "nosuch")
        drawn = bytes(terminal.raw)
        assert b"\x1b]52;c;aGFja2Vk" not in drawn
        assert b"\x1b]0;owned" not in drawn
        assert b"\x1b[2J]0;" not in drawn


@pytest.mark.timeout(300)
def test_a_prompt_is_written_in_the_users_editor_while_the_service_goes_on(
    own_store: Path, home: Path, tmp_path: Path
) -> None:
    port = free_port()
    gate = tmp_path / "gate"
    editor = tmp_path / "editor"
    editor.write_text(
        f'#!/bin/sh\necho\necho EDITING\nwhile [ ! -e {gate} ]; do sleep 0.1; done\nprintf " by the sea" >> "$1"\n'
    )
    editor.chmod(0o755)
    environ = {**environment(own_store, port, home), "EDITOR": str(editor)}
    with Terminal([CORRAL], environ) as terminal:
        terminal.wait_for(f"Prompt to {STARTER_MODEL}")
        answer_briefly(port)
        terminal.press("A house")
        terminal.wait_for("A house")
        terminal.press("\x1b[18~")  # F7
        terminal.wait_for("EDITING")
        assert chat(port, "Still there?")["done"]
        gate.touch()
        terminal.wait_for("A house by the sea")
        terminal.press(ENTER)
        terminal.wait_for("tok/s · ttft", patience_s=60)


@pytest.mark.timeout(300)
def test_a_chat_survives_a_kill_in_the_middle_of_its_answer(own_store: Path, home: Path) -> None:
    port = free_port()
    with Terminal([CORRAL], environment(own_store, port, home)) as terminal:
        terminal.wait_for(f"Prompt to {STARTER_MODEL}")
        answer_at_length(port)
        terminal.press("Tell me a very long story.")
        terminal.wait_for("very long story.")
        terminal.press(ENTER)
        terminal.wait_for("live", patience_s=60)
        database = home / "data" / "corral" / "chats.db"
        block_until(lambda: _answered(database) > 40, 60)
        os.kill(terminal.process.pid, signal.SIGKILL)
        terminal.process.wait()
    with Terminal([CORRAL], environment(own_store, free_port(), home)) as terminal:
        terminal.wait_for(f"Prompt to {STARTER_MODEL}", "Tell me a")
        terminal.press(f"{ESCAPE}.")  # as a slow line brings them
        terminal.wait_for("you", "stopped")


def _answered(database: Path) -> int:
    """How much of an answer is on disk."""
    if not database.exists():
        return 0
    with contextlib.closing(sqlite3.connect(database)) as opened, contextlib.suppress(sqlite3.Error):
        (length,) = opened.execute("SELECT sum(length(text)) FROM turns WHERE role = 'assistant'").fetchone()
        return int(length or 0)
    return 0
