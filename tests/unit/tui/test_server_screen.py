from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest

from corral.runtime.recordings import Recorded
from corral.runtime.snapshot import EMPTY, ClientView, ListenerView, LogLine, RequestState, RequestView
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.curl import curl_command
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.details import DetailsDialog
from corral.tui.screens.server import ServerScreen
from corral.tui.states import is_error, request_status
from corral.tui.widgets.client_table import usages
from corral.tui.widgets.listener import listener_lines
from corral.tui.widgets.log_view import LogView, log_text
from corral.tui.widgets.request_table import SORTS, detail_lines, ordered, why
from tests.fakes.client import FakeClient
from tests.fakes.moment import AT_S, WALL_S, moment, request
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
        await until(pilot, lambda: "✗ ERROR http    line 39" in picture(app))
        assert "details" in shown.splitlines()[-1]
        assert not overflows(app)


async def test_errors_key_leaves_errors_only() -> None:
    app = workbench(client_at(), Where.SERVER)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 4)
        await pilot.press("exclamation_mark")
        await until(pilot, lambda: screen_of(app).table.keys_shown == ("r5",))
        assert app.query_one(LogView).shown == 20
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


async def test_only_who_moves_the_cursor_ends_following_and_at_once() -> None:
    client = client_at(requests=(request(2), request(1)))
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: screen_of(app).table.highlighted_key == "r2")
        screen_of(app).table.go_to("r1")
        await pilot.pause()
        client.snapshot = moment(requests=(request(3), request(2), request(1)))
        await until(pilot, lambda: screen_of(app).table.highlighted_key == "r3")
        screen_of(app).table.action_cursor_down()
        client.snapshot = moment(requests=(request(4), request(3), request(2), request(1)))
        screen_of(app).show_snapshot(client.snapshot)
        assert screen_of(app).table.highlighted_key == "r2"
        await until(pilot, lambda: "follow ○" in picture(app))


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
    line = LogLine(1, WALL_S, "error", HOSTILE, HOSTILE)
    listener = ListenerView(HOSTILE, WALL_S, origins=(HOSTILE,))
    client = client_at(requests=(hostile,), log=(line,), serving=HOSTILE, listeners=(listener,))
    client.kept["r1"] = Recorded(body=HOSTILE)
    app = workbench(client, Where.SERVER)
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
    ended = (ClientView("a", requests=4, output_tokens=30), ClientView("quiet", requests=1))
    running = [
        request(1, client="b", output_tokens=10, tokens_per_s=5.0),
        request(2, client="b", output_tokens=0, tokens_per_s=2.5, state=RequestState.PREFILL),
        request(3, client="a", state=RequestState.DONE, output_tokens=1000),
    ]
    found = usages(ended, running)
    assert [(one.client.name, one.client.requests, one.share) for one in found] == [
        ("a", 4, 0.75),
        ("b", 2, 0.25),
        ("quiet", 1, 0.0),
    ]
    assert [one.tokens_per_s for one in found] == [0.0, 5.0, 0.0]
    assert usages((), []) == []


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


def test_a_request_that_was_stopped_is_no_error() -> None:
    stopped, failed = (
        request(1, state=RequestState.CANCELED, status=499),
        request(2, state=RequestState.FAILED, status=404),
    )
    assert [is_error(one) for one in (stopped, failed)] == [False, True]
    assert [str(request_status(one).style) for one in (stopped, failed)] == ["warning", "error"]


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


@pytest.mark.parametrize("sort_by", SORTS)
def test_every_order_is_the_other_one_turned_round(sort_by: str) -> None:
    requests = list(moment().requests)
    rising = ordered(requests, sort_by, is_descending=False)
    assert sorted(one.id for one in rising) == sorted(one.id for one in requests)
    keys = [KEYS[sort_by](one) for one in rising]
    assert keys == sorted(keys)


KEYS: dict[str, Callable[[RequestView], Any]] = {
    "time": lambda one: one.started_s,
    "client": lambda one: one.client,
    "path": lambda one: one.path,
    "model": lambda one: one.model,
    "status": lambda one: one.status or 1000,
    "ttft": lambda one: (one.first_token_s or one.started_s) - one.started_s,
    "out": lambda one: one.output_tokens,
    "rate": lambda one: one.tokens_per_s,
    "duration": lambda one: (one.ended_s or 1e9) - one.started_s,
}


