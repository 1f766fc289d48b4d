"""Texts to vectors in a runner, on random models small enough that every test may have its own."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterator
from pathlib import Path

import gguf
import pytest

from corral.runtime.engine.embed import cut_end, normalised
from corral.runtime.engine.protocol import Embed, Embedded, Loaded, Ping, Pong, RawPrompt, Submit
from corral.runtime.vectors import unpack
from tests.unit.runtime.runner_process import GREEDY, RunnerProcess
from tests.unit.runtime.tiny_bert import CTX, write_bert
from tests.unit.runtime.tiny_models import write_tiny

TEXTS = ["the fox ran", "a", "the fox ran and saw a dog and the cat " * 2, ""]


@pytest.fixture
def runner() -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        yield child


def load_bert(runner: RunnerProcess, path: Path) -> Loaded:
    loaded = runner.load(path, embedding=True)
    assert isinstance(loaded, Loaded), loaded
    return loaded


def embed(runner: RunnerProcess, request_id: int, texts: list[str], *, truncate: bool = True) -> Embedded:
    runner.send(Embed(request_id, texts, truncate=truncate))
    return wait_for(runner, request_id)


def wait_for(runner: RunnerProcess, request_id: int) -> Embedded:
    def found() -> list[Embedded]:
        return [one for one in runner.others if isinstance(one, Embedded) and one.id == request_id]

    runner.read_until(lambda: bool(found()))
    return found()[0]


def cosine(left: bytes, right: bytes) -> float:
    return math.fsum(a * b for a, b in zip(unpack(left), unpack(right), strict=True))


def mixed_texts(count: int) -> list[str]:
    drawn = random.Random(5)
    words = ["the", "fox", "ran", "blue", "42", "zebra"]
    return [" ".join(drawn.choices(words, k=drawn.randint(1, 40))) for _ in range(count)]


@pytest.mark.parametrize("pooling", [gguf.PoolingType.MEAN, gguf.PoolingType.CLS, gguf.PoolingType.LAST])
def test_an_encoder_embeds_a_batch_as_it_embeds_each(
    runner: RunnerProcess, tmp_path: Path, pooling: gguf.PoolingType
) -> None:
    loaded = load_bert(runner, write_bert(tmp_path / "bert.gguf", pooling))
    assert (loaded.num_ctx, loaded.num_ctx_train) == (CTX, CTX)
    texts = mixed_texts(64)
    together = embed(runner, 1, texts)
    alone = [embed(runner, 10 + number, [text]) for number, text in enumerate(texts)]
    for left, right in zip(together.vectors, alone, strict=True):
        assert cosine(left, right.vectors[0]) > 0.9999
        assert math.isclose(cosine(left, left), 1, abs_tol=1e-5)
    assert together.prompt_tokens == sum(one.prompt_tokens for one in alone)
    assert cosine(together.vectors[0], together.vectors[1]) < 0.999


@pytest.mark.parametrize("kind", ["full", "sliding", "recurrent"])
def test_a_model_that_generates_embeds_beside_it(runner: RunnerProcess, tmp_path: Path, kind: str) -> None:
    runner.load(write_tiny(tmp_path / "tiny.gguf", kind))
    said = runner.ask(1, "the fox", want_context=True)
    going_on = runner.submit(2, "the fox ran", num_predict=200)
    texts = mixed_texts(64)
    together = embed(runner, 3, texts)
    for number, text in enumerate(texts[:12]):
        assert cosine(together.vectors[number], embed(runner, 10 + number, [text]).vectors[0]) > 0.9999
    runner.read_until(lambda: going_on.is_over)
    again = runner.ask(4, "the fox", want_context=True)
    assert said.finished is not None
    assert again.finished is not None
    assert again.finished.context == said.finished.context


def test_many_clients_at_once_each_get_their_own(runner: RunnerProcess, tmp_path: Path) -> None:
    load_bert(runner, write_bert(tmp_path / "bert.gguf"))
    lists = {number: mixed_texts(64)[number * 5 : number * 7 + 3] for number in range(1, 9)}
    for number, texts in lists.items():
        runner.send(Embed(number, texts))
    for number, texts in lists.items():
        vectors = wait_for(runner, number).vectors
        assert len(vectors) == len(texts)
        assert cosine(vectors[-1], embed(runner, 100 + number, texts[-1:]).vectors[0]) > 0.9999


def test_a_text_that_is_too_long_is_cut_or_refused(runner: RunnerProcess, tmp_path: Path) -> None:
    load_bert(runner, write_bert(tmp_path / "bert.gguf"))
    long = "fox " * 500
    cut = embed(runner, 1, [long, "fox"])
    assert (cut.cut, cut.prompt_tokens) == (1, CTX + 3)
    exact = embed(runner, 2, ["fox " * (CTX - 2)])
    assert (exact.cut, exact.prompt_tokens) == (0, CTX)
    assert cosine(exact.vectors[0], cut.vectors[0]) > 0.9999  # the end of a text is marked also where it was cut
    refused = runner.answer(3)
    runner.send(Embed(3, ["fox", long], truncate=False))
    runner.read_until(lambda: refused.is_over)
    assert refused.refused is not None
    assert (refused.refused.kind, refused.refused.message) == (
        "too_long",
        "the input length exceeds the context length",
    )
    assert len(embed(runner, 4, TEXTS).vectors) == len(TEXTS)


def test_a_cancelled_request_is_never_heard_of_again(runner: RunnerProcess, tmp_path: Path) -> None:
    load_bert(runner, write_bert(tmp_path / "bert.gguf"))
    runner.send(Embed(1, mixed_texts(64) * 100))
    runner.cancel(1)
    runner.cancel(77)
    embed(runner, 2, ["the fox"])
    runner.send(Ping(5))
    runner.read_until(lambda: any(isinstance(one, Pong) and one.nonce == 5 for one in runner.others))
    assert not [one for one in runner.others if isinstance(one, Embedded) and one.id == 1]


def test_an_encoder_does_not_generate(runner: RunnerProcess, tmp_path: Path) -> None:
    load_bert(runner, write_bert(tmp_path / "bert.gguf"))
    answer = runner.answer(1)
    runner.send(Submit(1, RawPrompt("the fox"), GREEDY, 0))
    runner.read_until(lambda: answer.is_over)
    assert answer.refused is not None
    assert answer.refused.kind == "bad_request"


def test_normalised() -> None:
    assert array("f", normalised([3.0, 4.0])).tolist() == pytest.approx([0.6, 0.8])
    assert normalised([0.0, 0.0]) == bytes(8)
    assert normalised([1.0, float("nan")]) == normalised([float("inf"), 1.0]) == b""


def test_unpack() -> None:
    data = array("f", [0.6, 0.8, 0.0]).tobytes()
    assert unpack(data) == pytest.approx((0.6, 0.8, 0.0))
    assert unpack(data, 1) == (1.0,)
    assert unpack(data, 3) == unpack(data, 9) == unpack(data, -1) == unpack(data)


@pytest.mark.parametrize(
    ("tokens", "specials", "length", "expected"),
    [
        ([2, 7, 8, 9, 3], [2, 3], 4, [2, 7, 8, 3]),
        ([1, 7, 8, 9], [1], 2, [1, 7]),
        ([7, 8, 9, 5], [5], 2, [7, 5]),
        ([7, 8, 9], [], 1, [7]),
        ([2, 7, 3], [2, 3], 1, [2]),
    ],
)
def test_cut_end(tokens: list[int], specials: list[int], length: int, expected: list[int]) -> None:
    assert cut_end(tokens, specials, length) == expected
