"""The unmodified `ollama` package against a real service with a real model."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import ollama
import pytest
from pydantic import BaseModel, Field

from tests.conftest import LiveServer
from tests.unit.runtime.tiny_bert import write_bert
from tests.waiting import block_until

pytestmark = pytest.mark.model
GREEDY = {"temperature": 0, "num_predict": 8}


@pytest.fixture
def client(live_server: LiveServer) -> Iterator[ollama.Client]:
    with ollama.Client(host=live_server.base_url, trust_env=False) as client:
        yield client


def test_chat(client: ollama.Client, live_server: LiveServer) -> None:
    messages = [{"role": "user", "content": "Say hello."}]
    # Bound to one text: llama.cpp rounds by where in its cache a sequence lies, and that turns free answers.
    options = {**GREEDY, "regex": "Hello there, my friend!"}
    whole = client.chat(live_server.model, messages, options=options)
    parts = list(client.chat(live_server.model, messages, stream=True, options=options))
    assert whole.message.content == "Hello there, my friend!"
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    last = parts[-1]
    assert last.done_reason in ("stop", "length")
    assert last.eval_count is not None
    assert 0 < last.eval_count <= 8
    assert last.prompt_eval_count
    assert last.total_duration
    assert last.model == live_server.model


def test_generate_continues_from_its_context(client: ollama.Client, live_server: LiveServer) -> None:
    first = client.generate(live_server.model, "My name is Ada.", options=GREEDY)
    assert first.context
    second = client.generate(live_server.model, "What is my name?", context=first.context, options=GREEDY)
    assert second.context is not None
    assert list(second.context)[: len(first.context)] == list(first.context)
    raw = client.generate(live_server.model, "One, two, three,", raw=True, options=GREEDY)
    assert raw.response
    assert raw.context is None


def test_listings(client: ollama.Client, live_server: LiveServer) -> None:
    client.generate(live_server.model, keep_alive=-1)
    (listed,) = [one for one in client.list().models if one.model == live_server.model]
    assert listed.size is not None
    assert listed.size > 50_000_000
    assert listed.details is not None
    assert listed.details.family == "llama"
    (running,) = client.ps().models
    assert (running.model, running.digest) == (live_server.model, listed.digest)
    assert running.expires_at is not None
    assert running.expires_at.year > 2300
    shown = client.show(live_server.model)
    assert shown.modelinfo is not None
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["general.parameter_count"] > 100_000_000
    assert shown.capabilities == ["completion"]


def test_load_and_unload(client: ollama.Client, live_server: LiveServer) -> None:
    assert client.generate(live_server.model).done_reason == "load"
    assert len(client.ps().models) == 1
    assert client.generate(live_server.model, keep_alive=0).done_reason == "unload"
    block_until(lambda: not client.ps().models)


def test_create_copy_and_delete(client: ollama.Client, live_server: LiveServer, starter_gguf: Path) -> None:
    digest = client.create_blob(starter_gguf)
    assert digest == "sha256:" + hashlib.sha256(starter_gguf.read_bytes()).hexdigest()
    statuses = [
        step.status
        for step in client.create(
            "mine", files={"model.gguf": digest}, system="Be brief.", parameters={"seed": 1}, stream=True
        )
    ]
    assert statuses[-1] == "success"
    assert client.create("yours", from_="mine", system="Be long.").status == "success"
    assert "SYSTEM Be long." in (client.show("yours").modelfile or "").splitlines()
    assert client.copy("mine", "other").status == "success"
    assert {"mine:latest", "yours:latest", "other:latest"} <= {one.model for one in client.list().models}
    for name in ("mine", "yours", "other"):
        assert client.delete(name).status == "success"
    assert [one.model for one in client.list().models] == [live_server.model]


def test_errors(client: ollama.Client, live_server: LiveServer) -> None:
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found") as missing:
        client.chat("nope", [{"role": "user", "content": "hi"}])
    assert missing.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        client.generate(live_server.model, "x", think=True)
    with pytest.raises(ollama.ResponseError, match='option "num_ctx" must be of type integer') as wrong:
        client.generate(live_server.model, "x", options={"num_ctx": "many"})
    assert wrong.value.status_code == 500


async def test_async_streams_at_the_same_time(live_server: LiveServer) -> None:
    async def one(client: ollama.AsyncClient, word: str) -> str:
        texts = []
        messages = [{"role": "user", "content": f"Say {word}."}]
        async for part in await client.chat(live_server.model, messages, stream=True, options=GREEDY):
            texts.append(part.message.content or "")
        return "".join(texts)

    async with ollama.AsyncClient(host=live_server.base_url, trust_env=False) as client:
        together = await asyncio.gather(*(one(client, word) for word in ("red", "green", "blue")))
    assert [bool(text) for text in together] == [True] * 3


def test_embed(client: ollama.Client, live_server: LiveServer, tmp_path: Path) -> None:
    digest = client.create_blob(write_bert(tmp_path / "bert.gguf"))
    client.create("tiny-bert", files={"bert.gguf": digest})
    try:
        assert client.show("tiny-bert").capabilities == ["embedding"]
        for model in ("tiny-bert", live_server.model):
            one = client.embed(model, "the fox ran")
            many = client.embed(model, ["the fox ran", "a dog", "the fox ran"], dimensions=8)
            assert [len(vector) for vector in many.embeddings] == [8, 8, 8]
            for vector in (*one.embeddings, *many.embeddings):
                assert math.isclose(math.fsum(x * x for x in vector), 1, abs_tol=1e-5)
            assert many.prompt_eval_count
            old = client.embeddings(model, "the fox ran").embedding
            assert math.fsum(a * b for a, b in zip(old, one.embeddings[0], strict=True)) > 0.9999
            assert client.embed(model, "").embeddings == []
        with pytest.raises(ollama.ResponseError, match="the input length exceeds the context length") as refused:
            client.embed("tiny-bert", "fox " * 999, truncate=False)
        assert refused.value.status_code == 400
        assert client.embed("tiny-bert", "fox " * 999).prompt_eval_count == 128
        with pytest.raises(ollama.ResponseError, match='"tiny-bert" does not support generate'):
            client.generate("tiny-bert", "hi")
        assert client.generate("tiny-bert", keep_alive=0).done_reason == "unload"
        with pytest.raises(ollama.ResponseError, match='model "nope" not found, try pulling it first'):
            client.embed("nope", "x")
    finally:
        client.delete("tiny-bert")


class Pet(BaseModel):
    name: str = Field(max_length=12)
    age: int = Field(ge=0, le=30)


class Household(BaseModel):
    pets: list[Pet] = Field(min_length=1, max_length=2)


def test_a_pydantic_schema_binds_the_answer(client: ollama.Client, live_server: LiveServer) -> None:
    messages = [{"role": "user", "content": "Tell me of a household with pets."}]
    options = {"num_predict": 200, "seed": 1}
    reply = client.chat(live_server.model, messages, format=Household.model_json_schema(), options=options)
    assert reply.message.content is not None
    assert reply.done_reason == "stop"
    assert Household.model_validate_json(reply.message.content).pets
    parts = client.generate(live_server.model, "A pet.", format=Pet.model_json_schema(), options=options, stream=True)
    assert Pet.model_validate_json("".join(part.response or "" for part in parts))


def test_json_grammar_and_regex_bind_the_answer(client: ollama.Client, live_server: LiveServer) -> None:
    started = client.generate(live_server.model, "A pet as JSON.", format="json", options=GREEDY)
    assert (started.response or "").startswith("{")
    regex = client.generate(live_server.model, "A date.", options={"regex": "[0-9]{4}-[0-9]{2}"})
    assert re.fullmatch("[0-9]{4}-[0-9]{2}", regex.response or "")
    gbnf = {"grammar": 'root ::= "yes" | "no"'}
    assert client.generate(live_server.model, "Yes?", options=gbnf).response in ("yes", "no")


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"format": {"type": "nope"}}, 400, "invalid JSON schema in format: Invalid type: nope"),
        ({"format": {"enum": ["x"] * 3000}}, 400, "the schema has more than 2000 enum values"),
        ({"format": "json", "options": {"regex": "x"}}, 400, "only one of format, grammar and regex can be given"),
        ({"options": {"grammar": "root ::= ("}}, 400, "invalid grammar: "),
        ({"options": {"grammar": "start: " + "(" * 60_000}}, 400, "the grammar nests more than 256 brackets"),
        ({"options": {"regex": "("}}, 400, "invalid regex: error: unclosed group"),
        ({"options": {"regex": 5}}, 500, 'option "regex" must be of type string'),
    ],
)
def test_forms_that_cannot_be_had_are_refused(
    live_server: LiveServer, fields: dict[str, object], status: int, message: str
) -> None:
    body = {"model": live_server.model, "prompt": "x", **fields}
    reply = httpx.post(f"{live_server.base_url}/api/generate", json=body, timeout=60, trust_env=False)
    assert reply.status_code == status
    assert reply.json()["error"].startswith(message)


def test_log_probabilities(client: ollama.Client, live_server: LiveServer) -> None:
    messages = [{"role": "user", "content": "Say hello."}]
    whole = client.chat(live_server.model, messages, logprobs=True, top_logprobs=2, options=GREEDY)
    assert whole.logprobs is not None
    assert "".join(one.token for one in whole.logprobs) == whole.message.content
    assert all(one.logprob <= 0 and one.top_logprobs and len(one.top_logprobs) == 2 for one in whole.logprobs)
    parts = list(client.generate(live_server.model, "Say hello.", logprobs=True, stream=True, options=GREEDY))
    told = [one.token for part in parts for one in part.logprobs or ()]
    assert "".join(told) == "".join(part.response or "" for part in parts)
    with pytest.raises(ollama.ResponseError, match="top_logprobs must be between 0 and 20") as wrong:
        client.generate(live_server.model, "x", logprobs=True, top_logprobs=21)
    assert wrong.value.status_code == 400
