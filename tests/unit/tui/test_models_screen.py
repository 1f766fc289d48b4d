from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from textual.widgets import Input

from corral.runtime.snapshot import EMPTY, ModelState, TransferView
from corral.runtime.upkeep import Eviction, Fit, LoadPlan
from corral.runtime.verbs import DeletePlan, EmbedRequest, GenerateRequest, RerankRequest
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.delete import delete_lines
from corral.tui.filtering import matcher
from corral.tui.screens.models import ModelsScreen
from corral.tui.widgets.glyphs import Glyphs
from corral.tui.widgets.model_info import info_lines
from corral.tui.widgets.model_table import Listing, Sight, SortBy, arranged, capabilities, parameter_count, row
from corral.tui.widgets.transfers import part_row, transfer_row
from tests.fakes.client import FakeClient, summary
from tests.fakes.moment import model, moment
from tests.fakes.screen import SIZES, asked, overflows, picture, until, workbench

NAMES = ("smollm2:135m", "qwen3:8b", "llama3.2:3b")
HOSTILE = "[/x]\x1b]52;c;aGk=\x07漢字"


def screen_of(app: WorkbenchApp) -> ModelsScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ModelsScreen)
    return screen


@pytest.mark.parametrize("size", SIZES)
async def test_lists_the_models_with_what_is_loaded_and_what_comes(size: tuple[int, int]) -> None:
    client = FakeClient.with_models(*NAMES)
    client.snapshot = moment()
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "llama3.2:3b" in picture(app) and "gemma3:27b" in picture(app))
        shown = picture(app)
        assert "Models 3" in shown
        assert "● busy" in shown
        assert "◐ load 41%" in shown
        assert "41%" in shown
        assert "48.2MB/s" in shown
        assert "chat" in shown.splitlines()[-1]
        assert not overflows(app)


async def test_details_stand_beside_the_list_where_there_is_room() -> None:
    app = workbench(FakeClient.with_models(*NAMES), Where.MODELS)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "temperature" in picture(app))
        shown = picture(app)
        assert "quantization   Q4_1" in shown
        assert "temperature" in shown
        await pilot.press("i")
        await until(pilot, lambda: "quantization" not in picture(app))


async def test_an_empty_store_offers_the_starter_and_fetches_it_with_one_key() -> None:
    client = FakeClient()
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "No models yet" in picture(app))
        assert "f fetches the starter model" in picture(app)
        await pilot.press("f")
        await until(pilot, lambda: "smollm2:135m" in picture(app))
        assert ("pull", app.starter) in client.asked


async def test_filter_narrows_and_escape_clears_it() -> None:
    app = workbench(FakeClient.with_models(*NAMES), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: len(screen.table.keys_shown) == 3)
        await pilot.press("slash", *"qw8")
        await until(pilot, lambda: screen.table.keys_shown == ("qwen3:8b",))
        assert "1 shown by /qw8" in picture(app)
        await pilot.press("enter")
        await until(pilot, lambda: screen.table.has_focus)
        await pilot.press("escape")
        await until(pilot, lambda: len(screen.table.keys_shown) == 3)


async def test_sort_key_goes_through_the_columns_and_keeps_the_cursor_on_its_model() -> None:
    client = FakeClient.with_models(*NAMES)
    client.models["qwen3:8b"] = summary("qwen3:8b", 5_000_000_000)
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: len(screen.table.keys_shown) == 3)
        screen.table.go_to("llama3.2:3b")
        await pilot.press("s")
        await until(pilot, lambda: screen.table.keys_shown == ("llama3.2:3b", "qwen3:8b", "smollm2:135m"))
        assert screen.table.highlighted_key == "llama3.2:3b"
        assert "NAME▲" in picture(app)
        await pilot.press("S")
        await until(pilot, lambda: screen.table.keys_shown == ("smollm2:135m", "qwen3:8b", "llama3.2:3b"))
        assert screen.table.highlighted_key == "llama3.2:3b"
        await pilot.press("s")
        await until(pilot, lambda: screen.table.keys_shown[0] == "qwen3:8b")


async def test_delete_shows_its_plan_and_means_no_unless_told_yes() -> None:
    client = FakeClient.with_models(*NAMES)
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        screen.undo_s = 0.01
        await until(pilot, lambda: len(screen.table.keys_shown) == 3)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await until(pilot, lambda: "frees on disk" in picture(app))
        assert "Delete this model?" in picture(app)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is screen)
        assert len(client.models) == 3
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: len(client.models) == 2)
        await until(pilot, lambda: len(screen.table.keys_shown) == 2)


