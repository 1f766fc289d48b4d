"""Several answers at once: each is a request of its own to the workbench, and they share what they have in common.

The engine computes the beginning that prompts share once, so `n` answers of one prompt cost one prompt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from corral.api.errors import RequestRefused
from corral.runtime.verbs import Caller, Chunk, Logprob, ToolCall

MAX_CHOICES = 128
"""As many as OpenAI gives."""


def check_n(n: int, prompts: int = 1) -> None:
    """Refuse a number of answers that nobody can have. Raises RequestRefused."""
    if prompts > MAX_CHOICES:
        raise RequestRefused(f"prompt takes {MAX_CHOICES} texts at most")
    if n < 1 or n * prompts > MAX_CHOICES:
        raise RequestRefused(f"n must be between 1 and {MAX_CHOICES // prompts}")


def caller_of(who: Caller, index: int) -> Caller:
    """Return who asks for the choice `index`: each has its row in the table of requests."""
    return who if index == 0 else replace(who, request_id=f"{who.request_id}-{index}")


def options_of(options: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Return the options of the choice `index`: from one seed come several, or all answers would be the same one."""
    seed = options.get("seed")
    if index == 0 or not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        return dict(options)
    return {**options, "seed": seed + index}


async def side_by_side(streams: Sequence[AsyncGenerator[Chunk, None]]) -> AsyncGenerator[tuple[int, Chunk], None]:
    """Yield the pieces of all streams as they come, each with its stream's index; the first error ends them all."""
    if len(streams) == 1:
        async with aclosing(streams[0]) as only:
            async for chunk in only:
                yield 0, chunk
        return
    waiting = {asyncio.ensure_future(anext(stream, None)): index for index, stream in enumerate(streams)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=waiting.__getitem__):
                came = task.result()
                index = waiting.pop(task)
                if came is not None:
                    yield index, came
                    waiting[asyncio.ensure_future(anext(streams[index], None))] = index
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for stream in streams:
            await stream.aclose()


async def collect(pieces: AsyncGenerator[tuple[int, Chunk], None], count: int) -> list[Chunk]:
    """Wait for `count` whole answers: what came joined, the rest of each from its last piece."""
    told: list[list[Chunk]] = [[] for _ in range(count)]
    async with aclosing(pieces):
        async for index, chunk in pieces:
            told[index].append(chunk)
    return [_joined(chunks) for chunks in told]


def _joined(chunks: Sequence[Chunk]) -> Chunk:
    logprobs: list[Logprob] = []
    calls: list[ToolCall] = []
    for chunk in chunks:
        logprobs += chunk.logprobs
        calls += chunk.tool_calls
    return replace(
        chunks[-1] if chunks else Chunk(),
        text="".join(chunk.text for chunk in chunks),
        thinking="".join(chunk.thinking for chunk in chunks),
        logprobs=tuple(logprobs),
        tool_calls=tuple(calls),
    )
