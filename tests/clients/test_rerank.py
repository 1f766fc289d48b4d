"""Rerankers from a file on a client's disk to scores: created, shown, asked, and refused what they cannot do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import gguf
import httpx
import pytest

from corral.api.client import HttpClient
from corral.runtime.errors import RemoteFailed
from corral.runtime.snapshot import RequestState
from corral.runtime.verbs import CreateRequest, RerankRequest
from tests.conftest import LiveServer
from tests.unit.runtime.tiny_bert import CLS, SEP, score, token_ids, write_bert
from tests.waiting import until

pytestmark = pytest.mark.model

QUERY = "the fox"
DOCUMENTS = ["ran the fox", "zebra", "the fox", "a blue fox ran", "42"]
CLOSE = 0.01


def expected(text: str, query: str = QUERY) -> float:
    return score([CLS, *token_ids(query), SEP, *token_ids(text)])


@pytest.fixture
async def client(live_server: LiveServer) -> AsyncIterator[HttpClient]:
    client = HttpClient(live_server.base_url)
    yield client
    await client.close()


@pytest.fixture
async def http(live_server: LiveServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=live_server.base_url, trust_env=False, timeout=60) as http:
        yield http


async def create(client: HttpClient, path: Path, name: str) -> None:
    data = path.read_bytes()

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    await client.put_blob(digest, chunks())
    assert [step.status async for step in client.create(CreateRequest(name, files={path.name: digest}))][
        -1
    ] == "success"


@pytest.fixture
async def ranker(client: HttpClient, tmp_path: Path) -> AsyncIterator[str]:
    await create(client, write_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK), "tiny-ranker")
    yield "tiny-ranker"
    await client.delete("tiny-ranker")


async def test_the_verb(client: HttpClient, ranker: str) -> None:
    assert (await client.show(ranker)).capabilities == ("rerank",)
    texts = tuple(DOCUMENTS) * 60  # more than one message to the runner holds
    found = await client.rerank(RerankRequest(ranker, QUERY, texts, options={"x": 1}))
    assert found.scores == pytest.approx([expected(text) for text in texts], abs=CLOSE)
    assert found.stats.prompt_tokens == sum(len(token_ids(text)) + 4 for text in texts)
    assert found.warnings == ("option 'x' is not known and was ignored",)
    assert (await client.rerank(RerankRequest(ranker, QUERY))).scores == ()
    cut = await client.rerank(RerankRequest(ranker, QUERY, ("fox " * 999, "fox")))
    assert cut.warnings == ("1 of 2 documents were longer than the context and were cut at their end",)
    with pytest.raises(RemoteFailed, match="the input length exceeds the context length") as refused:
        await client.rerank(RerankRequest(ranker, QUERY, ("fox " * 999,), truncate=False))
    assert refused.value.status == 400
    with pytest.raises(RemoteFailed, match="the query leaves no room") as refused:
        await client.rerank(RerankRequest(ranker, "fox " * 999, ("fox",)))
    assert refused.value.status == 400


async def test_both_routes_agree(http: httpx.AsyncClient, ranker: str) -> None:
    best = sorted(DOCUMENTS, key=expected, reverse=True)
    body = {"model": ranker, "query": QUERY, "documents": DOCUMENTS, "top_n": 3, "return_documents": True}
    native = (await http.post("/api/rerank", json=body)).json()
    assert [one["document"] for one in native["results"]] == best[:3]
    shared = (await http.post("/v1/rerank", json=body)).json()
    assert [one["document"]["text"] for one in shared["results"]] == best[:3]
    assert [one["relevance_score"] for one in shared["results"]] == pytest.approx(
        [one["relevance_score"] for one in native["results"]], abs=CLOSE
    )
    assert shared["usage"]["total_tokens"] == native["prompt_eval_count"]


async def test_the_model_stays_as_long_as_asked(http: httpx.AsyncClient, live_server: LiveServer, ranker: str) -> None:
    def held() -> bool:
        return any("ranker" in model.name for model in live_server.service.client.latest().models)

    body = {"model": ranker, "query": QUERY, "documents": DOCUMENTS}
    await http.post("/api/rerank", json=body | {"keep_alive": -1})
    await until(held)
    await http.post("/v1/rerank", json=body | {"keep_alive": 0})
    await until(lambda: not held())


async def test_what_cannot_be_done_is_said(
    client: HttpClient, http: httpx.AsyncClient, live_server: LiveServer, ranker: str, tmp_path: Path
) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS, "input": "x", "prompt": "x", "messages": [{"role": "user"}]}
    for path, model, text in (
        ("/api/chat", ranker, f'"{ranker}" does not support chat'),
        ("/api/generate", ranker, f'"{ranker}" does not support generate'),
        ("/api/embed", ranker, f'"{ranker}" does not support embed'),
        ("/api/rerank", live_server.model, f'"{live_server.model}" does not support rerank'),
    ):
        response = await http.post(path, json=body | {"model": model})
        assert (response.status_code, response.json()) == (400, {"error": text})
    await create(client, write_bert(tmp_path / "x.gguf", gguf.PoolingType.RANK, head=False), "headless")
    refused = await http.post("/api/rerank", json=body | {"model": "headless"})
    await client.delete("headless")
    assert refused.status_code == 400
    assert "lacks the classification head" in refused.json()["error"]


async def test_who_stops_asking_is_not_computed_for(
    http: httpx.AsyncClient, live_server: LiveServer, ranker: str
) -> None:
    requests = live_server.service.client.requests
    body = {"model": ranker, "query": QUERY, "documents": ["zebra " * 20] * 100_000}
    asking = asyncio.create_task(http.post("/api/rerank", json=body))
    await until(lambda: requests.rows()[0].state is RequestState.PREFILL)
    asking.cancel()
    await until(lambda: requests.in_flight == 0)
    row = requests.rows()[0]
    assert (row.path, row.state, row.status) == ("/api/rerank", RequestState.CANCELED, 499)
    answer = (await http.post("/api/rerank", json=body | {"documents": ["fox"]})).json()
    assert answer["results"][0]["relevance_score"] == pytest.approx(expected("fox"), abs=CLOSE)
