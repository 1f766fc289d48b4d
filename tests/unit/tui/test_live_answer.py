from __future__ import annotations

from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.content import Content
from textual.geometry import Region

from corral.tui.chats import Chat
from corral.tui.turns import Turn, TurnState
from corral.tui.widgets import live_answer
from corral.tui.widgets.live_answer import LiveAnswer, LiveTail
from corral.tui.widgets.markdown import settled_length
from corral.tui.widgets.said import Said
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


class AnswerApp(App[None]):
    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn

    def compose(self) -> ComposeResult:
        yield LiveAnswer(self.turn, rows_step=4)


async def _streamed(text: str, piece: int) -> tuple[str, int, int]:
    """What is drawn in the end, its height and how many widgets it took, when `text` comes in pieces."""
    turn = Turn("assistant", 0.0, "", TurnState.LIVE, "m")
    async with AnswerApp(turn).run_test(size=(60, 200)) as pilot:
        answer = pilot.app.query_one(LiveAnswer)
        for start in range(0, len(text), piece):
            turn.text += text[start : start + piece]
            answer.grow()
        await pilot.pause()
        drawn = "\n".join(line.rstrip() for line in picture(pilot.app).split("\n")[1:])
        return drawn.split("… waiting")[0].rstrip(), answer.size.height, len(answer.query("*"))


async def test_code_that_comes_in_pieces_is_drawn_as_in_the_end() -> None:
    text = "So:\n\n```python\nx = 1\n\n# ~~~\ny = [x]\n```\n\nDone, *all* of it.\n\n~~~\nraw ```\n~~~\nend"
    drawn = {(await _streamed(text, piece))[0] for piece in (1, 3, 7, len(text))}
    assert len(drawn) == 1
    assert "▏ # ~~~\n▏ y = [x]\n\nDone, all of it.\n\n▏ raw ```\n\nend" in drawn.pop()


async def test_an_answers_height_grows_by_four_rows_at_a_time() -> None:
    heights = [(await _streamed("one\n\n" * count, 4))[1] for count in range(1, 8)]
    assert {height % 4 for height in heights} == {0}


async def test_long_code_is_never_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []

    def counted(source: str) -> int:
        parsed.append(len(source))
        return settled_length(source)

    monkeypatch.setattr(live_answer, "settled_length", counted)
    code = "```python\n" + "value = 1  # a line\n" * 600 + "```\n\nDone"
    _, _, widgets = await _streamed(code, 40)
    assert sum(parsed) < len(code)
    assert widgets < 20


async def test_an_answer_that_has_ended_is_live_no_more_while_it_is_being_removed() -> None:
    asked, said = Turn("user", 0.0, "why"), Turn("assistant", 0.0, "so", TurnState.LIVE)
    asked.parent, said.parent = (chat := Chat(1)).root, asked
    chat.root.children.append(asked)
    asked.children.append(said)
    async with FrameApp().run_test(size=(30, 20)) as pilot:
        pane = pilot.app.query_one(Transcript)
        pane.show(chat)
        await pilot.pause()
        assert pane.live is not None
        said.state = TurnState.DONE
        pane.grow()
        assert [one for one in pane.messages.children if isinstance(one, LiveAnswer)], "it has not gone yet"
        assert pane.live is None
        following = Turn("user", 0.0, "and then", parent=said)
        said.children.append(following)
        pane.show(chat)
        await pilot.pause()
        shown = [one.turn for one in pane.messages.children if isinstance(one, Said)]
        assert [turn.text for turn in shown] == ["why", "so", "and then"]
