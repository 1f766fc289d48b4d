"""What a snapshot says of models, of those who wait, of clients and of the log."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from corral.runtime.engine.protocol import CacheUse, Load, Started
from corral.runtime.events import Events
from corral.runtime.forecast import Forecast
from corral.runtime.gauges import Gauges
from corral.runtime.log_lines import KEPT_LINES, LogLines
from corral.runtime.publish import Publisher
from corral.runtime.recordings import KEPT_BODIES, LONGEST_BODY, Recordings
from corral.runtime.requests import RequestLog
from corral.runtime.residents import Wanted
from corral.runtime.runner import Runner
from corral.runtime.scheduler import Scheduler
from corral.runtime.snapshot import HostSample, ModelState, RequestState
from corral.runtime.stderr_tail import KEPT_LINES as KEPT_STDERR
from corral.runtime.stderr_tail import StderrTail
from corral.runtime.transfers import Transfers
from corral.runtime.verbs import FOREVER, Caller, ChatRequest, Message
from tests.fakes.moment import HOST
from tests.fakes.runner import FakeRunner
from tests.waiting import until


class Probe:
    """A machine that is always the same."""

    def host(self) -> HostSample:
        return HOST

    def process(self, pid: int) -> None:
        return None


class Stage:
    """A publisher over a scheduler whose runners have no process; two models fit."""

    def __init__(self, max_loaded: int = 2, *, may_load: bool = True) -> None:
        self._may_load = may_load
        clock = asyncio.get_running_loop().time
        self.runners: list[FakeRunner] = []
        self.events = Events(lambda: 7.0)
        self.log = LogLines(lambda: 7.0)
        self.events.on_add = self.log.follow_event
        self.requests = RequestLog(clock, lambda: 7.0)
        self.requests.on_row_end = self.log.follow_request
        self.scheduler = Scheduler(
            self._take, self.events, clock, max_loaded=max_loaded, max_queue=4, load_timeout_s=5.0
        )
        self.publisher = Publisher(
            self.scheduler,
            Gauges(Probe()),
            self.requests,
            Transfers(clock),
            self.events,
            self.log,
            clock,
            lambda: 7.0,
        )

    async def _take(self) -> Runner:
        self.runners.append(runner := FakeRunner())
        if not self._may_load:
            runner.may_load.clear()
        return runner


def wanted(name: str) -> Wanted:
    load = Load(path=f"/{name}", num_ctx=1024, num_cells=4096, num_sequences=4)
    return Wanted(name, f"digest of {name}", load, forecast=Forecast(weights=100, cache=20, compute=3, extra=1))


async def test_says_who_would_go_next_and_why() -> None:
    stage = Stage()
    for name, times in (("often", 3), ("seldom", 1)):
        for _ in range(times):
            async with stage.scheduler.lease(wanted(name), 60):
                pass
    views = {one.name: one for one in stage.publisher.snapshot().models}
    assert (views["seldom"].leaves, views["often"].leaves) == (1, 2)
    assert views["often"].worth.startswith("asked 3.0× lately, loads in 0.")
    assert stage.scheduler.pin("digest of seldom", pinned=True)
    views = {one.name: one for one in stage.publisher.snapshot().models}
    assert (views["seldom"].leaves, views["seldom"].pinned, views["often"].leaves) == (0, True, 1)
    await stage.scheduler.close()


async def test_a_load_tells_which_layers_gpus_take_as_far_as_it_has_said() -> None:
    stage = Stage(may_load=False)
    leasing = asyncio.create_task(stage.scheduler.lease(wanted("a"), 60).__aenter__())
    await until(lambda: len(stage.runners) == 1)
    (runner,) = stage.runners
    await until(lambda: stage.publisher.snapshot().models[0].state is ModelState.LOADING)
    view = stage.publisher.snapshot().models[0]
    assert (view.gpu_layers, view.num_layers) == (0, 0)
    runner.load_split = (21, 33)
    view = stage.publisher.snapshot().models[0]
    assert (view.gpu_layers, view.num_layers) == (21, 33)
    runner.may_load.set()
    await leasing
    view = stage.publisher.snapshot().models[0]
    assert (view.gpu_layers, view.num_layers) == (0, 1)
    await stage.scheduler.close()


async def test_who_stays_for_ever_is_said_to() -> None:
    stage = Stage()
    async with stage.scheduler.lease(wanted("a"), FOREVER):
        pass
    assert stage.publisher.snapshot().models[0].worth.endswith("asked to stay")
    await stage.scheduler.close()


async def test_a_pinned_model_neither_expires_nor_makes_room() -> None:
    stage = Stage(max_loaded=1)
    async with stage.scheduler.lease(wanted("a"), 0.01):
        assert stage.scheduler.pin("digest of a", pinned=True)
    view = stage.publisher.snapshot().models[0]
    assert (view.state, view.expires_in_s) == (ModelState.IDLE, FOREVER)
    other = asyncio.create_task(stage.scheduler.lease(wanted("b"), 60).__aenter__())
    await until(lambda: stage.scheduler.waiting() == 1)
    assert [one.name for one in stage.publisher.snapshot().models] == ["a"]
    assert stage.scheduler.pin("digest of a", pinned=False)
    await other
    assert [one.name for one in stage.publisher.snapshot().models] == ["b"]
    assert not stage.scheduler.pin("digest of a", pinned=True)
    await stage.scheduler.close()


async def test_a_pin_outlasts_a_reload_and_ends_with_an_unload() -> None:
    stage = Stage()
    async with stage.scheduler.lease(wanted("a"), 60):
        stage.scheduler.pin("digest of a", pinned=True)
    stage.scheduler.find("digest of a").runner.exited.set()  # type: ignore[union-attr]
    await until(lambda: stage.scheduler.find("digest of a") is None)
    async with stage.scheduler.lease(wanted("a"), 60):
        assert stage.publisher.snapshot().models[0].pinned
    await stage.scheduler.unload("digest of a")
    await until(lambda: stage.scheduler.find("digest of a") is None)
    async with stage.scheduler.lease(wanted("a"), 60):
        assert not stage.publisher.snapshot().models[0].pinned
    await stage.scheduler.close()


async def test_who_waits_for_room_is_told_why() -> None:
    stage = Stage(max_loaded=1)
    stage.requests.begin(Caller("r1", "10.0.0.7 curl"), "b")
    async with stage.scheduler.lease(wanted("a"), 60):
        waiting = asyncio.create_task(stage.scheduler.lease(wanted("b"), 60, 2, "r1").__aenter__())
        await until(lambda: stage.scheduler.waiting() == 1)
        (view,) = stage.publisher.snapshot().queue
        assert (view.request_id, view.client, view.model, view.priority, view.for_room) == (
            *("r1", "10.0.0.7 curl", "b"),
            2,
            True,
        )
        assert view.reason == "1 models are the limit"
    await waiting
    assert stage.publisher.snapshot().queue == ()
    await stage.scheduler.close()


async def test_who_waits_for_a_slot_is_told_so() -> None:
    class Busy(FakeRunner):
        streams = 0

        @property
        def running(self) -> int:
            return self.streams

    stage = Stage()
    runner = Busy()

    async def take() -> Runner:
        return runner

    stage.scheduler._take_runner = take
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(stage.scheduler.lease(wanted("a"), 60))
        stage.requests.begin(Caller("r1", "curl"), "a")
        stage.requests.update("r1", state=RequestState.WAITING)
        assert stage.publisher.snapshot().queue == ()
        runner.streams, runner.streams_waiting = 5, 1
        assert [one.reason for one in stage.publisher.snapshot().queue] == ["all 4 slots are busy"]
        runner.streams = 3
        (view,) = stage.publisher.snapshot().queue
        assert "cache has no room" in view.reason
        assert not view.for_room
    await stage.scheduler.close()


async def test_who_waits_for_a_slot_is_told_so_before_the_runner_has_said_anything() -> None:
    stage = Stage()
    async with AsyncExitStack() as stack:
        for number in range(6):
            await stack.enter_async_context(stage.scheduler.lease(wanted("a"), 60))
            stage.requests.begin(Caller(f"r{number}", "curl"), "a")
            stage.requests.update(f"r{number}", state=RequestState.WAITING)
        told = stage.publisher.snapshot()
        assert [(one.request_id, one.reason) for one in told.queue] == [
            ("r4", "all 4 slots are busy"),
            ("r5", "all 4 slots are busy"),
        ]
        assert (told.waiting, told.models[0].waiting) == (2, 2)
    await stage.scheduler.close()


async def test_memory_is_held_against_the_forecast_and_cache_against_its_use() -> None:
    stage = Stage()
    async with stage.scheduler.lease(wanted("a"), 60):
        runner = stage.runners[0]
        runner.cache.use = CacheUse(900, 3, 2, 5000, 1, 7000)
        assert stage.publisher.snapshot().models[0].hit_share is None
        runner.cache.started(Started(1, 100, 75))
        view = stage.publisher.snapshot().models[0]
    assert (view.expected_weights, view.expected_kv, view.expected_compute, view.expected_bytes) == (101, 20, 3, 124)
    assert (view.weights_bytes, view.kv_bytes, view.compute_bytes) == (100, 10, 1)
    assert (view.kept_cells, view.kept, view.parked, view.parked_bytes) == (900, 3, 2, 5000)
    assert (view.shelved, view.shelved_bytes, view.hit_share) == (1, 7000, 0.75)
    await stage.scheduler.close()


async def test_clients_and_log_follow_what_ends() -> None:
    stage = Stage()
    for number, status in enumerate((200, 404, 500)):
        stage.requests.begin(Caller(f"r{number}", "curl", "POST", "/api/chat"), "m")
        stage.requests.update(f"r{number}", output_tokens=10, prompt_done=5)
        stage.requests.end(f"r{number}", status=status, note="it broke" if status >= 400 else "")
    stage.events.add("load", "m in 1.0 s")
    snapshot = stage.publisher.snapshot()
    (client,) = snapshot.clients
    assert (client.name, client.requests, client.errors, client.prompt_tokens, client.output_tokens) == (
        "curl",
        *(3, 2, 15, 30),
    )
    assert [(line.number, line.level, line.source) for line in snapshot.log] == [
        (1, "info", "http"),
        (2, "warning", "http"),
        (3, "error", "http"),
        (4, "info", "load"),
    ]
    assert snapshot.log[2].text == "curl POST /api/chat m 500 0 ms 10 tokens it broke"
    assert stage.publisher.snapshot().log is snapshot.log


def test_the_log_is_bounded() -> None:
    log = LogLines(lambda: 1.0)
    for number in range(KEPT_LINES + 5):
        log.add("info", "test", f"line {number} {'x' * 5000}")
    assert len(log.lines()) == KEPT_LINES
    assert log.lines()[0].number == 6
    assert len(log.lines()[0].text) == 2000


def test_nothing_is_recorded_unless_asked_for_and_all_forgotten_after() -> None:
    recordings = Recordings()
    recordings.add_body("a", b"{}")
    assert recordings.get("a") is None
    recordings.switch(on=True)
    recordings.add_body("a", b"\xff" + b"x" * LONGEST_BODY)
    asked = ChatRequest("m", (Message("user", "hi", images=(b"png",)),))
    recordings.add_asked("a", asked)
    kept = recordings.get("a")
    assert kept is not None
    assert (len(kept.body), kept.cut) == (LONGEST_BODY, 1)
    assert isinstance(kept.asked, ChatRequest)
    assert kept.asked.messages == (Message("user", "hi"),)
    recordings.add_asked("b", ChatRequest("m", (Message("user", "x" * LONGEST_BODY + "y"),)))
    assert recordings.get("b") is None
    for number in range(KEPT_BODIES):
        recordings.add_body(f"later {number}", b"")
    assert recordings.get("a") is None
    recordings.switch(on=False)
    assert recordings.get("later 3") is None


async def test_standard_error_is_told_line_by_line() -> None:
    told: list[str] = []
    tail = StderrTail(told.append)
    stream = asyncio.StreamReader()
    for piece in (b"one\ntw", b"o\n\n", b"".join(b"%d\n" % n for n in range(KEPT_STDERR + 1)), b"last"):
        stream.feed_data(piece)
    stream.feed_eof()
    await tail.read(stream)
    assert told[:3] == ["one", "two", "0"]
    assert told[-1] == tail.last == "last"
