"""What a runner is told to load: a request's options over the environment's, texts turned into what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runtime import load_options
from corral.runtime.engine.protocol import Load, Placement
from corral.runtime.errors import LoadFailed
from corral.runtime.loads import load_message
from corral.runtime.memory import cache_bytes_per_token
from corral.runtime.options import OPTIONS, parse_options
from corral.runtime.reload import reload_reason
from corral.runtime.residents import Wanted
from corral.runtime.settings import Settings
from corral.runtime.verbs import ChatRequest, Message
from corral.runtime.workbench import Workbench
from tests.conftest import STARTER_MODEL

METADATA: Mapping[str, object] = {
    "general.architecture": "llama",
    "llama.block_count": 10,
    "llama.embedding_length": 640,
    "llama.attention.head_count": 10,
}
"""64 values a head: 12,800 of them for each token, keys and values together."""
PLENTY = 10**12


def told(options: Mapping[str, object], **settings: object) -> Load:
    chosen = Settings(models=Path("/m"), **settings)  # type: ignore[arg-type]
    merged = parse_options(chosen.load_options, options)
    return load_message(Path("/no/model"), METADATA, merged, chosen, 4096, PLENTY, embedding=False)


def test_without_options_everything_is_automatic() -> None:
    load = told({})
    assert load == Load(
        path="/no/model",
        num_ctx=4096,
        num_cells=4 * 4096,
        num_sequences=4,
        placement=Placement(needs_bytes=4 * 4096 * 12_800 * 2),
    )


def test_every_option_reaches_the_runner() -> None:
    load = told(
        {
            "num_batch": 256,
            "num_ubatch": 64,
            "num_thread": 2,
            "num_thread_batch": 3,
            "use_mmap": False,
            "use_mlock": True,
            "use_direct_io": True,
            "flash_attention": "on",
            "kv_cache_type": "q8_0,f16",
            "num_gpu": 5,
            "main_gpu": 1,
            "split_mode": "row",
            "tensor_split": "3,1",
            "override_tensor": [" attn = CPU"],
            "num_cpu_moe": 7,
        },
        sched_spread=True,
    )
    assert (load.num_batch, load.micro_batch, load.num_threads, load.batch_threads) == (256, 64, 2, 3)
    assert (load.use_mmap, load.use_mlock, load.use_direct_io, load.flash_attention) == (False, True, True, True)
    assert (load.kv_type, load.kv_type_v) == ("q8_0", "f16")
    placement = load.placement
    assert (placement.gpu_layers, placement.main_gpu, placement.split_mode) == (5, 1, "row")
    assert (placement.tensor_split, placement.overrides, placement.cpu_experts) == ((3.0, 1.0), ("attn=CPU",), 7)
    assert placement.spread


def test_requests_win_over_the_environment() -> None:
    environment = {"flash_attention": False, "kv_cache_type": "q8_0", "load_options": {"num_gpu": 3, "num_batch": 9}}
    load = told({}, **environment)
    assert (load.flash_attention, load.kv_type, load.placement.gpu_layers, load.num_batch) == (False, "q8_0", 3, 9)
    asked = told({"flash_attention": "auto", "kv_cache_type": "f16", "num_gpu": 0}, **environment)
    assert (asked.flash_attention, asked.kv_type, asked.placement.gpu_layers, asked.num_batch) == (None, "f16", 0, 9)


def test_a_smaller_type_makes_room_for_more() -> None:
    whole = cache_bytes_per_token(METADATA, "f16")
    assert cache_bytes_per_token(METADATA, "q8_0") == pytest.approx(whole * 17 / 32)
    assert cache_bytes_per_token(METADATA, "q8_0", "f16") == pytest.approx(whole * (17 / 32 + 1) / 2)


async def test_a_request_has_its_model_loaded_with_another_cache(own_store: Path) -> None:
    bench = Workbench(Settings(models=own_store, num_parallel=1), warm=False)
    await bench.start()

    async def cache_bytes(**options: object) -> int:
        request = ChatRequest(STARTER_MODEL, (Message("user", "Hi"),), {"num_predict": 4, "num_ctx": 1024, **options})
        text = "".join([chunk.text async for chunk in bench.chat(request)])
        assert text
        (resident,) = bench._scheduler.residents
        assert resident.runner is not None
        assert resident.runner.loaded is not None
        return resident.runner.loaded.kv_bytes

    try:
        whole = await cache_bytes(kv_cache_type="f16")
        assert await cache_bytes(kv_cache_type="q8_0") == pytest.approx(whole * 17 / 32, rel=0.02)
        assert await cache_bytes(kv_cache_type="q4_0", flash_attention="on") == pytest.approx(whole * 9 / 32, rel=0.02)
        assert await cache_bytes() == pytest.approx(whole * 9 / 32, rel=0.02)
        with pytest.raises(LoadFailed, match="needs flash attention"):
            await cache_bytes(flash_attention="off", kv_cache_type="q8_0")
        reasons = [event.text for event in bench.events.newest() if event.kind == "unload"]
        assert any("reload: kv_cache_type" in reason for reason in reasons)
    finally:
        await bench.close()


OTHERWISE: Mapping[str, object] = {
    "num_batch": 77,
    "num_gpu": 77,
    "main_gpu": 7,
    "use_mmap": False,
    "num_thread": 7,
    "num_ubatch": 77,
    "num_thread_batch": 7,
    "use_mlock": True,
    "use_direct_io": True,
    "flash_attention": "off",
    "kv_cache_type": "f16,bf16",
    "split_mode": "row",
    "tensor_split": "7,1",
    "override_tensor": ["x=CPU"],
    "num_cpu_moe": 7,
}


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.loads and name != "num_ctx"])
def test_every_load_option_that_is_named_reloads(name: str) -> None:
    given = {name: OTHERWISE[name]}
    plain, other = Wanted("m", "d", told({})), Wanted("m", "d", told(given), frozenset(given))
    reason = reload_reason(plain, other)
    assert reason is not None
    assert reason.startswith(name)
    assert reload_reason(other, other) is None
    assert reload_reason(other, plain) is None


@given(st.sampled_from(sorted(load_options.CHECKS)), st.text())
def test_any_text_is_read_or_refused(name: str, text: str) -> None:
    check = load_options.CHECKS[name]
    try:
        meant = check(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"^must "):
            check(text)
        return
    if name == "override_tensor":
        assert check(str(meant)) == meant
    if name == "tensor_split":
        assert isinstance(meant, tuple)
        assert sum(meant) > 0


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=8).filter(any))
def test_proportions_come_back_as_written(parts: list[float]) -> None:
    assert load_options.tensor_split(",".join(map(repr, parts))) == tuple(parts)
