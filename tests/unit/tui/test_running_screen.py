from __future__ import annotations

from dataclasses import replace

import pytest

from corral.runtime.snapshot import EMPTY, ModelState, RequestState
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.screens.running import RunningScreen
from corral.tui.widgets.glyphs import Glyphs
from corral.tui.widgets.graph import HistoryGraph
from corral.tui.widgets.host_panels import heat, memory_parts
from corral.tui.widgets.loaded_table import row as loaded_row
from corral.tui.widgets.loaded_table import where
from corral.tui.widgets.slot_table import row as slot_row
from corral.tui.widgets.slot_table import slots_of
from tests.fakes.client import FakeClient
from tests.fakes.moment import AT_S, BARE_GPU, GPU, HOST, model, moment, request
from tests.fakes.screen import SIZES, overflows, picture, until, workbench

HOSTILE = "[/x]\x1b]0;t\x07漢字"


def screen_of(app: WorkbenchApp) -> RunningScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, RunningScreen)
    return screen


def client_at(**changes: object) -> FakeClient:
    client = FakeClient.with_models("smollm2:135m", "llama3.2:3b")
    client.snapshot = moment(**changes)
    return client


@pytest.mark.parametrize("size", SIZES)
async def test_shows_gauges_models_slots_and_events(size: tuple[int, int]) -> None:
    app = workbench(client_at(), Where.RUNNING)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "◔ prefill" in picture(app))
        shown = picture(app)
        assert "CPU 2 cores · 34 %" in shown
        assert "load 1.2 0.8 0.4" in shown
        assert "4.1G/8.3G  49 %" in shown
        assert "● busy" in shown
        assert "◐ load" in shown
        assert "41%" in shown
        assert "310/812" in shown
        assert "! queue" in shown
        assert "unload" in shown.splitlines()[-1]
        assert not overflows(app)


@pytest.mark.parametrize("size", SIZES)
async def test_shows_gpus_where_there_are_some_and_what_they_do_not_say_as_unknown(size: tuple[int, int]) -> None:
    host = replace(HOST, gpus=(GPU, BARE_GPU))
    app = workbench(client_at(host=host, history=(host,) * 50), Where.RUNNING)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "NVIDIA H200 · 71 %" in picture(app))
        shown = picture(app)
        assert "61 °C · 412/700 W" in shown
        assert "VRAM 38.2G of 141G" in shown
        assert "n/a" in shown
        assert not overflows(app)


async def test_without_a_gpu_there_is_no_gpu_panel() -> None:
    app = workbench(client_at(), Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "CPU 2 cores" in picture(app))
        assert "GPU" not in picture(app)


async def test_says_so_when_nothing_is_in_memory_or_known() -> None:
    client = FakeClient()
    client.snapshot = EMPTY
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Nothing is in memory" in picture(app))
        await until(pilot, lambda: "CPU · n/a" in picture(app))
        assert not overflows(app)


async def test_slots_follow_the_highlighted_model() -> None:
    app = workbench(client_at(requests=(request(1), request(2, model="llama3.2:3b", client="10.9.9.9"))), Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: screen_of(app).slots.keys_shown == ("r1",))
        await pilot.press("down", "down")
        await until(pilot, lambda: screen_of(app).slots.keys_shown == ("r2",))
        assert "Slots · llama3.2:3b" in picture(app)


async def test_pause_freezes_the_gauges_and_nothing_else() -> None:
    client = client_at()
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "CPU 2 cores · 34 %" in picture(app))
        await pilot.press("space")
        await until(pilot, lambda: "gauges paused" in picture(app))
        client.snapshot = moment(at_s=2000.0, host=replace(HOST, cpu_percent=99.0), models=(model("new:1b"),))
        await until(pilot, lambda: "new:1b" in picture(app))
        assert "CPU 2 cores · 34 %" in picture(app)
        await pilot.press("space")
        await until(pilot, lambda: "CPU 2 cores · 99 %" in picture(app))


