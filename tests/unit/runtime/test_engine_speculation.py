"""Tokens guessed ahead change how fast an answer comes, and nothing else: on random models of each memory kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.runtime.engine.protocol import Finished, Grammar, Loaded, Sampling
from tests.unit.runtime.runner_process import Answer, RunnerProcess
from tests.unit.runtime.tiny_models import write_tiny

STORY = "the fox ran and saw a dog and the cat "
MEMORIES = [("full", None), ("sliding", True), ("sliding", False), ("recurrent", None)]
CUTTABLE = [memory for memory in MEMORIES if memory[0] != "recurrent"]
# Half precision and other kernels round otherwise with other batch sizes; a random model turns on that.
EXACT: dict[str, Any] = {"kv_type": "f32", "flash_attention": False}
NO_END = [("2", -1000.0)]  # a random model's answer would end at any time
LENGTH = 240

SAMPLINGS = {
    "greedy": Sampling(temperature=0, logit_bias=NO_END),
    "penalties": Sampling(temperature=0, logit_bias=NO_END, repeat_penalty=1.05, frequency_penalty=0.01),
    "dry": Sampling(temperature=0, logit_bias=NO_END, dry_multiplier=0.02, dry_allowed_length=8),
    "drawn": Sampling(temperature=0.1, seed=11, logit_bias=NO_END),
    "mirostat": Sampling(temperature=0.3, seed=3, mirostat=2, mirostat_tau=0.2, logit_bias=NO_END),
}
GREEDY = SAMPLINGS["greedy"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    folder = tmp_path_factory.mktemp("tiny")

    def get(kind: str, **fields: Any) -> Path:
        path = folder / f"{kind}{sorted(fields)}{hash(str(fields))}.gguf"
        return path if path.exists() else write_tiny(path, kind, sharpness=6.0, **fields)

    return get


@pytest.fixture
def runner() -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        yield child


def end_of(answer: Answer) -> Finished:
    assert answer.finished is not None, answer.refused
    assert answer.tokens == answer.finished.output_tokens
    return answer.finished


def both(
    runner: RunnerProcess, request_id: int, prompt: str = STORY, guesses: int = 6, **fields: Any
) -> tuple[Answer, Answer]:
    """Ask once without guesses and once with `guesses`: so many whether they pay or not, or -1 as many as pay."""
    fields = {"sampling": GREEDY, "num_predict": LENGTH, "want_context": True, **fields}
    plain = runner.ask(request_id, prompt, draft_num_predict=0, **fields)
    guessed = runner.ask(request_id + 1, prompt, draft_num_predict=guesses, **fields)
    assert (end_of(plain).drafted, end_of(plain).accepted) == (0, 0)
    assert end_of(guessed).accepted <= end_of(guessed).drafted
    return plain, guessed


def same(plain: Answer, guessed: Answer) -> None:
    assert guessed.text == plain.text
    one, other = end_of(plain), end_of(guessed)
    assert other.context == one.context
    assert (other.output_tokens, other.reason, other.shifted) == (one.output_tokens, one.reason, one.shifted)


@pytest.mark.parametrize(("kind", "whole"), CUTTABLE)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_guesses_change_no_word(
    runner: RunnerProcess, tiny: Callable[..., Path], kind: str, whole: bool | None, sampling: str
) -> None:
    runner.load(tiny(kind), whole_window=whole, **EXACT)
    drafted = 0
    for number, prompt in enumerate((STORY, STORY[:9] + "a cat\n", "a dog")):
        plain, guessed = both(runner, 2 * number, prompt, sampling=SAMPLINGS[sampling])
        same(plain, guessed)
        assert end_of(guessed).reason == "length"
        drafted += end_of(guessed).drafted
    assert drafted > 0


@pytest.mark.parametrize(("kind", "whole"), CUTTABLE)
def test_what_repeats_itself_takes_fewer_steps(
    runner: RunnerProcess, tiny: Callable[..., Path], kind: str, whole: bool | None
) -> None:
    runner.load(tiny(kind), whole_window=whole, **EXACT)
    regex = Grammar("regex", "(abcdefghij){8}")
    plain, guessed = both(runner, 1, sampling=Sampling(temperature=0), grammar=regex)
    same(plain, guessed)
    assert guessed.text == "abcdefghij" * 8
    assert end_of(guessed).accepted > 40
    assert sum(any(piece.id == 2 for piece in step.pieces) for step in runner.steps) < 40


def test_guesses_are_made_unasked_and_may_be_turned_off(runner: RunnerProcess, tiny: Callable[..., Path]) -> None:
    runner.load(tiny("full"), **EXACT)
    regex = Grammar("regex", "(abcdefghij){8}")
    drafted = 0
    for number in range(1, 20, 2):  # whether it pays is measured, which a busy machine may make wrong at first
        prompt = f"{number} {STORY}"
        plain, guessed = both(runner, number, prompt, guesses=-1, sampling=Sampling(temperature=0), grammar=regex)
        same(plain, guessed)
        drafted += end_of(guessed).drafted
        if drafted:
            break
    assert drafted > 0


def test_a_memory_that_cannot_be_cut_gets_no_guesses(runner: RunnerProcess, tiny: Callable[..., Path]) -> None:
    runner.load(tiny("recurrent"), **EXACT)
    regex = Grammar("regex", "(abcdefghij){8}")
    plain, guessed = both(runner, 1, sampling=Sampling(temperature=0), grammar=regex)
    same(plain, guessed)
    assert end_of(guessed).drafted == 0


def test_several_streams_at_once(runner: RunnerProcess, tiny: Callable[..., Path]) -> None:
    runner.load(tiny("full"), **EXACT)
    prompts = [STORY, "a dog", STORY[:20] + "\n", "the cat ran and ran"]
    fields: dict[str, Any] = {"sampling": GREEDY, "num_predict": LENGTH, "want_context": True}
    alone = [runner.ask(n, prompt, draft_num_predict=0, **fields) for n, prompt in enumerate(prompts)]
    together = [runner.submit(10 + n, prompt, draft_num_predict=6, **fields) for n, prompt in enumerate(prompts)]
    runner.read_until(lambda: all(answer.is_over for answer in together))
    for plain, guessed in zip(alone, together, strict=True):
        same(plain, guessed)
    assert sum(end_of(answer).drafted for answer in together) > 0


def test_a_stop_string_ends_in_the_middle_of_a_guess(runner: RunnerProcess, tiny: Callable[..., Path]) -> None:
    runner.load(tiny("full"), **EXACT)
    regex = Grammar("regex", "(abcdefghij){8}klmno")
    fields: dict[str, Any] = {"sampling": Sampling(temperature=0), "grammar": regex}
    # Each time the sentence has come up often enough to be guessed; it ends a token later each time.
    for number, stop in enumerate(("jk", "kl", "mn")):
        plain, guessed = both(runner, 2 * number, stop=[stop], **fields)
        same(plain, guessed)
        assert end_of(guessed).reason == "stop"
        assert stop not in guessed.text
        assert end_of(guessed).drafted > 0


@pytest.mark.parametrize("length", range(61, 70))
def test_the_bound_on_tokens_is_kept(runner: RunnerProcess, tiny: Callable[..., Path], length: int) -> None:
    runner.load(tiny("full"), **EXACT)
    plain, guessed = both(runner, 1, num_predict=length)
    same(plain, guessed)
    assert (end_of(guessed).output_tokens, end_of(guessed).reason) == (length, "length")


@pytest.mark.parametrize("shift", [True, False])
def test_a_full_window(runner: RunnerProcess, tiny: Callable[..., Path], shift: bool) -> None:
    runner.load(tiny("full"), num_ctx=64, num_cells=64, num_sequences=1, **EXACT)
    plain, guessed = both(runner, 1, num_ctx=64, shift=shift)
    same(plain, guessed)
    assert bool(end_of(guessed).shifted) == shift
    assert end_of(guessed).drafted > 0 or not shift


def test_log_probabilities_are_those_of_each_place(runner: RunnerProcess, tiny: Callable[..., Path]) -> None:
    runner.load(tiny("full"), **EXACT)
    plain, guessed = both(runner, 1, logprobs=2)
    same(plain, guessed)
    assert end_of(guessed).drafted > 0
    assert [one.piece for one in guessed.logprobs] == [one.piece for one in plain.logprobs]
    assert [one.logprob for one in guessed.logprobs] == pytest.approx([o.logprob for o in plain.logprobs], abs=0.02)


def test_what_was_computed_with_guesses_is_a_sound_beginning(runner: RunnerProcess, tiny: Callable[..., Path]) -> None:
    runner.load(tiny("full"), **EXACT)
    guessed = runner.ask(1, STORY, sampling=GREEDY, num_predict=100, want_context=True, draft_num_predict=6)
    assert end_of(guessed).drafted > 0
    fields: dict[str, Any] = {"prefix": end_of(guessed).context, "sampling": GREEDY, "want_context": True}
    after = runner.ask(2, "\n", **fields)
    assert end_of(after).cached_tokens > 100
    with RunnerProcess() as fresh:
        fresh.load(tiny("full"), **EXACT)
        same(fresh.ask(1, "\n", draft_num_predict=0, **fields), after)


def test_a_canceled_stream_leaves_the_others_as_they_were(runner: RunnerProcess, tiny: Callable[..., Path]) -> None:
    runner.load(tiny("full"), **EXACT)
    fields: dict[str, Any] = {"sampling": GREEDY, "num_predict": LENGTH, "want_context": True}
    plain = runner.ask(1, STORY, draft_num_predict=0, **fields)
    dropped = runner.submit(2, "a dog", draft_num_predict=6, **fields)
    guessed = runner.submit(3, STORY, draft_num_predict=6, **fields)
    runner.read_until(lambda: dropped.tokens > 60)
    runner.cancel(2)
    runner.read_until(lambda: guessed.is_over)
    same(plain, guessed)
    same(plain, runner.ask(4, STORY, draft_num_predict=6, **fields))


def test_no_more_is_guessed_than_is_asked_for(runner: RunnerProcess, tiny: Callable[..., Path]) -> None:
    runner.load(tiny("full"), **EXACT)
    regex = Grammar("regex", "(abcdefghij){8}")
    fields: dict[str, Any] = {"sampling": Sampling(temperature=0), "grammar": regex, "num_predict": LENGTH}
    answer = runner.ask(1, STORY, draft_num_predict=1, **fields)
    assert end_of(answer).drafted > 0
    most = max(sum(piece.tokens for piece in step.pieces) for step in runner.steps)
    assert most <= 2


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("seed", [7, 8])
def test_a_draft_model_changes_no_word(
    runner: RunnerProcess, tiny: Callable[..., Path], seed: int, sampling: str
) -> None:
    loaded = runner.load(tiny("full"), draft_path=str(tiny("full", seed=seed)), **EXACT)
    assert isinstance(loaded, Loaded)
    assert loaded.warnings == []
    drafted = accepted = 0
    for number, prompt in enumerate((STORY, STORY[:9] + "a cat\n", "a dog")):
        plain, guessed = both(runner, 2 * number, prompt, sampling=SAMPLINGS[sampling], guesses=4)
        same(plain, guessed)
        drafted += end_of(guessed).drafted
        accepted += end_of(guessed).accepted
    assert drafted > 0
    if sampling == "greedy":
        assert (accepted / drafted > 0.9) == (seed == 7)


def test_a_draft_model_keeps_step_with_many_streams(runner: RunnerProcess, tiny: Callable[..., Path]) -> None:
    path = tiny("full")
    runner.load(path, draft_path=str(path), num_ctx=128, num_cells=256, num_sequences=2, **EXACT)
    fields: dict[str, Any] = {"sampling": GREEDY, "num_ctx": 128, "num_predict": 100, "want_context": True}
    prompts = [STORY[start:] for start in range(6)]
    alone = [runner.ask(n, prompt, draft_num_predict=0, **fields) for n, prompt in enumerate(prompts)]
    together = [runner.submit(10 + n, prompt, draft_num_predict=6, **fields) for n, prompt in enumerate(prompts)]
    runner.read_until(lambda: all(answer.is_over for answer in together))
    for plain, guessed in zip(alone, together, strict=True):
        same(plain, guessed)
    assert sum(end_of(answer).accepted for answer in together) > 0


def test_a_draft_model_goes_on_beyond_a_full_window(runner: RunnerProcess, tiny: Callable[..., Path]) -> None:
    path = tiny("full")
    runner.load(path, draft_path=str(path), num_ctx=64, num_cells=64, num_sequences=1, **EXACT)
    plain, guessed = both(runner, 1, num_ctx=64)
    same(plain, guessed)
    assert end_of(guessed).accepted > 0
    assert end_of(guessed).shifted > 0


@pytest.mark.parametrize("reason", ["vocabulary", "recurrent", "file"])
def test_a_draft_model_that_cannot_help_is_left_out(
    runner: RunnerProcess, tiny: Callable[..., Path], tmp_path: Path, reason: str
) -> None:
    small = {
        "vocabulary": lambda: tiny("full", words=["▁la", "▁zorra", "▁corrió", "▁y"]),
        "recurrent": lambda: tiny("recurrent"),
        "file": lambda: tmp_path / "no file",
    }[reason]()
    loaded = runner.load(tiny("full"), draft_path=str(small), **EXACT)
    assert isinstance(loaded, Loaded)
    (warning,) = loaded.warnings
    assert "draft model is not used" in warning
    assert reason in warning
    plain, guessed = both(runner, 1)
    same(plain, guessed)


def test_a_real_model_repeats_a_text_with_guesses_that_are_right(runner: RunnerProcess, starter_gguf: Path) -> None:
    runner.load(starter_gguf, num_sequences=1)
    phrase = "The tide took the old fisherman's lamp far out to sea, and nobody ever saw it again. "
    regex = Grammar("regex", f"({phrase.replace('.', '[.]')}){{4}}")
    fields: dict[str, Any] = {"sampling": Sampling(temperature=0), "grammar": regex, "num_predict": 200}
    plain = runner.ask(1, "Repeat: " + phrase, draft_num_predict=0, **fields)
    guessed = runner.ask(2, "Repeat: " + phrase, draft_num_predict=8, **fields)
    assert plain.text == guessed.text == phrase * 4
    assert end_of(guessed).accepted > end_of(guessed).output_tokens // 2
