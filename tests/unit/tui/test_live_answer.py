from __future__ import annotations

from typing import Any

from textual.app import App, ComposeResult
from textual.content import Content
from textual.geometry import Region

from corral.tui.widgets.live_answer import LiveTail
from corral.tui.widgets.transcript import Transcript
from tests.fakes.screen import picture


class Watched(LiveTail):
    painted: list[tuple[Region, ...]]

    def __init__(self) -> None:
        self.painted = []
        super().__init__()

    def _set_dirty(self, *regions: Region) -> None:
        self.painted.append(regions)
        super()._set_dirty(*regions)


class TailApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Watched()


class FrameApp(App[None]):
    CSS = "Transcript { border: round white; height: 8; }"

    def compose(self) -> ComposeResult:
        yield Transcript()


async def test_a_growing_block_is_painted_from_its_first_new_row_on() -> None:
    async with TailApp().run_test(size=(20, 10)) as pilot:
        tail = pilot.app.query_one(Watched)
        text = Content("one two three four five six")
        tail.show(text)
        await pilot.pause()
        assert tail.size.height == 2
        tail.painted.clear()
        tail.show(text + " end")
        assert tail.painted == [(Region(0, 1, 20, 1),)]
        await pilot.pause()
        assert "five six end" in picture(pilot.app)
        tail.painted.clear()
        tail.show((text + " end").stylize("bold", 0, 3))
        assert tail.painted == [(Region(0, 0, 20, 2),)]
        tail.show(text + " end and then some more")
        await pilot.pause()
        assert "then some more" in picture(pilot.app)
        assert tail.size.height == 3


async def test_the_frame_is_painted_without_what_it_frames() -> None:
    async with FrameApp().run_test(size=(30, 10)) as pilot:
        pane = pilot.app.query_one(Transcript)
        await pilot.pause()
        calls: list[Any] = []
        whole = pane._set_dirty

        def watch(*regions: Region) -> None:
            calls.append(regions)
            whole(*regions)

        pane._set_dirty = watch  # type: ignore[method-assign]
        pane.entitle(Content("a title"))
        pane.note("2 lines below")
        assert [len(regions) for regions in calls] == [1, 1]
        await pilot.pause()
        rows = picture(pilot.app).split("\n")
        assert "a title" in rows[0]
        assert "2 lines below" in rows[7]
        pane.entitle(Content("a title"))
        assert len(calls) == 2