async def test_requests_can_be_sorted() -> None:
    app = workbench(client_at(), Where.SERVER)
    async with app.run_test(size=(120, 36)) as pilot:
        table = screen_of(app).table
        await until(pilot, lambda: table.keys_shown == ("r9", "r8", "r5", "r2"))
        assert "TIME▼" in picture(app)
        await pilot.press("s")
        await until(pilot, lambda: table.keys_shown[0] == "r8" and "CLIENT▲" in picture(app))
        await pilot.press("S")
        await until(pilot, lambda: table.keys_shown[-1] == "r8" and "CLIENT▼" in picture(app))
        for _ in SORTS[1:]:
            await pilot.press("s")
        await until(pilot, lambda: table.keys_shown == ("r9", "r8", "r5", "r2"))


def test_where_the_time_went() -> None:
    done = request(
        1, state=RequestState.DONE, first_token_s=AT_S - 57, ended_s=AT_S - 55, load_s=1.5, prompt_s=0.25, status=200
    )
    lines = "\n".join(detail_lines(done))
    assert "first token  2.00s" in lines
    assert "duration     4.00s" in lines
    assert "load 1.50s · slot 0.25s · prompt 0.25s · output 2.00s" in lines
    assert "spent on" not in "\n".join(detail_lines(request(1, first_token_s=None)))


async def test_bodies_are_kept_only_when_asked_for() -> None:
    client = client_at()
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 4)
        assert "bodies kept" not in picture(app)
        await pilot.press("W")
        await until(pilot, lambda: "bodies kept (W)" in picture(app))
        await pilot.press("W")
        await until(pilot, lambda: not client.snapshot.recording)
        await until(pilot, lambda: "bodies kept (W)" not in picture(app))
        await pilot.press("W", "W")
        await until(pilot, lambda: "bodies forgotten" in picture(app))
        assert not client.snapshot.recording, "twice is back, however late the screen is told"
        await pilot.press("space", "W")
        await until(pilot, lambda: client.snapshot.recording)
        await pilot.press("W")
        await until(pilot, lambda: not client.snapshot.recording)


async def test_the_log_has_levels_a_filter_and_wraps() -> None:
    long = LogLine(41, WALL_S, "info", "load", "word " * 60)
    app = workbench(client_at(log=(*moment().log, long)), Where.SERVER)
    async with app.run_test(size=(120, 36)) as pilot:
        view = screen_of(app).log_view
        await until(pilot, lambda: view.shown == 31)
        await pilot.press("<")
        await until(pilot, lambda: view.shown == 41 and "Log · debug and above" in picture(app))
        await pilot.press(">", ">", ">", ">")
        await until(pilot, lambda: view.shown == 10 and "Log · error and above" in picture(app))
        await pilot.press("<", "<")
        await until(pilot, lambda: view.shown == 31)
        assert view.virtual_size.height == 31
        await until(pilot, lambda: any("word" in row and "…" in row for row in picture(app).splitlines()))
        await pilot.press("w")
        await until(pilot, lambda: view.virtual_size.height in (33, 34))
        assert not overflows(app)
        view.focus()
        await pilot.press("ampersand", *"re:line 1", "enter")
        await until(pilot, lambda: view.shown == 9)
        assert len(screen_of(app).table.keys_shown) == 4
        await pilot.press("escape")
        await until(pilot, lambda: view.shown == 31)


async def test_the_log_follows_until_somebody_goes_up() -> None:
    client = client_at()
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(120, 36)) as pilot:
        view = screen_of(app).log_view
        await until(pilot, lambda: "line 39" in picture(app))
        view.focus()
        await pilot.press("g")
        await until(pilot, lambda: not view.follows and "line 1" in picture(app))
        client.snapshot = moment(log=(*moment().log, LogLine(41, WALL_S, "error", "http", "the newest")))
        await until(pilot, lambda: view.shown == 31)
        assert "the newest" not in picture(app)
        await pilot.press("f")
        await until(pilot, lambda: view.follows and "the newest" in picture(app))
        await pilot.press("f")
        await until(pilot, lambda: not view.follows)
        await pilot.press("G")
        await until(pilot, lambda: view.follows)


