from __future__ import annotations

import ast
import asyncio
import gc
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.app import App
from textual.command import CommandList
from textual.widgets import Input

from corral.runtime.snapshot import EMPTY, GpuSample, HostSample, RequestState, RequestView
from corral.tui import app as app_module
from corral.tui.actions import ACTIONS, Where
from corral.tui.app import WorkbenchApp
from corral.tui.link import ServiceLink
from corral.tui.screens.chat import ChatScreen
from corral.tui.terminal import ExitReason
from tests.fakes.client import FakeClient
from tests.fakes.screen import SIZES, left, picture, until, workbench

HOST = HostSample(12.0, (12.0,), None, 24_000_000_000, 125_000_000_000, 1, 2, 100, 0.5)
REQUEST = RequestView("r1", "10.0.0.7", "POST", "/api/chat", "qwen3:8b", RequestState.DECODE, 0.0, 0.0)
SNAPSHOT = replace(EMPTY, serving="127.0.0.1:11434", host=HOST, tokens_per_s=61.0, throughput=(1.0, 2.0, 4.0))


def header(app: App[ExitReason]) -> str:
    return picture(app).splitlines()[0]


async def test_the_header_says_what_the_machine_does() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.snapshot = SNAPSHOT
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(130, 36)) as pilot:
        await until(pilot, lambda: "● 127.0.0.1:11434" in header(app))
        assert "[1 Chat] 2 Models  3 Running  4 Modelfile  5 Server" in header(app)
        assert "61.0 tok/s ▃▅█ q0 CPU 12% RAM 24.0G/125G" in header(app)
        gpu = GpuSample(0, "H100", 38_000_000_000, 79_000_000_000, 71.0, None, None, None)
        client.snapshot = replace(SNAPSHOT, host=replace(HOST, gpus=(gpu,)))
        await until(pilot, lambda: "GPU 71% VRAM 38.0/79.0G" in header(app))
        client.snapshot = replace(SNAPSHOT, host=replace(HOST, gpus=(replace(gpu, load_percent=None),)), serving="")
        await until(pilot, lambda: "GPU n/a" in header(app) and "○ not serving" in header(app))
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "Gn/a V38.0/79.0G" in header(app) and "[1Chat]" in header(app))


async def test_a_busy_narrow_header_still_names_the_server() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.snapshot = replace(SNAPSHOT, waiting=2)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "● 127.0.0.1:11434 [1Chat]" in header(app))
        assert header(app).endswith(" 61.0t/s q2 C12% R24.0G")
        app.link.place = "http://127.0.0.1:11434"
        await pilot.resize_terminal(66, 24)
        await until(pilot, lambda: header(app).rstrip().endswith("t/s q2"))
        assert header(app).startswith("● 127.0.0.1:11434 [1Chat]")


@pytest.mark.parametrize("size", SIZES)
async def test_every_screen_is_reached_by_key(size: tuple[int, int]) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=size) as pilot:
        for key, mode in (("f3", "models"), ("f4", "running"), ("f5", "file"), ("f6", "server"), ("f2", "chat")):
            await pilot.press(key)
            await until(pilot, lambda mode=mode: app.current_mode == mode)  # type: ignore[misc]
        await pilot.press("1")  # typed into the prompt
        assert app.current_mode == "chat"
        await pilot.press("escape", "2")
        await until(pilot, lambda: app.current_mode == "models")


@pytest.mark.parametrize("size", SIZES)
async def test_help_lists_every_action_and_finds_some(size: tuple[int, int]) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=size) as pilot:
        await pilot.press("f1")
        await until(pilot, lambda: "type to search" in picture(app))
        listed = str(app.screen.query_one("HelpDialog Static").render())
        told = " ".join(listed.split())
        assert [action.id for action in ACTIONS if action.description not in told] == []
        room = app.screen.query_one("HelpDialog Static").content_size.width
        assert max(map(len, listed.splitlines())) <= room  # Textual wraps without an indent
        await pilot.press(*"copy chat")
        await until(pilot, lambda: "Copy the whole chat" in picture(app))
        assert "Leave the workbench" not in picture(app)
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        await pilot.press("escape", "question_mark", "question_mark")
        await until(pilot, lambda: len(app.screen_stack) == 1)


