"""Keys that come in one packet act as if each had been waited for."""

from __future__ import annotations

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.widgets import Input

from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.dialogs.command_line import CommandLine
from corral.tui.screens.chat import ChatScreen
from corral.tui.screens.modelfile import ModelfileScreen
from corral.tui.widgets.filter_bar import FilterBar
from corral.tui.widgets.prompt_box import PromptBox
from tests.fakes.client import FakeClient
from tests.fakes.screen import picture, until, workbench

ESC = "\x1b"
NAMES = {ESC: "escape", "\r": "enter"}


def send(app: WorkbenchApp, keys: str) -> None:
    """Hand over all keys before any of them has acted, as one packet of a slow line does."""
    for key in keys:
        app.post_message(events.Key(NAMES.get(key) or _character_to_key(key), key))


def is_on(app: WorkbenchApp, mode: Where) -> bool:
    """Whether that screen is there as a whole."""
    return app.current_mode == mode and app.screen.is_mounted and app.focused is not None


@pytest.mark.parametrize(("digit", "mode"), [("1", Where.CHAT), ("3", Where.RUNNING), ("5", Where.SERVER)])
async def test_esc_and_a_digit_leave_the_editor_as_it_was_and_go_to_that_screen(digit: str, mode: Where) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.FILE)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "none: F9 creates" in picture(app))
        screen = app.screen
        assert isinstance(screen, ModelfileScreen)
        before = screen.editor.text
        send(app, f"ab{ESC}{digit}")
        await until(pilot, lambda: is_on(app, mode))
        assert screen.editor.text in {f"ab{before}", f"{before}ab"}


async def test_esc_and_a_digit_leave_the_prompt() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = app.screen
        assert isinstance(screen, ChatScreen)
        await until(pilot, lambda: screen.query_one(PromptBox).has_focus)
        send(app, f"hello{ESC}2")
        await until(pilot, lambda: is_on(app, Where.MODELS))
        assert screen.query_one(PromptBox).text == "hello"


@pytest.mark.parametrize("where", [Where.MODELS, Where.RUNNING, Where.SERVER])
async def test_a_filter_gets_its_letters_and_none_behind_its_end(where: Where) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m", "qwen3:8b"), where)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.focused is not None)
        screen = app.screen
        send(app, "/dux\r")
        bar = screen.query(FilterBar).first()
        await until(pilot, lambda: bar.line == "dux" and not bar.query_one(Input).has_focus)
        send(app, f"/y{ESC}1")
        await until(pilot, lambda: is_on(app, Where.CHAT))
        assert bar.line in {"", "duxy"}


async def test_a_command_is_typed_into_its_line_and_not_pressed_on_the_screen_below() -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.focused is not None)
        send(app, ":dup")
        await until(pilot, lambda: isinstance(app.screen, CommandLine))
        await until(pilot, lambda: [line.value for line in app.screen.query(Input)] == ["dup"])
        assert len(app.screen_stack) == 2
        send(app, f"{ESC}5")
        await until(pilot, lambda: is_on(app, Where.SERVER))


@pytest.mark.parametrize("keys", [f":doctor\r{ESC}", f":quit\r{ESC}:", f"p{ESC}{ESC}:", f":theme\r{ESC}{ESC}"])
async def test_what_a_dialog_began_is_done_before_the_next_key(keys: str) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.focused is not None)
        send(app, keys)
        await until(pilot, lambda: not app._keys_waiting and not app._key_acting)


async def test_a_key_whose_widget_is_gone_holds_nobody_up_for_long() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.focused is not None)
        app._key_acting = 4711  # a key of which nothing will be heard
        send(app, "35")
        await until(pilot, lambda: is_on(app, Where.SERVER))
