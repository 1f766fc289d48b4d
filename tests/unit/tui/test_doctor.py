"""`:doctor`: what is found, and that it is said where nothing can be found."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from corral.runtime.snapshot import EMPTY, ListenerView
from corral.runtime.upkeep import UnfinishedPull
from corral.tui.actions import Where
from corral.tui.dialogs.details import DetailsDialog
from corral.tui.doctor import examine
from tests.fakes.client import FakeClient
from tests.fakes.moment import GPU, HOST, moment
from tests.fakes.screen import SIZES, overflows, picture, until, workbench
from tests.unit.tui.test_command_line import typed


@pytest.mark.parametrize("size", SIZES)
async def test_it_is_shown_and_copied(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient.with_models("a:1")
    client.snapshot = moment()
    app = workbench(client, Where.SERVER)
    copied: list[str] = []
    monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
    async with app.run_test(size=size) as pilot:
        await typed(pilot, app, "doctor")
        await until(pilot, lambda: isinstance(app.screen, DetailsDialog) and "TERM=xterm-256color" in picture(app))
        assert not overflows(app)
        await pilot.press("y")
        await until(pilot, lambda: bool(copied))
        assert "3 files no model needs, 20.9G: :gc" in copied[0]
        await pilot.press("escape")
        await until(pilot, lambda: not app.screen.is_modal)


async def test_what_is_not_well_is_marked() -> None:
    client = FakeClient()
    client.unfinished = [UnfinishedPull("phi4:14b", 1, 2, 0.0)]
    host = replace(
        HOST,
        cpu_percent=None,
        cpu_per_core=(),
        disk_free=1_000_000_000,
        gpus=(replace(GPU, memory_total=None, throttled="hot"),),
    )
    client.snapshot = replace(moment(host=host), listeners=(ListenerView("0.0.0.0:1", 0.0),))
    app = workbench(client, Where.SERVER, TMUX="x", SSH_TTY="y")
    async with app.run_test(size=(80, 24)):
        lines = await examine(app)
        assert "✓ processor  n/a busy" in lines  # it has not been measured yet
        marked = [line[2:] for line in lines if line[0] != "✓"]
        told = "\n".join(marked)
        for part in ("allow-passthrough", "none for 0.0.0.0:1", "held back: hot", "memory n/a", "1 pull was left"):
            assert part in told, part
        assert any(line.startswith("disk") for line in marked)
        client.snapshot = replace(EMPTY, trouble="does not answer")
        app.refresh_now()
        told = "\n".join(await examine(app))
        assert "✗ service    does not answer" in told
        assert "n/a: this server tells nothing of its machine" in told
