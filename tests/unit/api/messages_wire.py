"""What the tests of the Anthropic-compatible routes send, and how they read what comes."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
from msgspec.structs import replace

from tests.fakes.served import MODEL, ServedFake

HI = [{"role": "user", "content": "Hi"}]
BODY: dict[str, Any] = {"model": MODEL, "max_tokens": 16, "messages": HI}
PICTURE = base64.b64encode(b"picture").decode()
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "weather", "description": "Tells the weather", "input_schema": SCHEMA}
TIME = {"name": "time", "input_schema": {"type": "object"}}


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The data of a stream's events, each of which must be called as its data say."""
    found = []
    for block in response.text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def caller(**fields: Any) -> ServedFake:
    """A workbench whose model calls tools."""
    fake = ServedFake.with_models(MODEL)
    fake.models[MODEL] = replace(fake.models[MODEL], capabilities=("completion", "tools"))
    for name, value in fields.items():
        setattr(fake, name, value)
    return fake


def thinker(**fields: Any) -> ServedFake:
    fake = ServedFake.with_models(MODEL)
    fake.can_think(MODEL)
    for name, value in fields.items():
        setattr(fake, name, value)
    return fake
