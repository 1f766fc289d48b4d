"""How a model is loaded: what the cache is made of, where weights go, how the file is read. On random models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import llama_cpp.llama_cpp as c
import pytest

from corral.runtime import memory
from corral.runtime.engine.devices import Devices
from corral.runtime.engine.llama import LoadError
from corral.runtime.engine.params import KV_TYPES, ModelParams, alone_on, cache_types, expert_patterns, overrides
from corral.runtime.engine.protocol import Load, Loaded, LoadRefused, Placement
from tests.unit.runtime.runner_process import RunnerProcess
from tests.unit.runtime.tiny_models import LAYERS, WIDTH, write_tiny

STORY = "the fox ran and saw a dog and the cat "
CELLS = 2048
TOLD_TO = 0.006 * 2**20  # llama.cpp tells sizes in hundredths of a MiB


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture of experts with heads of 32 values."""
    return write_tiny(tmp_path_factory.mktemp("experts") / "experts.gguf", "experts")


@pytest.fixture
def runner() -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        yield child


def loaded(runner: RunnerProcess, path: Path, **changes: object) -> Loaded:
    """Load, and see that it answers."""
    found = runner.load(path, **changes)
    assert isinstance(found, Loaded), found
    answer = runner.ask(1, STORY)
    assert answer.finished is not None, answer.refused
    assert answer.finished.output_tokens == answer.tokens > 0
    return found


def refused(runner: RunnerProcess, path: Path, **changes: object) -> str:
    found = runner.load(path, **changes)
    assert isinstance(found, LoadRefused), found
    return found.message


class Machine:
    """Devices there are not."""

    def __init__(self, *free: int, **buffer_types: int) -> None:
        self._free = list(free)
        self.buffer_types: Mapping[str, int] = buffer_types or {"CPU": 1, "CUDA0": 2}

    def free_each(self) -> list[int]:
        return self._free


def load_of(**changes: object) -> Load:
    return Load(path="/m", num_ctx=8, num_cells=8, num_sequences=1, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "bytes_per_value"), memory.KV_TYPES.items())
def test_the_cache_has_the_size_of_its_type(experts: Path, kind: str, bytes_per_value: float) -> None:
    with RunnerProcess() as runner:
        assert loaded(runner, experts, kv_type=kind).kv_bytes == pytest.approx(
            CELLS * LAYERS * WIDTH * 2 * bytes_per_value, abs=TOLD_TO
        )


def test_keys_and_values_may_differ(runner: RunnerProcess, experts: Path) -> None:
    found = loaded(runner, experts, kv_type="q8_0", kv_type_v="f16")
    assert found.kv_bytes == pytest.approx(CELLS * LAYERS * WIDTH * (34 / 32 + 2), abs=TOLD_TO)


def test_both_ends_know_the_same_types() -> None:
    assert set(KV_TYPES) == set(memory.KV_TYPES)


def test_quantized_values_without_flash_attention_are_refused_in_words(runner: RunnerProcess, experts: Path) -> None:
    message = refused(runner, experts, kv_type="q8_0", flash_attention=False)
    assert "q8_0" in message
    assert "flash attention" in message
    assert "kv_cache_type" in message


def test_quantized_keys_need_no_flash_attention(runner: RunnerProcess, experts: Path) -> None:
    loaded(runner, experts, kv_type="q8_0", kv_type_v="f16", flash_attention=False)


@pytest.mark.parametrize("wanted", [True, False, None])
def test_flash_attention(experts: Path, wanted: bool | None) -> None:
    with RunnerProcess() as runner:
        loaded(runner, experts, flash_attention=wanted)


def test_a_head_that_blocks_do_not_divide_is_refused_in_words(runner: RunnerProcess, tmp_path: Path) -> None:
    assert "block size 32" in refused(runner, write_tiny(tmp_path / "full.gguf", "full"), kv_type="q8_0")


def test_a_smaller_micro_batch_takes_less_memory(experts: Path) -> None:
    with RunnerProcess() as whole, RunnerProcess() as parts:
        most = loaded(whole, experts, num_batch=512).compute_bytes
        least = loaded(parts, experts, num_batch=512, micro_batch=32).compute_bytes
    assert least < most / 4


@pytest.mark.parametrize(
    "change",
    [
        {"use_mmap": False},
        {"use_mmap": True},
        {"use_direct_io": True},
        {"num_threads": 1, "batch_threads": 2},
        {"micro_batch": 1},
        {"placement": Placement(gpu_layers=0)},
        {"placement": Placement(split_mode="row", tensor_split=(3, 1))},
        {"placement": Placement(main_gpu=0)},
    ],
)
def test_what_this_machine_has_no_use_for_does_no_harm(experts: Path, change: dict[str, object]) -> None:
    with RunnerProcess() as runner:
        loaded(runner, experts, **change)


def test_ways_to_read_the_file_that_exclude_each_other_are_refused(runner: RunnerProcess, experts: Path) -> None:
    assert "use_mlock" in refused(runner, experts, use_direct_io=True, use_mlock=True)


@pytest.mark.parametrize(
    ("change", "mode"),
    [
        ({}, c.LLAMA_LOAD_MODE_AUTO),
        ({"use_mmap": False}, c.LLAMA_LOAD_MODE_NONE),
        ({"use_mmap": True}, c.LLAMA_LOAD_MODE_MMAP),
        ({"use_mlock": True}, c.LLAMA_LOAD_MODE_MMAP_MLOCK),
        ({"use_mlock": True, "use_mmap": False}, c.LLAMA_LOAD_MODE_MLOCK),
        ({"use_direct_io": True}, c.LLAMA_LOAD_MODE_DIRECT_IO),
    ],
)
def test_load_modes(change: dict[str, object], mode: int) -> None:
    assert ModelParams(load_of(**change), Machine()).struct.load_mode == mode


