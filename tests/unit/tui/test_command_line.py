"""The line after `:`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from corral.api.server import Service
from corral.runtime.settings import Settings
from corral.runtime.upkeep import SettingView
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.command_history import CommandHistory
from corral.tui.dialogs.command_line import CommandLine
from corral.tui.line_commands import COMMANDS, Words, candidates, find_action
from corral.tui.terminal import ExitReason
from tests.fakes.client import FakeClient
from tests.fakes.screen import picture, until, workbench
from tests.fakes.served import Served, ServedFake


@pytest.fixture
def other() -> Iterator[Served]:
    """Another server, with a model of its own."""
    fake = ServedFake.with_models("there:latest")
    service = Service(Settings(models=Path("/nonexistent"), listen_port=0), workbench=lambda _: fake)
    service.start()
    yield Served(fake, service)
    service.stop(drain_s=0)


SETTINGS = {
    "motion": SettingView("motion", "on", "default", True, "Let things move"),
    "max_queue": SettingView("max_queue", "512", "default", False, "Requests that may wait"),
}
WORDS = Words(
    ("smollm2:135m", "qwen3:8b"),
    ("nord", "corral"),
    ("http://gpu01:11434",),
    Where.MODELS,
    settings=SETTINGS,
    values=lambda name: ("on", "off") if name == "motion" else (),
    own={"work": "host gpu01"},
)


def lines(typed: str) -> list[str]:
    return [one.line for one in candidates(typed, WORDS)]


def test_what_a_line_can_become() -> None:
    assert lines("pu")[0] == "pull"
    assert lines("rm ") == ["rm smollm2:135m", "rm qwen3:8b"]
    assert lines("rm smollm2:135m q") == ["rm smollm2:135m qwen3:8b"]
    assert lines("theme n") == ["theme nord"]
    assert lines("host g") == ["host http://gpu01:11434"]
    assert lines("host ")[0] == "host here"
    assert lines("set m") == ["set motion", "set max_queue"]
    assert candidates("set mo", WORDS)[0].about == "on · default · Let things move"
    assert "needs a restart" in candidates("set max", WORDS)[0].about
    assert lines("set motion o") == ["set motion on", "set motion off"]
    assert lines("wo")[0] == "work", "the user's own commands too"
    assert lines("cp qwen3:8b s") == []
    assert lines("nosuch x") == []
    assert "sort.reverse" in lines("sort"), "every action is a command"
    assert "chat.new" not in lines("chat."), "but not those of other screens"


def test_every_command_says_how_it_goes() -> None:
    names = [name for one in COMMANDS for name in (one.name, *one.aliases)]
    assert len(names) == len(set(names))
    assert all(one.usage.startswith(one.name) and one.about[0].isupper() for one in COMMANDS)


def test_short_names_of_actions() -> None:
    assert (save := find_action("w", Where.FILE)) is not None
    assert save.id == "file.save"
    assert (unload := find_action("unload", Where.RUNNING)) is not None
    assert unload.id == "running.unload"
    assert find_action("file.save", Where.CHAT) is None


async def typed(pilot: Pilot[ExitReason], app: WorkbenchApp, text: str) -> None:
    await pilot.press("colon")
    await until(pilot, lambda: isinstance(app.screen, CommandLine) and bool(app.screen.query(Input)))
    app.screen.query_one(Input).value = text
    await pilot.press("enter")


async def test_lines_are_done() -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "smollm2:135m" in picture(app))
        await typed(pilot, app, "cp smollm2:135m mine")
        await until(pilot, lambda: "mine:latest" in client.models)
        await typed(pilot, app, "load mine")
        await until(pilot, lambda: "loaded mine" in picture(app))
        await typed(pilot, app, "rm mine")
        await until(pilot, lambda: "frees" in picture(app))
        await pilot.press("y")
        await until(pilot, lambda: "mine:latest" not in client.models)
        await typed(pilot, app, "pull qwen3:8b")
        await until(pilot, lambda: "pulled qwen3:8b" in picture(app))
        await typed(pilot, app, "unload nosuch")
        await until(pilot, lambda: "not found" in picture(app))
        await typed(pilot, app, "theme nord")
        await until(pilot, lambda: app.theme == "nord")
        await typed(pilot, app, "theme nosuch")
        await until(pilot, lambda: "no such theme" in picture(app))
        await typed(pilot, app, "set motion off")
        await until(pilot, lambda: app.animation_level == "none")
        await typed(pilot, app, "rm")
        await until(pilot, lambda: ":rm MODEL..." in picture(app))
        await typed(pilot, app, "frobnicate")
        await until(pilot, lambda: "no such command: frobnicate" in picture(app))
        await typed(pilot, app, "server")
        await until(pilot, lambda: app.current_mode == "server")
        await typed(pilot, app, "q")
    assert app.return_value is ExitReason.QUIT


async def test_a_line_opens_a_chat() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m", "qwen3:8b"), Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2:135m" in picture(app))
        await pilot.press("escape")
        await typed(pilot, app, "chat qwen3:8b")
        await until(pilot, lambda: "Prompt to qwen3:8b" in picture(app))


@pytest.mark.parametrize("size", [(120, 36), (60, 16)])
async def test_a_line_is_completed_and_remembered(size: tuple[int, int]) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=size) as pilot:
        await pilot.press("colon", *"the", "tab")
        await until(pilot, lambda: app.screen.query_one(Input).value == "theme ")
        await pilot.press(*"nor", "tab")
        await until(pilot, lambda: app.screen.query_one(Input).value == "theme nord ")
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "nord")
        await pilot.press("colon", "up")
        await until(pilot, lambda: app.screen.query_one(Input).value == "theme nord")
        await pilot.press("down")
        await until(pilot, lambda: app.screen.query_one(Input).value == "")
        await pilot.press(*"load s")
        await until(pilot, lambda: "load smollm2:135m" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: not app.screen.is_modal)


def test_lines_are_kept_between_runs(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    history = CommandHistory(environ)
    for line in ("theme nord", "q", "theme nord"):
        history.add(line)
    assert CommandHistory(environ).entries() == ["q", "theme nord"]
    assert CommandHistory(environ | {"OLLAMA_NOHISTORY": "1"}).entries() == []
    history.add("x")
    assert (tmp_path / ".local/state/corral/commands").stat().st_mode & 0o077 == 0


async def test_a_screen_moves_to_another_server_and_back(other: Served) -> None:
    app = workbench(FakeClient.with_models("near:latest"), Where.MODELS)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "near:latest" in picture(app))
        await typed(pilot, app, f"host {other.service.base_url}")
        await until(pilot, lambda: "there:latest" in picture(app) and "near:latest" not in picture(app))
        await until(pilot, lambda: f"● {other.service.address}" in picture(app))
        await typed(pilot, app, "host 127.0.0.1:1")
        await until(pilot, lambda: "could not connect" in picture(app))
        assert "there:latest" in picture(app)
        other.service.stop(drain_s=0)
        await until(pilot, lambda: "✗ no answer" in picture(app))
        await typed(pilot, app, "host here")
        await until(pilot, lambda: "near:latest" in picture(app))
