"""`corral config`, and `load` and `stop --all`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corral.runtime.verbs import FOREVER, GenerateRequest
from tests.fakes.client import FakeClient
from tests.unit.tui.cli.driving import Driver


def write(corral: Driver, text: str) -> Path:
    file = corral.home / ".config" / "corral" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_every_setting_with_its_origin(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(corral, 'max_queue = 3\n\nkeep_alive = "1m"\napi_key = "secret"\n[models.qwen3]\npinned = true\n')
    corral.environ = {"OLLAMA_KEEP_ALIVE": "2m"}
    assert corral("config") == 0
    out, err = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert rows["max_queue"] == ["3", f"{file}:1"]
    assert rows["keep_alive"] == ["2m", "OLLAMA_KEEP_ALIVE"]
    assert rows["api_key"] == ["(set)", f"{file}:4"]
    assert rows["num_parallel"] == ["4", "default"]
    assert rows['models."qwen3:latest".pinned'][0] == "true"
    assert rows['models."qwen3:latest".keep_alive'][0] == "forever"
    assert (err, "secret" in out) == ("", False)
    assert not corral.sessions


def test_settings_as_json(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(corral, "max_queue = 3\nkeepalive = 1\n")
    assert corral("config", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {"name": "max_queue", "value": "3", "origin": f"{file}:1"} in found["settings"]
    assert found["file"] == str(file)
    assert "did you mean keep_alive?" in found["warnings"][0]
    assert found["faults"] == []


def test_where_the_file_would_be(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("config", "path") == 0
    assert capsys.readouterr().out == f"{corral.home}/.config/corral/config.toml\n"


def test_checking_a_file_tells_of_all_its_mistakes(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    file = corral.home / "other.toml"
    file.write_text("max_queue = 'many'\n[models.qwen3]\nnum_ctx = 'big'\n")
    corral.environ = {"OLLAMA_MAX_QUEUE": "7"}
    assert corral("config", "check", str(file)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.removeprefix(f"{file}:").split(":")[0] for line in err.splitlines()] == ["1", "3"]
    file.write_text("max_queue = 3\n[models.qwen3]\nnum_ctx = 1024\n")
    assert corral("config", "check", str(file)) == 0
    assert capsys.readouterr().out == f"{file}: 1 settings, 1 models: ok\n"


def test_a_file_with_mistakes_is_told_of_and_shown(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(corral, "max_queue = 'many'\n")
    assert corral("config") == 1
    assert capsys.readouterr().err == f"{file}:1: max_queue must be a whole number\n"
    assert corral("config", "check") == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("frob",), 'unknown argument "frob": corral config [path | check [FILE] | reload]'),
        (("path", "x"), "config path takes no arguments"),
        (("check", "/none"), "no file /none"),
        (("reload",), "could not connect to a server at http://127.0.0.1:1"),
    ],
)
def test_what_config_does_not_do(
    corral: Driver, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str
) -> None:
    corral.environ = {"CORRAL_HOST": "127.0.0.1:1"}
    assert corral("config", *words) == 1
    assert capsys.readouterr().err == f"Error: {text}\n"


def test_loading_models(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    corral.fake, corral.own = FakeClient.with_models("a:1", "b:1"), False
    assert corral("load", "a:1", "b:1", "--keepalive", "-1") == 0
    assert capsys.readouterr().out == "loaded 'a:1'\nloaded 'b:1'\n"
    asked = [one for one in corral.fake.asked if isinstance(one, GenerateRequest)]
    assert [(one.model, one.prompt, one.keep_alive_s) for one in asked] == [
        ("a:1", "", FOREVER),
        ("b:1", "", FOREVER),
    ]
    assert corral("load", "nope") == 1


def test_loading_where_nothing_would_stay(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("load", "smollm2:135m") == 1
    assert capsys.readouterr().err.startswith("Error: no server runs that could keep a model\n")


def test_stopping_all(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    corral.fake, corral.own = FakeClient.with_models("a:1", "b:1"), False
    assert corral("load", "a:1", "b:1") == 0
    assert corral("stop", "--all") == 0
    assert capsys.readouterr().out.splitlines()[2:] == ["stopped 'a:1'", "stopped 'b:1'"]
    assert corral.fake.memory == {}
    assert corral("stop") == 1
    assert corral("stop", "--all", "a") == 1
    assert [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()] == [
        "accepts 1 arg(s), received 0",
        "accepts 0 arg(s), received 1",
    ]
