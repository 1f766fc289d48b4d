"""Keys of the user's own: what `[keys]` may say, what is wrong with it, and that the screens obey."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from corral.runtime.snapshot import EMPTY, TransferView
from corral.tui.actions import ACTIONS, Where
from corral.tui.app import WorkbenchApp
from corral.tui.dialogs.key_report import KeyReport, describe_key
from corral.tui.keymap import Keymap, conflicts, read_keymap
from corral.tui.link import ServiceLink
from corral.tui.preferences import load_preferences
from corral.tui.widgets.transfers import Transfers
from tests.fakes.client import FakeClient
from tests.fakes.screen import STYLES, picture, until


def test_the_registry_alone_has_no_conflict() -> None:
    assert conflicts({}) == ()
    assert read_keymap({}) == Keymap({})


def test_keys_are_written_as_people_write_them() -> None:
    table = {"help": "?", "detach": ["X", "F12"], "model.unload": "ctrl+k", "copy": {"all": "Q"}, "quit": ""}
    keymap = read_keymap(table)
    assert keymap.problems == ()
    assert dict(keymap.changed) == {
        "help": "question_mark",
        "detach": "X,f12",
        "model.unload": "ctrl+k",
        "copy.all": "Q",
        "quit": "",
    }
    bindings = keymap.bindings()
    assert bindings["detach"] == "X,f12"
    assert bindings["detach.2"] == bindings["quit"] == "unbound"


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"model.unlod": "x"}, "model.unlod: no such action, did you mean model.unload?"),
        ({"help": 5}, "help: a key is a text, several are a list of texts"),
        ({"help": ["h", 5]}, "help: a key is a text, several are a list of texts"),
        ({"help": "hyperspace"}, "help: hyperspace is no key"),
        ({"help": "foo+x"}, "help: foo+x is no key"),
        ({"help": "ctrl+b"}, "help: ^B is taken by tmux"),
        ({"model.load": "d"}, "d means model.load and delete: model.load wins"),
        ({"rename": "Z", "model.load": "Z"}, "Z means model.load and rename: model.load wins"),
        ({"model.load": "f5"}, "F5 means go.file.always and model.load: go.file.always wins"),
        ({"model.load": "q"}, "q means model.load and quit: model.load wins"),
    ],
)
def test_what_is_wrong_is_told(table: dict[str, object], problem: str) -> None:
    assert read_keymap(table).problems == (problem,)


def test_two_keys_that_change_places_are_no_conflict() -> None:
    assert read_keymap({"model.load": "u", "model.unload": "l"}).problems == ()


def write_config(home: Path, text: str) -> dict[str, str]:
    folder = home / ".config" / "corral"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(text)
    return {"HOME": str(home), "COLORTERM": "truecolor"}


def app_of(client: FakeClient, environ: dict[str, str], mode: Where = Where.MODELS) -> WorkbenchApp:
    class Started(WorkbenchApp):
        CSS_PATH = STYLES
        DEFAULT_MODE = mode

    return Started(ServiceLink(client, asyncio.get_running_loop()), environ=environ)


def test_other_tables_of_the_file_are_passed_over(tmp_path: Path) -> None:
    environ = write_config(tmp_path, 'host = "x"\n[models."a"]\nnum_ctx = 1\n[screen]\nmotion = false\nmouse = true\n')
    found = load_preferences(environ)
    assert (found.motion, found.mouse, found.theme, found.problems) == (False, True, "", ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[keys\n", "config.toml: "),
        ("keys = 1\n", "keys is a table: [keys]"),
        ("[theme]\nname = 1\n", "[theme] name is a text"),
        ("[screen]\nmotion = 1\n", "[screen] motion is true or false"),
        ("[screen]\nmouth = true\n", "[screen] mouth is not known"),
    ],
)
def test_a_file_with_mistakes_never_stops_the_screen(tmp_path: Path, text: str, problem: str) -> None:
    [told] = load_preferences(write_config(tmp_path, text)).problems
    assert problem in told


async def test_the_screens_obey(tmp_path: Path) -> None:
    keys = '[keys]\n"go.server" = "f12"\n"sort" = ["ctrl+k", "ctrl+y"]\n"model.lod" = "x"\n'
    text = f'{keys}[theme]\nname = "corral-deuter"\n'
    app = app_of(FakeClient.with_models("smollm2:135m"), write_config(tmp_path, text))
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "model.lod: no such action" in picture(app))
        assert app.theme == "corral-deuter"
        await until(pilot, lambda: "USED▼" in picture(app))
        await pilot.press("s")
        assert "USED▼" in picture(app), "the old key must be free"
        await pilot.press("ctrl+k")
        await until(pilot, lambda: "USED▼" not in picture(app))
        await pilot.press("5")
        assert app.current_mode == Where.MODELS, "the old key must be free"
        await pilot.press("f12")
        await until(pilot, lambda: app.current_mode == Where.SERVER)
        await pilot.press("f1")
        await until(pilot, lambda: "F12              Go to Server" in picture(app))


async def test_the_key_report_names_keys_and_lets_none_act(tmp_path: Path) -> None:
    app = app_of(FakeClient.with_models("smollm2:135m"), write_config(tmp_path, '[keys]\n"model.load" = "d"\n'))
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press("colon", *"keys", "enter")
        await until(pilot, lambda: isinstance(app.screen, KeyReport))
        await until(pilot, lambda: "d means model.load and delete: model.load wins" in picture(app))
        await pilot.press("f6", "ctrl+o", "q")
        await until(pilot, lambda: "q (q): app quit" in picture(app))
        assert "often taken by zellij" in picture(app)
        assert app.current_mode == Where.MODELS
        await pilot.press("escape")
        await until(pilot, lambda: not app.screen.is_modal)


async def test_the_key_report_indents_what_it_wraps() -> None:
    app = app_of(FakeClient.with_models("smollm2:135m"), {"COLORTERM": "truecolor"})
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("colon", *"keys", "enter")
        await until(pilot, lambda: isinstance(app.screen, KeyReport) and "Every action" in picture(app))
        report = app.screen.query_one("VerticalScroll Static").region
        rows = [row[report.x : report.right].rstrip(" ┃") for row in picture(app).splitlines()]
        first = next(number for number, row in enumerate(rows) if row.startswith("go.chat "))
        last = next(number for number, row in enumerate(rows) if "press a key to see" in row)
        wrapped = [row for row in rows[first:last] if not row.startswith("go.")]
        assert wrapped, rows
        assert all(row.startswith(" " * 30) for row in wrapped), wrapped


def test_a_key_nobody_wants_is_said_to_do_nothing() -> None:
    assert describe_key("f9", Keymap({"file.create": ""})) == "f9 (F9): nothing here"


SCREENS = {Where.APP: Where.RUNNING, Where.PROMPT: Where.CHAT, Where.TRANSFERS: Where.MODELS}
UNDER_WAY = TransferView("t7", "phi4:14b", "pulling abc", 6_100_000_000, 9_100_000_000, 48_200_000.0)
_SCROLLS = frozenset({"scroll_end", "scroll_home", "scroll_down", "scroll_up", "page_down", "page_up"})
"""What a focused text does by itself with the keys that move."""


@pytest.mark.parametrize("where", Where)
async def test_every_key_of_the_table_reaches_its_action(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key is pressed on its screen; what it runs is noted and not done."""
    client = FakeClient.with_models("smollm2:135m")
    client.snapshot = replace(EMPTY, transfers=(UNDER_WAY,))
    app = app_of(client, {"COLORTERM": "truecolor"}, SCREENS.get(where, where))
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: bool(app.screen_stack) and app.screen.is_mounted and "corral" in picture(app))
        if where in (Where.CHAT, Where.FILE):  # out of the field that takes letters
            await pilot.press("escape")
        if where is Where.TRANSFERS:
            await until(pilot, lambda: "phi4:14b" in picture(app))
            app.screen.query_one(Transfers).focus()
            await until(pilot, lambda: isinstance(app.focused, Transfers))
        ran: list[str] = []

        async def note(action: Any, namespace: Any = None, *rest: Any) -> bool:
            ran.append(str(action))
            return True

        monkeypatch.setattr(app, "run_action", note)
        missed = []
        for action in ACTIONS:
            if action.where is not where or not action.keys:
                continue
            for key in action.keys.split(","):
                ran.clear()
                await pilot.press(key)
                if action.action not in ran and not _SCROLLS.issuperset(ran[:1] or [""]):
                    missed.append((action.id, key, list(ran)))
        assert missed == []
