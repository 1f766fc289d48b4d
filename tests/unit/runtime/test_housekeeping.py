"""What a server clears away when it starts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from corral.runtime.settings import Settings
from corral.runtime.workbench import Workbench
from tests.waiting import until

LONG_AGO = time.time() - 7200
ADDRESS = "127.0.0.1:1"


def left_over(store: Path, name: str) -> Path:
    path = store / "blobs" / name
    path.write_bytes(b"x" * 2_000_000)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


@pytest.fixture
def unneeded(own_store: Path) -> list[Path]:
    return [left_over(own_store, "corral-x.tmp"), left_over(own_store, f"sha256-{'0' * 64}")]


async def test_a_start_clears_away_what_nobody_needs_and_says_so(own_store: Path, unneeded: list[Path]) -> None:
    young = own_store / "blobs" / f"sha256-{'1' * 64}"
    young.write_bytes(b"x")
    dead = own_store / ".corral-fetch-x"
    dead.mkdir()
    (dead / "lock").touch()
    bench = Workbench(Settings(models=own_store), warm=False)
    await bench.start(ADDRESS)
    await until(lambda: not dead.exists())
    await until(lambda: any("freed 4.0 MB" in event.text for event in bench.events.newest()))
    await bench.close()
    assert not any(path.exists() for path in unneeded)
    assert young.exists()
    assert len(await bench.list_models()) == 1


@pytest.mark.parametrize("serving", ["", ADDRESS])
async def test_noprune_and_commands_leave_everything(own_store: Path, unneeded: list[Path], serving: str) -> None:
    bench = Workbench(Settings(models=own_store, no_prune=bool(serving)), warm=False)
    await bench.start(serving)
    await bench.close()
    assert all(path.exists() for path in unneeded)


async def test_a_store_that_cannot_be_cleaned_is_a_warning(
    own_store: Path, unneeded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    bench = Workbench(Settings(models=own_store), warm=False)
    await bench.start(ADDRESS)
    await until(lambda: any(event.level == "warning" for event in bench.events.newest()))
    await bench.close()
    assert all(path.exists() for path in unneeded)


async def test_a_store_that_is_not_there_yet_is_no_news(tmp_path: Path) -> None:
    bench = Workbench(Settings(models=tmp_path / "none"), warm=False)
    await bench.start(ADDRESS)
    await bench.close()
    assert [event.text for event in bench.events.newest()] == [f"serving on {ADDRESS}"]
    assert not (tmp_path / "none").exists()
