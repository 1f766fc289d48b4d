"""`POST /v1/embeddings` (spec b.4)."""

from __future__ import annotations

import base64
import struct
from typing import Any, ClassVar

from aiohttp import web

from corral.api.body import read_json
from corral.api.errors import RequestRefused
from corral.api.keys import caller, workbench
from corral.api.ollama.checks import check_name
from corral.api.ollama.embeddings import texts_of, vectors
from corral.api.openai.body import OpenAIBody, checked
from corral.api.reply import json_reply, without_empty
from corral.runtime.durations import parse_keep_alive
from corral.runtime.verbs import EmbedRequest

MAX_DIMENSIONS = 65536
_FORMATS = ("float", "base64")


class EmbeddingsBody(OpenAIBody):
    """`POST /v1/embeddings`."""

    go_name: ClassVar[str] = "EmbedRequest"
    input: Any = None
    dimensions: int = 0
    encoding_format: str = ""


async def embeddings(request: web.Request) -> web.Response:
    """Turn texts into vectors."""
    body = await read_json(request, EmbeddingsBody, missing="EOF")
    if body.encoding_format and body.encoding_format.lower() not in _FORMATS:
        raise RequestRefused(
            f"Invalid value for 'encoding_format' = {body.encoding_format}. Supported values: ['float', 'base64']."
        )
    if body.input is None or body.input == []:
        raise RequestRefused("invalid input")
    if _holds_tokens(body.input):
        raise RequestRefused("invalid input type: token ids are of another model's vocabulary, send texts")
    if not 0 <= body.dimensions <= MAX_DIMENSIONS:
        raise RequestRefused(f"dimensions must be between 0 and {MAX_DIMENSIONS}")
    check_name(body.model, RequestRefused("model '' not found", 404))
    verb = EmbedRequest(
        model=body.model,
        texts=texts_of(body.input),
        dimensions=body.dimensions,
        options=checked(body.options),
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
    reply |= without_empty(warnings=list(found.warnings))
    return json_reply(reply, charset=False)


def _holds_tokens(value: object) -> bool:
    first = value[0] if isinstance(value, list) else value
    return isinstance(first, int) or (isinstance(first, list) and all(isinstance(one, int) for one in first))


def _packed(vector: tuple[float, ...]) -> str:
    """Write a vector as little-endian float32 values in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
