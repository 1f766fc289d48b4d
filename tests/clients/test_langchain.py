"""LangChain's unmodified `langchain-openai` and `langchain-ollama` against a real service with a real model."""

from __future__ import annotations

from typing import Literal

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field, SecretStr

from tests.conftest import LiveServer

pytestmark = pytest.mark.model
KEY = SecretStr("unused")
CLOSE = {"Connection": "close"}  # these clients keep connections and never close them
SAID = "Hello there, my friend!"
HELLO = [SystemMessage("Be brief."), HumanMessage("Say hello.")]


class Colour(BaseModel):
    name: Literal["red", "green", "blue"]
    note: str = Field(max_length=15)


def test_openai(live_server: LiveServer) -> None:
    model = ChatOpenAI(
        model=live_server.model,
        base_url=f"{live_server.base_url}/v1",
        api_key=KEY,
        default_headers=CLOSE,
        max_completion_tokens=16,
        temperature=0,
        extra_body={"regex": SAID},
    )
    whole = model.invoke(HELLO)
    assert whole.text == SAID
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] > 0
    parts = list(model.stream(HELLO))
    assert "".join(part.text for part in parts) == SAID
    free = ChatOpenAI(
        model=live_server.model, base_url=f"{live_server.base_url}/v1", api_key=KEY, default_headers=CLOSE, seed=1
    )
    found = free.with_structured_output(Colour, method="json_schema").invoke("Which colour, as JSON?")
    assert isinstance(found, Colour)


def test_openai_responses(live_server: LiveServer) -> None:
    model = ChatOpenAI(
        model=live_server.model,
        base_url=f"{live_server.base_url}/v1",
        api_key=KEY,
        default_headers=CLOSE,
        use_responses_api=True,
        extra_body={"regex": SAID},
    )
    assert model.invoke(HELLO).text == SAID
    assert "".join(part.text for part in model.stream(HELLO)) == SAID


def test_openai_embeddings(live_server: LiveServer) -> None:
    # Without the check of lengths it sends texts; with it the tokens of a vocabulary of OpenAI's.
    texts = OpenAIEmbeddings(
        model=live_server.model,
        base_url=f"{live_server.base_url}/v1",
        api_key=KEY,
        default_headers=CLOSE,
        check_embedding_ctx_length=False,
    )
    first, second = texts.embed_documents(["the fox ran", "a dog"])
    assert len(first) == len(second) > 0
    assert first != second


def test_ollama(live_server: LiveServer) -> None:
    client = {"headers": CLOSE}
    model = ChatOllama(
        model=live_server.model, base_url=live_server.base_url, client_kwargs=client, temperature=0, num_predict=3
    )
    whole = model.invoke(HELLO)
    assert whole.text
    assert whole.response_metadata["done_reason"] == "length"
    parts = list(model.stream(HELLO))
    assert "".join(part.text for part in parts)
    assert parts[-1].response_metadata or parts[-2].response_metadata
    found = (
        ChatOllama(model=live_server.model, base_url=live_server.base_url, client_kwargs=client, seed=1)
        .with_structured_output(Colour, method="json_schema")
        .invoke("Which colour, as JSON?")
    )
    assert isinstance(found, Colour)


def test_ollama_prompts_and_embeddings(live_server: LiveServer) -> None:
    client = {"headers": CLOSE}
    model = OllamaLLM(
        model=live_server.model, base_url=live_server.base_url, client_kwargs=client, num_predict=3, temperature=0
    )
    assert model.invoke("Once upon a time")
    assert "".join(model.stream("Once upon a time"))
    vectors = OllamaEmbeddings(model=live_server.model, base_url=live_server.base_url, client_kwargs=client)
    first, second = vectors.embed_documents(["the fox ran", "a dog"])
    assert len(first) == len(second) > 0
    assert vectors.embed_query("the fox ran") == pytest.approx(first, abs=1e-3)
