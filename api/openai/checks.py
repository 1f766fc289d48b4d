"""Refuses what a chat completion asks for and this server cannot do, rather than answering without it."""

from __future__ import annotations

from corral.api.errors import RequestRefused
from corral.api.ollama.checks import check_model, think_refusal
from corral.api.openai.schemas import ChatCompletionBody
from corral.runtime.verbs import Client
from corral.store.names import ModelName

_EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "ultra", "max", "none")


async def check_chat_completion(client: Client, body: ChatCompletionBody) -> None:
    """Refuse a request that cannot be served as it stands; a missing model is said first."""
    refusal = _refusal(body)
    if refusal is not None:
        await check_model(client, body.model)
        raise refusal


def _refusal(body: ChatCompletionBody) -> RequestRefused | None:
    if body.tools or body.functions or any(message.tool_calls for message in body.messages):
        return RequestRefused(f"{ModelName.parse(body.model).full} does not support tools")
    if refusal := think_refusal(body.model, body.think):
        return refusal
    effort = body.reasoning.effort or body.reasoning_effort
    if effort and effort not in _EFFORTS:
        known = ", ".join(f'"{effort}"' for effort in _EFFORTS[:-1])
        return RequestRefused(f'invalid reasoning value: "{effort}" (must be {known}, or "none")')
    if effort and effort != "none":
        return RequestRefused(f'"{body.model}" does not support thinking')
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
