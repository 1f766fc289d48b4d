"""Images in a runner's prompts: a real projector of a few kilobytes on tiny models, each way of remembering."""

from __future__ import annotations

import ctypes
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import llama_cpp.llama_cpp as c
import llama_cpp.mtmd_cpp as m
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from corral.runtime.engine.pictures import read_picture
from corral.runtime.engine.protocol import Loaded, LoadRefused, Turn
from corral.runtime.engine.vision import Span
from tests.unit.runtime.runner_process import Answer, RunnerProcess
from tests.unit.runtime.tiny_models import WIDTH, WORDS, write_tiny
from tests.unit.runtime.tiny_vision import IMAGE_TOKENS, SIDE, encoded, picture, projected, write_projector

BEGINNING = "the fox ran and saw " * 8
QUESTION = "the dog and the cat ran"
SAME = 0.02
"""Rounding: where cells lie and who is in the batch turns the last bits."""

KINDS = [("full", "mlp"), ("sliding", "gemma3"), ("recurrent", "mlp"), ("hybrid", "mlp"), ("grid", "qwen2vl_merger")]
BEFORE = {"recurrent": "a ", "hybrid": "a "}
AFTER = {"sliding": "a dog", "recurrent": "the fox and the dog saw " + QUESTION, "hybrid": BEGINNING[:80]}
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


def expected_chances(folder: Path, prompt: str, side: int, seed: int) -> list[float]:
    """Return the logarithms of what may follow a prompt, computed by mtmd's own helper in this process."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    model = c.llama_model_load_from_file(bytes(folder / "model.gguf"), c.llama_model_default_params())
    params = c.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = 1024, 512, 512
    context = c.llama_init_from_model(model, params)
    projector = m.mtmd_init_from_file(bytes(folder / "projector.gguf"), model, m.mtmd_context_params_default())
    assert context
    assert projector
    bitmap = m.mtmd_bitmap_init(side, side, (ctypes.c_uint8 * pixels.size).from_buffer_copy(pixels.tobytes()))
    text = prompt.replace("[img]", m.mtmd_default_marker().decode()).encode()
    chunks = m.mtmd_input_chunks_init()
    asked = m.mtmd_input_text(text, len(text), True, True)
    end = c.llama_pos(0)
    try:
        assert m.mtmd_tokenize(projector, chunks, asked, (m.mtmd_bitmap_p_ctypes * 1)(bitmap), 1) == 0
        assert m.mtmd_helper_eval_chunks(projector, context, chunks, 0, 0, 512, True, ctypes.byref(end)) == 0
        count = c.llama_vocab_n_tokens(c.llama_model_get_vocab(model))
        logits = np.ctypeslib.as_array(c.llama_get_logits_ith(context, -1), shape=(count,)).astype(np.float64)
        return list(logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max())
    finally:
        m.mtmd_input_chunks_free(chunks)
        m.mtmd_bitmap_free(bitmap)
        m.mtmd_free(projector)
        c.llama_free(context)
        c.llama_model_free(model)


def look(runner: RunnerProcess, number: int, images: list[bytes], text: str = QUESTION, **fields: Any) -> Answer:
    answer = runner.ask(number, text, images=images, logprobs=20, num_predict=8, **fields)
    assert answer.refused is None, answer.refused
    assert answer.finished is not None
    return answer


def distance(left: Answer, right: Answer) -> float:
    """Return how far two answers' first tokens are apart: what follows may be turned by rounding."""
    one, other = ({found.piece: found.logprob for found in answer.logprobs[0].top} for answer in (left, right))
    both = one.keys() & other.keys()
    return max(abs(one[piece] - other[piece]) for piece in both) if len(both) > len(one) // 2 else math.inf


def alike(left: Answer, right: Answer) -> bool:
    return distance(left, right) < SAME


def differ(left: Answer, right: Answer) -> bool:
    return distance(left, right) > 2 * SAME


def cached(answer: Answer) -> int:
    assert answer.started is not None
    return answer.started.cached_tokens


@pytest.mark.parametrize(("kind", "projector"), KINDS)
def test_a_cached_image_answers_as_a_fresh_one(tmp_path: Path, kind: str, projector: str) -> None:
    prompt = BEFORE.get(kind, BEGINNING) + "[img]" + AFTER.get(kind, BEGINNING)
    with seeing(tmp_path, kind, projector) as runner:
        fresh = look(runner, 1, [picture(1, 64)], prompt)
        again = look(runner, 2, [picture(1, 64)], prompt)
        other = look(runner, 3, [picture(2, 64)], prompt)
    assert fresh.finished is not None
    assert cached(fresh) == 0
    assert cached(again) >= fresh.finished.prompt_tokens - 18
    assert cached(other) < cached(again) - len(AFTER.get(kind, BEGINNING)) // 2
    assert distance(again, fresh) < SAME
    assert distance(other, fresh) > 10 * distance(again, fresh) + 0.001


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
        assert alike(seen, spelled)


@pytest.mark.parametrize(("kind", "projector"), KINDS)
def test_the_next_token_is_what_llama_cpp_by_itself_expects(tmp_path: Path, kind: str, projector: str) -> None:
    prompt = "the fox ran [img]a dog"
    with seeing(tmp_path, kind, projector) as runner:
        answer = look(runner, 1, [picture(1, 64)], prompt)
    expected = expected_chances(tmp_path, prompt, 64, 1)
    top = [one.logprob for one in answer.logprobs[0].top]
    assert top == pytest.approx(sorted(expected, reverse=True)[: len(top)], abs=SAME)