async def test_pull_asks_for_a_name_and_refuses_what_is_none() -> None:
    client = FakeClient.with_models("qwen3:8b")
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: len(screen.table.keys_shown) == 1)
        await pilot.press("p")
        await asked(pilot)
        await pilot.press(*"a b", "enter")
        await until(pilot, lambda: "✗ a name is" in picture(app))
        app.screen.query_one("#pull-what", Input).value = "llama3.2:1b"
        await pilot.press("enter")
        await until(pilot, lambda: ("pull", "llama3.2:1b") in client.asked)
        await until(pilot, lambda: "llama3.2:1b" in screen.table.keys_shown)


async def test_load_unload_and_copy() -> None:
    client = FakeClient.with_models("qwen3:8b")
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: len(screen.table.keys_shown) == 1)
        await pilot.press("l")
        await until(pilot, lambda: "qwen3:8b" in client.memory)
        request = client.asked[0]
        assert isinstance(request, GenerateRequest)
        assert (request.model, request.prompt) == ("qwen3:8b", "")
        assert request.caller is not None
        assert request.caller.client == "tui"
        await pilot.press("u")
        await until(pilot, lambda: not client.memory)
        await pilot.press("c")
        await asked(pilot)
        await pilot.press(*"mine", "enter")
        await until(pilot, lambda: "mine:latest" in screen.table.keys_shown)


async def test_a_transfer_is_cancelled_by_its_id_after_a_yes() -> None:
    client = FakeClient.with_models("qwen3:8b")
    client.snapshot = replace(EMPTY, transfers=(TransferView("t7", "gemma3", "pulling", 1, 2, 3.0),))
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "gemma3" in picture(app))
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: client.canceled == ["t7"])


async def test_a_refused_verb_is_told_and_the_app_goes_on() -> None:
    client = FakeClient.with_models("qwen3:8b")
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: len(screen.table.keys_shown) == 1)
        client.models.clear()
        await pilot.press("d")
        await until(pilot, lambda: "model 'qwen3:8b' not found" in picture(app))


@pytest.mark.parametrize("size", [*SIZES, (60, 16), (200, 50)])
async def test_hostile_names_are_inert_and_wide_characters_keep_the_frame(size: tuple[int, int]) -> None:
    client = FakeClient.with_models("qwen3:8b")
    client.models[HOSTILE] = replace(summary("x"), name=HOSTILE)
    client.snapshot = moment(
        models=(model(HOSTILE, state=ModelState.IDLE),),
        transfers=(TransferView("t1", HOSTILE, HOSTILE, 1, 2, 3.0),),
    )
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "[/x]␛]52" in picture(app))
        assert "\x1b" not in picture(app)
        assert not overflows(app)


def test_filters() -> None:
    assert matcher("smo135")("smollm2:135m")
    assert not matcher("smo136")("smollm2:135m")
    assert matcher("!smo")("qwen3:8b")
    assert not matcher("!smo")("smollm2:135m")
    assert matcher("re:^qwen\\d")("qwen3:8b")
    assert matcher("re:[")("a[b")
    assert matcher("")("anything")
    assert matcher("!")("anything")


def test_sorting_and_cells() -> None:
    models = [summary("b:1", 10), summary("a:1", 20)]
    assert [one.name for one in arranged(models, Listing(SortBy.NAME, False))] == ["a:1", "b:1"]
    assert [one.name for one in arranged(models, Listing(SortBy.SIZE, False))] == ["b:1", "a:1"]
    assert parameter_count("134.52M") == pytest.approx(134.52e6)
    assert parameter_count("8B") > parameter_count("999M") > parameter_count("") == parameter_count("huge")
    assert capabilities(("completion", "tools", "thinking")) == "T·R"
    assert capabilities(("completion",)) == "C"
    assert capabilities(("rerank",)) == "K"
    assert capabilities(()) == "—"
    cells = row(summary("a:1"), Sight(marked=["a:1"]), datetime(2026, 6, 5, 12, 30, tzinfo=UTC))
    assert cells["used"].plain == "3d"
    assert cells["state"].plain == "✓"


def test_delete_plan_says_what_stays() -> None:
    lines = delete_lines(DeletePlan(("a:1",), 1_300_000_000, 800_000_000, ("b:1",), ("a:1",)))
    assert "frees on disk     1.3G at once" in lines
    assert "stays (shared)    800M, also used by b:1" in lines
    assert "in memory now     a:1" in lines


