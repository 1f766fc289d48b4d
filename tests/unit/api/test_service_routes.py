"""The routes about the service: request ids, who waits, cancelling, figures."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncGenerator

import pytest
from msgspec.structs import replace

from corral.api.client import HttpClient
from corral.api.metrics import MOST_MODELS, Metrics
from corral.runtime.errors import RequestCanceled
from corral.runtime.requests import RequestLog
from corral.runtime.snapshot import EMPTY, LoadCounts, ModelState, ModelView, RequestState
from corral.runtime.verbs import Caller, ChatRequest, Chunk, DoneReason
from tests.fakes.served import MODEL, Serve, Served, ServedFake, Until

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


class Working(ServedFake):
    """Brings its rows up to date as the workbench does, and answers once `finish` is set or it is cancelled."""

    def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        return self._work(request)

    async def _work(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        self.asked.append(request)
        who = request.caller
        assert who is not None
        self.finish, canceled = asyncio.Event(), asyncio.Event()

        def cancel() -> None:
            canceled.set()
            self.finish.set()

        self.requests.begin(who, MODEL, cancel)
        self.requests.update(
            who.request_id,
            state=RequestState.DECODE,
            first_token_s=self.requests.rows()[0].started_s + 0.2,
            prompt_tokens=12,
            prompt_done=12,
            cached_tokens=8,
            output_tokens=3,
            drafted=4,
            accepted=2,
            tokens_per_s=21.5,
        )
        await self.finish.wait()
        if canceled.is_set():
            raise RequestCanceled
        yield Chunk(text="x", done_reason=DoneReason.STOP)


@pytest.fixture
def working(serve: Serve) -> Served:
    return serve(Working.with_models(MODEL))


class Asking:
    """A chat on a thread of its own, until its answer is there."""

    def __init__(self, served: Served, until: Until, request_id: str = "") -> None:
        self._served = served
        self.status = 0
        headers = {"X-Request-Id": request_id} if request_id else {}
        before = len(served.fake.asked)
        self._thread = threading.Thread(target=self._ask, args=(headers,))
        self._thread.start()
        until(lambda: len(served.fake.asked) > before)

    def _ask(self, headers: dict[str, str]) -> None:
        self.status = self._served.post("/api/chat", CHAT | {"stream": False}, **headers).status_code

    def ended(self) -> int:
        """Wait for the answer's status."""
        self._thread.join(20)
        return self.status

    def finish(self) -> int:
        """Let the answer end."""
        fake = self._served.fake
        assert isinstance(fake, Working)
        self._served.service.loop.call_soon_threadsafe(fake.finish.set)
        return self.ended()


@pytest.mark.parametrize("path", ["/", "/api/tags", "/api/nothing", "/v1/models"])
def test_every_reply_has_an_id_that_the_table_knows(served: Served, path: str) -> None:
    request_id = served.request("GET", path).headers["X-Request-Id"]
    assert served.fake.requests.rows()[0].id == request_id
    assert served.request("GET", path, **{"X-Request-Id": "my-1.a:b_c"}).headers["X-Request-Id"] == "my-1.a:b_c"


@pytest.mark.parametrize("given", ["", "-x", "a b", "a" * 65, "a\tb", "é", "../../etc"])
def test_an_id_that_is_none_is_replaced(served: Served, given: str) -> None:
    head = f"GET / HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {given}\r\n\r\n".encode("latin-1")
    (found,) = re.findall(rb"X-Request-Id: (\S+)", served.raw(head))
    assert re.fullmatch(rb"[0-9a-f]{12}", found)


def test_refusals_have_an_id_too(serve: Serve) -> None:
    served = serve(api_key="k")
    assert served.request("GET", "/api/tags").headers["X-Request-Id"]
    assert b"X-Request-Id" in served.raw(b"GET / HTTP/1.1\r\nHost: evil.com\r\n\r\n")


