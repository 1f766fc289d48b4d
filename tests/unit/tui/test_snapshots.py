"""Every screen as a user sees it, cell by cell, at the sizes that are promised. `make snapshots` draws them anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from rich.segment import Segment
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual.pilot import Pilot

from corral.tui.app import WorkbenchApp
from corral.tui.terminal import ExitReason
from tests.fakes.moment import AT_S, WALL_S
from tests.fakes.scenes import SCENES, Scene
from tests.fakes.screen import overflows, picture, strips, until, workbench

SIZES = [(80, 24), (120, 36), (60, 16)]
CLOCKS = ("chats", "screens.chat_base", "widgets.rail")
SETTLED = 8
"""So many drawings that are the same mean that nothing more comes."""


class Cells(SingleFileSnapshotExtension):
    """A text file a screen and size, to be read in a review."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


@pytest.fixture
def cells(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(Cells)


@pytest.fixture(autouse=True)
def _one_moment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same time, in the same time zone, whenever it is asked for."""
    frozen = SimpleNamespace(time=lambda: WALL_S, monotonic=lambda: AT_S)
    monkeypatch.setattr("corral.tui.widgets.chrome.gethostname", lambda: "barn")
    for module in CLOCKS:
        monkeypatch.setattr(f"corral.tui.{module}.time", frozen)
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


async def settled(pilot: Pilot[ExitReason], app: WorkbenchApp) -> str:
    """What is on the screen once nothing changes any more, without the blanks at the ends of lines."""
    same, last = 0, ""

    def is_still() -> bool:
        nonlocal same, last
        now = picture(app)
        same, last = (same + 1, now) if now == last else (0, now)
        return same >= SETTLED

    await until(pilot, is_still)
    return "\n".join(line.rstrip() for line in last.split("\n")) + "\n"


async def seen(scene: Scene, size: tuple[int, int], **environ: str) -> tuple[str, list[Segment]]:
    """The cells of a scene as text, and as they are drawn."""
    client = scene.client()
    app = workbench(client, scene.mode, **environ)
    app.animation_level = "none"
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.screen.is_mounted)
        await scene.reach(pilot, app, client)
        shown = await settled(pilot, app)
        assert overflows(app) == []
        return shown, [segment for strip in strips(app) for segment in strip]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCENES)
async def test_screen(name: str, size: tuple[int, int], cells: SnapshotAssertion) -> None:
    shown, _ = await seen(SCENES[name], size)
    assert shown == cells


@pytest.mark.parametrize("name", SCENES)
async def test_without_colours(name: str, cells: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown, drawn = await seen(SCENES[name], (120, 36), NO_COLOR="1")
    assert shown == cells
    coloured = [
        (segment.text, str(segment.style))
        for segment in drawn
        if segment.style and any(one and not one.is_default for one in (segment.style.color, segment.style.bgcolor))
    ]
    assert coloured == []
