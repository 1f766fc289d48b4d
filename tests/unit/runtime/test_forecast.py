"""What a model is thought to take, held against what the loaded one says it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.runtime.engine.protocol import Load
from corral.runtime.forecast import Forecast, context_that_fits, forecast, layers_that_fit, with_gpu
from corral.runtime.runner import Runner
from corral.store.convert import convert
from corral.store.gguf import read_header
from tests import tiny_checkpoints
from tests.bench.minilm import fetched_minilm
from tests.unit.runtime.tiny_bert import write_bert
from tests.unit.runtime.tiny_models import write_tiny

GIB = 2**30


async def taken(path: Path, load: Load) -> tuple[int, int]:
    """Return what was expected and what it took."""
    header = read_header(path, short_arrays=64)
    vocabulary = next(one.shape[1] for one in header.tensors if one.name == "token_embd.weight")
    expected = forecast(header.metadata, load, sum(one.size for one in header.tensors), vocabulary=vocabulary)
    runner = await Runner.start()
    try:
        loaded = await runner.load(load, 60)
    finally:
        await runner.close()
    return expected.total, loaded.weights_bytes + loaded.kv_bytes + loaded.compute_bytes


@pytest.mark.parametrize(("num_ctx", "streams", "batch", "kv_type"), [(4096, 4, 512, "f16"), (2048, 1, 128, "q8_0")])
async def test_a_real_model_takes_what_was_forecast(
    starter_gguf: Path, num_ctx: int, streams: int, batch: int, kv_type: str
) -> None:
    load = Load(
        path=str(starter_gguf),
        num_ctx=num_ctx,
        num_cells=num_ctx * streams,
        num_sequences=streams,
        num_batch=batch,
        kv_type=kv_type,
    )
    expected, took = await taken(starter_gguf, load)
    assert expected == pytest.approx(took, rel=0.1)


@pytest.mark.parametrize(
    ("kind", "whole"),
    [("full", None), ("sliding", True), ("sliding", False), ("recurrent", None), ("hybrid", None), ("experts", None)],
)
async def test_so_does_one_of_every_kind_of_memory(tmp_path: Path, kind: str, whole: bool | None) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", kind)
    load = Load(path=str(path), num_ctx=1024, num_cells=65536, num_sequences=2, whole_window=whole)
    expected, took = await taken(path, load)
    assert expected == pytest.approx(took, rel=0.1)


@pytest.mark.parametrize("num_ctx", [512, 2048])
@pytest.mark.parametrize(("family", "feed"), [("bert", 1024), ("bert", 192), ("nomic-bert", 1024), ("nomic-bert", 192)])
async def test_so_does_an_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, feed: int, num_ctx: int
) -> None:
    for name, size in {"WIDTH": 256, "HEADS": 4, "FEED": feed, "CTX": 2048}.items():
        monkeypatch.setattr(tiny_checkpoints, name, size)
    tiny_checkpoints.write_encoder(tmp_path / "published", family)
    convert(tmp_path / "published", tmp_path / "model.gguf")
    load = Load(path=str(tmp_path / "model.gguf"), num_ctx=num_ctx, num_cells=num_ctx, num_sequences=1, embedding=True)
    expected, took = await taken(tmp_path / "model.gguf", load)
    assert expected == pytest.approx(took, rel=0.1)


async def test_so_does_an_encoder_without_flash_attention(tmp_path: Path) -> None:
    path = write_bert(tmp_path / "tiny.gguf")
    load = Load(path=str(path), num_ctx=128, num_cells=128, num_sequences=1, flash_attention=False, embedding=True)
    expected, took = await taken(path, load)
    assert expected == pytest.approx(took, rel=0.1)


@pytest.mark.model
async def test_so_does_a_real_encoder() -> None:
    path = fetched_minilm()
    load = Load(path=str(path), num_ctx=512, num_cells=512, num_sequences=1, embedding=True)
    expected, took = await taken(path, load)
    assert expected == pytest.approx(took, rel=0.1)


async def test_so_does_a_decoder_that_embeds(starter_gguf: Path) -> None:
    load = Load(path=str(starter_gguf), num_ctx=1024, num_cells=1024, num_sequences=1, embedding=True)
    expected, took = await taken(starter_gguf, load)
    assert expected == pytest.approx(took, rel=0.1)


def test_what_the_gpus_have_room_for_goes_there() -> None:
    model = Forecast(weights=8 * GIB, cache=2 * GIB, compute=GIB, layers=40)
    assert layers_that_fit(model, [24 * GIB]) == 40
    assert layers_that_fit(model, [6 * GIB, 2 * GIB]) == 25
    assert layers_that_fit(model, [GIB]) == 0
    half = with_gpu(model, 20)
    assert half.vram == 6 * GIB
    assert half.ram == 5 * GIB
    assert half.fixed_ram == GIB
    assert with_gpu(model, -1).ram == 0


def test_the_largest_context_that_fits_is_known() -> None:
    model = Forecast(weights=4 * GIB, cache=4 * GIB, compute=GIB)
    assert context_that_fits(model, 32768, 3 * GIB) == 16384
    assert context_that_fits(model, 32768, GIB // 2) == 0
