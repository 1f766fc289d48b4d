from __future__ import annotations

import shlex

import pytest

from corral.runtime.snapshot import EMPTY, EventView, RequestState
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.curl import curl_command
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.details import DetailsDialog
from corral.tui.screens.server import ServerScreen
from corral.tui.widgets.event_log import EventLog
from corral.tui.widgets.request_table import clients_line, why
from tests.fakes.client import FakeClient
from tests.fakes.moment import WALL_S, moment, request
from tests.fakes.screen import SIZES, overflows, picture, until, workbench

HOSTILE = "[@click=app.exit]x[/]\x1b[2J漢字"


def screen_of(app: WorkbenchApp) -> ServerScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ServerScreen)
    return screen


def client_at(**changes: object) -> FakeClient:
    client = FakeClient()
    client.snapshot = moment(**changes)
    return client


@pytest.mark.parametrize("size", SIZES)
async def test_shows_requests_events_listener_and_clients(size: tuple[int, int]) -> None:
    app = workbench(client_at(), Where.SERVER)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "10.0.0.7" in picture(app))
        shown = picture(app)
        assert "2 running" in shown
        assert "errors 1" in shown
        assert "404" in shown
        assert "0.24s" in shown
        assert "prefill 38%" in shown
        assert "http://127.0.0.1:11434" in shown
        assert "50 %" in shown
        assert "✗ crash" in shown
        assert "details" in shown.splitlines()[-1]
        assert not overflows(app)


async def test_errors_key_leaves_errors_only() -> None:
    app = workbench(client_at(), Where.SERVER)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 4)
        await pilot.press("exclamation_mark")
        await until(pilot, lambda: screen_of(app).table.keys_shown == ("r5",))
        assert len(app.query_one(EventLog).keys_shown) == 2
        await pilot.press("exclamation_mark")
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 4)


async def test_filter_and_details() -> None:
    app = workbench(client_at(), Where.SERVER)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 4)
        await pilot.press("slash", *"generate", "enter")
        await until(pilot, lambda: screen_of(app).table.keys_shown == ("r5",))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, DetailsDialog))
        await until(pilot, lambda: "model 'qwen3:70b' not found" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 4)


async def test_follow_stays_with_the_newest_until_the_cursor_is_moved() -> None:
    client = client_at(requests=(request(2), request(1)))
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: screen_of(app).table.highlighted_key == "r2")
        client.snapshot = moment(requests=(request(3), request(2), request(1)))
        await until(pilot, lambda: screen_of(app).table.highlighted_key == "r3")
        await pilot.press("down")
        await until(pilot, lambda: "follow ○" in picture(app))
        client.snapshot = moment(requests=(request(4), request(3), request(2), request(1)))
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 4)
        assert screen_of(app).table.highlighted_key == "r2"
        assert screen_of(app).table.cursor_row == 2
        await pilot.press("f")
        await until(pilot, lambda: screen_of(app).table.highlighted_key == "r4")


async def test_cancel_asks_and_only_for_what_runs() -> None:
    client = client_at(requests=(request(2, state=RequestState.DONE, status=200), request(1)))
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 2)
        await pilot.press("x")
        await pilot.pause()
        assert app.screen is screen_of(app)
        await pilot.press("down", "x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: client.canceled == ["r1"])


async def test_curl_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(WorkbenchApp, "copy_to_clipboard", lambda app, text: copied.append(text))
    app = workbench(client_at(), Where.SERVER)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 4)
        await pilot.press("C")
        await until(pilot, lambda: bool(copied))
    assert copied[0].startswith("curl -X POST http://127.0.0.1:11434/api/chat ")


@pytest.mark.parametrize("size", [*SIZES, (60, 16)])
async def test_hostile_text_is_inert(size: tuple[int, int]) -> None:
    hostile = request(1, client=HOSTILE, path=HOSTILE, model=HOSTILE, note=HOSTILE)
    event = EventView(WALL_S, "error", HOSTILE, HOSTILE)
    app = workbench(client_at(requests=(hostile,), events=(event,), serving=HOSTILE), Where.SERVER)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "[@click" in picture(app))
        assert "\x1b" not in picture(app)
        assert not overflows(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, DetailsDialog))
        await until(pilot, lambda: "[@click=app.exit]x[/]␛[2J" in picture(app))
        assert "\x1b" not in picture(app)


async def test_an_empty_server_says_how_to_ask_it() -> None:
    client = FakeClient()
    client.snapshot = EMPTY
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "nothing listens" in picture(app))
        client.snapshot = moment(requests=())
        await until(pilot, lambda: "curl http://127.0.0.1:11434/api/tags" in picture(app))


def test_curl_quotes_what_came_from_outside() -> None:
    evil = request(1, path="/api/chat'; rm -rf ~ #", model="$(reboot)`id`")
    words = shlex.split(curl_command(evil, "http://h:1"))
    assert curl_command(evil, "0.0.0.0:9").split()[3].startswith("'http://127.0.0.1:9/")
    assert words[:3] == ["curl", "-X", "POST"]
    assert words[3] == "http://h:1/api/chat'; rm -rf ~ #"
    assert '"model": "$(reboot)`id`"' in words[-1]


def test_shares_of_tokens() -> None:
    requests = [
        request(1, client="a", output_tokens=30),
        request(2, client="b", output_tokens=10),
        request(3, client="a"),
    ]
    assert clients_line(requests[:2]) == [("a", 1, 0.75), ("b", 1, 0.25)]
    assert clients_line([request(1, output_tokens=0)]) == [("127.0.0.1", 1, 0.0)]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (RequestState.WAITING, "waiting for a slot"),
        (RequestState.LOADING, "loading the model"),
        (RequestState.DECODE, "streaming"),
        (RequestState.CANCELED, "canceled"),
        (RequestState.DONE, ""),
    ],
)
def test_reasons(state: RequestState, reason: str) -> None:
    assert why(request(1, state=state)) == reason


WARNED = ("the prompt is longer than the context: 9 tokens were cut", HOSTILE)


def test_a_request_says_how_far_its_model_is_and_what_was_cut() -> None:
    assert why(request(1, state=RequestState.LOADING, load_fraction=0.42)) == "loading the model 42%"
    assert why(request(1, state=RequestState.DECODE, warnings=WARNED[:1])) == f"! {WARNED[0]}"
    assert why(request(1, state=RequestState.DONE, status=200, warnings=WARNED[:1])) == f"! {WARNED[0]}"
    assert why(request(1, state=RequestState.FAILED, note="it broke", warnings=WARNED)) == "it broke"


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_cut_is_seen_in_the_table_and_among_the_details(size: tuple[int, int]) -> None:
    done = request(1, state=RequestState.DONE, status=200, ended_s=1.0, warnings=WARNED)
    app = workbench(client_at(requests=(done,)), Where.SERVER)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "! the prompt is longer than" in picture(app))
        assert not overflows(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, DetailsDialog))
        await until(pilot, lambda: "warning      the prompt is longer than the context" in picture(app))
        assert "warning      [@click=app.exit]x[/]" in picture(app)
        assert "\x1b" not in picture(app)
