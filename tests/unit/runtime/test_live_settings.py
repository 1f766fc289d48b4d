"""What the settings say of single models, and reading them again, on a real model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from msgspec import structs

from corral.runtime.dispatch import Dispatch
from corral.runtime.errors import BadRequest, LoadFailed
from corral.runtime.events import Events
from corral.runtime.library import Library
from corral.runtime.live_settings import LiveSettings
from corral.runtime.model_tables import ModelTable
from corral.runtime.requests import RequestLog
from corral.runtime.runner import Runner
from corral.runtime.scheduler import Scheduler
from corral.runtime.setting_views import LIVE_VARIABLES
from corral.runtime.settings import LIVE, Settings, load
from corral.runtime.settings_change import SettingsChange, take_over
from corral.runtime.snapshot import GpuSample, ModelState
from corral.runtime.upkeep import SettingView
from corral.runtime.verbs import FOREVER, GenerateRequest
from corral.runtime.workbench import Workbench
from corral.store.blobs import BlobStore
from corral.store.catalog import Catalog
from corral.store.collection import Collection
from corral.store.paths import StorePaths
from corral.store.retry import RateLimit
from tests.conftest import STARTER_MODEL
from tests.waiting import until

TABLE = f"""
[models."{STARTER_MODEL}"]
preload = true
pinned = true
num_parallel = 2
num_ctx = 512
num_predict = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


@pytest.fixture
async def bench(own_store: Path, file: Path) -> AsyncIterator[Workbench]:
    file.write_text(f'keep_alive = "1m"\n{TABLE}')
    environ = {"CORRAL_CONFIG": str(file), "CORRAL_MODELS": str(own_store), "CORRAL_PROMPT_CACHE": "0"}
    bench = Workbench(load(environ, file.parent), warm=False)
    await bench.start("127.0.0.1:0")
    yield bench
    await bench.close()


async def test_a_model_with_a_table(bench: Workbench, file: Path) -> None:
    def idle() -> bool:
        return any(one.state is ModelState.IDLE for one in bench.snapshot_now().models)

    await until(idle, 60)
    (model,) = bench.snapshot_now().models
    assert (model.name, model.num_ctx, model.slots_total, model.expires_in_s) == (STARTER_MODEL, 512, 2, FOREVER)
    ask = GenerateRequest(STARTER_MODEL, "hi", options={"temperature": 0})
    chunks = [chunk async for chunk in bench.generate(ask)]
    assert chunks[-1].stats.output_tokens == 3
    chunks = [chunk async for chunk in bench.generate(structs.replace(ask, options={"num_predict": 2}))]
    assert chunks[-1].stats.output_tokens == 2
    (model,) = bench.snapshot_now().models
    assert model.expires_in_s == FOREVER  # pinned: for ever, whatever holds for others

    alias = f'[aliases]\nmine = "{STARTER_MODEL}"\n'
    table = f'[models."{STARTER_MODEL}"]\nnum_predict = 1\n'
    file.write_text(f'keep_alive = "90s"\nmax_queue = 3\n{table}{alias}')
    change = await bench.reload_settings()
    assert set(change.changed) == {"keep_alive_s", "model_tables", "aliases"}
    assert change.restart == ("max_queue",)
    chunks = [chunk async for chunk in bench.generate(ask)]
    assert chunks[-1].stats.output_tokens == 1
    chunks = [chunk async for chunk in bench.generate(structs.replace(ask, model="mine"))]
    assert chunks[-1].stats.output_tokens == 1
    (model,) = bench.snapshot_now().models
    assert model.expires_in_s == pytest.approx(90, abs=5)
    assert bench.snapshot_now().counts.loads == 1

    file.write_text("keep_alive = [1]")
    with pytest.raises(BadRequest, match=r"config\.toml:1: keep_alive must be"):
        await bench.reload_settings()
    chunks = [chunk async for chunk in bench.generate(ask)]
    assert chunks[-1].stats.output_tokens == 1


def gpu(free: int) -> GpuSample:
    return GpuSample(0, "a GPU", 2**37 - free, 2**37, None, None, None, None)


async def no_runner() -> Runner:
    raise LoadFailed("no runners here")


def dispatch_of(store: Path, gpus: Sequence[GpuSample] = (), **settings: object) -> Dispatch:
    """A dispatch on a store, with nobody to load anything."""
    paths = StorePaths(store)
    blobs = BlobStore(paths)
    events = Events(lambda: 0.0)
    return Dispatch(
        Settings(models=store, **settings),  # type: ignore[arg-type]
        Library(Collection(Catalog(paths, blobs))),
        Scheduler(no_runner, events, lambda: 0.0, max_loaded=3, max_queue=1, load_timeout_s=1.0),
        RequestLog(lambda: 0.0, lambda: 0.0),
        clock=lambda: 0.0,
        free_memory=lambda: 2**34,
        new_id=lambda: "id",
        gpus=lambda: gpus,
    )


async def test_what_is_left_of_a_gpu_to_others_is_not_planned_with(own_store: Path) -> None:
    room = 10**9

    async def layers(gpus: int, overhead: int) -> int:
        dispatch = dispatch_of(own_store, [gpu(room)] * gpus, gpu_overhead=overhead)
        model = await dispatch.open(STARTER_MODEL)
        return dispatch.wanted(model, {"num_ctx": 512}).load.placement.gpu_layers

    assert await layers(1, 0) == -1  # all, as nothing says otherwise
    some = await layers(1, room - 250_000_000)
    assert 0 < some < 31
    assert await layers(1, room) == 0
    assert await layers(2, room - 250_000_000) > some or await layers(2, room - 250_000_000) == -1


