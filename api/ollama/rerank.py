"""`POST /api/rerank`: documents by how well they fit a query. Ollama has no such route; its form is of its PR 7219."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from aiohttp import web
from pydantic import Field

from corral.api.body import read_json
from corral.api.errors import RequestRefused
from corral.api.keys import caller, workbench
from corral.api.ollama.checks import check_name
from corral.api.ollama.replies import pooled_trailer
from corral.api.ollama.schemas import NamedModel
from corral.api.reply import json_reply
from corral.runtime.durations import parse_keep_alive
from corral.runtime.verbs import RerankRequest


class RerankBody(NamedModel):
    """What both routes that rerank take; a document is a text or an object with a `text`."""

    go_name: ClassVar[str] = "RerankRequest"
    query: str | None = None
    documents: list[Any] = Field(default_factory=list)
    top_n: int = 0
    truncate: bool = True
    keep_alive: Any = None
    options: dict[str, Any] = Field(default_factory=dict)

    def to_request(self, request: web.Request) -> RerankRequest:
        """Return the verb's request.

        Raises:
            RequestRefused: there is no such model's name, no query, or a document that is no text.
        """
        check_name(self.model, RequestRefused("model is required"))
        if self.documents and self.query is None:
            raise RequestRefused("query is required")
        if self.top_n < 0:
            raise RequestRefused("top_n must not be negative")
        return RerankRequest(
            model=self.model,
            query=self.query or "",
            documents=tuple(map(_text_of, self.documents)),
            truncate=self.truncate,
            options=self.options,
            keep_alive_s=parse_keep_alive(self.keep_alive),
            caller=caller(request, self.model),
        )


async def rerank(request: web.Request) -> web.Response:
    """Sort documents by their scores; without documents only load the model."""
    body = await read_json(request, RerankBody)
    verb = body.to_request(request)
    found = await workbench(request).rerank(verb)
    results = [
        {"index": index, "document": verb.documents[index], "relevance_score": found.scores[index]}
        for index in best_first(found.scores, body.top_n)
    ]
    return json_reply({"model": body.model, "results": results} | pooled_trailer(found))


def best_first(scores: Sequence[float], top_n: int) -> list[int]:
    """Return the indices of the `top_n` highest scores (0: of all), the highest first, equals in their order."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    return order[: top_n or None]


def _text_of(document: object) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        raise RequestRefused('documents must be texts or objects with a "text"')
    return text