async def test_all_can_be_held_still() -> None:
    client = client_at(requests=(request(1),))
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: screen_of(app).table.keys_shown == ("r1",))
        await pilot.press("space")
        await until(pilot, lambda: "held still" in picture(app))
        client.snapshot = moment(at_s=AT_S + 5, serving="elsewhere:1", requests=(request(2), request(1)))
        await until(pilot, lambda: "elsewhere:1" in picture(app).splitlines()[0])
        assert screen_of(app).table.keys_shown == ("r1",)
        await pilot.press("space")
        await until(pilot, lambda: screen_of(app).table.keys_shown == ("r2", "r1"))


@pytest.mark.parametrize(
    ("listener", "words"),
    [
        (ListenerView("http://127.0.0.1:1", WALL_S - 7380), "http://127.0.0.1:1 · up 2h03\n  lets in anybody"),
        (ListenerView("h:1", WALL_S, keys=1), "lets in the API key"),
        (
            ListenerView("h:1", WALL_S, keys=3, origins=("https://a.example",)),
            "one of 3 API keys · pages of https://a.example",
        ),
    ],
)
def test_who_is_let_in(listener: ListenerView, words: str) -> None:
    lines = "\n".join(listener_lines(moment(listeners=(listener,))))
    assert words in lines
    assert ("https://a.example" in lines) == bool(listener.origins)
    theirs = "\n".join(listener_lines(moment(serving="http://there:11434", listeners=())))
    assert "n/a" in theirs
    assert "metrics" not in theirs
    assert listener_lines(EMPTY) == ["○ nothing listens: only this workbench is served"]


def test_a_line_of_the_log_says_its_level_in_words() -> None:
    assert log_text(LogLine(1, WALL_S, "warning", "http", "a\nb"))[8:] == " ! WARN  http    a b"


async def test_words_are_found_in_the_log_and_stay_in_view_while_more_comes() -> None:
    lines = tuple(
        LogLine(n, WALL_S + n, "info", "load" if n % 50 == 7 else "http", f"event {n}") for n in range(1, 201)
    )
    client = client_at(log=lines)
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "event 200" in picture(app))
        view = screen_of(app).log_view
        view.focus()
        await pilot.press("n")
        await until(pilot, lambda: "nothing is looked for" in picture(app))
        await pilot.press("slash", *"LOAD", "enter")
        await until(pilot, lambda: "event 157" in picture(app) and "/LOAD 4/4" in picture(app))
        assert view.has_focus
        assert not view.follows
        await pilot.press("n")
        await until(pilot, lambda: "/LOAD 1/4" in picture(app) and "load    event 7" in picture(app))
        await pilot.press("n")
        await until(pilot, lambda: "/LOAD 2/4" in picture(app) and "load    event 57" in picture(app))
        marked = [
            piece.text
            for y in range(view.size.height)
            for piece in view.render_line(y)
            if piece.style and piece.style.reverse
        ]
        assert marked == ["load"]
        more = tuple(LogLine(n, WALL_S + n, "info", "http", f"event {n}") for n in range(201, 231))
        client.snapshot = moment(log=(*lines[30:], *more))
        await until(pilot, lambda: "/LOAD 1/3" in picture(app) and "load    event 57" in picture(app))
        await pilot.press("N")
        await until(pilot, lambda: "/LOAD 3/3" in picture(app) and "load    event 157" in picture(app))
        await pilot.press("ampersand", *"load", "enter")
        await until(pilot, lambda: view.shown == 3 and "&load" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: "/LOAD" not in picture(app) and view.shown == 3)
        await pilot.press("escape", "G")
        await until(pilot, lambda: view.shown == 200 and "event 230" in picture(app) and view.follows)


async def test_a_line_that_is_folded_is_found_once() -> None:
    client = client_at(
        log=(LogLine(1, WALL_S, "error", "http", "spoon " * 40), LogLine(2, WALL_S, "info", "x", "knife"))
    )
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "knife" in picture(app))
        view = screen_of(app).log_view
        view.focus()
        view.wrap()
        await pilot.press("slash", *"spoon", "enter")
        await until(pilot, lambda: view.found == (1, 1))
