"""One request in full: its body, its prompt, and what its keys do."""

from __future__ import annotations

import shlex

import pytest
from msgspec.structs import replace

from corral.runtime.recordings import Recorded
from corral.runtime.snapshot import RequestState
from corral.runtime.verbs import ChatRequest, Message
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.request import RequestDialog, body_text
from corral.tui.widgets.request_table import detail_lines
from tests.fakes.client import FakeClient
from tests.fakes.moment import AT_S, request
from tests.fakes.screen import picture, until, workbench
from tests.unit.tui.test_server_screen import client_at, screen_of


def client_with_prompt(rendered: str) -> FakeClient:
    """A request `r2` was asked of a model that is here, whose prompt reads like that."""
    client = client_at(requests=(request(2),))
    client.models = FakeClient.with_models("smollm2:135m").models
    client.kept["r2"] = Recorded(asked=ChatRequest("smollm2:135m", (Message("user", "hi"),)))
    client.rendered = rendered
    return client


async def test_a_body_that_was_kept_is_shown_and_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(WorkbenchApp, "copy_to_clipboard", lambda app, text: copied.append(text))
    client = client_at(requests=(request(2), request(1)))
    client.kept["r2"] = Recorded(body='{"model":"m","prompt":"it\'s"}')
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: screen_of(app).table.highlighted_key == "r2")
        await pilot.press("enter")
        await until(pilot, lambda: '"prompt": "it\'s"' in picture(app))
        await pilot.press("C", "y")
        await until(pilot, lambda: len(copied) == 2)
        assert shlex.split(copied[0])[-1] == '{"model":"m","prompt":"it\'s"}'
        assert copied[1] == '{"model":"m","prompt":"it\'s"}'
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RequestDialog))
        assert client.canceled == []
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: client.canceled == ["r2"])
        await until(pilot, lambda: isinstance(app.screen, RequestDialog))
        client.snapshot = replace(client.snapshot, requests=(request(2, state=RequestState.DONE), request(1)))
        await pilot.press("x")
        await until(pilot, lambda: "this request has ended" in picture(app))
        await pilot.press("t", "escape")
        await until(pilot, lambda: app.screen is screen_of(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: "Its body was not kept" in picture(app))
        await pilot.press("y", "escape", "up", "C")
        await until(pilot, lambda: len(copied) == 4)
        assert copied[2].startswith("id ")
        assert copied[3] == copied[0]


async def test_a_long_prompt_is_gone_through_with_the_keys_of_other_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(WorkbenchApp, "copy_to_clipboard", lambda app, text: copied.append(text))
    client = client_with_prompt("\n".join(f"line {number} of it" for number in range(3000)))
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: screen_of(app).table.highlighted_key == "r2")
        await pilot.press("enter")
        await until(pilot, lambda: "first token" in picture(app))
        await pilot.press("t")
        await until(pilot, lambda: "line 4 of it" in picture(app) and "first token" not in picture(app))
        await pilot.press("j", "j", "ctrl+d")
        await until(pilot, lambda: "line 4 of it" not in picture(app) and "line 20 of it" in picture(app))
        await pilot.press("G")
        await until(pilot, lambda: "more" in picture(app))
        await pilot.press("k", "ctrl+u", "g", "y")
        await until(pilot, lambda: "first token" in picture(app))
        assert copied == [client.rendered]


async def test_the_prompt_as_the_model_was_sent_it(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_with_prompt("<|im_start|>user\nhi[/]\x1b<|im_end|>")
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: screen_of(app).table.highlighted_key == "r2")
        await pilot.press("enter")
        await until(pilot, lambda: "It had no body" in picture(app))
        await pilot.press("t")
        await until(pilot, lambda: "hi[/]␛<|im_end|>" in picture(app))
        assert client.closed == 0, "a rendering that is broken off is listed as a request that was canceled"
        client.rendered = ""
        await pilot.press("t")
        await until(pilot, lambda: "does not tell" in picture(app))
        await until(pilot, lambda: client.closed == 1)


def test_a_long_body_is_cut_and_one_that_is_no_json_is_shown_as_it_came() -> None:
    assert body_text(Recorded(body="[1, 2", cut=7)).splitlines() == ["[1, 2", "… 7 more"]
    assert body_text(Recorded(body='{"a":1}')) == '{\n  "a": 1\n}'
    assert body_text(Recorded(body="x" * 20_005)).endswith("x\n… 5 more")


async def test_keys_are_named_that_do_something_and_figures_go_on() -> None:
    client = client_with_prompt("hi")
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: screen_of(app).table.highlighted_key == "r2")
        await pilot.press("enter")
        await until(pilot, lambda: " t prompt · C curl · y copy · x cancel · Esc close " in picture(app))
        assert "still running" in picture(app)
        done = request(2, state=RequestState.DONE, status=200, ended_s=AT_S, output_tokens=401)
        client.kept.clear()
        client.snapshot = replace(client.snapshot, requests=(done,))
        await until(pilot, lambda: "401 tokens" in picture(app) and "still running" not in picture(app))
        await until(pilot, lambda: " t prompt · C curl · y copy · Esc close " in picture(app))
        await pilot.press("escape", "enter")
        await until(pilot, lambda: "━ C curl · y copy · Esc close " in picture(app))
        await pilot.press("t")
        await until(pilot, lambda: "its prompt was not kept" in picture(app))


def test_a_request_of_no_model_says_nothing_of_tokens() -> None:
    one = request(1, path="/api/tags", model="", state=RequestState.DONE, status=200, ended_s=AT_S, first_token_s=None)
    told = detail_lines(replace(one, prompt_tokens=0, prompt_done=0, cached_tokens=0, output_tokens=0))
    assert [line.split()[0] for line in told] == ["id", "client", "request", "model", "state", "started", "duration"]


def test_time_is_told_of_what_took_some() -> None:
    told = detail_lines(request(1, load_s=0.0, prompt_s=0.19, state=RequestState.DONE, ended_s=AT_S - 58))
    assert "spent on     slot 50ms · prompt 0.19s · output 0.76s" in told
