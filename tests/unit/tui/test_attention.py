"""Title and signals for who looks elsewhere, and what is told after a terminal that took nothing."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace

from corral.runtime.snapshot import EMPTY, EventView, RequestState
from corral.tui.actions import Where
from corral.tui.attention import TITLE_BACK, Attention, ended, signal_sequence
from tests.fakes.client import FakeClient
from tests.fakes.moment import AT_S, moment, request
from tests.fakes.screen import picture, until, workbench

BEFORE = replace(EMPTY, requests=(request(1, client="tui"), request(2, client="10.0.0.7")))
DONE = tuple(replace(one, state=RequestState.DONE, ended_s=AT_S) for one in BEFORE.requests)
AFTER = replace(BEFORE, requests=DONE, events=(EventView(1.0, "info", "pull", "qwen3:8b: done"),))


def test_long_answers_of_this_screen_and_pulls_are_signalled_and_nothing_of_others() -> None:
    assert ended(BEFORE, AFTER) == ["smollm2:135m has answered", "pull qwen3:8b: done"]
    short = replace(DONE[0], ended_s=DONE[0].started_s + 1)
    assert ended(BEFORE, replace(BEFORE, requests=(short,))) == []
    assert ended(AFTER, AFTER) == []


def test_who_looks_gets_a_title_only() -> None:
    attention = Attention({})
    assert "\x1b]2;● 2 running · corral\x07" in attention.sequences(BEFORE, is_looked_at=True)
    assert attention.sequences(replace(BEFORE), is_looked_at=True) == ""
    assert attention.sequences(AFTER, is_looked_at=True) == "\x1b]2;corral\x07"


def test_who_looks_elsewhere_gets_a_bell_and_a_note() -> None:
    attention = Attention({})
    attention.sequences(BEFORE, is_looked_at=False)
    written = attention.sequences(AFTER, is_looked_at=False)
    assert "\x07\x1b]9;smollm2:135m has answered and 1 more\x07" in written
    assert "\x1b]777;notify;corral;" in written


def test_notes_pass_tmux_and_carry_nothing_of_strangers() -> None:
    assert "\x1bPtmux;\x1b\x1b]9;done\x07\x1b\\" in signal_sequence("done", {"TMUX": "x"})
    body = signal_sequence("a\x1b]52;c;aGk=\x07b" + "x" * 500, {}).replace("\x1b]9;", "").replace("\x1b]777;", "")
    assert "\x1b" not in body
    assert len(body) < 300


async def test_the_terminal_is_written_to_and_gets_its_title_back(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient.with_models("a:1")
    client.snapshot = moment()
    app = workbench(client, Where.RUNNING)
    written: list[str] = []
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        assert app._driver is not None
        monkeypatch.setattr(app._driver, "write", written.append)
        app.app_focus = False
        client.snapshot = replace(client.snapshot, requests=())
        app.refresh_now()
        await until(pilot, lambda: "\x1b]2;corral\x07" in "".join(written))
        app._looking.due_s = time.monotonic() - 7
        app.refresh_now()
        await until(pilot, lambda: "took nothing for 7 s" in picture(app))
    assert written[-1] == TITLE_BACK
