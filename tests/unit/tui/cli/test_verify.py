"""`corral verify`, `export` and `import` on a model folder."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TextIO

import pytest

from corral.store.errors import SourceError
from corral.store.manifests import MediaType
from corral.store.names import ModelName
from corral.store.progress import Progress
from corral.tui.cli.local_job import run_job
from tests.unit.store.handmade import Gguf
from tests.unit.store.stocked import Stocked
from tests.unit.tui.cli.driving import Driver
from tests.waiting import until


@pytest.fixture
def store(corral: Driver, tmp_path: Path) -> Stocked:
    corral.environ = {"CORRAL_MODELS": str(tmp_path / "models")}
    store = Stocked(tmp_path / "models")
    store.model("one", bytes(Gguf()))
    store.model("two", bytes(Gguf()), b"a licence")
    return store


def damage(store: Stocked, model: str) -> Path:
    path = store.paths.blob(store.catalog.find(ModelName.parse(model)).layers(MediaType.MODEL)[-1].digest)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return path


def test_whole_models_are_ok(corral: Driver, store: Stocked, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("verify") == 0
    assert sorted(capsys.readouterr().out.splitlines()) == ["one:latest: ok", "two:latest: ok"]
    assert not corral.sessions


def test_damage_is_told_for_each_model_that_has_it(
    corral: Driver, store: Stocked, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damage(store, "two")
    digest = path.name.replace("-", ":")
    assert corral("verify") == 1
    out = capsys.readouterr().out.splitlines()
    assert f"two:latest: blob {digest} is damaged: its bytes have changed" in out
    assert "two:latest: get it again with 'corral pull two:latest', or create it again" in out
    assert "one:latest: ok" in out
    assert corral("verify", "one") == 0
    path.write_bytes(path.read_bytes()[:-1])
    assert corral("verify", "two") == 1
    assert "is cut off: 8 of 9 bytes" in capsys.readouterr().out
    path.unlink()
    assert corral("verify", "two") == 1
    assert f"two:latest: blob {digest} is missing" in capsys.readouterr().out


def test_a_model_that_is_not_there(corral: Driver, store: Stocked, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("verify", "nope") == 1
    assert capsys.readouterr().err == "Error: model 'nope:latest' not found\n"


def test_a_repair_that_fails_leaves_everything_as_it_was(
    corral: Driver, store: Stocked, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damage(store, "two")
    before = store.files(), path.read_bytes()
    corral.fake.fail_with = SourceError("pull model manifest: file does not exist")
    assert corral("verify", "two", "--repair") == 1
    assert "two:latest: pull model manifest: file does not exist" in capsys.readouterr().out
    assert (store.files(), path.read_bytes()) == before


def test_a_repair_pulls_what_is_damaged(
    corral: Driver, store: Stocked, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = damage(store, "two")
    asked: list[str] = []

    async def pull(model: str) -> AsyncGenerator[Progress, None]:
        asked.append(model)
        assert not path.exists()  # or a pull would take it for whole
        yield Progress("pulling manifest")
        store.blobs.put_bytes(b"a licence")
        yield Progress("success")

    monkeypatch.setattr(corral.fake, "pull", pull)
    before = store.files()
    assert corral("verify", "--repair") == 0
    assert asked == ["two:latest"]
    assert "two:latest: repaired\n" in capsys.readouterr().out
    assert (store.files(), path.read_bytes()) == (before, b"a licence")


def test_a_job_that_is_stopped_ends_and_cleans_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def stop_at_once(steps: AsyncGenerator[Progress, None], _: TextIO) -> None:
        async with aclosing(steps):
            await anext(steps)
            await until(begun.is_set)
            raise KeyboardInterrupt

    monkeypatch.setattr("corral.tui.cli.local_job.follow", stop_at_once)

    def work(tell: Callable[[int], None]) -> None:
        begun.set()
        try:
            while True:
                tell(1)
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        run_job("working", 2, work)
    assert ended.is_set()


def test_export_and_import(corral: Driver, store: Stocked, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "one.tar"
    assert corral("export", "one", str(file)) == 0
    assert capsys.readouterr().out.startswith(f"exported 'one:latest' to {file} (")
    corral.environ = {"CORRAL_MODELS": str(tmp_path / "elsewhere")}
    assert corral("import", str(file)) == 0
    assert corral("import", str(file), "other") == 0
    assert capsys.readouterr().out == "imported 'one:latest'\nimported 'other:latest'\n"
    there = Stocked(tmp_path / "elsewhere")
    assert {model.digest for model in there.catalog.scan().models} == {
        store.catalog.find(ModelName.parse("one")).digest
    }
    assert corral("verify") == 0
    assert corral("import", str(tmp_path / "nope.tar")) == 1
    assert capsys.readouterr().err.endswith("Error: nope.tar: no such file\n")
    assert corral("export", "one", str(tmp_path / "no" / "folder.tar")) == 1