async def test_keys_reach_the_list_after_it_was_empty_and_on_coming_back() -> None:
    client = FakeClient()
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: "No models yet" in picture(app))
        assert screen.table.has_focus
        await pilot.press("f")
        await until(pilot, lambda: screen.table.keys_shown == ("smollm2:135m",))
        await pilot.press("4", "f3")
        await until(pilot, lambda: screen.table.has_focus)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))


async def test_cells_take_the_colours_of_the_theme() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.snapshot = moment()
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        table = screen_of(app).table
        await until(pilot, lambda: "● busy" in picture(app))
        before = str(table.get_cell("smollm2:135m", "memory").spans[-1].style)
        app.theme = "dracula"
        await until(pilot, lambda: str(table.get_cell("smollm2:135m", "memory").spans[-1].style) != before)
        assert "● busy" in picture(app)


ROOM = LoadPlan(
    "qwen3:8b", 5_900_000_000, (Eviction("gemma3:4b", 4_400_000_000, "3 models are the limit", "asked 0.2×", True),),
    stays=("llama3.2:3b",),
)  # fmt: skip


@pytest.mark.parametrize(("size", "is_beside"), [((120, 36), True), ((80, 24), False)])
async def test_what_a_load_would_put_out_is_said_before(size: tuple[int, int], is_beside: bool) -> None:
    client = FakeClient.with_models(*NAMES)
    client.load_plans = {"qwen3:8b": ROOM}
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=size) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: len(screen.table.keys_shown) == 3)
        screen.table.go_to("qwen3:8b")
        if is_beside:
            await until(pilot, lambda: "Loading it now takes 5.9G" in picture(app))
            shown = picture(app)
            assert "puts out gemma3:4b  −4.4G, once its" in shown
            assert "3 models are the limit" in shown
            assert "stays: llama3.2:3b (pinned)" in shown
        else:
            await until(pilot, lambda: "qwen3:8b: loading it puts out gemma3:4b" in picture(app))
        screen.table.go_to("smollm2:135m")
        await until(pilot, lambda: "gemma3:4b" not in picture(app))
        client.load_plans = {"smollm2:135m": replace(ROOM, model="smollm2:135m", has_room=False)}
        client.snapshot = moment()
        await until(pilot, lambda: ("no room for it even so" if is_beside else "✗ no room for it") in picture(app))
        assert not overflows(app)


def test_a_pull_is_told_as_a_whole_and_the_part_it_is_at() -> None:
    transfer = TransferView("t", "m", "pulling ccc0", 400, 1000, 100.0, 2, 5, 30, 60)
    cells = {key: cell.plain for key, cell in transfer_row(transfer, bar_cells=10, glyphs=Glyphs.ASCII).items()}
    assert (cells["bar"], cells["percent"], cells["bytes"], cells["eta"]) == ("####......", "40%", "400B/1.0K", "0:06")
    assert cells["status"] == "pulling ccc0"
    cells = {key: cell.plain for key, cell in part_row(transfer, bar_cells=10, glyphs=Glyphs.ASCII).items()}
    assert (cells["name"], cells["bar"], cells["percent"]) == ("  part 2/5 pulling ccc0", "#####.....", "50%")
    assert (cells["bytes"], cells["rate"], cells["eta"]) == ("30B/60B", "100B/s", "0:00")


async def test_a_longer_context_that_takes_less_says_why() -> None:
    client = FakeClient.with_models("gemma3:270m")
    details = await client.show("gemma3:270m")
    less = (Fit(8192, 900_000_000, 19, 0, True), Fit(32768, 800_000_000, 19, 0, True))
    told = info_lines(summary("gemma3:270m"), details, less).plain
    assert "less: a sliding window is kept\n  whole only where that is cheap" in told
    assert "sliding" not in info_lines(summary("gemma3:270m"), details, less[::-1]).plain


@pytest.mark.parametrize(("capability", "kind"), [("embedding", EmbedRequest), ("rerank", RerankRequest)])
async def test_a_model_that_does_not_chat_is_loaded_too(capability: str, kind: type[object]) -> None:
    client = FakeClient.with_models("minilm:22m")
    client.models["minilm:22m"] = replace(client.models["minilm:22m"], capabilities=(capability,))
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 1)
        await pilot.press("l")
        await until(pilot, lambda: [type(one) for one in client.asked] == [kind], within_s=5)
