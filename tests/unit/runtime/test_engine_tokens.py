"""Prompts to tokens and back in a runner: what is told is what a request would be computed with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import gguf
import pytest

from corral.runtime.engine.framing import MAX_FRAME_BYTES, frame
from corral.runtime.engine.llama import Model
from corral.runtime.engine.protocol import (
    ChatPrompt,
    Detokenize,
    Detokenized,
    FromRunner,
    Loaded,
    RawPrompt,
    Refused,
    Tokenize,
    Tokenized,
    Turn,
)
from corral.runtime.engine.tokens import MOST_BYTES, MOST_TOKENS, Tokenizer
from tests.unit.runtime.runner_process import RunnerProcess
from tests.unit.runtime.tiny_bert import token_ids, write_bert

STORY = "the fox ran and saw a 🦊 and the zebra"
CHAT = [Turn("user", STORY), Turn("assistant", "a cat"), Turn("user", "the dog")]


@pytest.fixture
def runner() -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        yield child


def tell(runner: RunnerProcess, message: Tokenize | Detokenize) -> Tokenized | Detokenized | Refused:
    answer = runner.answer(message.id)
    known = len(runner.others)
    runner.send(message)
    runner.read_until(lambda: answer.refused is not None or len(runner.others) > known)
    reply = answer.refused or runner.others[-1]
    assert isinstance(reply, Tokenized | Detokenized | Refused)
    assert reply.id == message.id
    return reply


def tokens(runner: RunnerProcess, message: Tokenize) -> list[int]:
    reply = tell(runner, message)
    assert isinstance(reply, Tokenized), reply
    return reply.tokens


def refused(runner: RunnerProcess, message: Tokenize | Detokenize) -> str:
    reply = tell(runner, message)
    assert isinstance(reply, Refused), reply
    return reply.message


def test_what_is_told_is_what_is_computed(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    assert isinstance(runner.load(tiny("full")), Loaded)
    prompts: list[tuple[RawPrompt | ChatPrompt, str | list[Turn]]] = [
        (RawPrompt(STORY), STORY),
        (ChatPrompt(CHAT), CHAT),
    ]
    for number, (prompt, asked) in enumerate(prompts):
        told = tokens(runner, Tokenize(10 + number, prompt, begin=True))
        answer = runner.ask(number, asked, want_context=True, num_predict=1)
        assert answer.finished is not None
        assert answer.finished.context[: len(told)] == told
        assert answer.finished.prompt_tokens == len(told)


def test_a_text_there_and_back(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    assert isinstance(runner.load(tiny("full")), Loaded)
    plain = tokens(runner, Tokenize(1, RawPrompt(STORY)))
    begun = tokens(runner, Tokenize(2, RawPrompt(STORY), begin=True))
    assert begun[1:] == plain
    text = tell(runner, Detokenize(3, plain))
    assert isinstance(text, Detokenized)
    assert text.text.replace("▁", " ").strip() == STORY  # the tiny vocabulary spells its spaces
    assert tell(runner, Detokenize(4, [])) == Detokenized(4, "")
    assert tokens(runner, Tokenize(5, RawPrompt(""))) == []


def test_a_conversation_longer_than_the_context_is_told_whole(
    runner: RunnerProcess, tiny: Callable[[str], Path]
) -> None:
    assert isinstance(runner.load(tiny("full"), num_ctx=64, num_cells=64), Loaded)
    turns = [Turn("user", STORY)] * 50
    told = tokens(runner, Tokenize(1, ChatPrompt(turns)))
    assert len(told) > 50 * len(STORY.split())


def test_what_cannot_be_told_is_refused(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    assert isinstance(runner.load(tiny("full")), Loaded)
    assert refused(runner, Detokenize(1, [1, 99_999])) == "99999 is no token of this model"
    assert refused(runner, Detokenize(2, [-1])) == "-1 is no token of this model"
    assert "template" in refused(runner, Tokenize(3, ChatPrompt(CHAT, "{{ .Nonsense")))
    assert tokens(runner, Tokenize(5, RawPrompt("the")))


class LongModel:
    """Makes a token of each character, and a kilobyte of each token."""

    def tokenize(self, text: str, *, begin: bool) -> list[int]:
        return [0] * len(text)

    def is_token(self, token: int) -> bool:
        return token == 0

    def piece(self, token: int) -> bytes:
        return b"x" * 1024


@pytest.mark.parametrize(
    ("fits", "too_much", "text"),
    [
        (Tokenize(1, RawPrompt("x" * MOST_TOKENS)), Tokenize(1, RawPrompt("x" * (MOST_TOKENS + 1))), "2097152 tokens"),
        (Detokenize(1, [0] * (MOST_BYTES // 1024)), Detokenize(1, [0] * (MOST_BYTES // 1024 + 1)), "16777216 bytes"),
    ],
)
def test_what_no_message_could_hold_is_refused(
    fits: Tokenize | Detokenize, too_much: Tokenize | Detokenize, text: str
) -> None:
    said: list[FromRunner] = []
    tokenizer = Tokenizer(cast(Model, LongModel()), said.append)
    tokenizer.submit(fits)
    tokenizer.submit(too_much)
    whole, reply = said
    assert len(frame(whole)) < MAX_FRAME_BYTES
    assert isinstance(whole, Tokenized | Detokenized)
    assert isinstance(reply, Refused)
    assert text in reply.message


def test_a_model_that_embeds_tells_tokens_of_texts(runner: RunnerProcess, tmp_path: Path) -> None:
    path = write_bert(tmp_path / "bert.gguf", gguf.PoolingType.MEAN)
    assert isinstance(runner.load(path, embedding=True), Loaded)
    assert tokens(runner, Tokenize(1, RawPrompt("the fox"))) == token_ids("the fox")
    assert refused(runner, Tokenize(2, ChatPrompt(CHAT))) == "the model does not generate text"
