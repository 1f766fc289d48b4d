"""LlamaIndex's unmodified `llama-index-llms-ollama` against a real service with a real model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import ollama
import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.llms.ollama import Ollama
from pydantic import BaseModel, Field

from tests.conftest import LiveServer

pytestmark = pytest.mark.model


class Colour(BaseModel):
    """A colour."""

    name: Literal["red", "green", "blue"]
    note: str = Field(max_length=15)


@pytest.fixture
def client(live_server: LiveServer) -> Iterator[ollama.Client]:
    with ollama.Client(host=live_server.base_url, trust_env=False) as client:  # its own it never closes
        yield client


def test_chat_and_complete(client: ollama.Client, live_server: LiveServer) -> None:
    model = Ollama(
        model=live_server.model,
        client=client,
        temperature=0,
        context_window=1024,
        additional_kwargs={"num_predict": 4},
    )
    hello = [ChatMessage(role="user", content="Say hello.")]
    assert model.chat(hello).message.content
    assert "".join(part.delta or "" for part in model.stream_chat(hello))
    assert model.complete("Once upon a time").text
    assert "".join(part.delta or "" for part in model.stream_complete("Once upon a time"))


def test_a_pydantic_class_binds_the_answer(client: ollama.Client, live_server: LiveServer) -> None:
    model = Ollama(model=live_server.model, client=client, additional_kwargs={"seed": 1})
    found = model.structured_predict(Colour, PromptTemplate("Which colour, as JSON?"))
    assert isinstance(found, Colour)
