"""`POST /v1/embeddings` (spec b.4)."""

from __future__ import annotations

import base64
import struct
from typing import Any, ClassVar

from aiohttp import web
from pydantic import Field

from corral.api.body import WireModel, read_json
from corral.api.errors import RequestRefused
from corral.api.keys import caller, workbench
from corral.api.ollama.checks import check_name
from corral.api.ollama.embeddings import texts_of, vectors
from corral.api.reply import json_reply
from corral.runtime.durations import parse_keep_alive
from corral.runtime.verbs import EmbedRequest

_FORMATS = ("float", "base64")


class EmbeddingsBody(WireModel):
    """`POST /v1/embeddings`. `keep_alive` and `options` are ours: Ollama passes them over."""

    go_name: ClassVar[str] = "EmbedRequest"
    model: str = ""
    input: Any = None
    dimensions: int = 0
    encoding_format: str = ""
    keep_alive: Any = None
    options: dict[str, Any] = Field(default_factory=dict)


async def embeddings(request: web.Request) -> web.Response:
    """Turn texts into vectors."""
    body = await read_json(request, EmbeddingsBody, missing="EOF")
    if body.encoding_format and body.encoding_format.lower() not in _FORMATS:
        raise RequestRefused(
            f"Invalid value for 'encoding_format' = {body.encoding_format}. Supported values: ['float', 'base64']."
        )
    if body.input is None or body.input == []:
        raise RequestRefused("invalid input")
    check_name(body.model, RequestRefused("model '' not found", 404))
    verb = EmbedRequest(
        model=body.model,
        texts=texts_of(body.input),
        dimensions=body.dimensions,
        options=body.options,
        keep_alive_s=parse_keep_alive(body.keep_alive),
        caller=caller(request, body.model),
    )
    found = await vectors(workbench(request), verb)
    packs = body.encoding_format.lower() == "base64"
    data = [
        {"object": "embedding", "embedding": _packed(vector) if packs else vector, "index": index}
        for index, vector in enumerate(found.vectors)
    ]
    tokens = found.stats.prompt_tokens
    reply: dict[str, Any] = {"object": "list", "data": data, "model": body.model}
    reply["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    if found.warnings:
        reply["warnings"] = list(found.warnings)
    return json_reply(reply, charset=False)


def _packed(vector: tuple[float, ...]) -> str:
    """Write a vector as little-endian float32 values in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
