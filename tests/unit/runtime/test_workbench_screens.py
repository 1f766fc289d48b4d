"""What the Running and Server screens are told by a real model in a real child process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from corral.runtime.settings import Settings
from corral.runtime.snapshot import ModelState
from corral.runtime.verbs import FOREVER, Caller, ChatRequest, GenerateRequest, Message
from corral.runtime.workbench import Workbench
from corral.store.errors import ModelNotFound
from tests.conftest import STARTER_MODEL
from tests.waiting import until

TEXT = "The sea is wide and blue, and ships go over it from one harbour to the next. " * 4


@pytest.fixture
async def workbench(own_store: Path) -> AsyncIterator[Workbench]:
    settings = Settings(models=own_store, origins=("https://app.example",))
    bench = Workbench(settings, warm=False)
    await bench.start("http://127.0.0.1:1")
    yield bench
    await bench.close()


async def ask(bench: Workbench, request_id: str) -> None:
    request = ChatRequest(
        STARTER_MODEL,
        (Message("user", TEXT),),
        {"temperature": 0, "num_predict": 4},
        caller=Caller(request_id, "curl", "POST", "/api/chat"),
    )
    async for _ in bench.chat(request):
        pass


async def test_memory_caches_hits_and_order_are_told(workbench: Workbench) -> None:
    await ask(workbench, "first")
    view = workbench.snapshot_now().models[0]
    assert view.expected_bytes == view.expected_weights + view.expected_kv + view.expected_compute > 0
    assert 0 < view.kept_cells == view.cells_used
    assert (view.kept, view.hit_share, view.leaves) == (1, 0.0, 1)
    assert "lately, loads in" in view.worth
    await ask(workbench, "second")
    view = workbench.snapshot_now().models[0]
    assert view.hit_share is not None
    assert 0.4 < view.hit_share < 0.5  # all of the second prompt but its last tokens
    row = next(row for row in workbench.snapshot_now().requests if row.id == "first")
    assert row.load_s > 0
    assert row.prompt_s > 0


async def test_a_pinned_model_outlasts_its_keep_alive(workbench: Workbench) -> None:
    async for _ in workbench.generate(GenerateRequest(STARTER_MODEL)):
        pass
    await workbench.pin(STARTER_MODEL, pinned=True)
    async for _ in workbench.generate(GenerateRequest(STARTER_MODEL, "hi", options={"num_predict": 1}, keep_alive_s=0)):
        pass
    (view,) = workbench.snapshot_now().models
    assert (view.state, view.pinned, view.expires_in_s) == (ModelState.IDLE, True, FOREVER)
    await workbench.pin(STARTER_MODEL, pinned=False)
    await until(lambda: not workbench.snapshot_now().models)
    with pytest.raises(ModelNotFound):
        await workbench.pin("nosuch", pinned=True)


async def test_what_was_asked_is_kept_only_where_wanted(workbench: Workbench) -> None:
    await ask(workbench, "before")
    assert not workbench.snapshot_now().recording
    await workbench.record(on=True)
    assert workbench.snapshot_now().recording
    await ask(workbench, "after")
    assert await workbench.recorded("before") is None
    kept = await workbench.recorded("after")
    assert kept is not None
    assert isinstance(kept.asked, ChatRequest)
    assert kept.asked.messages == (Message("user", TEXT),)
    await workbench.record(on=False)
    assert await workbench.recorded("after") is None


async def test_log_clients_and_listener_are_told(workbench: Workbench) -> None:
    await ask(workbench, "r1")
    runner = workbench.snapshot_now().models[0].pid
    workbench._scheduler.residents[0].runner.stderr.on_line("a warning of the engine")  # type: ignore[union-attr]
    snapshot = workbench.snapshot_now()
    texts = [(line.source, line.text) for line in snapshot.log]
    assert texts[-1] == (f"runner {runner}", "a warning of the engine")
    assert any(source == "http" and text.startswith("curl POST /api/chat") for source, text in texts)
    assert any(source == "load" for source, _ in texts)
    (client,) = snapshot.clients
    assert (client.name, client.requests, client.output_tokens) == ("curl", 1, 4)
    (listener,) = snapshot.listeners
    assert (listener.address, listener.keys, listener.origins) == (
        *("http://127.0.0.1:1", 0),
        ("https://app.example",),
    )


async def test_cells_of_an_answer_that_was_given_up_count_as_cache(workbench: Workbench) -> None:
    request = GenerateRequest(STARTER_MODEL, TEXT, options={"num_predict": -1}, shift=True)
    async with aclosing(workbench.generate(request)) as chunks:
        async for chunk in chunks:
            if chunk.text:
                break
    await until(lambda: workbench.snapshot_now().models[0].kept == 1)
    view = workbench.snapshot_now().models[0]
    assert 0 < view.kept_cells == view.cells_used
    assert workbench.snapshot_now().waiting == 0
