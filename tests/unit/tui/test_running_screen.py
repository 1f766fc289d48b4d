from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import replace

from corral.runtime.snapshot import EMPTY, EngineHost, EventView, ModelState, QueueView, RequestState, Snapshot
from corral.runtime.verbs import FOREVER, GenerateRequest
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.screens.running import RunningScreen
from corral.tui.widgets.event_log import EventLog
from corral.tui.widgets.glyphs import Glyphs
from corral.tui.widgets.gpu_panels import heat
from corral.tui.widgets.graph import HistoryGraph
from corral.tui.widgets.host_panels import memory_parts
from corral.tui.widgets.loaded_table import columns as loaded_columns
from corral.tui.widgets.loaded_table import row as loaded_row
from corral.tui.widgets.loaded_table import where
from corral.tui.widgets.model_panel import model_lines, speed_words
from corral.tui.widgets.queue_table import rows as queue_rows
from corral.tui.widgets.queue_table import title as queue_title
from corral.tui.widgets.slot_table import row as slot_row
from corral.tui.widgets.slot_table import slots_of
from tests.fakes.client import FakeClient
from tests.fakes.moment import AT_S, BARE_GPU, GPU, HOST, model, moment, request
from tests.fakes.screen import SIZES, Wire, overflows, picture, until, workbench

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
        assert ("◐ weights ██" if size[0] > 100 else "◐ load 41%") in shown
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


FULL = model(
    "full:1b",
    expected_bytes=280_000_000,
    expected_weights=98_000_000,
    expected_kv=94_000_000,
    expected_compute=88_000_000,
    vram_bytes=100_000_000,
    kept_cells=500,
    kept=3,
    parked=2,
    parked_bytes=5_000_000,
    shelved=1,
    shelved_bytes=7_000_000,
    hit_share=0.91,
    leaves=2,
    worth="asked 3.0× lately, loads in 0.9 s",
    aliases=("other:name",),
)
QUEUE = (
    QueueView("r9", "10.0.0.9", "big:32b", AT_S - 4.2, "5.9 GiB more memory are needed", 1, True),
    QueueView("r8", "curl", "smollm2:135m", AT_S - 1.0, "all 4 slots are busy"),
)


def test_a_model_in_full() -> None:
    lines = "\n".join(model_lines(FULL, 76, Glyphs.BRAILLE))
    assert "takes       98.4M   94.0M    100M    292M  +4 %" in lines
    assert "forecast    98.0M   94.0M   88.0M    280M" in lines
    assert "RAM 192M · VRAM 100M · rss 310M · CPU 180 %" in lines
    assert "█ 312 run  ▓ 500 cache  ░ 15.6k free" in lines
    assert "91 % · kept 3 · parked 2 (5.0M) · disk 1 (7.0M)" in lines
    assert "2nd · asked 3.0× lately, loads in 0.9 s" in lines
    assert "other:name" in lines


def test_a_model_nobody_knows_more_of() -> None:
    bare = model("bare", cells_total=0, weights_bytes=0, kv_bytes=0, compute_bytes=0)
    lines = model_lines(bare, 40, Glyphs.ASCII)
    assert lines[1].split() == ["takes", "—", "—", "—", "—"]
    assert lines[4] == "cells    —"
    assert lines[-1] == "evict    —"
    assert "never: pinned" in model_lines(replace(bare, pinned=True), 40, Glyphs.ASCII)[-1]


@pytest.mark.parametrize("used", [0, 1, 812, 16384])
def test_a_bar_of_cells_has_one_length_and_shows_whatever_there_is(used: int) -> None:
    line = model_lines(replace(FULL, cells_used=used, kept_cells=min(used, 1)), 76, Glyphs.ASCII)[4]
    drawn = line.split()[1]
    assert len(drawn) == 30
    assert ("=" in drawn) == (used > 0)
    assert ("." in drawn) == (used < 16384)


@pytest.mark.parametrize("size", SIZES)
async def test_shows_who_waits_and_why(size: tuple[int, int]) -> None:
    app = workbench(client_at(queue=QUEUE), Where.RUNNING)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "Queue 2 · oldest 4.20s · 5.9 GiB more memory" in picture(app))
        assert screen_of(app).queue.keys_shown == ("r9", "r8")
        assert not overflows(app)


def test_the_queue_in_words() -> None:
    (_, first), (_, second) = queue_rows(QUEUE, AT_S)
    assert [first[key].plain for key in ("client", "model", "since", "priority", "reason")] == [
        *("10.0.0.9", "big:32b", "0:04", "+1"),
        "5.9 GiB more memory are needed",
    ]
    assert second["priority"].plain == ""
    assert queue_title((), AT_S) == "Queue · nobody waits"
    assert [key for key, _ in queue_rows([replace(one, request_id="") for one in QUEUE], AT_S)] == [
        "nameless 0",
        "nameless 1",
    ]


