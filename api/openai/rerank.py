"""`POST /v1/rerank`, in the form that Jina, Cohere and llama.cpp's server share."""

from __future__ import annotations

from typing import Any, ClassVar

from aiohttp import web

from corral.api.body import read_json
from corral.api.errors import RequestRefused
from corral.api.keys import workbench
from corral.api.ollama.rerank import RerankBody, best_first
from corral.api.reply import json_reply


class OpenAIRerankBody(RerankBody):
    """`POST /v1/rerank`. `truncate`, `keep_alive` and `options` are ours."""

    go_name: ClassVar[str] = "RerankRequest"
    return_documents: bool = False


async def rerank(request: web.Request) -> web.Response:
    """Sort documents by their scores."""
    body = await read_json(request, OpenAIRerankBody, missing="EOF")
    verb = body.to_request(request)
    if not verb.documents:
        raise RequestRefused("documents must be a list of at least one text")
    found = await workbench(request).rerank(verb)
    results: list[dict[str, Any]] = [
        {"index": index, "relevance_score": found.scores[index]} for index in best_first(found.scores, body.top_n)
    ]
    if body.return_documents:
        results = [one | {"document": {"text": verb.documents[one["index"]]}} for one in results]
    tokens = found.stats.prompt_tokens
    reply: dict[str, Any] = {
        "model": body.model,
        "object": "list",
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "results": results,
    }
    if found.warnings:
        reply["warnings"] = list(found.warnings)
    return json_reply(reply, charset=False)
