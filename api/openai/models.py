"""`GET /v1/models` and `GET /v1/models/:model` (spec b.5)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aiohttp import web

from corral.api.anthropic import models as anthropic
from corral.api.errors import RequestRefused
from corral.api.keys import caller, is_anthropic, workbench
from corral.api.ollama.checks import check_name, missing
from corral.api.reply import json_reply
from corral.store.errors import ModelNotFound
from corral.store.names import ModelName


async def list_models(request: web.Request) -> web.Response:
    """List the models on disk."""
    models = await workbench(request).list_models()
    if is_anthropic(request):
        return json_reply(anthropic.page_object(request, models), charset=False)
    data = [_object(model.name, model.name, model.modified_at) for model in models]
    return json_reply({"object": "list", "data": data}, charset=False)


async def retrieve_model(request: web.Request) -> web.Response:
    """Describe one model, called as the client called it."""
    name = request.match_info["model"]
    check_name(name, RequestRefused("model is required"))
    caller(request, name)
    try:
        details = await workbench(request).show(name)
    except ModelNotFound:
        raise missing(name) from None
    if is_anthropic(request):
        return json_reply(anthropic.model_object(name, details.details, details.modified_at), charset=False)
    return json_reply(_object(name, details.name, details.modified_at), charset=False)


def _object(shown: str, name: str, modified_at: datetime) -> dict[str, Any]:
    owner = ModelName.parse(name).namespace
    return {"id": shown, "object": "model", "created": int(modified_at.timestamp()), "owned_by": owner}