def test_an_image_takes_its_tokens_and_changes_the_answer(runner: RunnerProcess) -> None:
    plain = runner.ask(10, QUESTION, logprobs=20, num_predict=8)
    seen, other = look(runner, 11, [picture(1)]), look(runner, 12, [picture(2)])
    assert plain.finished is not None
    assert seen.finished is not None
    assert seen.finished.prompt_tokens == plain.finished.prompt_tokens + IMAGE_TOKENS["mlp"]
    assert differ(plain, seen)
    assert differ(plain, other)
    assert differ(seen, other)


def test_images_stand_where_the_prompt_says(runner: RunnerProcess) -> None:
    one, two = picture(1), picture(2)
    ahead = look(runner, 20, [one, two], "the dog [img] and [img] a cat")
    swapped = look(runner, 21, [two, one], "the dog [img] and [img] a cat")
    named = look(runner, 22, [two, one], "the dog [img-1] and [img-0] a cat")
    assert differ(ahead, swapped)
    assert alike(named, ahead)


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
    words = runner.ask(54, QUESTION, num_predict=40, logprobs=20)
    beside = runner.submit(60, QUESTION, num_predict=40, logprobs=20)
    asked = [
        runner.submit(61 + index, "a" + QUESTION, images=[image], logprobs=20, num_predict=8)
        for index, image in enumerate(images)
    ]
    runner.read_until(lambda: beside.is_over and all(answer.is_over for answer in asked))
    fresh = [look(runner, 70 + index, [image], "a" + QUESTION) for index, image in enumerate(images)]
    assert alike(beside, words)
    for answer, again in zip(asked, fresh, strict=True):
        assert alike(answer, again)


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
    assert distance(answer, again) < 0.1  # JPEG and GIF change colours a little


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


def test_a_request_is_cancelled_before_its_image_and_others_go_on(runner: RunnerProcess) -> None:
    beside = runner.submit(130, QUESTION, num_predict=40)
    for number in range(131, 136):
        runner.submit(number, BEGINNING + "[img]" + BEGINNING, images=[picture(number)] * 4, num_predict=40)
        runner.cancel(number)
    runner.read_until(lambda: beside.is_over)
    assert beside.finished is not None
    assert look(runner, 136, [picture(131)]).tokens


def test_more_images_than_the_cache_holds_wait_for_each_other(tmp_path: Path) -> None:
    with seeing(tmp_path, num_ctx=128, num_cells=128) as runner:
        asked = [
            runner.submit(seed, QUESTION, images=[picture(seed)] * 2, num_ctx=128, num_predict=6) for seed in range(6)
        ]
        runner.read_until(lambda: all(answer.is_over for answer in asked))
        assert all(answer.finished for answer in asked)


def test_images_are_kept_on_disk_and_found_again(tmp_path: Path) -> None:
    model, prompt = write_tiny(tmp_path / "model.gguf", "full"), "a [img]" + BEGINNING
    for seed in (3, 4):
        write_projector(tmp_path / f"projector{seed}.gguf", "mlp", seed=seed)

    def ask(number: int, seed: int) -> Answer:
        shelf = {"shelf": str(tmp_path / "shelf"), "shelf_bytes": 2**24}
        with RunnerProcess() as runner:
            runner.load(model, projector_path=str(tmp_path / f"projector{seed}.gguf"), **shelf)
            return look(runner, 1, [picture(number)], prompt)

    fresh, again = ask(1, 3), ask(1, 3)
    assert cached(again) > IMAGE_TOKENS["mlp"]
    assert alike(again, fresh)
    assert cached(ask(2, 3)) < IMAGE_TOKENS["mlp"]
    assert cached(ask(1, 4)) == 0


@settings(max_examples=200)
@given(data=st.binary(max_size=400) | st.integers(0, 400).map(lambda cut: picture(1)[:cut]))
def test_whatever_is_no_image_is_refused_in_words_of_ours(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^image 3 (is no PNG|is damaged|has more|is \d+ x)") as refused:
        read_picture(data, 3)
    assert "object" not in str(refused.value)


def test_an_image_is_turned_and_laid_on_white() -> None:
    held = Image.new("RGB", (20, 10), "red")
    exif = held.getexif()
    exif[0x0112] = 6  # a quarter turn
    file = io.BytesIO()
    held.save(file, "JPEG", exif=exif)
    assert read_picture(file.getvalue(), 1)[:2] == (10, 20)
    clear = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(clear, "PNG")
    assert set(read_picture(clear.getvalue(), 1).data) == {255}
    deep = io.BytesIO()
    Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(deep, "PNG")
    assert set(read_picture(deep.getvalue(), 1).data) == {0x80}


def test_a_sequence_is_never_cut_inside_an_image(tmp_path: Path) -> None:
    model = Mock(stand_ins=[-5, -6, -7], cells=3, splits=False)
    wide = Mock(stand_ins=[-5, -6, -7], cells=9, splits=True)
    assert [Span(2, model).inside(length) for length in range(1, 7)] == [False, False, True, True, False, False]
    assert [Span(2, wide).inside(length) for length in range(1, 7)] == [False, False, True, True, True, False]


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
