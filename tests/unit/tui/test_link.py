from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator

import pytest

from corral.runtime.errors import ServerUnreachable
from corral.runtime.verbs import ChatRequest, Chunk, Client, Message, Progress
from corral.store.errors import ModelNotFound
from corral.tui.link import ServiceLink
from tests.fakes.client import FakeClient
from tests.waiting import block_until

ASK = ChatRequest("smollm2:135m", (Message("user", "hello"),))


@pytest.fixture
def service_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in a thread of its own, as the service has one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def test_a_verb_runs_on_the_service_loop(service_loop: asyncio.AbstractEventLoop) -> None:
    link = ServiceLink(FakeClient.with_models("smollm2:135m"), service_loop)

    async def where(client: Client) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert await link.call(where) is service_loop
    assert [model.name for model in await link.call(lambda client: client.list_models())] == ["smollm2:135m"]


async def test_a_verbs_error_reaches_the_caller(service_loop: asyncio.AbstractEventLoop) -> None:
    link = ServiceLink(FakeClient(), service_loop)
    with pytest.raises(ModelNotFound):
        await link.call(lambda client: client.show("missing"))


async def test_cancelling_the_caller_cancels_the_verb(service_loop: asyncio.AbstractEventLoop) -> None:
    link = ServiceLink(FakeClient(), service_loop)
    events: list[str] = []

    async def wait_for_ever(client: Client) -> None:
        events.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            events.append("ended")

    task = asyncio.create_task(link.call(wait_for_ever))
    while not events:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while events != ["started", "ended"]:
        await asyncio.sleep(0)


def test_a_stream_is_read_by_polling(service_loop: asyncio.AbstractEventLoop) -> None:
    handle = ServiceLink(FakeClient.with_models("smollm2:135m"), service_loop).stream(lambda client: client.chat(ASK))
    block_until(lambda: handle.done)
    chunks = handle.take()
    assert "".join(chunk.text for chunk in chunks) == "t0 t1 t2 "
    assert chunks[-1].stats.output_tokens == 3
    assert handle.take() == []
    assert handle.error is None


def test_a_streams_error_is_kept(service_loop: asyncio.AbstractEventLoop) -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.fail_with, client.fail_after = ModelNotFound("x"), 1
    handle = ServiceLink(client, service_loop).stream(lambda client: client.chat(ASK))
    block_until(lambda: handle.done)
    assert [chunk.text for chunk in handle.take()] == ["t0 "]
    assert isinstance(handle.error, ModelNotFound)


def test_cancel_closes_the_generator_on_the_service_loop(service_loop: asyncio.AbstractEventLoop) -> None:
    closed_on: list[asyncio.AbstractEventLoop] = []

    async def endless(client: Client) -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed_on.append(asyncio.get_running_loop())

    handle = ServiceLink(FakeClient(), service_loop).stream(endless)
    got: list[int] = []

    def take() -> bool:
        got.extend(handle.take())
        return bool(got)

    block_until(take)
    handle.cancel()
    block_until(lambda: handle.done)
    assert closed_on == [service_loop]
    assert handle.cancelled
    assert handle.error is None


def test_cancel_before_the_first_step_ends_the_stream(service_loop: asyncio.AbstractEventLoop) -> None:
    handle = ServiceLink(FakeClient.with_models("smollm2:135m"), service_loop).stream(lambda client: client.chat(ASK))
    handle.cancel()
    block_until(lambda: handle.done)


def test_what_nobody_reads_is_merged_without_losing_text(service_loop: asyncio.AbstractEventLoop) -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.words = [f"w{number} " for number in range(5000)]
    handle = ServiceLink(client, service_loop).stream(lambda client: client.chat(ASK))
    block_until(lambda: handle.done)
    chunks = handle.take()
    assert len(chunks) <= 64
    assert "".join(chunk.text for chunk in chunks) == "".join(client.words)
    assert chunks[-1].done_reason is not None


def test_only_the_newest_progress_of_a_layer_is_kept(service_loop: asyncio.AbstractEventLoop) -> None:
    async def pull(client: Client) -> AsyncGenerator[Progress, None]:
        for completed in range(3000):
            yield Progress("pulling", "sha256:1", 3000, completed)

    handle = ServiceLink(FakeClient(), service_loop).stream(pull)
    block_until(lambda: handle.done)
    steps = handle.take()
    assert len(steps) <= 64
    assert steps[-1].completed == 2999


def test_a_stream_that_cannot_be_merged_waits_for_its_reader(service_loop: asyncio.AbstractEventLoop) -> None:
    sent = 0

    async def numbers(client: Client) -> AsyncGenerator[int, None]:
        nonlocal sent
        for number in range(3000):
            sent = number
            yield number

    handle = ServiceLink(FakeClient(), service_loop).stream(numbers)
    block_until(lambda: sent >= 1024)
    got: list[int] = []

    def take() -> bool:
        got.extend(handle.take())
        return len(got) == 3000

    block_until(take)
    assert got == list(range(3000))


async def test_a_stopped_service_says_so() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    link = ServiceLink(FakeClient(), loop)
    handle = link.stream(lambda client: client.chat(ASK))
    assert handle.done
    assert isinstance(handle.error, ServerUnreachable)
    handle.cancel()
    with pytest.raises(ServerUnreachable):
        await link.call(lambda client: client.list_models())


def test_chunk_without_text_is_not_lost_when_merged(service_loop: asyncio.AbstractEventLoop) -> None:
    async def warned(client: Client) -> AsyncGenerator[Chunk, None]:
        for _ in range(100):
            yield Chunk(text="a")
        yield Chunk(text="", warnings=("cut",))

    handle = ServiceLink(FakeClient(), service_loop).stream(warned)
    block_until(lambda: handle.done)
    chunks = handle.take()
    assert "".join(chunk.text for chunk in chunks) == "a" * 100
    assert chunks[-1].warnings == ("cut",)