async def test_cancel_in_the_queue_is_for_the_one_under_its_cursor() -> None:
    client = client_at(queue=QUEUE)
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(screen_of(app).queue.keys_shown) == 2)
        screen_of(app).queue.focus()
        await pilot.press("down", "x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: client.canceled == ["r8"])


@pytest.mark.parametrize("size", [*SIZES, (60, 16), (200, 50)])
async def test_the_model_in_full_follows_the_cursor(size: tuple[int, int]) -> None:
    app = workbench(client_at(models=(FULL, model(HOSTILE, worth=HOSTILE))), Where.RUNNING)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: len(screen_of(app).loaded.keys_shown) == 2)
        if size[0] < 120:
            assert "forecast" not in picture(app)
            await pilot.press("i")
        await until(pilot, lambda: "takes       98.4M   94.0M" in picture(app))
        assert not overflows(app)
        await pilot.press("down")
        await until(pilot, lambda: "Model · [/x]" in picture(app))
        assert "\x1b" not in picture(app)
        assert not overflows(app)


async def test_keys_keep_extend_and_bring_back_a_model() -> None:
    idle = model("smollm2:135m", state=ModelState.IDLE, expires_in_s=200.0, keep_alive_s=300.0)
    client = client_at(models=(idle,))
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: screen_of(app).highlighted_model is not None)
        await pilot.press("P")
        await until(pilot, lambda: ("pin", "smollm2:135m", True) in client.asked)
        await pilot.press("plus")
        await until(pilot, lambda: kept_alive(client) == [500.0])
        await pilot.press("U")
        await pilot.press("u")
        await until(pilot, lambda: ("unload", "smollm2:135m") in client.asked)
        assert kept_alive(client) == [500.0]
        await pilot.press("U")
        await until(pilot, lambda: kept_alive(client) == [500.0, None])
        client.snapshot = moment(models=(replace(idle, pinned=True, expires_in_s=FOREVER),))
        await until(pilot, lambda: screen_of(app).highlighted_model.pinned)  # type: ignore[union-attr]
        await pilot.press("plus", "P")
        await until(pilot, lambda: ("pin", "smollm2:135m", False) in client.asked)
        assert kept_alive(client) == [500.0, None]


def kept_alive(client: FakeClient) -> list[float | None]:
    return [one.keep_alive_s for one in client.asked if isinstance(one, GenerateRequest)]


async def test_a_busy_model_is_extended_from_what_it_was_given() -> None:
    client = client_at(models=(model("smollm2:135m", keep_alive_s=60.0),))
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: screen_of(app).highlighted_model is not None)
        await pilot.press("plus")
        await until(pilot, lambda: kept_alive(client) == [360.0])


async def test_any_model_on_disk_can_be_loaded() -> None:
    client = client_at(models=())
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Nothing is in memory" in picture(app))
        await pilot.press("u", "P", "plus")
        await pilot.press("l")
        await until(pilot, lambda: "llama3.2:3b" in picture(app))
        await pilot.press(*"llama", "enter")
        await until(pilot, lambda: [one.model for one in client.asked if isinstance(one, GenerateRequest)] != [])
        assert [one.model for one in client.asked if isinstance(one, GenerateRequest)] == ["llama3.2:3b"]


async def test_events_of_one_kind_and_those_that_match() -> None:
    events = (
        EventView(3.0, "info", "load", "a in 1 s"),
        EventView(2.0, "info", "unload", "b: evicted for a"),
        EventView(1.0, "info", "load", "b in 2 s"),
    )
    app = workbench(client_at(events=events), Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        log = screen_of(app).query_one(EventLog)
        await until(pilot, lambda: len(log.keys_shown) == 3)
        await pilot.press("K")
        await until(pilot, lambda: len(log.keys_shown) == 2)
        assert "Events · load" in picture(app)
        await pilot.press("K")
        await until(pilot, lambda: len(log.keys_shown) == 1)
        await pilot.press("K")
        await until(pilot, lambda: len(log.keys_shown) == 3)
        await pilot.press("slash", *"evicted", "enter")
        await until(pilot, lambda: len(log.keys_shown) == 1)
        await pilot.press("escape")
        await until(pilot, lambda: len(log.keys_shown) == 3)


async def test_every_gpu_can_be_looked_at() -> None:
    host = replace(HOST, gpus=(replace(GPU, clock_mhz=1755.0, throttled="too hot"), BARE_GPU))
    app = workbench(client_at(host=host, history=(HOST, host)), Where.RUNNING)
    async with app.run_test(size=(120, 50)) as pilot:
        await until(pilot, lambda: "GPU 0 of 2" in picture(app))
        assert "61 °C · 412/700 W · 1755 MHz · ! too hot" in picture(app)
        assert "VRAM 27 %" in picture(app)
        assert "CPU 2 cores" in picture(app)
        await pilot.press("]")
        await until(pilot, lambda: "GPU 1 of 2 [] · NVIDIA GB10 · n/a" in picture(app))
        await pilot.press("[")
        await until(pilot, lambda: "GPU 0 of 2" in picture(app))
        assert not overflows(app)


def has_drawn(app: WorkbenchApp, text: str) -> bool:
    return text in picture(app)


async def test_an_idle_second_costs_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def after(seconds: int) -> Snapshot:
        host = replace(HOST, cpu_percent=2.0 + seconds % 3, cpu_per_core=(3.0 + seconds % 5, 1.0))
        history = tuple(replace(HOST, cpu_percent=float((seconds + n) % 4)) for n in range(60))
        idle = model("m:1b", state=ModelState.IDLE, expires_in_s=300.0 - seconds, slots_used=0, tokens_per_s=0.0)
        return moment(at_s=AT_S + seconds, host=host, history=history, models=(idle,), requests=(), transfers=())

    client = client_at()
    client.snapshot = after(0)
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "5:00" in picture(app))
        await pilot.pause()
        wire = Wire(app, monkeypatch)
        for second in range(1, 6):
            client.snapshot = after(second)
            app.refresh_now()
            await until(pilot, partial(has_drawn, app, f"4:{60 - second}"))
            await pilot.pause()
        assert 0 < wire.sent / 5 < 10_000


