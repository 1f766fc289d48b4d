"""Documents to scores in a runner, on random models; what numpy makes of the same weights is what must come."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import gguf
import pytest

from corral.runtime.engine.protocol import Embed, Loaded, Ping, Pong, Rank, Ranked, RawPrompt, Refused, Submit
from tests.unit.runtime.runner_process import GREEDY, RunnerProcess
from tests.unit.runtime.tiny_bert import CLS, CTX, PAIR_TEMPLATE, SEP, score, token_ids, write_bert
from tests.unit.runtime.tiny_models import write_tiny

QUERY = "the fox"
CLOSE = 0.01
"""ggml rounds keys, values and the activation to half precision."""


@pytest.fixture
def runner() -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        yield child


def load_ranker(runner: RunnerProcess, path: Path) -> None:
    loaded = runner.load(path, embedding=True)
    assert isinstance(loaded, Loaded), loaded


def documents(count: int) -> list[str]:
    drawn = random.Random(5)
    words = ["the", "fox", "ran", "blue", "42", "zebra"]
    return [" ".join(drawn.choices(words, k=drawn.randint(1, 14))) for _ in range(count)]


def rank(runner: RunnerProcess, request_id: int, texts: list[str], query: str = QUERY) -> Ranked:
    runner.send(Rank(request_id, query, texts))
    return wait_for(runner, request_id)


def wait_for(runner: RunnerProcess, request_id: int) -> Ranked:
    def found() -> list[Ranked]:
        return [one for one in runner.others if isinstance(one, Ranked) and one.id == request_id]

    answer = runner.answer(request_id)
    runner.read_until(lambda: bool(found()) or answer.is_over)
    assert answer.refused is None, answer.refused
    return found()[0]


def refusal(runner: RunnerProcess, message: Rank | Embed | Submit) -> Refused:
    answer = runner.answer(message.id)
    runner.send(message)
    runner.read_until(lambda: answer.is_over)
    assert answer.refused is not None
    return answer.refused


@pytest.mark.parametrize("add_eos", [False, True])
def test_many_documents_are_scored_as_numpy_scores_each(runner: RunnerProcess, tmp_path: Path, add_eos: bool) -> None:
    load_ranker(runner, write_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK, add_eos=add_eos))
    texts = documents(300)
    end = [SEP] if add_eos else []
    pairs = [[CLS, *token_ids(QUERY), SEP, *token_ids(text), *end] for text in texts]
    found = rank(runner, 1, texts)
    assert found.scores == pytest.approx([score(pair) for pair in pairs], abs=CLOSE)
    assert max(found.scores) - min(found.scores) > 100 * CLOSE
    assert (found.prompt_tokens, found.cut) == (sum(map(len, pairs)), 0)


def test_the_query_counts(runner: RunnerProcess, tmp_path: Path) -> None:
    load_ranker(runner, write_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK))
    for number, query in enumerate(["a zebra", "the fox", ""]):
        (found,) = rank(runner, number, ["the zebra ran"], query).scores
        expected = score([CLS, *token_ids(query), SEP, *token_ids("the zebra ran")])
        assert found == pytest.approx(expected, abs=CLOSE)


def test_many_clients_at_once_each_get_their_own(runner: RunnerProcess, tmp_path: Path) -> None:
    load_ranker(runner, write_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK))
    queries = {number: " ".join(["ran"] * number) for number in range(1, 9)}
    texts = documents(24)
    for number, query in queries.items():
        runner.send(Rank(number, query, texts[number:]))
    for number, query in queries.items():
        expected = [score([CLS, *token_ids(query), SEP, *token_ids(text)]) for text in texts[number:]]
        assert wait_for(runner, number).scores == pytest.approx(expected, abs=CLOSE)


def test_a_template_takes_the_place_of_the_marks(runner: RunnerProcess, tmp_path: Path) -> None:
    path = write_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK, template=PAIR_TEMPLATE)
    load_ranker(runner, path)
    for number, query in enumerate([QUERY, "ran"]):
        texts = documents(10)
        pairs = [[CLS, *token_ids(query), SEP, *token_ids(text), SEP] for text in texts]
        assert rank(runner, number, texts, query).scores == pytest.approx([score(pair) for pair in pairs], abs=CLOSE)
    # A query is text, also where it looks like a place of the template.
    braces = rank(runner, 5, ["ran"] * 2, "{document}")
    assert braces.scores[0] != pytest.approx(rank(runner, 6, ["ran"], "ran").scores[0], abs=CLOSE)


@pytest.mark.parametrize("template", ["", PAIR_TEMPLATE])
def test_a_document_that_is_too_long_is_cut_and_the_query_is_not(
    runner: RunnerProcess, tmp_path: Path, template: str
) -> None:
    path = write_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK, add_eos=True, template=template)
    load_ranker(runner, path)
    marks = 3 + len(token_ids(QUERY))
    long, exact = "fox " * 500, " ".join(["fox"] * (CTX - marks))
    found = rank(runner, 1, [long, "fox", exact])
    assert (found.cut, found.prompt_tokens) == (1, 2 * CTX + marks + 1)
    kept = [CLS, *token_ids(QUERY), SEP, *token_ids(exact), SEP]
    assert found.scores[0] == pytest.approx(score(kept), abs=CLOSE)
    assert found.scores[0] == pytest.approx(found.scores[2], abs=CLOSE)
    whole = refusal(runner, Rank(2, QUERY, ["fox", long], truncate=False))
    assert (whole.kind, whole.message) == ("too_long", "the input length exceeds the context length")
    alone = refusal(runner, Rank(3, long, ["fox"]))
    assert (alone.kind, alone.message) == ("too_long", "the query leaves no room for a document in the context")
    assert len(rank(runner, 4, ["fox", "ran"]).scores) == 2


def test_a_smaller_context_can_be_asked_for(runner: RunnerProcess, tmp_path: Path) -> None:
    load_ranker(runner, write_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK))
    runner.send(Rank(1, QUERY, ["fox " * 40], num_ctx=20))
    found = wait_for(runner, 1)
    assert (found.cut, found.prompt_tokens) == (1, 20)


def test_a_cancelled_request_is_never_heard_of_again(runner: RunnerProcess, tmp_path: Path) -> None:
    load_ranker(runner, write_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK))
    runner.send(Rank(1, QUERY, documents(64) * 100))
    runner.cancel(1)
    rank(runner, 2, ["the fox"])
    runner.send(Ping(5))
    runner.read_until(lambda: Pong(5) in runner.others)
    assert not [one for one in runner.others if isinstance(one, Ranked) and one.id == 1]


def test_a_model_that_decodes_ranks_by_its_last_token(runner: RunnerProcess, tmp_path: Path) -> None:
    load_ranker(runner, write_tiny(tmp_path / "tiny.gguf", "ranker"))
    texts = documents(64)
    together = rank(runner, 1, texts)
    assert all(0 < probability < 1 for probability in together.scores)
    assert max(together.scores) - min(together.scores) > 0.5
    for number, text in enumerate(texts[:12]):
        assert rank(runner, 10 + number, [text]).scores[0] == pytest.approx(together.scores[number], abs=CLOSE)
    cut = rank(runner, 2, ["🦊é fox " * 300])
    assert cut.cut == 1
    assert 512 - 12 < cut.prompt_tokens <= 512  # whole characters fit


def test_scores_that_are_no_numbers_are_refused(runner: RunnerProcess, tmp_path: Path) -> None:
    load_ranker(runner, write_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK, score_bias=math.nan))
    assert refusal(runner, Rank(1, QUERY, ["fox"])).message == "the scores contain NaN or Inf values"


def test_a_ranker_only_ranks(runner: RunnerProcess, tmp_path: Path) -> None:
    load_ranker(runner, write_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK))
    assert "cannot be used to embed" in refusal(runner, Embed(1, ["fox"])).message
    assert "does not generate" in refusal(runner, Submit(2, RawPrompt("fox"), GREEDY, 0)).message


@pytest.mark.parametrize("kind", ["full", "encoder"])
def test_other_models_do_not_rank(runner: RunnerProcess, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "other.gguf"
    loaded = runner.load(write_bert(path) if kind == "encoder" else write_tiny(path, kind), embedding=kind == "encoder")
    assert isinstance(loaded, Loaded), loaded
    assert refusal(runner, Rank(1, QUERY, ["fox"])).message == "the model does not rank texts"
