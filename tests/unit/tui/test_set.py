"""`:set`: what can be set of screen and service, what it is, where it comes from; and what it then does."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from corral.runtime.config_file import read_config
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.command_history import CommandHistory
from corral.tui.config_writing import CannotWrite, service_choice, write_choice
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.settings import SettingsDialog
from corral.tui.dialogs.themes import ThemesDialog
from corral.tui.line_commands import execute
from corral.tui.preferences import load_preferences
from corral.tui.screen_settings import SCREEN_SETTINGS, choices_of
from corral.tui.terminal import ExitReason
from corral.tui.widgets.glyphs import Glyphs
from corral.tui.widgets.picture import PictureSize
from tests.fakes.client import FakeClient
from tests.fakes.moment import moment
from tests.fakes.screen import SIZES, overflows, picture, until, workbench
from tests.unit.tui.test_chat_keys import chat_screen
from tests.unit.tui.test_command_line import typed

FILE = """
[theme]
name = "nord"
[screen]
confirm = false
refresh = 5
graph = "block"
[hosts]
gpu01 = "10.0.0.5:11434"
[commands]
dark = "theme nord"
quiet = "set motion"
"""


def config(tmp_path: Path, text: str) -> str:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return str(path)


async def told(app: WorkbenchApp, line: str) -> str:
    return await execute(app, line, Where.MODELS)


async def test_settings_of_the_screen_are_told_changed_and_taken_back(tmp_path: Path) -> None:
    app = workbench(FakeClient(), Where.MODELS, CORRAL_CONFIG=config(tmp_path, FILE))
    async with app.run_test(size=(120, 36)):
        assert app.theme == "nord"
        assert (app.confirms, app.refresh_s, app.glyphs) == (False, 5.0, Glyphs.BLOCK)
        assert (await told(app, "set theme")).startswith("theme is nord, config.toml\n")
        assert (await told(app, "set motion")).startswith("motion is on, default")
        assert ":set! motion off keeps it" in await told(app, "set motion off")
        assert app.animation_level == "none"
        assert (await told(app, "set motion")).startswith("motion is off, set here")
        assert await told(app, "set motion default") == "motion is on"
        assert await told(app, "set refresh 0.5") == "refresh is 0.5 · :set! refresh 0.5 keeps it"
        assert app.refresh_s == 0.5
        assert (await told(app, "set graph maybe")) == "graph is one of braille, block, ascii"
        assert (await told(app, "set nosuch")) == "there is no setting nosuch: :set all lists them"
        await told(app, "dark")
        assert (await told(app, "quiet off")).startswith("motion is off"), "words follow a command of the user's"
        await told(app, "set mouse off")
        assert not app.has_mouse


async def test_every_setting_of_the_screen_takes_all_it_offers() -> None:
    app = workbench(FakeClient(), Where.MODELS)
    async with app.run_test(size=(80, 24)):
        for one in SCREEN_SETTINGS:
            for value in one.choices(app):
                await told(app, f"set {one.name} {value}")
                assert one.value(app) == value, one.name
            assert choices_of(app, one.name)[-1] == "default"


async def test_settings_of_the_service_are_changed_there() -> None:
    client = FakeClient()
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        assert (await told(app, "set max_queue")).startswith(
            "max_queue is 512, OLLAMA_MAX_QUEUE · changing it needs a restart"
        )
        await told(app, "set keep_alive 10m")
        await told(app, "limit 5M")
        assert client.asked == [("adjust", "keep_alive", "10m"), ("adjust", "limit_rate", "5000000")]
        await told(app, "set keep_alive default")
        assert client.asked[-1] == ("adjust", "keep_alive", "")
        assert "bytes a second" in await told(app, "limit fast")
        await typed(pilot, app, "set nosuch 1")
        await until(pilot, lambda: "there is no setting nosuch" in picture(app))


@pytest.mark.parametrize("size", SIZES)
async def test_all_settings_are_listed_and_one_is_changed_from_there(size: tuple[int, int]) -> None:
    app = workbench(FakeClient(), Where.MODELS)
    async with app.run_test(size=size) as pilot:
        await typed(pilot, app, "set all")
        await until(pilot, lambda: isinstance(app.screen, SettingsDialog) and "keep_alive" in picture(app))
        assert "↻ max_queue" in picture(app)
        assert not overflows(app)
        await pilot.press(*"memory stays")
        await until(pilot, lambda: "motion" not in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: bool(app.screen.query(Input)) and "set keep_alive " in picture(app))
        await until(pilot, lambda: "set keep_alive 1h" in picture(app))


async def choose_theme(pilot: Pilot[ExitReason], app: WorkbenchApp) -> str:
    await typed(pilot, app, "theme")
    await until(pilot, lambda: isinstance(app.screen, ThemesDialog))
    before = app.theme
    await pilot.press("down", "down")
    await until(pilot, lambda: app.theme != before)
    return before


async def test_themes_are_seen_while_choosing_and_taken_back_by_escape() -> None:
    app = workbench(FakeClient(), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        before = await choose_theme(pilot, app)
        await pilot.press("escape")
        await until(pilot, lambda: not app.screen.is_modal)
        assert app.theme == before
        await choose_theme(pilot, app)
        seen = app.theme
        await pilot.press("enter")
        await until(pilot, lambda: "theme" in app.set_here)
        assert app.theme == seen
        await typed(pilot, app, "theme")
        await until(pilot, lambda: isinstance(app.screen, ThemesDialog))
        await pilot.press(*"gruv")
        await until(pilot, lambda: app.theme == "gruvbox")


async def test_without_questions_what_can_be_undone_is_done_at_once() -> None:
    client = FakeClient.with_models("a:1")
    client.snapshot = moment()
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "a:1" in picture(app))
        await told(app, "set confirm off")
        await pilot.press("d")
        await until(pilot, lambda: "will be deleted in" in picture(app))
        await pilot.press("U")
        await until(pilot, lambda: "will be deleted in" not in picture(app))
        await typed(pilot, app, "gc")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog) and "cannot be undone" in picture(app))
        await pilot.press("n")
        await until(pilot, lambda: not app.screen.is_modal)
        assert "a:1" in client.models


async def test_commands_of_a_screen_work_from_any_other() -> None:
    client = FakeClient.with_models("a:1")
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await typed(pilot, app, "undo")
        await until(pilot, lambda: "nothing to undo" in picture(app))
        await typed(pilot, app, "pin a:1")
        await until(pilot, lambda: ("pin", "a:1", True) in client.asked)
        await typed(pilot, app, "unpin a:1")
        await until(pilot, lambda: ("pin", "a:1", False) in client.asked)
        await typed(pilot, app, "gc")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog) and "20.9G" in picture(app))
        await pilot.press("n")
        await until(pilot, lambda: app.current_mode == "models" and not app.screen.is_modal)
        await typed(pilot, app, "outdated")
        await until(pilot, lambda: "nothing newer is known" in picture(app))
        await typed(pilot, app, "undo")
        await until(pilot, lambda: "nothing to undo" in picture(app))


def test_what_is_wrong_in_the_tables_of_the_screen(tmp_path: Path) -> None:
    text = '[screen]\nrefresh = 0\ngraph = "dots"\nconfirm = 1\n[hosts]\na = 1\n[commands]\nb = "q"\n'
    wishes = load_preferences({"CORRAL_CONFIG": config(tmp_path, text)})
    assert wishes.problems == (
        "[hosts] a is a text",
        "[screen] refresh is a number of seconds from 0.5 to 60",
        "[screen] graph is one of braille, block, ascii",
        "[screen] confirm is true or false",
    )
    assert (wishes.refresh_s, wishes.graph, wishes.commands) == (None, "", {"b": "q"})


async def test_images_are_drawn_from_then_on_or_no_longer() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, TERM="xterm-256color")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        transcript = chat_screen(app).transcript
        assert transcript.pictures[0] is PictureSize.SMALL
        assert (await told(app, "set images")).startswith("images is auto, default")
        await told(app, "set images off")
        await until(pilot, lambda: transcript.pictures == (PictureSize.NONE, PictureSize.NONE))
        await told(app, "set images on")
        await until(pilot, lambda: transcript.pictures == (PictureSize.SMALL, PictureSize.LARGE))


async def test_a_choice_is_written_beside_the_comments_of_the_file(tmp_path: Path) -> None:
    text = """# mine
