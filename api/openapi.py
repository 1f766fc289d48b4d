"""`GET /api/openapi.json`: the API as OpenAPI 3.1, made from the routes and the pydantic models their handlers read.

Built when it is first asked for. Nothing is written twice: what a route does is the first line of its handler's
docstring, what it takes is the `WireModel` that the handler names, its errors are those of the wire it belongs to.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic.json_schema import models_json_schema

from corral.api.body import WireModel
from corral.api.version import PRODUCT

DOCUMENT: web.AppKey[dict[str, Any]] = web.AppKey("openapi", dict)

_REF = "#/components/schemas/{model}"
_REFUSALS = (400, 401, 403, 404)
_FAILURES = (408, 413, 499, 500, 502, 503)
_NOT_JSON = {"/": "text/plain", "/metrics": "text/plain"}
_VARIABLE = re.compile(r"\{(\w+)\}")
_BODILESS = frozenset({"HEAD", "GET"})


def describe_application(app: web.Application) -> dict[str, Any]:
    """Return the document for all routes of an application."""
    routes = sorted(app.router.routes(), key=lambda route: (_path(route), route.method))
    models = sorted({model for route in routes if (model := body_of(route.handler))}, key=lambda one: one.__qualname__)
    names, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        model = body_of(route.handler)
        schema = names[model, "validation"] if model else None
        paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route, model, schema)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Corral",
            "version": PRODUCT,
            "description": "Ollama's API and those of OpenAI and Anthropic on it, served by Corral.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}) | {"Error": _ERROR, "TypedError": _TYPED_ERROR},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
        "security": [{}, {"bearer": []}, {"key": []}],
    }


def body_of(handler: object) -> type[WireModel] | None:
    """Return what a handler reads from its request: the one `WireModel` that its code names."""
    code, known = getattr(handler, "__code__", None), getattr(handler, "__globals__", {})
    named = [known.get(name) for name in code.co_names] if code is not None else []
    models = [one for one in named if isinstance(one, type) and issubclass(one, WireModel)]
    return models[0] if models else None


def _path(route: web.AbstractRoute) -> str:
    return route.resource.canonical if route.resource is not None else ""


def _operation(route: web.AbstractRoute, model: type[WireModel] | None, schema: Mapping[str, Any] | None) -> Any:
    path = _path(route)
    summary, *_ = (inspect.getdoc(route.handler) or path).splitlines()
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}_{re.sub(r'[^a-z0-9]+', '_', path.lower()).strip('_') or 'root'}",
        "summary": summary,
        "tags": ["v1" if path.startswith("/v1/") else "native"],
        "responses": _responses(route.method, path, model),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _VARIABLE.findall(path)
    ]
    if parameters:
        operation["parameters"] = parameters
    if schema is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    elif route.method not in _BODILESS and path.startswith("/api/blobs/"):
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    return operation


def _responses(method: str, path: str, model: type[WireModel] | None) -> dict[str, Any]:
    """Return what can come back; one whose body has a `stream` answers line by line too."""
    kinds = [_NOT_JSON.get(path, "application/json")]
    if model is not None and "stream" in model.model_fields:
        kinds.append("text/event-stream" if path.startswith("/v1/") else "application/x-ndjson")
    content: dict[str, Any] = {kind: {} for kind in kinds}
    responses: dict[str, Any] = {"200": {"description": "OK"} | ({} if method == "HEAD" else {"content": content})}
    if path.startswith("/api/blobs/"):
        responses = {"200": {"description": "These bytes are there already"}, "201": {"description": "Stored"}}
    error = {"$ref": _REF.format(model="TypedError" if path.startswith("/v1/") else "Error")}
    for status in (*_REFUSALS, *_FAILURES):
        response: dict[str, Any] = {"description": _phrase(status)}
        if method != "HEAD" and status != 403:
            response["content"] = {"application/json": {"schema": error}, "text/plain": {}}
        responses[str(status)] = response
    return responses


def _phrase(status: int) -> str:
    return "The request was canceled" if status == 499 else HTTPStatus(status).phrase


_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_TYPED_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {"message": {"type": "string"}, "type": {"type": "string"}},
        }
    },
}
