"""Which path of the OpenAI-compatible API is answered by what (spec b)."""

from __future__ import annotations

from aiohttp import web

from corral.api.openai import chat, completions, embeddings, models, rerank, responses


def routes() -> list[web.RouteDef]:
    """Return the routes of the OpenAI-compatible API."""
    return [
        web.get("/v1/models", models.list_models, allow_head=False),
        web.get("/v1/models/{model:.+}", models.retrieve_model, allow_head=False),
        web.post("/v1/chat/completions", chat.chat_completions),
        web.post("/v1/completions", completions.completions),
        web.post("/v1/responses", responses.responses),
        web.post("/v1/embeddings", embeddings.embeddings),
        web.post("/v1/rerank", rerank.rerank),
    ]
