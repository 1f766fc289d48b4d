"""The unmodified `pydantic-ai` against a real service with a real model."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, Field
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.conftest import LiveServer

pytestmark = pytest.mark.model


class Colour(BaseModel):
    """A colour."""

    name: Literal["red", "green", "blue"]
    note: str = Field(max_length=15)


async def test_an_agent_answers_with_an_object(live_server: LiveServer) -> None:
    provider = OpenAIProvider(base_url=f"{live_server.base_url}/v1", api_key="unused")
    async with provider.client:
        model = OpenAIChatModel(live_server.model, provider=provider)
        agent = Agent(model, output_type=NativeOutput(Colour), model_settings={"seed": 1, "max_tokens": 100})
        found = await agent.run("Which colour, as JSON?")
    assert found.output.name in ("red", "green", "blue")
    assert found.usage.output_tokens > 0
