"""The dialogue of lines as a screen reader's user has it: the real program, lines in and lines out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import STARTER_MODEL
from tests.programs import CORRAL, environment, free_port, serving
from tests.pty.test_workbench import answer_briefly


def dialogue(environ: dict[str, str], *lines: str, words: tuple[str, ...] = ()) -> str:
    text = "".join(f"{line}\n" for line in lines)
    command = [CORRAL, "--plain", *words]
    done = subprocess.run(command, env=environ, input=text, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    return done.stdout


@pytest.mark.timeout(200)
def test_a_chat_line_by_line(own_store: Path, tmp_path: Path) -> None:
    with serving(own_store, tmp_path) as port:
        answer_briefly(port)
    told = dialogue(
        environment(own_store, free_port(), tmp_path), "list", f"chat {STARTER_MODEL}", "Hi", "quit", "quit"
    )
    assert "Corral serves at http://127.0.0.1:" in told
    assert "End of the answer." in told


@pytest.mark.timeout(200)
def test_a_server_that_runs_is_what_it_is_about(own_store: Path, tmp_path: Path) -> None:
    with serving(own_store, tmp_path) as port:
        environ = environment(tmp_path / "none", port, tmp_path)
        told = dialogue(environ, "status", "rm nosuch", "quit", words=("--read-only",))
        assert "A server runs already" in told
        assert "No model is in memory." in told
        assert "read-only" in told
        away = environment(tmp_path / "none", free_port(), tmp_path)
        assert STARTER_MODEL in dialogue(away, "list", words=("--host", f"127.0.0.1:{port}"))