@pytest.mark.parametrize(
    ("phase", "wide", "narrow"),
    [
        ("weights", "◐ weights ██░░░░ 41%", "◐ load 41%"),
        ("cache", "◐ cache", "◐ cache"),
        ("runner", "◐ runner", "◐ runner"),
    ],
)
def test_a_load_is_told_by_its_phase(phase: str, wide: str, narrow: str) -> None:
    view = model("a", state=ModelState.LOADING, load_phase=phase, load_fraction=0.41)
    for is_wide, told in ((True, wide), (False, narrow)):
        assert loaded_row(view, is_wide=is_wide, glyphs=Glyphs.BLOCK)["state"].plain == told


def test_speed_and_memory_of_late_are_drawn() -> None:
    view = model("a", rates=(0.0, 50.0, 100.0), rss_history=(1, 2), tokens_per_s=61.2)
    assert loaded_row(view, is_wide=True, glyphs=Glyphs.BLOCK)["rate"].plain == " 61.2       ▄█"
    assert loaded_row(view, is_wide=False, glyphs=Glyphs.BLOCK)["rate"].plain == "61.2"
    narrow = next(one for one in loaded_columns(80) if one.key == "rate")
    assert narrow.is_right, "figures stand under each other"
    assert speed_words(view, Glyphs.BLOCK) == "61.2 tok/s ▄█ peak 100"
    assert any("rss 310M ▄█" in line for line in model_lines(view, 60, Glyphs.BLOCK))


async def test_a_model_elsewhere_is_told_by_its_server() -> None:
    hosts = (EngineHost("http://gpu01:11434", requests=2), EngineHost("http://gpu02:11434"))
    view = model("a", remote="http://gpu01:11434,http://gpu02:11434", hosts=hosts, slots_used=2, num_ctx=0, pid=0)
    cells = {key: cell.plain for key, cell in loaded_row(view, is_wide=True, glyphs=Glyphs.BLOCK).items()}
    assert (cells["where"], cells["weights"], cells["kv"], cells["slots"]) == ("elsewhere", "—", "—", "2")
    assert cells["state"] == "● busy gpu01:11434"
    app = workbench(client_at(models=(view,)), Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "gpu02:11434 · well" in picture(app))
        assert "takes no memory here" in picture(app)
        assert "gpu01:11434 · well · 2 of ours" in picture(app)
        assert not overflows(app)


def test_a_server_elsewhere_that_is_ill_is_told_with_its_reason() -> None:
    ill = EngineHost("http://gpu01:11434", "does not answer, \x1b[2Jat all")
    view = model("a", remote="http://gpu01:11434,http://gpu02:11434", hosts=(ill, EngineHost("http://gpu02:11434")))
    state = loaded_row(view, is_wide=True, glyphs=Glyphs.BLOCK)["state"].plain
    assert state == "● busy 1 of 2 ill"
    lines = "\n".join(model_lines(view, 60, Glyphs.BLOCK))
    assert "gpu01:11434 · passed over: does not answer, " in lines
    assert "\x1b" not in lines
    alone = replace(view, remote=ill.url, hosts=(ill,))
    assert loaded_row(alone, is_wide=True, glyphs=Glyphs.BLOCK)["state"].plain.startswith("✗ does not answer")


async def test_the_pace_of_the_gauges_is_that_of_the_screen() -> None:
    app = workbench(client_at(), Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        app.refresh_s = 3.0
        await until(pilot, lambda: "every 3 s" in picture(app))
        await pilot.press("minus")
        await until(pilot, lambda: app.refresh_s == 5.0)
        await pilot.press("equals_sign", "equals_sign")
        await until(pilot, lambda: app.refresh_s == 1.0)
        app.glyphs = Glyphs.ASCII
        await until(pilot, lambda: "◐ weights ##...." in picture(app))