max_queue = 3   # few

[screen]  # how it looks
refresh = 5     # seconds
[models.qwen3]
pinned = true
"""
    path = Path(config(tmp_path, text))
    path.chmod(0o600)
    link = tmp_path / "dotfile.toml"
    link.symlink_to(path)
    app = workbench(FakeClient(), Where.MODELS, CORRAL_CONFIG=str(link))
    async with app.run_test(size=(120, 36)):
        assert await told(app, "set! refresh 2") == f"refresh is 2 · {link} says so"
        assert (app.refresh_s, app.preferences.refresh_s) == (2.0, 2.0)
        await told(app, "set! theme nord")
        await told(app, "set! images off")
        await told(app, "set! keep_alive 1h")
        assert await told(app, "set! graph dots") == "graph is one of braille, block, ascii"
        assert (await told(app, "set refresh")).startswith("refresh is 2, config.toml\n")
        for refused in ("set! api_key x", "set! history off", "set! nosuch 1"):
            with pytest.raises(CannotWrite):
                await told(app, refused)
    written = path.read_text()
    assert "max_queue = 3   # few\n" in written
    assert "[screen]  # how it looks\nrefresh = 2.0     # seconds\nimages = false\n" in written
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    found = read_config(path)
    assert (found.faults, found.warnings) == ((), ())
    assert found.values == {"MAX_QUEUE": "3", "KEEP_ALIVE": "1h"}
    assert load_preferences({"CORRAL_CONFIG": str(path)}).theme == "nord"
    write_choice(path, "screen", "refresh", None)
    assert "refresh" not in path.read_text()


def test_a_broken_file_is_left_alone_and_none_is_begun(tmp_path: Path) -> None:
    path = Path(config(tmp_path, "[screen\n"))
    with pytest.raises(CannotWrite, match="broken"):
        write_choice(path, "screen", "motion", False)
    assert path.read_text() == "[screen\n"
    fresh = tmp_path / "new" / "config.toml"
    write_choice(fresh, "", "num_parallel", service_choice("num_parallel", "2"))
    assert fresh.read_text() == "num_parallel = 2\n"
    write_choice(fresh, "", "flash_attention", service_choice("flash_attention", "on"))
    write_choice(fresh, "screen", "graph", "ascii")
    write_choice(fresh, "", "limit_rate", service_choice("limit_rate", "5MB"))
    assert read_config(fresh).values == {"NUM_PARALLEL": "2", "FLASH_ATTENTION": "1", "LIMIT_RATE": "5MB"}


def test_a_history_that_is_off_keeps_nothing(tmp_path: Path) -> None:
    history = CommandHistory({"HOME": str(tmp_path)})
    history.is_kept = False
    history.add("q")
    assert history.entries() == ["q"]
    assert CommandHistory({"HOME": str(tmp_path)}).entries() == []


async def test_the_file_is_read_again_and_changes_what_it_says_differently(tmp_path: Path) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS, CORRAL_CONFIG=config(tmp_path, FILE))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "smollm2:135m" in picture(app))
        assert await told(app, "reload") == "config.toml says nothing new"
        await told(app, "set motion off")
        await told(app, "set graph ascii")
        config(
            tmp_path,
            '[screen]\ngraph = "braille"\nmouse = false\n[keys]\n"go.server" = "9"\n[commands]\nw = "server"\n',
        )
        told_now = await told(app, "reload")
        assert "graph" in told_now
        assert "keys" in told_now
        assert app.glyphs is Glyphs.BRAILLE
        assert not app.has_mouse
        assert app.animation_level == "none", "what the file says nothing of stays"
        await pilot.press("5")
        assert app.current_mode == Where.MODELS
        await pilot.press("9")
        await until(pilot, lambda: app.current_mode == Where.SERVER)
        config(tmp_path, "[keys\n")
        assert (await told(app, "reload")).startswith("nothing is changed:")
        assert app.keys.changed == {"go.server": "9"}
        config(tmp_path, "")
        await told(app, "reload")
        await pilot.press("2")
        await until(pilot, lambda: app.current_mode == Where.MODELS)
        await pilot.press("5")
        await until(pilot, lambda: app.current_mode == Where.SERVER)
