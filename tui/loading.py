"""Models brought into memory by the request that they are for: not every one can answer a prompt."""

from __future__ import annotations

from collections.abc import Callable

from corral.runtime.verbs import Caller, Client, EmbedRequest, GenerateRequest, RerankRequest
from corral.tui.exhausting import exhaust

__all__ = ["load"]


async def load(
    client: Client,
    model: str,
    keep_alive_s: float | None = None,
    *,
    caller: Callable[[str], Caller | None] = lambda path: None,
) -> bool:
    """Load a model, for `keep_alive_s` where that is said; always True, so that it can be told from a failed verb.

    `caller` names who asks, for the path of the API that would do the same.

    Raises:
        StoreError: there is no such model.
        RunError: it could not be loaded.
    """
    known = (await client.show(model)).capabilities
    if "rerank" in known:
        await client.rerank(RerankRequest(model, keep_alive_s=keep_alive_s, caller=caller("/api/rerank")))
    elif "embedding" in known and "completion" not in known:
        await client.embed(EmbedRequest(model, keep_alive_s=keep_alive_s, caller=caller("/api/embed")))
    else:  # older Ollama servers do not say what their models can do
        request = GenerateRequest(model, keep_alive_s=keep_alive_s, caller=caller("/api/generate"))
        await exhaust(client.generate(request))
    return True
