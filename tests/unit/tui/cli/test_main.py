from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from corral.runtime.variables import VARIABLES
from corral.tui.cli import main
from corral.tui.cli.registry import COMMANDS, load
from tests.programs import free_port
from tests.unit.tui.cli.driving import Driver


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["frobnicate"], 'unknown command "frobnicate" for "corral"'),
        (["show"], "accepts 1 arg(s), received 0"),
        (["cp", "a"], "accepts 2 arg(s), received 1"),
        (["rm"], "requires at least 1 arg(s), only received 0"),
        (["list", "a", "b"], "accepts at most 1 arg(s), received 2"),
        (["list", "--loud"], "unknown flag: --loud"),
        (["list", "--loud=yes"], "unknown flag: --loud"),
        (["show", "-x", "m"], "unknown shorthand flag: -x"),
        (["help", "frobnicate"], 'unknown command "frobnicate" for "corral"'),
    ],
)
def test_misuse_is_one_line_and_exit_code_one(
    corral: Driver, capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    assert corral(*words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == f"Error: {text}"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help(corral: Driver, capsys: pytest.CaptureFixture[str], command: object) -> None:
    name = command.name  # type: ignore[attr-defined]
    assert corral(name, "--help") == 0
    flag_help = capsys.readouterr().out
    assert corral("help", name) == 0
    assert capsys.readouterr().out == flag_help
    assert flag_help.splitlines()[3].startswith(f"  corral {name}")
    assert not corral.sessions


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("help",)])
def test_help_ends_with_the_environment(
    corral: Driver, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert corral(*words) == 0
    text = capsys.readouterr().out
    block = text.partition("\nEnvironment Variables:\n")[2]
    assert f"      {'CORRAL_HOST':<27}Address of the server" in block
    for command in COMMANDS:
        assert f"\n  {command.name:<10}  {command.text}" in text


def test_every_variable_is_told_of_somewhere() -> None:
    told = {name for command in COMMANDS for name in command.variables}
    assert told == {variable.name for variable in VARIABLES}


def test_every_command_can_be_loaded() -> None:
    for command in COMMANDS:
        module = load(command)
        assert callable(module.run)
        assert callable(module.add_flags)


def test_an_error_nobody_foresaw_is_one_line(
    corral: Driver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise ValueError("odd\nthing")

    monkeypatch.setattr(corral.fake, "list_models", fail)
    assert corral("list") == 1
    assert capsys.readouterr().err == "Error: internal error: ValueError: odd thing (CORRAL_DEBUG=1 shows where)\n"


def test_a_missing_file_is_named(
    corral: Driver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise PermissionError(13, "Permission denied", "/models")

    monkeypatch.setattr(corral.fake, "list_models", fail)
    assert corral("list") == 1
    assert capsys.readouterr().err == "Error: /models: Permission denied\n"


def test_ctrl_c_says_nothing(
    corral: Driver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(corral.fake, "list_models", interrupted)
    assert corral("list") == 130
    assert capsys.readouterr() == ("", "")


def test_version_without_a_server(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "CORRAL_HOST": f"127.0.0.1:{free_port()}"}
    assert main(["--version"], environ) == 0
    warning, text = capsys.readouterr().out.splitlines()
    assert warning == "Warning: could not connect to a running Corral instance"
    assert text.startswith("corral version is 0.")


def test_version_with_a_server_that_never_answers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        environ = {"HOME": str(tmp_path), "OLLAMA_HOST": f"127.0.0.1:{server.getsockname()[1]}"}
        assert main(["-v"], environ) == 0
    assert capsys.readouterr().out.startswith("corral version is ")


def test_nobody_at_a_far_address(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "CORRAL_HOST": "corral.invalid:11434"}
    assert main(["list"], environ) == 1
    assert capsys.readouterr().err == ("Error: could not connect to corral server, run 'corral serve' to start it\n")


def corral_process(*words: str, home: Path, **options: object) -> subprocess.CompletedProcess[str]:
    code = "import sys; from corral.tui.cli import main; sys.exit(main())"
    environ = {**os.environ, "HOME": str(home), "CORRAL_HOST": f"127.0.0.1:{free_port()}"}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", code, *words], env=environ, capture_output=True, text=True, timeout=60, **options
    )


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    code = "import sys; from corral.tui.cli import main; sys.exit(main(['--help']))"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=write_end, stderr=subprocess.PIPE, timeout=60, check=False
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (141, b"")


def imported_by(*words: str, home: Path, port: int = 0) -> set[str]:
    """The top-level and corral modules a command has imported when it is done; nobody answers but on `port`."""
    code = (
        "import sys; from corral.tui.cli import main\n"
        "try: code = main(sys.argv[1:])\n"
        "finally: print(*sorted(sys.modules), file=sys.stderr)"
    )
    environ = {**os.environ, "HOME": str(home), "CORRAL_HOST": f"127.0.0.1:{port or free_port()}"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stderr.split())


HEAVY = {"textual", "prompt_toolkit", "aiohttp", "httpx", "pydantic", "llama_cpp", "numpy"}


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("serve", "--help"), ("run", "--help")])
def test_what_only_talks_imports_nothing_heavy(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert not imported_by(*words, home=tmp_path) & HEAVY


def test_list_imports_no_screen_no_server_no_engine(tmp_path: Path) -> None:
    modules = imported_by("list", home=tmp_path)
    assert not modules & {"aiohttp.web", "textual", "prompt_toolkit", "pydantic", "llama_cpp", "numpy"}


def test_a_list_that_asks_a_server_imports_no_more_than_that_takes(tmp_path: Path) -> None:
    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.wfile.write(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"models":[]}')

        def log_message(self, *_: object) -> None: ...

    asked: list[str] = []
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            modules = imported_by("list", home=tmp_path, port=server.server_port)
        finally:
            server.shutdown()
    assert asked == ["/api/tags"]
    assert not modules & (HEAVY | {"corral.runtime.reading", "importlib.metadata", "email"})


def test_a_closed_stdout_is_no_error(tmp_path: Path) -> None:
    code = "import sys; from corral.tui.cli import main; sys.exit(main())"
    command = f"exec {sys.executable} -c '{code}' --version >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