async def test_the_palette_finds_actions_models_and_themes() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m", "qwen3:8b"), Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press("ctrl+p")
        await until(pilot, lambda: "Go to Server" in picture(app))
        await pilot.press(*"qwen3")
        await until(pilot, lambda: "Chat with qwen3:8b" in picture(app) and "Go to Server" not in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: "Prompt to qwen3:8b" in picture(app))
        await pilot.press("escape", "ctrl+p")
        await until(pilot, lambda: "Go to Server" in picture(app))
        await pilot.press(*"nord")
        await until(pilot, lambda: "Theme nord" in picture(app) and "Go to Server" not in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "nord")


async def test_the_palette_opens_again_before_the_one_left_has_gone() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press("ctrl+p")
        await until(pilot, lambda: "Go to Server" in picture(app))
        app.pop_screen()
        app.action_command_palette()
        app.action_command_palette()
        assert len(app.screen_stack) == 2
        await until(pilot, lambda: "Go to Server" in picture(app))


async def test_the_palette_is_paged_where_nothing_was_laid_out() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        app.action_command_palette()
        await until(pilot, lambda: isinstance(app.focused, Input))
        listed = app.screen.query_one(CommandList)
        listed.display = False
        await until(pilot, lambda: not listed.scrollable_content_region)
        listed.clear_options().add_options(["one", "two"])
        listed.highlighted = 1
        await pilot.press("pagedown", "pageup", "escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)


async def test_quitting_is_immediate_when_nothing_runs() -> None:
    app = workbench(FakeClient(), Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("q")
        await left(app)
    assert app.return_value is ExitReason.QUIT


async def test_quitting_asks_while_requests_run() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.snapshot = replace(SNAPSHOT, requests=(REQUEST,))
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+q")
        await until(pilot, lambda: "1 request runs. Stop serving?" in picture(app))
        assert "10.0.0.7" in picture(app)
        await pilot.press("ctrl+q", "enter")  # the safe answer has the focus
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert app.return_value is None
        await pilot.press("ctrl+q", "y")
        await left(app)
    assert app.return_value is ExitReason.QUIT


async def test_detaching_needs_something_that_goes_on() -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("D")
        await until(pilot, lambda: "no way to go on" in picture(app))
        app.can_detach = True
        await pilot.press("D")
        await until(pilot, lambda: "Nothing is served here" in picture(app))
        client.snapshot = replace(SNAPSHOT, requests=(REQUEST,))
        await pilot.press("q")
        await until(pilot, lambda: "D gives the terminal back" in picture(app))
        await pilot.press("D")
        await left(app)
    assert app.return_value is ExitReason.DETACH


async def test_leaving_a_server_elsewhere_asks_nothing() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.snapshot = replace(SNAPSHOT, requests=(REQUEST,))
    app = workbench(client, Where.MODELS)
    app.link.place = "http://gpu01:11434"
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("q")
        await left(app)
    assert app.return_value is ExitReason.QUIT


async def test_ctrl_c_copies_or_says_how_to_leave() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press("ctrl+c")
        await until(pilot, lambda: "Ctrl+Q leaves" in picture(app))
        await pilot.press("a", "b", "shift+left", "ctrl+c")
        await until(pilot, lambda: "Sent 1 bytes" in picture(app))


async def test_a_tiny_terminal_says_what_it_needs() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(50, 10)) as pilot:
        await until(pilot, lambda: "Corral needs 60 x 16 cells" in picture(app))
        assert "[1Chat]" in header(app)
        for size in ((1, 1), (500, 200), (80, 24)):
            await pilot.resize_terminal(*size)
        await until(pilot, lambda: "Prompt to" in picture(app))


async def test_monochrome_terminals_get_no_colour() -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = WorkbenchApp(ServiceLink(client, asyncio.get_running_loop()), environ={"NO_COLOR": "1"})
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to" in picture(app))
        assert app.theme == "ansi-dark"


async def test_work_that_is_replaced_before_it_began_leaves_nothing_behind() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        screen = app.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        for _ in range(5):
            screen.on_screen_resume()  # as a quick way out and back does, faster than the loop turns
        await pilot.pause()
        gc.collect()  # a coroutine that never ran would say so here, and a warning is an error


def test_workers_are_given_functions() -> None:
    """A coroutine made for a worker that is cancelled before it starts is never awaited, which Python warns of."""
    wrong = []
    for path in (Path(app_module.__file__).parent).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "run_worker":
                given = node.args[0]
                if isinstance(given, ast.Call) and getattr(given.func, "id", "") != "partial":
                    wrong.append(f"{path.name}:{node.lineno}")
    assert wrong == []