async def test_interval_and_glyph_keys() -> None:
    app = workbench(client_at(), Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "every 1 s" in picture(app))
        await pilot.press("minus")
        await until(pilot, lambda: "every 2 s" in picture(app))
        await pilot.press("equals_sign", "equals_sign", "equals_sign")
        await until(pilot, lambda: "every 0.5 s" in picture(app))
        for glyphs in (Glyphs.BLOCK, Glyphs.ASCII):
            await pilot.press("B")
            await until(pilot, lambda glyphs=glyphs: app.query_one(HistoryGraph)._glyphs is glyphs)  # type: ignore[misc]
        await until(pilot, lambda: "#" in picture(app) and "⣿" not in picture(app))


async def test_cancel_and_unload() -> None:
    client = client_at(models=(model("smollm2:135m"),))
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(screen_of(app).slots.keys_shown) == 2)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is screen_of(app))
        assert client.canceled == []
        screen_of(app).slots.focus()
        await pilot.press("down", "x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: client.canceled == ["r9"])
        await pilot.press("u")
        await until(pilot, lambda: ("unload", "smollm2:135m") in client.asked)


@pytest.mark.parametrize("size", [*SIZES, (60, 16), (200, 50)])
async def test_hostile_text_is_inert(size: tuple[int, int]) -> None:
    client = client_at(models=(model(HOSTILE),), requests=(request(1, model=HOSTILE, client=HOSTILE, path=HOSTILE),))
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "[/x]␛" in picture(app))
        assert "\x1b" not in picture(app)
        assert not overflows(app)


async def test_survives_being_resized() -> None:
    app = workbench(client_at(), Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        for size in ((1, 1), (500, 200), (60, 16), (80, 24)):
            await pilot.resize_terminal(*size)
        await until(pilot, lambda: "CPU 2 cores" in picture(app))
        assert not overflows(app)


async def test_own_memory_is_never_cut_off() -> None:
    busy = replace(model("smollm2:135m"), rss_bytes=552_000_000, cpu_percent=164.0)
    host = replace(HOST, process_rss=84_000_000, process_cpu_percent=16.0)
    app = workbench(client_at(host=host, models=(busy,)), Where.RUNNING)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "workbench 84.0M · runners 552M │" in picture(app).replace("  ", ""))


def test_a_model_that_still_loads_has_no_figures_yet() -> None:
    loading = replace(model("big"), state=ModelState.LOADING, weights_bytes=0, kv_bytes=0, compute_bytes=0)
    cells = loaded_row(loading, is_wide=True, glyphs=Glyphs.BRAILLE)
    assert [cells[key].plain for key in ("where", "weights", "kv", "compute", "memory", "until")] == ["—"] * 6


def test_memory_adds_up_to_all_there_is() -> None:
    parts = memory_parts(HOST, [model("a"), model("b", vram_bytes=292_362_432)])
    assert sum(part.amount for part in parts) == HOST.memory_total
    assert parts[0].amount == 98_362_432
    assert sum(part.amount for part in memory_parts(HOST, [])) == HOST.memory_total


def test_where_a_model_runs() -> None:
    assert where(model("a")) == "CPU"
    assert where(model("a", vram_bytes=292_362_432)) == "GPU"
    assert where(model("a", vram_bytes=146_181_216)) == "GPU 50%"


def test_unknown_heat_is_not_zero() -> None:
    assert heat(BARE_GPU) == "n/a °C · n/a W"


def test_slots_are_requests_in_flight_oldest_first() -> None:
    waiting = request(3, state=RequestState.WAITING)
    requests = (waiting, request(2), request(1, state=RequestState.DONE), request(0, model="other"))
    assert [one.id for one in slots_of("smollm2:135m", requests, {"smollm2:135m", "other"})] == ["r2", "r3"]
    assert slots_of(None, requests, set()) == []


def test_a_request_by_another_name_of_the_same_weights_is_shown() -> None:
    alias = request(1, model="my-smollm2:latest")
    assert slots_of("smollm2:135m", (alias,), {"smollm2:135m"}) == [alias]
    assert slots_of("smollm2:135m", (alias,), {"smollm2:135m", "my-smollm2:latest"}) == []
    assert slot_row(alias, "smollm2:135m", AT_S)["path"].plain == "/api/chat as my-smollm2:latest"
