"""Keys that come in one packet act as if each had been waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.widgets import Input

from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.dialogs.command_line import CommandLine
from corral.tui.dialogs.key_report import KeyReport
from corral.tui.jump import JumpLabels
from corral.tui.key_parser import KeyParser
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


def received(app: WorkbenchApp, text: str) -> None:
    """Hand over what a terminal sent in one packet."""
    for message in KeyParser(False).feed(text):
        app.post_message(message)


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


SHOWN = {"h": "not kept here", ":": "Tab completes", "?": "type to search"}


@pytest.mark.parametrize("key", SHOWN)
async def test_esc_and_a_letter_are_not_taken_for_alt(key: str) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        prompt = app.screen.query_one(PromptBox)
        await until(pilot, lambda: prompt.has_focus)
        received(app, f"hello{ESC}{key}")
        await until(pilot, lambda: SHOWN[key] in picture(app))
        assert prompt.text == "hello"


async def test_alt_and_a_key_is_what_it_is_bound_to_there() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        prompt = app.screen.query_one(PromptBox)
        await until(pilot, lambda: prompt.has_focus)
        received(app, f"one two{ESC}\r")
        await until(pilot, lambda: prompt.text == "one two\n")
        received(app, f"x y{ESC}bz")
        await until(pilot, lambda: prompt.text == "one two\nx zy")
        received(app, f"{ESC}b{ESC}fw{ESC}3")
        await until(pilot, lambda: is_on(app, Where.RUNNING))
        assert prompt.text == "one two\nx zyw"


async def test_the_users_own_keys_with_alt_work_where_they_act(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[keys]\n"go.server.always" = "alt+j"\n"model.pin" = "alt+/"\n')
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.CHAT, CORRAL_CONFIG=str(file))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        prompt = app.screen.query_one(PromptBox)
        await until(pilot, lambda: prompt.has_focus)
        received(app, f"a{ESC}j")
        await until(pilot, lambda: is_on(app, Where.SERVER))
        assert prompt.text == "a"
        received(app, f"2{ESC}/")
        await until(pilot, lambda: "smollm2:135m stays in memory" in picture(app))


async def test_esc_and_a_letter_leave_the_jump_labels_for_what_that_letter_does() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.focused is not None)
        await pilot.press("semicolon")
        await until(pilot, lambda: isinstance(app.screen, JumpLabels))
        received(app, f"{ESC}5")
        await until(pilot, lambda: is_on(app, Where.SERVER))


async def test_the_key_report_tells_of_alt() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(KeyReport(app.keys))
        await until(pilot, lambda: "Key report" in picture(app))
        received(app, f"{ESC}j")
        await until(pilot, lambda: "alt+j (Alt+j): nothing here" in picture(app))


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
