"""Refuses what a chat completion asks for and this server cannot do, rather than answering without it."""

from __future__ import annotations

from corral.api.errors import RequestRefused
from corral.api.ollama.checks import check_model, think_refusal
from corral.api.openai.schemas import EFFORTS, ChatCompletionBody
from corral.runtime.verbs import Client
from corral.store.names import ModelName


async def check_chat_completion(client: Client, body: ChatCompletionBody) -> None:
    """Refuse a request that cannot be served as it stands; a missing model is said first."""
    refusal = _refusal(body)
    if refusal is not None:
        await check_model(client, body.model)
        raise refusal


def _refusal(body: ChatCompletionBody) -> RequestRefused | None:
    if body.tools or body.functions or any(message.tool_calls for message in body.messages):
        return RequestRefused(f"{ModelName.parse(body.model).full} does not support tools")
    if refusal := think_refusal(body.think):
        return refusal
    if body.effort and body.effort not in EFFORTS:
        *known, last = (f'"{effort}"' for effort in EFFORTS)
        return RequestRefused(f'invalid reasoning value: "{body.effort}" (must be {", ".join(known)}, or {last})')
    if not 0 <= body.top_logprobs <= 20:
        return RequestRefused("top_logprobs must be between 0 and 20")
    try:
        body.to_format()
    except RequestRefused as refusal:
        return refusal
    for unserved, name in (
        (body.n != 1, "n other than 1"),
        (body.debug_render_only, "_debug_render_only"),
    ):
        if unserved:
            return RequestRefused(f"{name} is not supported by this server yet")
    return None
