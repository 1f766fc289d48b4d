"""The runner as a process, on random models small enough that every test may have its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from corral.runtime.engine.protocol import Loaded, LoadRefused, Pause, Ping, Pong, Sampling, Turn
from tests.unit.runtime.runner_process import WAIT_S, Answer, RunnerProcess
from tests.unit.runtime.tiny_models import write_tiny
from tests.waiting import block_until

STORY = "the fox ran and saw a dog and the cat "
KINDS = ["full", "sliding", "recurrent", "hybrid"]
# kind of model, whether a sliding window is kept whole
MEMORIES = [("full", None), ("sliding", True), ("sliding", False), ("recurrent", None), ("hybrid", None)]


@pytest.fixture
def runner() -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        yield child


def tokens_of(answer: Answer) -> list[int]:
    assert answer.refused is None, answer.refused
    assert answer.finished is not None
    return answer.finished.context


def fresh(path: Path, prompt: str, *, prefix: list[int] | None = None, **load: object) -> list[int]:
    """What a runner that has seen nothing yet makes of a prompt."""
    with RunnerProcess() as child:
        assert isinstance(child.load(path, **load), Loaded)
        return tokens_of(child.ask(1, prompt, prefix=prefix or [], want_context=True))


def test_handshake_and_sizes(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    loaded = runner.load(tiny("full"))
    assert isinstance(loaded, Loaded)
    assert (loaded.num_ctx, loaded.num_cells, loaded.num_sequences, loaded.num_layers) == (512, 2048, 4, 2)
    assert loaded.kv_bytes == 2048 * 2 * 2 * 32 * 2
    assert loaded.weights_bytes > 0
    assert loaded.compute_bytes > 0
    answer = runner.ask(1, STORY)
    assert answer.started is not None
    assert answer.finished is not None
    assert answer.finished.output_tokens == answer.tokens > 0


def test_a_file_that_is_no_model_is_refused(runner: RunnerProcess, tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("this is no model")
    refused = runner.load(path)
    assert isinstance(refused, LoadRefused)
    assert "magic" in refused.message
    assert runner.read() is None
    assert runner.process.wait(WAIT_S) == 0


@pytest.mark.parametrize("change", [{"kv_type": "nonsense"}, {"num_sequences": 0}, {"num_ctx": 0}, {"num_cells": 1}])
def test_a_load_that_makes_no_sense_is_refused(
    runner: RunnerProcess, tiny: Callable[[str], Path], change: dict[str, object]
) -> None:
    assert isinstance(runner.load(tiny("full"), **change), LoadRefused)


def test_a_truncated_model_is_refused(runner: RunnerProcess, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "half.gguf"
    data = tiny("full").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert isinstance(runner.load(path), LoadRefused)


def test_the_end_of_stdin_ends_the_runner(tiny: Callable[[str], Path]) -> None:
    for path in (None, tiny("full")):
        with RunnerProcess() as child:
            if path:
                child.load(path)
                child.submit(1, STORY, num_predict=500)
            assert child.process.stdin is not None
            child.process.stdin.close()
            assert child.process.wait(WAIT_S) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the end of stdin is what tells")
def test_the_death_of_the_parent_ends_the_runner() -> None:
    # The grandchild's stdin stays open in this process, so only the kernel's signal can end it.
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'corral.runtime.engine'], stdout=subprocess.PIPE)\n"
        "child.stdout.read(8)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        runner = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        runner.wait(WAIT_S)
        assert not runner.is_running()


def test_the_terminals_interrupt_does_not_end_the_runner(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    runner.process.send_signal(signal.SIGINT)
    runner.load(tiny("full"))
    runner.process.send_signal(signal.SIGINT)
    assert runner.ask(1, STORY).finished


def test_no_core_file_and_no_new_privileges(runner: RunnerProcess) -> None:
    status = Path(f"/proc/{runner.process.pid}/status")
    limits = Path(f"/proc/{runner.process.pid}/limits")
    if status.exists():
        assert "NoNewPrivs:\t1" in status.read_text()
        (core,) = [line for line in limits.read_text().splitlines() if line.startswith("Max core file size")]
        assert core.split()[4] == "0"


def test_an_idle_runner_uses_no_processor(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    runner.load(tiny("full"))
    runner.ask(1, STORY)

    def rests() -> bool:
        before_s = runner.computed_s()
        time.sleep(0.5)
        return runner.computed_s() == before_s

    block_until(rests)  # threads of the last step may spin for a moment before they sleep


def test_more_threads_than_processors_are_not_taken(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    assert isinstance(runner.load(tiny("full"), num_threads=4096), Loaded)
    assert runner.ask(1, STORY).finished is not None
    # One decodes for each, and a few more read, write and wait.
    assert psutil.Process(runner.process.pid).num_threads() <= (psutil.cpu_count() or 1) + 8


@pytest.mark.parametrize(("kind", "whole"), MEMORIES)
def test_several_streams_say_what_each_says_alone(
    runner: RunnerProcess, tiny: Callable[[str], Path], kind: str, whole: bool | None
) -> None:
    load: dict[str, Any] = {"whole_window": whole}
    runner.load(tiny(kind), **load)
    # The two likeliest tokens of these answers never lie within 0.02 of each other, where rounding could turn them.
    prompts = [f"{word} {STORY * 4}" for word in ("four", "nine", "red", "green", "black", "white")]
    answers = [runner.submit(i, prompt, want_context=True) for i, prompt in enumerate(prompts)]
    runner.read_until(lambda: all(answer.is_over for answer in answers))
    for prompt, answer in zip(prompts, answers, strict=True):
        assert tokens_of(answer) == fresh(tiny(kind), prompt, **load)
    assert max(step.running for step in runner.steps) == 4
    assert max(step.waiting for step in runner.steps) > 0


@pytest.mark.parametrize(("kind", "whole"), MEMORIES)
def test_a_conversation_goes_on_from_the_cache(
    runner: RunnerProcess, tiny: Callable[[str], Path], kind: str, whole: bool | None
) -> None:
    load: dict[str, Any] = {"whole_window": whole}
    runner.load(tiny(kind), **load)
    first = tokens_of(runner.ask(1, STORY * 4, want_context=True))
    second = runner.ask(2, "and then", prefix=first, want_context=True)
    assert tokens_of(second) == fresh(tiny(kind), "and then", prefix=first, **load)
    assert second.finished is not None
    assert second.finished.cached_tokens >= len(first) - 1


@pytest.mark.parametrize(("kind", "whole"), MEMORIES)
def test_a_conversation_that_forks_is_exact(
    runner: RunnerProcess, tiny: Callable[[str], Path], kind: str, whole: bool | None
) -> None:
    load: dict[str, Any] = {"whole_window": whole, "num_batch": 32, "num_sequences": 1, "num_threads": 0}
    runner.load(tiny(kind), **load)
    beginning = STORY * 4
    tail = "and so it went on for quite a while " * 6
    runner.ask(1, beginning + tail)
    fork = runner.ask(2, beginning + "but no", want_context=True)
    again = runner.ask(3, beginning + tail + "!", want_context=True)
    assert tokens_of(fork) == fresh(tiny(kind), beginning + "but no", **load)
    assert tokens_of(again) == fresh(tiny(kind), beginning + tail + "!", **load)
    assert fork.finished is not None
    assert again.finished is not None
    if kind == "full" or whole:
        assert fork.finished.cached_tokens > len(beginning) // 2
        assert again.finished.cached_tokens > fork.finished.cached_tokens
    else:
        assert fork.finished.cached_tokens == 0  # its window has moved on, or it cannot be cut at all


def test_the_same_prompt_again_computes_its_tail(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    runner.load(tiny("full"))
    first = runner.ask(1, STORY, want_context=True)
    again = runner.ask(2, STORY, want_context=True)
    assert tokens_of(first) == tokens_of(again)
    assert again.finished is not None
    assert again.finished.cached_tokens == again.finished.prompt_tokens - 2


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_that_begin_alike_are_computed_once(
    runner: RunnerProcess, tiny: Callable[[str], Path], kind: str
) -> None:
    load: dict[str, Any] = {"num_cells": 4096, "num_sequences": 8, "whole_window": True}
    runner.load(tiny(kind), **load)
    beginning = STORY * 8
    answers = [runner.submit(i, f"{beginning}{i}", want_context=True) for i in range(8)]
    runner.read_until(lambda: all(answer.is_over for answer in answers))
    cached = [answer.finished.cached_tokens for answer in answers if answer.finished]
    assert sum(count > len(beginning) // 2 for count in cached) == 7
    assert tokens_of(answers[7]) == fresh(tiny(kind), f"{beginning}7", **load)


@pytest.mark.parametrize("kind", ["recurrent", "hybrid"])
def test_memory_that_cannot_be_cut_is_taken_up_at_its_checkpoints(
    runner: RunnerProcess, tiny: Callable[[str], Path], kind: str
) -> None:
    runner.load(tiny(kind))
    prompt = STORY * 8
    first = runner.ask(1, prompt, want_context=True)
    again = runner.ask(2, prompt, want_context=True)
    assert first.finished is not None
    assert again.finished is not None
    assert again.finished.prompt_tokens - 32 < again.finished.cached_tokens < again.finished.prompt_tokens
    assert tokens_of(again) == tokens_of(first)


@pytest.mark.parametrize("kind", ["recurrent", "hybrid"])
def test_where_prompts_part_is_remembered(runner: RunnerProcess, tiny: Callable[[str], Path], kind: str) -> None:
    runner.load(tiny(kind))
    beginning = STORY * 6
    cached: list[int] = []
    for word in ("one", "two", "three"):
        answer = runner.ask(len(cached), f"{beginning}{word} {STORY}", want_context=True)
        assert answer.finished is not None
        cached.append(answer.finished.cached_tokens)
    assert cached[:2] == [0, 0]  # the second finds out where they part
    assert cached[2] > len(beginning) // 2
    assert tokens_of(answer) == fresh(tiny(kind), f"{beginning}three {STORY}")


def test_whoever_waits_for_a_beginning_goes_on_when_its_leader_goes(
    runner: RunnerProcess, tiny: Callable[[str], Path]
) -> None:
    runner.load(tiny("full"), num_batch=32)
    beginning = STORY * 8
    runner.submit(1, f"{beginning}1")
    second = runner.submit(2, f"{beginning}2", want_context=True)
    runner.submit(3, f"{beginning}3")
    runner.send(Pause(3, True))
    runner.cancel(1)
    runner.read_until(lambda: second.is_over)
    assert tokens_of(second) == fresh(tiny("full"), f"{beginning}2", num_batch=32)


def test_reservations_queue_who_does_not_fit(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    runner.load(tiny("full"), num_cells=512, num_sequences=4)
    answers = [runner.submit(i, STORY, num_predict=300) for i in range(3)]
    runner.read_until(lambda: all(answer.is_over for answer in answers))
    assert max(step.running for step in runner.steps) == 1
    assert [answer.finished is not None for answer in answers] == [True] * 3


def test_many_conversations_push_each_other_out(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    loaded = runner.load(tiny("full"), num_cells=1024, num_sequences=2)
    assert isinstance(loaded, Loaded)
    for i in range(40):
        assert runner.ask(i, f"{i} {STORY * (1 + i % 5)}").finished
    assert all(step.cells_used <= loaded.num_cells for step in runner.steps)


def test_a_full_window_ends_with_length(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    runner.load(tiny("full"), num_ctx=64, num_cells=256)
    for seed in range(20):  # a random model may end by itself
        drawn = Sampling(seed=seed, temperature=5.0, top_k=0, top_p=1.0)
        answer = runner.ask(seed, STORY[:20], num_predict=-1, num_ctx=64, sampling=drawn, shift=False)
        assert answer.finished is not None
        if answer.finished.reason == "length":
            assert answer.finished.prompt_tokens + answer.finished.output_tokens == 64
            return
    pytest.fail("no answer filled the window")


def test_a_prompt_beyond_the_window_is_refused(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    runner.load(tiny("full"), num_ctx=64, num_cells=256)
    answer = runner.ask(1, STORY * 10, truncate=False)
    assert answer.refused is not None
    assert answer.refused.kind == "too_long"
    assert answer.refused.num_tokens > 64
    assert runner.ask(2, "the fox").finished


def test_old_messages_are_dropped_to_fit(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    runner.load(tiny("full"), num_ctx=64, num_cells=256)
    turns = [Turn("system", "s"), *(Turn(("user", "assistant")[i % 2], "the fox ran") for i in range(11))]
    answer = runner.ask(1, turns, num_predict=1)
    assert answer.started is not None
    assert answer.started.dropped > 0
    assert answer.started.prompt_tokens <= 64


def test_nothing_to_predict(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    runner.load(tiny("full"))
    answer = runner.ask(1, STORY, num_predict=0)
    assert answer.finished is not None
    assert (answer.finished.reason, answer.finished.output_tokens, answer.text) == ("length", 0, "")


def test_a_prefix_of_no_tokens_of_ours_is_refused(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    runner.load(tiny("full"))
    answer = runner.ask(1, STORY, prefix=[5, 10**6])
    assert answer.refused is not None
    assert answer.refused.kind == "bad_request"


def test_a_paused_stream_rests_and_goes_on(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    runner.load(tiny("full"))
    runner.send(Pause(99, True))  # nobody of that name
    answer = runner.submit(1, STORY, want_context=True, num_predict=100)
    runner.send(Pause(1, True))
    runner.send(Ping(5))
    runner.read_until(lambda: any(isinstance(one, Pong) and one.nonce == 5 for one in runner.others))
    runner.send(Ping(6))
    runner.read_until(lambda: any(isinstance(one, Pong) and one.nonce == 6 for one in runner.others))
    runner.send(Pause(1, False))
    runner.read_until(lambda: answer.is_over)
    assert answer.finished


def test_a_cancelled_request_is_never_heard_of_again(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    runner.load(tiny("full"), num_sequences=1)
    first = runner.submit(1, STORY, num_predict=400)
    waiting = runner.submit(2, STORY)
    runner.cancel(2)
    runner.cancel(1)
    runner.cancel(77)
    third = runner.ask(3, STORY)
    assert third.finished
    assert not waiting.is_over
    assert waiting.started is None
    assert first.finished is None or first.tokens <= 400


def test_sampling_with_a_seed_reproduces_and_without_does_not(
    runner: RunnerProcess, tiny: Callable[[str], Path]
) -> None:
    runner.load(tiny("full"))
    options = Sampling(seed=42, temperature=2.0, top_k=0, top_p=1.0, typical_p=0.9, min_p=0.001, repeat_penalty=1.2)
    runs = [runner.ask(i, STORY, sampling=options, want_context=True) for i in range(2)]
    assert tokens_of(runs[0]) == tokens_of(runs[1])
    loose = Sampling(seed=-1, temperature=2.0, top_k=0, top_p=1.0)
    free = {tuple(tokens_of(runner.ask(10 + i, STORY, sampling=loose, want_context=True))) for i in range(4)}
    assert len(free) > 1


def test_stop_strings_are_cut(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    runner.load(tiny("full"))
    whole = runner.ask(1, STORY).text
    stop = next(part for at in range(3, len(whole)) if "�" not in (part := whole[at : at + 2]) and len(part) == 2)
    answer = runner.ask(2, STORY, stop=["never said", stop])
    assert answer.text == whole[: whole.index(stop)]
    assert answer.finished is not None
    assert answer.finished.reason == "stop"


def test_a_hostile_template_is_refused_and_the_runner_serves_on(runner: RunnerProcess, tmp_path: Path) -> None:
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    runner.load(write_tiny(tmp_path / "hostile.gguf", "full", template=loops))
    other = runner.submit(1, STORY, num_predict=200)
    before_s = runner.computed_s()
    answer = runner.ask(2, [Turn("user", "hi")])
    assert runner.computed_s() - before_s < 6
    assert answer.refused is not None
    assert answer.refused.kind == "template"
    assert "longer than" in answer.refused.message
    runner.read_until(lambda: other.is_over)
    assert runner.ask(3, [Turn("user", "hi")], go_template="<{{ .Prompt }}>").finished


def test_bos_comes_once(runner: RunnerProcess, tmp_path: Path) -> None:
    source = "{{ bos_token }}{{ messages[0].content }}"
    runner.load(write_tiny(tmp_path / "bos.gguf", "full", template=source))
    by_template = runner.ask(1, [Turn("user", "the fox")], num_predict=0, want_context=True)
    by_vocabulary = runner.ask(2, "the fox", num_predict=0, want_context=True)
    assert tokens_of(by_template).count(1) == tokens_of(by_vocabulary).count(1) == 1
    continued = runner.ask(3, "the fox", prefix=tokens_of(by_vocabulary), num_predict=0, want_context=True)
    assert tokens_of(continued).count(1) == 1


def test_garbage_on_stdin_ends_the_runner_with_a_message() -> None:
    with RunnerProcess() as child:
        assert child.process.stdin is not None
        child.process.stdin.write(b"\x00\x00\x00\x05hello")
        child.process.stdin.flush()
        assert child.read() is None
        assert "Error" in child.wait_end()
        assert child.process.returncode == 70


def test_workers_elsewhere_are_named_where_they_cannot_be_used(tiny: Callable[[str], Path]) -> None:
    with RunnerProcess() as child:
        refused = child.load(tiny("full"), rpc_servers=["127.0.0.1:1"])
        assert isinstance(refused, LoadRefused)
        # Which of the two depends on what llama.cpp was built with.
        assert "RPC worker 127.0.0.1:1 does not answer" in refused.message or "no RPC" in refused.message
