"""Which path is answered by what (spec a.2)."""

from __future__ import annotations

from aiohttp import web

from corral.api.ollama import account, blobs, embeddings, generate, jobs, models, rerank, tokens


def routes() -> list[web.RouteDef]:
    """Return the routes of the native API."""
    return [
        web.get("/", models.root),
        web.get("/api/version", models.version),
        web.get("/api/status", models.status, allow_head=False),
        web.get("/api/tags", models.tags),
        web.get("/api/ps", models.ps, allow_head=False),
        web.post("/api/show", models.show),
        web.post("/api/copy", models.copy),
        web.delete("/api/delete", models.delete),
        web.post("/api/generate", generate.generate),
        web.post("/api/chat", generate.chat),
        web.post("/api/embed", embeddings.embed),
        web.post("/api/embeddings", embeddings.embeddings),
        web.post("/api/rerank", rerank.rerank),
        web.post("/api/tokenize", tokens.tokenize),
        web.post("/api/detokenize", tokens.detokenize),
        web.post("/api/pull", jobs.pull),
        web.post("/api/push", jobs.push),
        web.post("/api/create", jobs.create),
        web.head("/api/blobs/{digest}", blobs.probe),
        web.post("/api/blobs/{digest}", blobs.upload),
        web.post("/api/me", account.me),
        web.post("/api/signout", account.signout),
        web.delete("/api/user/keys/{key}", account.signout),
        web.post("/api/experimental/web_search", account.web_search),
        web.post("/api/experimental/web_fetch", account.web_fetch),
        web.get("/api/experimental/model-recommendations", account.recommendations, allow_head=False),
    ]
