"""The keys of a request's own dialog, on a request that a stranger made of the real model."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from ollama import Client as OllamaClient

from tests.conftest import STARTER_MODEL
from tests.programs import CORRAL, environment, free_port
from tests.terminal import Terminal
from tests.waiting import block_until

SIZES = [(120, 36), (80, 24)]
ENTER, ESCAPE, F6 = "\r", "\x1b", "\x1b[17~"
COPIED = re.compile(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07")
SAID = "Say what a gull is, 'in' \"short\": \u6d77"


def copies(terminal: Terminal) -> list[str]:
    return [base64.b64decode(one).decode() for one in COPIED.findall(bytes(terminal.raw))]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", SIZES, ids=["120x36", "80x24"])
def test_a_request_is_read_copied_and_sent_again(size: tuple[int, int], own_store: Path, tmp_path: Path) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with (
        Terminal([CORRAL], environment(own_store, port, tmp_path), columns=size[0], lines=size[1]) as terminal,
        OllamaClient(host=address) as client,
    ):

        def copied(key: str) -> str:
            before = len(copies(terminal))
            terminal.press(key)
            block_until(lambda: len(copies(terminal)) > before)
            return copies(terminal)[-1]

        terminal.wait_for(f"Prompt to {STARTER_MODEL}")
        terminal.look(F6, "Requests")
        terminal.look("W", "bodies kept (W)")
        options = {"num_predict": 4, "temperature": 0}
        answered = client.chat(STARTER_MODEL, [{"role": "user", "content": SAID}], options=options)
        terminal.wait_for("/api/chat", "200", "ollama")
        terminal.look(ENTER, "t prompt", "Body", '"model"')
        sent = json.loads(copied("y"))
        assert (sent["model"], sent["messages"]) == (STARTER_MODEL, [{"role": "user", "content": SAID}])
        command = shlex.split(copied("C"))
        assert command[:4] == ["curl", "-X", "POST", f"{address}/api/chat"]
        again = subprocess.run([*command, "-s"], capture_output=True, check=True, timeout=60, text=True).stdout
        assert json.loads(again)["message"]["content"] == answered.message.content
        terminal.look("t", "Prompt", "<|im_start|>user")
        assert SAID in copied("y")
        terminal.look("x", "this request has ended")
        terminal.press(ESCAPE)
        terminal.wait_gone("t prompt")
        assert b"Traceback" not in terminal.raw
