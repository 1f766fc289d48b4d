"""Images in a runner's prompts: a real projector of a few kilobytes on tiny models, each way of remembering."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corral.runtime.engine.protocol import Loaded, LoadRefused, Turn
from tests.unit.runtime.runner_process import Answer, RunnerProcess
from tests.unit.runtime.tiny_models import WIDTH, WORDS, write_tiny
from tests.unit.runtime.tiny_vision import IMAGE_TOKENS, SIDE, encoded, picture, projected, write_projector

BEGINNING = "the fox ran and saw " * 8
QUESTION = "the dog and the cat ran"
SAME = 0.02
"""Rounding: where cells lie and who is in the batch turns the last bits."""

KINDS = [("full", "mlp"), ("sliding", "gemma3"), ("recurrent", "mlp"), ("hybrid", "mlp"), ("grid", "qwen2vl_merger")]
AFTER = {"full": BEGINNING, "sliding": "a dog", "recurrent": "a " + QUESTION, "hybrid": BEGINNING, "grid": BEGINNING}
"""What stands behind an image: so little that a window still reaches it, and a state still knows it."""


def seeing(folder: Path, kind: str = "full", projector: str = "mlp", **changes: object) -> RunnerProcess:
    """Return a runner with a model that sees."""
    model = write_tiny(
        folder / "model.gguf", kind, marks=["<start_of_image>", "<end_of_image>", "<|vision_start|>", "<|vision_end|>"]
    )
    write_projector(folder / "projector.gguf", projector)
    runner = RunnerProcess()
    loaded = runner.load(model, projector_path=str(folder / "projector.gguf"), **changes)
    assert isinstance(loaded, Loaded), loaded
    return runner


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    with seeing(tmp_path_factory.mktemp("vision"), num_cells=4096) as runner:
        yield runner


def look(runner: RunnerProcess, number: int, images: list[bytes], text: str = QUESTION, **fields: Any) -> Answer:
    answer = runner.ask(number, text, images=images, logprobs=3, num_predict=8, **fields)
    assert answer.refused is None, answer.refused
    assert answer.finished is not None
    return answer


def chances(answer: Answer) -> list[float]:
    return [one.logprob for one in answer.logprobs]


def cached(answer: Answer) -> int:
    assert answer.started is not None
    return answer.started.cached_tokens


@pytest.mark.parametrize(("kind", "projector"), KINDS)
def test_a_cached_image_answers_as_a_fresh_one(tmp_path: Path, kind: str, projector: str) -> None:
    prompt, image = BEGINNING + "[img]" + AFTER[kind], [picture(1, 64)]
    with seeing(tmp_path, kind, projector) as runner:
        fresh = look(runner, 1, image, prompt)
        again = look(runner, 2, image, prompt)
        assert cached(fresh) == 0
        assert cached(again) > IMAGE_TOKENS[projector]
        assert again.text == fresh.text
        assert chances(again) == pytest.approx(chances(fresh), abs=SAME)
        other = look(runner, 3, [picture(2, 64)], prompt)
        assert cached(other) < cached(again) - IMAGE_TOKENS[projector]
        assert chances(other) != pytest.approx(chances(fresh), abs=SAME)


def test_an_image_is_what_its_projector_makes_of_it(tmp_path: Path) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (SIDE["mlp"], SIDE["mlp"], 3), np.uint8)
    rows = projected(write_projector(tmp_path / "projector.gguf", "mlp"), pixels)
    marks = [f"<patch{index}>" for index in range(len(rows))]
    plain = 3 + 256 + len(WORDS)  # the vocabulary without them
    random = np.random.default_rng(7).normal(0, 0.3, (plain + len(rows), WIDTH)).astype(np.float32)
    added = np.zeros_like(random)
    added[plain:] = rows - random[plain:]
    model = write_tiny(tmp_path / "model.gguf", "full", seed=7, marks=marks, added={"token_embd.weight": added})
    with RunnerProcess() as runner:
        assert isinstance(runner.load(model, projector_path=str(tmp_path / "projector.gguf")), Loaded)
        seen = look(runner, 1, [encoded(pixels)], "the fox [img] and a dog")
        spelled = look(runner, 2, [], f"the fox {''.join(marks)} and a dog")
        assert chances(seen) == pytest.approx(chances(spelled), abs=SAME)
        assert seen.text == spelled.text


def test_an_image_takes_its_tokens_and_changes_the_answer(runner: RunnerProcess) -> None:
    plain = runner.ask(10, QUESTION, logprobs=3, num_predict=8)
    seen, other = look(runner, 11, [picture(1)]), look(runner, 12, [picture(2)])
    assert plain.finished is not None
    assert seen.finished is not None
    assert seen.finished.prompt_tokens == plain.finished.prompt_tokens + IMAGE_TOKENS["mlp"]
    assert len({tuple(map(lambda one: round(one, 3), chances(answer))) for answer in (plain, seen, other)}) == 3


def test_images_stand_where_the_prompt_says(runner: RunnerProcess) -> None:
    one, two = picture(1), picture(2)
    ahead = look(runner, 20, [one, two], "the dog [img] and [img] a cat")
    swapped = look(runner, 21, [two, one], "the dog [img] and [img] a cat")
    named = look(runner, 22, [two, one], "the dog [img-1] and [img-0] a cat")
    assert chances(ahead) != pytest.approx(chances(swapped), abs=SAME)
    assert chances(named) == pytest.approx(chances(ahead), abs=SAME)
    assert named.text == ahead.text


def test_nobody_can_write_an_image_that_is_not_there(runner: RunnerProcess) -> None:
    answer = runner.ask(25, "<__media__> [img] [img-0-0] the fox", num_predict=2)
    assert answer.refused is None


def test_chats_have_images_in_go_and_in_jinja(runner: RunnerProcess) -> None:
    turns = [Turn("user", QUESTION, images=[picture(1)]), Turn("assistant", "a dog"), Turn("user", "and a cat")]
    for number, template in ((30, None), (32, "{{ range .Messages }}[{{ .Role }}]{{ .Content }}{{ end }}[a]")):
        seen = runner.ask(number, turns, num_predict=4, go_template=template)
        blind = runner.ask(number + 1, [Turn(one.role, one.content) for one in turns], num_predict=4)
        assert seen.finished is not None, seen.refused
        assert blind.finished is not None
        assert seen.finished.prompt_tokens >= blind.finished.prompt_tokens + IMAGE_TOKENS["mlp"]


def test_an_image_at_the_very_end_is_answered(runner: RunnerProcess) -> None:
    assert look(runner, 40, [picture(1)], "the fox saw [img]").tokens


def test_streams_beside_an_image_go_on_as_they_were(runner: RunnerProcess) -> None:
    images = [picture(seed) for seed in (5, 6, 7)]
    alone = [look(runner, 50 + index, [image], num_ctx=256) for index, image in enumerate(images)]
    words = runner.ask(54, QUESTION, num_predict=40, logprobs=3)
    beside = runner.submit(60, QUESTION, num_predict=40, logprobs=3)
    asked = [
        runner.submit(61 + index, "a" + QUESTION, images=[image], logprobs=3, num_predict=8)
        for index, image in enumerate(images)
    ]
    runner.read_until(lambda: beside.is_over and all(answer.is_over for answer in asked))
    fresh = [look(runner, 70 + index, [image], "a" + QUESTION) for index, image in enumerate(images)]
    assert chances(beside) == pytest.approx(chances(words), abs=SAME)
    for answer, again in zip(asked, fresh, strict=True):
        assert chances(answer) == pytest.approx(chances(again), abs=SAME)
    assert all(math.isfinite(one) for answer in alone for one in chances(answer))


def test_a_window_filled_with_an_image_ends_the_answer(runner: RunnerProcess) -> None:
    answer = runner.ask(90, QUESTION, images=[picture(1)], num_ctx=64, num_predict=100)
    assert answer.finished is not None
    assert (answer.finished.reason, answer.finished.shifted) == ("length", 0)


def test_a_prompt_too_long_is_refused_and_not_cut_inside_an_image(runner: RunnerProcess) -> None:
    answer = runner.ask(91, BEGINNING, images=[picture(1)], num_ctx=32)
    assert answer.refused is not None
    assert answer.refused.kind == "too_long"


def test_the_context_that_is_handed_on_has_no_stand_ins(runner: RunnerProcess) -> None:
    answer = runner.ask(92, QUESTION, images=[picture(1)], want_context=True, num_predict=2)
    assert answer.finished is not None
    assert min(answer.finished.context) >= 0
    assert runner.ask(93, QUESTION, prefix=answer.finished.context, num_predict=2).finished is not None


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_formats(runner: RunnerProcess, form: str) -> None:
    pixels = np.full((40, 30, 3), (200, 30, 90), np.uint8)
    answer = look(runner, 100, [encoded(pixels, form)])
    again = look(runner, 101, [encoded(pixels, "PNG")])
    assert chances(answer) == pytest.approx(chances(again), abs=0.05)


def test_hostile_images_are_refused_and_the_runner_lives(runner: RunnerProcess) -> None:
    whole = picture(1, 64)
    bomb = bytearray(whole)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    thin = encoded(np.zeros((2, 60_000, 3), np.uint8))
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    for number, data in enumerate([b"", b"hello", svg, whole[: len(whole) // 2], bytes(bomb), thin, picture(1, 1)]):
        answer = runner.ask(110 + number, QUESTION, images=[whole, data])
        assert answer.refused is not None, number
        assert answer.refused.kind == "bad_request"
        assert answer.refused.message.startswith("image 2 ")
        assert "0x" not in answer.refused.message
        assert "object" not in answer.refused.message
    many = runner.ask(120, QUESTION, images=[whole] * 21)
    assert many.refused is not None
    assert look(runner, 121, [whole]).text


def test_a_model_without_a_projector_says_so(tmp_path: Path) -> None:
    with RunnerProcess() as runner:
        runner.load(write_tiny(tmp_path / "model.gguf", "full"))
        answer = runner.ask(1, QUESTION, images=[picture(1)])
        assert answer.refused is not None
        assert answer.refused.message == "this model does not read images"


def test_a_projector_of_another_width_is_refused(tmp_path: Path) -> None:
    write_projector(tmp_path / "projector.gguf", "mlp", width=48)
    with RunnerProcess() as runner:
        model = write_tiny(tmp_path / "model.gguf", "full")
        answer = runner.load(model, projector_path=str(tmp_path / "projector.gguf"))
        assert isinstance(answer, LoadRefused)
        assert "projector" in answer.message


def test_an_image_that_must_fit_a_batch_is_refused_where_it_does_not(tmp_path: Path) -> None:
    with seeing(tmp_path, "sliding", "gemma3", num_batch=64, micro_batch=8) as runner:
        answer = runner.ask(1, QUESTION, images=[picture(1)])
        assert answer.refused is not None
        assert "num_batch" in answer.refused.message
        assert runner.ask(2, QUESTION, num_predict=2).finished is not None
