"""Refuses what a request asks for and this server cannot do, in Ollama's words where it has some (spec a.4, a.5).

Nothing that changes an answer is passed over in silence; values that ask for nothing pass.
"""

from __future__ import annotations

from corral.api.errors import RequestRefused
from corral.api.ollama.schemas import ChatBody, CreateBody, GenerateBody, InferenceBody
from corral.runtime.components import is_relative
from corral.runtime.errors import InvalidFormat
from corral.runtime.formats import parse_format
from corral.runtime.verbs import Client
from corral.store.errors import InvalidName, ModelNotFound
from corral.store.names import Digest, ModelName, without_local

_THINK_LEVELS = ("high", "medium", "low", "max")


def check_name(model: str, empty: RequestRefused, invalid: str = "invalid model name") -> None:
    """Refuse a name that is none: `empty` where nothing is there, 400 with `invalid` for the rest."""
    if not model:
        raise empty
    if model.lower().endswith((":local:cloud", ":cloud:local")):
        raise RequestRefused(f'use either :local or :cloud, not both: "{model}"')
    try:
        ModelName.parse(without_local(model))
    except InvalidName:
        raise RequestRefused(invalid) from None


def missing(model: str, text: str = "", remote: str = "remote model is unavailable") -> RequestRefused:
    """Return what is said of a model that is not there: 404 with `text`, or that there is no cloud to have it."""
    _, colon, tag = model.lower().rpartition(":")
    if colon and (tag == "cloud" or tag.endswith("-cloud")):
        return RequestRefused(f"ollama cloud is disabled: {remote}", 403)
    return RequestRefused(text or f"model '{model}' not found", 404)


async def check_model(client: Client, model: str) -> None:
    """Refuse a model that is not there, before anything else is said about it: clients pull on this error."""
    try:
        await client.show(model)
    except ModelNotFound:
        raise missing(model) from None


async def check_sees(client: Client, model: str) -> None:
    """Refuse images for a model that reads none."""
    await check_model(client, model)
    if "vision" not in (await client.show(model)).capabilities:
        raise RequestRefused(f"{ModelName.parse(without_local(model)).full} does not support vision")


async def check_generate(client: Client, body: GenerateBody) -> None:
    """Refuse what `/api/generate` may hold and cannot be done."""
    refusal = _generate_refusal(body)
    if refusal is not None:
        await check_model(client, body.model)
        raise refusal
    if body.images:
        await check_sees(client, body.model)


async def check_chat(client: Client, body: ChatBody) -> None:
    """Refuse what `/api/chat` may hold and cannot be done."""
    refusal = _common_refusal(body)
    if refusal is not None:
        await check_model(client, body.model)
        raise refusal
    if any(message.images for message in body.messages):
        await check_sees(client, body.model)


def _generate_refusal(body: GenerateBody) -> RequestRefused | None:
    if body.raw and (body.template or body.system or body.context):
        return RequestRefused("raw mode does not support template, system, or context")
    return _common_refusal(body)


def _common_refusal(body: InferenceBody) -> RequestRefused | None:
    if refusal := think_refusal(body.think):
        return refusal
    try:
        parse_format(body.format)
    except InvalidFormat as error:
        return RequestRefused(str(error), 500)
    if not 0 <= body.top_logprobs <= 20:
        return RequestRefused("top_logprobs must be between 0 and 20")
    return None


def think_refusal(think: object) -> RequestRefused | None:
    """Return what is wrong with a `think`; whether the model can is not said here."""
    if think is None or think == "" or isinstance(think, bool) or think in _THINK_LEVELS:
        return None
    levels = ", ".join(f'"{level}"' for level in _THINK_LEVELS)
    return RequestRefused(f'invalid think value: "{think}" (must be {levels}, true, or false)')


def check_create(body: CreateBody) -> None:
    """Refuse a create that names nothing to make a model of, or what cannot be made (spec a.18)."""
    check_name(body.model, RequestRefused("invalid model name"))
    for files in (body.files, body.draft_files, body.adapters, body.imatrix):
        for path, digest in files.items():
            if not is_relative(path):
                raise RequestRefused("file path must be relative")
            Digest.parse(digest)
    if body.path and not body.modelfile:
        raise RequestRefused("the server opens no path that a client names: send the text as 'modelfile'")
    if not body.base and not body.files and not body.modelfile:
        raise RequestRefused("neither 'from' or 'files' was specified")