def test_experts_stay_in_main_memory(experts: Path) -> None:
    with RunnerProcess() as runner:
        assert loaded(runner, experts, placement=Placement(cpu_experts=-1)).overridden == 3 * LAYERS
    with RunnerProcess() as runner:
        assert loaded(runner, experts, placement=Placement(cpu_experts=1)).overridden == 3


def test_tensors_are_placed_by_name(experts: Path) -> None:
    with RunnerProcess() as runner:
        assert loaded(runner, experts, placement=Placement(overrides=(r"attn_[qk]\.weight=cpu",))).overridden == 4
    with RunnerProcess() as runner:
        assert loaded(runner, experts).overridden == 0


def test_memory_that_is_not_here_is_refused_with_what_is(runner: RunnerProcess, experts: Path) -> None:
    assert "here: CPU" in refused(runner, experts, placement=Placement(overrides=("ffn=CUDA7",)))


def test_a_pattern_that_is_none_is_refused(runner: RunnerProcess, experts: Path) -> None:
    assert refused(runner, experts, placement=Placement(overrides=("(=CPU",)))


def test_main_memory_has_its_name() -> None:
    assert "CPU" in Devices().buffer_types


def test_patterns_go_in_order_and_experts_come_last() -> None:
    placement = Placement(overrides=("a=b=CUDA0", "x=CPU"), cpu_experts=2)
    found = overrides(placement, Machine().buffer_types)
    assert found[:2] == [("a=b", 2), ("x", 1)]
    assert [pattern for pattern, _ in found[2:]] == expert_patterns(2)


@pytest.mark.parametrize(
    ("name", "layers", "matches"),
    [
        ("blk.1.ffn_up_exps.weight", 2, True),
        ("blk.1.ffn_gate_up_exps.weight", 2, True),
        ("blk.12.ffn_down_chexps.weight", -1, True),
        ("blk.2.ffn_up_exps.weight", 2, False),
        ("blk.12.ffn_up_exps.weight", 2, False),
        ("blk.0.ffn_up.weight", 2, False),
        ("blk.0.ffn_gate_inp.weight", -1, False),
        ("blk.0.ffn_up_shexp.weight", -1, False),
    ],
)
def test_which_tensors_are_experts(name: str, layers: int, matches: bool) -> None:
    assert any(re.search(pattern, name) for pattern in expert_patterns(layers)) is matches


GB = 10**9


@pytest.mark.parametrize(
    ("placement", "free", "gpu"),
    [
        (Placement(needs_bytes=8 * GB), (10 * GB, 24 * GB), 1),
        (Placement(needs_bytes=20 * GB), (10 * GB, 24 * GB), None),
        (Placement(needs_bytes=8 * GB, spread=True), (10 * GB, 24 * GB), None),
        (Placement(needs_bytes=8 * GB, tensor_split=(1, 1)), (10 * GB, 24 * GB), None),
        (Placement(needs_bytes=8 * GB, cpu_experts=-1), (10 * GB, 24 * GB), None),
        (Placement(needs_bytes=8 * GB, gpu_layers=0), (10 * GB, 24 * GB), None),
        (Placement(needs_bytes=8 * GB), (24 * GB,), None),
        (Placement(), (10 * GB, 24 * GB), None),
    ],
)
def test_a_model_that_fits_one_gpu_well_is_not_shared(
    placement: Placement, free: tuple[int, ...], gpu: int | None
) -> None:
    assert alone_on(placement, Machine(*free)) == gpu


def test_how_gpus_share_a_model() -> None:
    def made(machine: Machine, placement: Placement) -> tuple[int, int]:
        struct = ModelParams(load_of(placement=placement), machine).struct
        return struct.split_mode, struct.main_gpu

    two = Machine(10 * GB, 24 * GB)
    assert made(two, Placement(needs_bytes=GB)) == (c.LLAMA_SPLIT_MODE_NONE, 1)
    assert made(two, Placement(needs_bytes=GB, main_gpu=0)) == (c.LLAMA_SPLIT_MODE_NONE, 0)
    assert made(two, Placement(needs_bytes=GB, split_mode="row", main_gpu=1)) == (c.LLAMA_SPLIT_MODE_ROW, 1)
    assert made(two, Placement(needs_bytes=GB, split_mode="tensor"))[0] == c.LLAMA_SPLIT_MODE_TENSOR
    assert made(two, Placement(needs_bytes=GB, spread=True))[0] == c.LLAMA_SPLIT_MODE_LAYER
    with pytest.raises(LoadError, match="split mode"):
        made(two, Placement(split_mode="sideways"))


def test_proportions_reach_llama_cpp() -> None:
    struct = ModelParams(load_of(placement=Placement(tensor_split=(3, 1))), Machine()).struct
    assert struct.tensor_split[:3] == [3, 1, 0]
    with pytest.raises(LoadError, match="tensor_split"):
        ModelParams(load_of(placement=Placement(tensor_split=(1.0,) * 1000)), Machine())


def test_unknown_cache_types_are_refused_with_those_known() -> None:
    with pytest.raises(LoadError, match="q8_0"):
        cache_types(load_of(kv_type="f16", kv_type_v="q9"))
