"""Models converted from safetensors, loaded in a runner, against what numpy computes from the weights themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.runtime.engine.protocol import Loaded, Turn
from corral.store.convert import FloatType, convert
from tests.checkpoints import byte_letters, write_smollm2
from tests.decoder_forward import next_logprobs
from tests.tiny_checkpoints import GENERATING, MERGES, PIECES, write_family
from tests.unit.runtime.runner_process import RunnerProcess

TEXT = "the fox the fox"
BYTE_LEVEL = [*byte_letters(), *(left + right for left, right in MERGES)]
SPOKEN = [text for text, _, _ in PIECES]


@pytest.fixture
def runner() -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        yield child


def tokens_of(family: str) -> list[int]:
    """The prompt's tokens: whole words, as the tiny tokenizers have them."""
    if family in ("llama3-rope", "qwen2", "qwen3"):
        return [BYTE_LEVEL.index(word) for word in ("the", "Ġfox", "Ġthe", "Ġfox")]
    begin = "the" if family.startswith("gemma") else "▁the"
    return [1, *(SPOKEN.index(word) for word in (begin, "▁fox", "▁the", "▁fox"))]


def piece_of(family: str, number: int) -> bytes | None:
    """The bytes a token stands for; None where its text is of no interest here."""
    if family in ("llama3-rope", "qwen2", "qwen3"):
        if number >= len(BYTE_LEVEL):
            return None
        letters = {letter: byte for byte, letter in _bytes_of_letters()}
        return bytes(letters[letter] for letter in BYTE_LEVEL[number])
    if 3 <= number < 259 and bytes([number - 3]) not in b" thefox":  # letters are there as a word and as a byte
        return bytes([number - 3])
    text = SPOKEN[number] if 259 <= number < len(SPOKEN) else ""
    return text.replace("▁", " ").encode() if len(text) > 1 else None


def _bytes_of_letters() -> Iterator[tuple[int, str]]:
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    yield from ((byte, chr(byte)) for byte in shown)
    hidden = [byte for byte in range(256) if byte not in shown]
    yield from ((byte, chr(256 + number)) for number, byte in enumerate(hidden))


@pytest.mark.parametrize("kind", ["F32", "BF16"])
@pytest.mark.parametrize("family", GENERATING)
def test_a_converted_model_says_what_its_weights_say(
    runner: RunnerProcess, tmp_path: Path, family: str, kind: str
) -> None:
    config, weights = write_family(tmp_path / "published", family, kind)
    converted = convert(tmp_path / "published", tmp_path / "model.gguf", float_type=FloatType.F32)
    assert converted.size == (tmp_path / "model.gguf").stat().st_size
    # No more cells than Phi's first context, or llama.cpp turns by the factors for long texts.
    small = {"num_ctx": 256, "num_cells": 256, "num_sequences": 1, "kv_type": "f32"}
    assert isinstance(loaded := runner.load(tmp_path / "model.gguf", **small), Loaded), loaded
    answer = runner.ask(1, TEXT, logprobs=20, num_predict=1, num_ctx=256)
    assert answer.refused is None
    assert answer.started is not None
    tokens = tokens_of(family)
    assert answer.started.prompt_tokens == len(tokens)
    expected = next_logprobs(family, config, weights, tokens)
    likeliest = {
        piece: float(expected[number])
        for number in sorted(range(len(expected)), key=lambda number: expected[number])[-20:]
        if (piece := piece_of(family, number)) is not None
    }
    (first,) = answer.logprobs
    said = {one.piece: one.logprob for one in first.top}
    shared = likeliest.keys() & said.keys()
    assert len(shared) >= 10
    for piece in shared:
        assert math.isclose(said[piece], likeliest[piece], abs_tol=0.03), (piece, said, likeliest)


@pytest.mark.model
def test_a_real_model_written_back_and_converted_says_the_same(
    runner: RunnerProcess, tmp_path: Path, starter_gguf: Path
) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    write_smollm2(starter_gguf, folder)
    convert(folder, tmp_path / "model.gguf", float_type=FloatType.F32)
    prompts = ["The capital of France is", "One, two, three,", "The sun rises in the"]
    assert isinstance(runner.load(tmp_path / "model.gguf"), Loaded)
    with RunnerProcess() as other:
        assert isinstance(other.load(starter_gguf), Loaded)
        for number, prompt in enumerate(prompts):
            # One word: kernels of quantized weights round otherwise, and what is nearly as likely turns.
            again, first = (one.ask(number, prompt, num_predict=1, logprobs=3) for one in (runner, other))
            assert again.text == first.text
            assert again.started == first.started
            for one, another in zip(again.logprobs, first.logprobs, strict=True):
                assert math.isclose(one.logprob, another.logprob, abs_tol=0.25)
    chat = runner.ask(90, [Turn("user", "Say hello.")], num_predict=1)
    assert chat.refused is None
