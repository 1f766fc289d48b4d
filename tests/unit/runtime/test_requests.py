"""The table of requests, and rates."""

from __future__ import annotations

from corral.runtime.dispatch import Row
from corral.runtime.memory import cache_bytes_per_token, choose_cells
from corral.runtime.rates import Rate
from corral.runtime.requests import KEPT, RequestLog
from corral.runtime.runner import runner_environment
from corral.runtime.snapshot import RequestState
from corral.runtime.verbs import Caller


def log() -> RequestLog:
    return RequestLog(lambda: 1.0, lambda: 2.0)


def test_a_row_from_beginning_to_end() -> None:
    requests = log()
    requests.begin(Caller("1", "127.0.0.1 curl", "POST", "/api/chat"))
    requests.begin(Caller("1", "127.0.0.1 curl", "POST", "/api/chat"), "m")
    requests.update("1", state=RequestState.DECODE, output_tokens=3)
    assert requests.in_flight == 1
    requests.end("1", status=200)
    requests.update("1", output_tokens=9)
    requests.end("1", status=500, note="too late")
    (row,) = requests.rows()
    assert (row.model, row.state, row.status, row.output_tokens, row.note) == ("m", RequestState.DONE, 200, 3, "")


def test_ends_have_names() -> None:
    requests = log()
    for number, (status, state) in enumerate([(499, RequestState.CANCELED), (404, RequestState.FAILED)]):
        requests.begin(Caller(str(number), "c"))
        requests.end(str(number), status=status)
        assert requests.rows()[0].state is state


def test_the_table_is_bounded_but_what_runs_is_never_dropped() -> None:
    requests = log()
    requests.begin(Caller("runs", "c"))
    for number in range(KEPT + 50):
        requests.begin(Caller(str(number), "c"))
        requests.end(str(number), status=200)
    assert len(requests.rows()) <= KEPT + 1
    assert requests.get("runs") is not None
    assert requests.rows()[0].id == str(KEPT + 49)


def test_cancel_reaches_the_one_who_runs_it_once() -> None:
    requests = log()
    asked: list[str] = []
    requests.begin(Caller("1", "c"), "m", lambda: asked.append("1"))
    assert requests.cancel("1")
    assert not requests.cancel("1")
    assert not requests.cancel("2")
    assert asked == ["1"]


def test_a_rate_follows_and_falls_to_nothing() -> None:
    now = 0.0
    rate = Rate(lambda: now, window_s=2.0)
    for step in range(100):
        now = step * 0.1
        rate.add(5)
    assert 40 < rate.per_second() < 60
    now += 10
    assert rate.per_second() == 0.0
    assert rate.total == 500


def test_cells_follow_memory() -> None:
    header = {
        "general.architecture": "llama",
        "llama.block_count": 30,
        "llama.embedding_length": 576,
        "llama.attention.head_count": 9,
        "llama.attention.head_count_kv": 3,
    }
    per_token = cache_bytes_per_token(header, "f16")
    assert per_token == 30 * 3 * 128 * 2
    assert choose_cells(4096, 4, per_token, 1 << 40) == 16384
    assert choose_cells(4096, 4, per_token, 1 << 20) == 4096
    assert choose_cells(4096, 4, 0.0, 0) == 16384
    assert cache_bytes_per_token({"general.architecture": "x"}, "f16") == 0.0


def test_a_runner_learns_no_secrets() -> None:
    passed = runner_environment(
        {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0", "OPENAI_API_KEY": "x", "LLAMA_TOKEN": "x", "CORRAL_API_KEY": "x"}
    )
    assert passed == {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0", "PYTHONUNBUFFERED": "1"}


def test_a_verb_that_follows_another_of_its_request_ends_its_row_too() -> None:
    requests, caller = RequestLog(lambda: 0.0, lambda: 0.0), Caller("r1", "tui", "POST", "/api/generate")
    for _ in range(2):
        with Row(requests, caller, "tiny"):
            assert requests.is_open("r1")
        assert not requests.is_open("r1")
