"""LoRA adapters in the engine: what they do to the logits, against the same change made to the weights with numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corral.runtime.engine.protocol import Adapter, LoadRefused
from tests.unit.runtime.runner_process import RunnerProcess
from tests.unit.runtime.tiny_models import WIDTH, Tensor, write_lora, write_tiny

ALPHA, RANK = 16.0, 4
PROMPT = "the fox ran and saw a dog"


def pair(seed: int) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(seed)
    a = random.normal(0, 0.2, (RANK, WIDTH)).astype(np.float32)
    return a, random.normal(0, 0.2, (WIDTH, RANK)).astype(np.float32)


CHANGES = {"blk.0.attn_v.weight": pair(1), "blk.1.attn_output.weight": pair(2)}


def likeliest(path: Path, adapters: list[Adapter]) -> dict[str, float]:
    """The log probabilities of the tokens that are likeliest after a prompt."""
    with RunnerProcess() as runner:
        loaded = runner.load(path, adapters=adapters)
        assert not isinstance(loaded, LoadRefused), loaded
        answer = runner.ask(1, PROMPT, num_predict=1, logprobs=20)
        (first,) = answer.logprobs
        return {one.piece.hex(): one.logprob for one in first.top}


def test_an_adapter_changes_the_logits_as_numpy_says(tmp_path: Path) -> None:
    tiny = write_tiny(tmp_path / "tiny.gguf", "full")
    lora = str(write_lora(tmp_path / "lora.gguf", CHANGES, ALPHA))
    added = {name: (ALPHA / RANK * b @ a).astype(np.float32) for name, (a, b) in CHANGES.items()}
    merged = write_tiny(tmp_path / "merged.gguf", "full", added=added)
    base = likeliest(tiny, [])
    wanted = likeliest(merged, [])
    found = likeliest(tiny, [Adapter(lora)])
    first = list(wanted)[:10]  # who comes last of the twenty may be a matter of rounding
    assert [found[token] for token in first] == pytest.approx([wanted[token] for token in first], abs=0.01)
    assert [found[token] for token in first] != pytest.approx([base.get(token, 0) for token in first], abs=0.05)
    assert likeliest(tiny, [Adapter(lora, scale=0.0)]) == base


def test_what_a_model_has_read_with_an_adapter_is_kept_for_that_adapter(tmp_path: Path) -> None:
    tiny = write_tiny(tmp_path / "tiny.gguf", "full")
    lora = Adapter(str(write_lora(tmp_path / "lora.gguf", CHANGES, ALPHA)))
    shelf = str(tmp_path / "shelf")

    def cached(adapters: list[Adapter]) -> int:
        with RunnerProcess() as runner:
            loaded = runner.load(tiny, adapters=adapters, shelf=shelf, shelf_bytes=1 << 24)
            assert not isinstance(loaded, LoadRefused), loaded
            started = runner.ask(1, PROMPT * 20, num_predict=4).started
            assert started is not None
            return started.cached_tokens

    assert cached([lora]) == 0
    assert cached([]) == 0
    assert cached([Adapter(lora.path, scale=0.5)]) == 0
    assert cached([lora]) > 100


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    tiny = write_tiny(tmp_path / "tiny.gguf", "full")
    other = write_lora(tmp_path / "lora.gguf", {"blk.7.attn_v.weight": pair(1)}, ALPHA)
    with RunnerProcess() as runner:
        refused = runner.load(tiny, adapters=[Adapter(str(other))])
    assert isinstance(refused, LoadRefused)
    assert refused.message.startswith("the adapter does not fit the model: ")