def test_an_id_in_flight_is_nobody_elses(working: Served, until: Until) -> None:
    asking = Asking(working, until, "mine")
    assert working.request("GET", "/api/version", **{"X-Request-Id": "mine"}).headers["X-Request-Id"] != "mine"
    assert working.fake.requests.is_open("mine")
    assert asking.finish() == 200
    assert working.request("GET", "/api/version", **{"X-Request-Id": "mine"}).headers["X-Request-Id"] == "mine"
    (row,) = [row for row in working.fake.requests.rows() if row.id == "mine"]
    assert row.path == "/api/version"


def test_the_queue(working: Served, until: Until) -> None:
    assert working.request("GET", "/api/queue").json() == {"waiting": 0, "running": 0, "requests": []}
    asking = Asking(working, until, "first")
    requests = working.fake.requests
    for name, state in (("second", RequestState.LOADING), ("third", RequestState.WAITING)):
        requests.begin(Caller(name, "curl", "POST", "/api/generate"), "other:latest")
        requests.update(name, state=state)
    found = working.request("GET", "/api/queue").json()
    assert (found["waiting"], found["running"]) == (2, 1)
    first, *rest = found["requests"]
    assert 0 <= first.pop("age_seconds") < 20
    assert first == {
        "id": "first",
        "model": MODEL,
        "client": "python-httpx",
        "method": "POST",
        "path": "/api/chat",
        "state": "decode",
        "position": 0,
        "load_progress": 0.0,
        "prompt": {"completed": 12, "total": 12, "cached": 8},
        "output_tokens": 3,
        "tokens_per_second": 21.5,
        "warnings": [],
    }
    assert [(one["id"], one["state"], one["position"]) for one in rest] == [
        ("second", "loading", 1),
        ("third", "waiting", 2),
    ]
    asking.finish()


def test_a_request_is_cancelled_by_its_id(working: Served, until: Until) -> None:
    asking = Asking(working, until, "stop-me")
    assert working.request("DELETE", "/api/requests/stop-me").json() == {"id": "stop-me", "status": "canceled"}
    assert asking.ended() == 499
    for gone in ("stop-me", "never-was", "%2e%2e"):
        response = working.request("DELETE", f"/api/requests/{gone}")
        assert response.status_code == 404
        assert "no request of this id" in response.json()["error"]


async def test_our_client_cancels_by_id(working: Served, until: Until) -> None:
    asking = await asyncio.to_thread(Asking, working, until, "stop-me")
    client = HttpClient(working.service.base_url)
    assert await client.cancel("stop-me")
    assert not await client.cancel("stop-me")
    assert not await client.cancel("a/b?c")
    await client.close()
    assert await asyncio.to_thread(asking.ended) == 499


_LINE = re.compile(r'([a-z_]+)(\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? (\S+)')


def figures(text: str) -> dict[str, float]:
    """The samples of an exposition, each line held against the form."""
    found = {}
    for line in text.splitlines():
        if line.startswith(("# HELP ", "# TYPE ")):
            continue
        match = _LINE.fullmatch(line)
        assert match, line
        found[match[1] + (match[2] or "")] = float(match[3])
    return found


