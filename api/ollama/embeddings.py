"""`POST /api/embed` and the older `POST /api/embeddings` (spec a.10)."""

from __future__ import annotations

from typing import Any, ClassVar

from aiohttp import web
from pydantic import Field

from corral.api.body import read_json
from corral.api.errors import RequestRefused, describe
from corral.api.keys import caller, workbench
from corral.api.ollama.checks import check_name, missing
from corral.api.ollama.replies import pooled_trailer
from corral.api.ollama.schemas import NamedModel
from corral.api.reply import json_reply
from corral.runtime.durations import parse_keep_alive
from corral.runtime.errors import RequestCanceled, RunError
from corral.runtime.verbs import Client, Embeddings, EmbedRequest
from corral.store.errors import ModelNotFound


class EmbedBody(NamedModel):
    """`POST /api/embed`; `input` is a text or a list of texts."""

    go_name: ClassVar[str] = "EmbedRequest"
    input: Any = None
    truncate: bool = True
    dimensions: int = 0
    keep_alive: Any = None
    options: dict[str, Any] = Field(default_factory=dict)


class EmbeddingBody(NamedModel):
    """`POST /api/embeddings`."""

    go_name: ClassVar[str] = "EmbeddingRequest"
    prompt: str = ""
    keep_alive: Any = None
    options: dict[str, Any] = Field(default_factory=dict)


async def embed(request: web.Request) -> web.Response:
    """Turn texts into vectors; without a text only load the model."""
    body = await read_json(request, EmbedBody)
    check_name(body.model, RequestRefused("model '' not found", 404))
    verb = EmbedRequest(
        model=body.model,
        texts=() if body.input in (None, "") else texts_of(body.input),
        truncate=body.truncate,
        dimensions=body.dimensions,
        options=body.options,
        keep_alive_s=parse_keep_alive(body.keep_alive),
        caller=caller(request, body.model),
    )
    found = await vectors(workbench(request), verb)
    return json_reply({"model": body.model, "embeddings": found.vectors} | pooled_trailer(found))


async def embeddings(request: web.Request) -> web.Response:
    """Turn one text into a vector, as older clients ask for it."""
    body = await read_json(request, EmbeddingBody)
    check_name(body.model, RequestRefused("model is required"))
    verb = EmbedRequest(
        model=body.model,
        texts=(body.prompt,) if body.prompt else (),
        options=body.options,
        keep_alive_s=parse_keep_alive(body.keep_alive),
        caller=caller(request, body.model),
    )
    try:
        found = await vectors(workbench(request), verb)
    except RequestCanceled:
        raise
    except RunError as error:
        problem = describe(error)
        raise RequestRefused(problem.message, problem.status if problem.status in (404, 503) else 500) from error
    return json_reply({"embedding": found.vectors[0] if found.vectors else []})


def texts_of(value: object) -> tuple[str, ...]:
    """Return the texts of an `input`.

    Raises:
        RequestRefused: it is neither a text nor a list of texts.
    """
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise RequestRefused("invalid input type")


async def vectors(client: Client, verb: EmbedRequest) -> Embeddings:
    """Embed, with the words for a missing model that clients of these routes know (spec a.4)."""
    try:
        return await client.embed(verb)
    except ModelNotFound:
        raise missing(verb.model, f'model "{verb.model}" not found, try pulling it first') from None
