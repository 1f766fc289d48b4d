"""`CORRAL_STRICT`: what would be answered with a warning is refused, on a real model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corral.runtime.errors import BadRequest, PromptTooLong
from corral.runtime.settings import Settings
from corral.runtime.verbs import ChatRequest, EmbedRequest, GenerateRequest, Message
from corral.runtime.workbench import Workbench
from tests.conftest import STARTER_MODEL

LONG = "word " * 600
SMALL = {"num_ctx": 256, "num_predict": 4, "temperature": 0}


@pytest.fixture
async def strict(own_store: Path) -> AsyncIterator[Workbench]:
    bench = Workbench(Settings(models=own_store, strict=True), warm=False)
    await bench.start()
    yield bench
    await bench.close()


async def test_what_would_warn_is_refused(strict: Workbench) -> None:
    with pytest.raises(BadRequest, match="'x' is not known"):
        await anext(strict.generate(GenerateRequest(STARTER_MODEL, "hi", options={"x": 1})))
    with pytest.raises(BadRequest, match="'x' is not known"):
        await strict.embed(EmbedRequest(STARTER_MODEL, ("hi",), options={"x": 1}))
    assert strict.snapshot_now().models == ()
    with pytest.raises(PromptTooLong):
        await anext(strict.generate(GenerateRequest(STARTER_MODEL, LONG, options=SMALL)))
    with pytest.raises(PromptTooLong):
        await strict.embed(EmbedRequest(STARTER_MODEL, (LONG,), options=SMALL))
    old = tuple(Message(role, "word " * 60) for _ in range(4) for role in ("user", "assistant"))
    with pytest.raises((PromptTooLong, BadRequest)):
        await anext(strict.chat(ChatRequest(STARTER_MODEL, (*old, Message("user", "hi")), options=SMALL)))
    chunks = [chunk async for chunk in strict.generate(GenerateRequest(STARTER_MODEL, "hi", options=SMALL))]
    assert (chunks[-1].warnings, chunks[-1].stats.output_tokens) == ((), 4)
    counts = strict.snapshot_now().counts
    assert (counts.loads, counts.failures, counts.load_s > 0) == (1, 0, True)