async def test_without_go_templates_the_models_own_is_used(own_store: Path) -> None:
    with_go = await dispatch_of(own_store).open(STARTER_MODEL)
    dispatch = dispatch_of(own_store, go_template=False)
    library = await dispatch.library.open(STARTER_MODEL)
    assert library == with_go
    assert (await dispatch.open(STARTER_MODEL)).template is None


async def test_how_many_models_may_be_there_depends_on_the_gpus(own_store: Path) -> None:
    for given, gpus, most in ((0, 0, 3), (0, 1, 3), (0, 4, 12), (2, 4, 3)):
        dispatch = dispatch_of(own_store, max_loaded_models=given)
        LiveSettings(dispatch, Events(lambda: 0.0)).meet([gpu(1)] * gpus)
        assert dispatch.scheduler.max_loaded == most  # 3 is what the scheduler was given


async def test_a_model_that_cannot_be_loaded_at_the_start_is_told_of(own_store: Path) -> None:
    tables = {"none:latest": ModelTable(preload=True), STARTER_MODEL: ModelTable(preload=True)}
    events = Events(lambda: 0.0)
    live = LiveSettings(dispatch_of(own_store, model_tables=tables), events)
    live.preload()
    live.meet([])
    await until(lambda: len(events.newest()) >= 2)
    told = [event.text for event in events.newest()]
    assert any(text.startswith("none:latest is to be loaded at the start") for text in told)
    assert any(text.startswith(f"{STARTER_MODEL} is to be loaded at the start") for text in told)
    await live.close()


def test_only_what_can_change_is_taken_over() -> None:
    now = Settings(models=Path("/a"))
    new = Settings(models=Path("/b"), keep_alive_s=1.0, strict=True, context_length=9, warnings=("x",))
    taken, change = take_over(now, new)
    assert taken == structs.replace(now, keep_alive_s=1.0, context_length=9)
    assert change == SettingsChange(("keep_alive_s", "context_length"), ("models", "strict"), ("x",))
    assert set(LIVE) <= set(Settings.__struct_fields__)
    with pytest.raises(BadRequest, match="bad"):
        take_over(now, structs.replace(new, faults=("bad",)))


@pytest.fixture
async def live(own_store: Path, tmp_path: Path) -> LiveSettings:
    (tmp_path / "config.toml").write_text('keep_alive = "1m"\n')
    environ = {"CORRAL_CONFIG": str(tmp_path / "config.toml"), "OLLAMA_MAX_QUEUE": "9", "CORRAL_API_KEY": "secret"}
    dispatch = dispatch_of(own_store)
    dispatch.settings = load(environ, tmp_path)
    return LiveSettings(dispatch, Events(lambda: 0.0), limit=RateLimit(0))


async def test_a_setting_is_changed_until_the_end_and_taken_back(live: LiveSettings, tmp_path: Path) -> None:
    def told(views: Sequence[SettingView], name: str) -> tuple[str, str, bool]:
        (one,) = [one for one in views if one.name == name]
        return one.value, one.origin, one.live

    views = await live.views()
    assert told(views, "keep_alive") == ("1m", f"{tmp_path}/config.toml:1", True)
    assert told(views, "max_queue") == ("9", "OLLAMA_MAX_QUEUE", False)
    assert told(views, "api_key")[0] == "(set)"
    assert (await live.adjust("keep_alive", "10m")).changed == ("keep_alive_s",)
    assert live.settings.keep_alive_s == 600
    assert told(await live.views(), "keep_alive") == ("10m", "set here", True)
    assert (await live.reload()).changed == (), "reading the file again does not take it back"
    await live.adjust("keep_alive", "")
    assert live.settings.keep_alive_s == 60


async def test_what_cannot_be_set_is_refused_and_changes_nothing(live: LiveSettings) -> None:
    for name, value, why in (
        ("nosuch", "1", "there is no setting nosuch"),
        ("max_queue", "3", "needs a restart"),
        ("api_key", "x", "needs a restart"),
        ("keep_alive", "soon", "invalid KEEP_ALIVE 'soon'"),
    ):
        with pytest.raises(BadRequest, match=why):
            await live.adjust(name, value)
    assert live.settings.keep_alive_s == 60


async def test_a_limit_holds_for_pulls_under_way(live: LiveSettings) -> None:
    await live.adjust("limit_rate", "5MB")
    assert live.settings.limit_rate == live.limit.bytes_per_s == 5_000_000


def test_every_live_variable_is_behind_a_live_field(tmp_path: Path) -> None:
    values = {"KEEP_ALIVE": "7s", "FLASH_ATTENTION": "0", "KV_CACHE_TYPE": "q8_0", "GO_TEMPLATE": "0", "ALIASES": "a=b"}
    kinds = {"use_mmap": "0", "numa": "1", "main_gpu": "1"}
    for name in LIVE_VARIABLES:
        for value in (values.get(name), kinds.get(name.lower()), "1", "0", "cpu", "exps=CPU", "none"):
            new = load({f"CORRAL_{name}": value}, tmp_path) if value else load({}, tmp_path)
            _, change = take_over(load({}, tmp_path), new)
            assert change.restart == (), name
            if change.changed:
                break
        else:
            raise AssertionError(f"{name} changes nothing")
