"""`make torture`: a million tokens streamed to clients that come, go and walk away, each held against what is known.

`CORRAL_TORTURE_TOKENS` says how many tokens instead. A random model writes the same tokens whoever runs beside it, so
every answer is known: the first of each request was given alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from corral.api.server import Service
from corral.runtime.settings import Settings
from tests.conftest import STARTER_MODEL, store_with_starter
from tests.unit.runtime.tiny_models import WORDS, write_tiny

pytestmark = [pytest.mark.torture, pytest.mark.timeout(3600)]

TOKENS = int(os.environ.get("CORRAL_TORTURE_TOKENS", "1000000"))
TOKENS_EACH = 100
DISTINCT = 50
AT_ONCE = 16
WALKING_AWAY = 0.1
MOST_TURNED = 0.005
CUT_OFF = "\N{REPLACEMENT CHARACTER}"  # what a last character is that did not come to its end
BEGINNINGS = ("the fox ran and saw a dog and the cat " * 3, "a dog and a cat saw the fox " * 4, "the cat ")


@dataclass(frozen=True)
class Known:
    """A request, and its answer when nobody else asked: the text, and the tokens of prompt and answer."""

    body: dict[str, Any]
    text: str
    tokens: list[int]
    count: int


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    settings = Settings(
        models=store_with_starter(write_tiny(tmp_path / "tiny.gguf", "full"), tmp_path / "models"),
        listen_port=0,
        base_url="",
        num_parallel=AT_ONCE,
        context_length=512,
        kv_cache_type="f32",  # what rounding leaves is too little to turn a draw
        flash_attention=False,
    )
    service = Service(settings, warm=False)
    service.start()
    yield service
    service.stop(drain_s=0)


@pytest.fixture
async def client(service: Service) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(service.base_url, connector=connector) as session:
        yield session


@asynccontextmanager
async def asked(client: aiohttp.ClientSession, body: dict[str, Any]) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Ask, and give the answer's chunks."""
    async with client.post("/api/generate", json=body) as answer:
        assert answer.status == 200, await answer.text()

        async def chunks() -> AsyncIterator[dict[str, Any]]:
            async for line in answer.content:
                yield json.loads(line)

        yield chunks()


def spoken(tokens: list[int]) -> str:
    """What the tiny model's tokens say."""
    bytes_of = (word.replace("▁", " ").encode() for word in WORDS)
    pieces = dict(enumerate([b"<unk>", b"<s>", b"</s>", *(bytes([byte]) for byte in range(256)), *bytes_of]))
    return b"".join(pieces[token] for token in tokens).decode(errors="replace")


def is_turned(tokens: list[int], known: list[int]) -> bool:
    """Say whether rounding turned a draw: a draw that falls on the border of two tokens takes the neighbour."""
    at = next((at for at, (one, other) in enumerate(zip(tokens, known, strict=False)) if one != other), None)
    return at is not None and abs(tokens[at] - known[at]) == 1


async def whole(client: aiohttp.ClientSession, body: dict[str, Any]) -> Known:
    text, last = "", {}
    async with asked(client, body) as chunks:
        async for last in chunks:
            text += last["response"]
    assert last["done"], last
    drawn = spoken(last["context"][last["prompt_eval_count"] :])
    assert text.rstrip(CUT_OFF) == drawn.rstrip(CUT_OFF), "the text streamed is not that of the tokens drawn"
    return Known(body, text, last["context"], last["eval_count"])


async def learn(client: aiohttp.ClientSession, chance: random.Random) -> list[Known]:
    """Ask requests one after the other until there are enough that answer at length."""
    known: list[Known] = []
    for seed in range(DISTINCT * 10):
        beginning = chance.choice(BEGINNINGS)
        prompt = beginning[: chance.randint(1, len(beginning))] + chance.choice(("", "a", "the fox", "?"))
        options = {"seed": seed, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "repeat_penalty": 1.0}
        options["num_predict"] = chance.randint(TOKENS_EACH // 2, TOKENS_EACH * 2)
        one = await whole(client, {"model": STARTER_MODEL, "prompt": prompt, "options": options})
        if one.count == options["num_predict"]:
            known.append(one)
        if len(known) == DISTINCT:
            return known
    pytest.fail(f"only {len(known)} answers did not end by themselves")


async def walk_away(client: aiohttp.ClientSession, one: Known, after: int) -> tuple[int, bool]:
    """Read so many chunks and hang up; returns how many came, and whether they are a beginning of what is known."""
    text, read = "", 0
    async with asked(client, one.body) as chunks:
        async for chunk in chunks:
            text += chunk["response"]
            read += 1
            if read >= after:
                break
    return read, one.text.startswith(text)


async def test_no_streamed_token_is_lost_doubled_or_reordered(client: aiohttp.ClientSession) -> None:
    chance = random.Random(5)
    known = await learn(client, chance)
    assert len({tuple(one.tokens) for one in known}) == DISTINCT
    seen: Counter[str] = Counter()
    began = time.monotonic()

    async def visit() -> None:
        while seen["tokens"] < TOKENS:
            one = chance.choice(known)
            seen["requests"] += 1
            if chance.random() < WALKING_AWAY:
                read, is_known = await walk_away(client, one, chance.randint(1, one.count))
                seen["tokens"] += read
                seen["away"] += 1
                seen["turned"] += not is_known
                continue
            answer = await whole(client, one.body)
            if answer.tokens != one.tokens:
                assert is_turned(answer.tokens, one.tokens), "the answer's tokens are others"
                seen["turned"] += 1
            else:
                assert (answer.text, answer.count) == (one.text, one.count)
            seen["tokens"] += answer.count

    async with asyncio.TaskGroup() as visitors:
        for _ in range(AT_ONCE):
            visitors.create_task(visit())
    elapsed = time.monotonic() - began
    print(
        f"{seen['tokens']:,} tokens of {seen['requests']:,} requests, {seen['away']:,} given up, "
        f"{seen['turned']} turned, {elapsed:.0f} s"
    )
    assert seen["turned"] <= MOST_TURNED * seen["requests"]
    assert seen["away"] > seen["requests"] * WALKING_AWAY / 2