def test_metrics(working: Served, until: Until) -> None:
    Asking(working, until).finish()
    asking = Asking(working, until)
    working.post("/api/show", {"model": "no-such-model"})
    working.request("GET", "/api/secret/path")
    model = ModelView(MODEL, "d", ModelState.BUSY, 1, 1.0, 4096, 1, 4, 0, 5, 9, 100, 20, 3, 7, 90, 1.0, 21.5, 0.0, None)
    working.fake.snapshot = replace(EMPTY, models=(model,), counts=LoadCounts(2, 1, 3.5, 1, 1))
    response = working.request("GET", "/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = figures(response.text)
    asking.finish()
    label = f'{{model="{MODEL}"}}'
    expected = {
        f'corral_requests_total{{route="/api/chat",method="POST",status="200",model="{MODEL}"}}': 1,
        'corral_requests_total{route="/api/show",method="POST",status="404",model=""}': 1,
        'corral_requests_total{route="other",method="GET",status="404",model=""}': 1,
        "corral_requests_in_flight": 2,
        "corral_queue_length": 0,
        f'corral_time_to_first_token_seconds_bucket{{model="{MODEL}",le="0.1"}}': 0,
        f'corral_time_to_first_token_seconds_bucket{{model="{MODEL}",le="0.25"}}': 1,
        f'corral_time_to_first_token_seconds_bucket{{model="{MODEL}",le="+Inf"}}': 1,
        f"corral_time_to_first_token_seconds_count{label}": 1,
        f"corral_prompt_tokens_total{label}": 12,
        f"corral_cached_prompt_tokens_total{label}": 8,
        f"corral_prompt_cache_hits_total{label}": 1,
        f"corral_output_tokens_total{label}": 3,
        f"corral_drafted_tokens_total{label}": 4,
        f"corral_accepted_tokens_total{label}": 2,
        f"corral_tokens_per_second{label}": 21.5,
        "corral_models_running": 1,
        "corral_model_loads_total": 2,
        "corral_model_load_failures_total": 1,
        "corral_model_load_seconds_total": 3.5,
        "corral_model_unloads_total": 1,
        "corral_model_evictions_total": 1,
        f'corral_model_memory_bytes{{model="{MODEL}",use="weights"}}': 100,
        f'corral_model_memory_bytes{{model="{MODEL}",use="rss"}}': 90,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found[f"corral_time_to_first_token_seconds_sum{label}"] == pytest.approx(0.2)


def test_no_client_makes_labels() -> None:
    metrics, requests = Metrics("1"), RequestLog(lambda: 1.0, lambda: 1.0)
    metrics.routes.add("/api/blobs/{digest}", re.compile("/api/blobs/(?P<digest>[^{}/]+)"))
    requests.on_end = metrics.observe
    for number in range(MOST_MODELS + 50):
        for who, state in (("typed", RequestState.RUNNING), ("answered", RequestState.DECODE)):
            method = "GET" if number % 2 else f"X{number}"
            requests.begin(Caller(f"{who}{number}", "c", method, f"/api/blobs/{number}"), f'{who}{number}"\n\\')
            requests.update(f"{who}{number}", state=state)
            requests.end(f"{who}{number}", status=200)
    requests.begin(Caller("screen", "tui", "", "chat"))
    requests.end("screen", status=200)
    found = figures(metrics.text(EMPTY))
    assert not [name for name in found if "typed" in name or "/api/blobs/1" in name]
    models = {name for name in found if name.startswith("corral_output_tokens_total")}
    assert len(models) == MOST_MODELS + 1
    assert 'corral_output_tokens_total{model="other"}' in models
    assert 'corral_requests_total{route="chat",method="",status="200",model=""}' in found


def test_figures_ask_for_the_key(serve: Serve) -> None:
    served = serve(api_key="one, two")
    for path in ("/metrics", "/api/queue", "/api/openapi.json"):
        assert served.request("GET", path).status_code == 401
        assert served.request("GET", path, Authorization="Bearer two").status_code == 200
    assert served.request("DELETE", "/api/requests/x").status_code == 401


def test_openapi_knows_every_route(served: Served) -> None:
    document = served.request("GET", "/api/openapi.json").json()
    paths = document["paths"]
    assert {"/api/chat", "/api/generate", "/v1/chat/completions", "/metrics", "/api/requests/{id}"} <= paths.keys()
    assert all(len(operation["responses"]) > 5 for path in paths.values() for operation in path.values())
    chat = paths["/api/chat"]["post"]
    assert chat["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ChatBody"}
    assert chat["responses"]["200"]["content"].keys() == {"application/json", "application/x-ndjson"}
    described = document["components"]["schemas"]["ChatBody"]["properties"]
    assert {"model", "messages", "options", "_debug_render_only"} <= described.keys()
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert references <= document["components"]["schemas"].keys()
