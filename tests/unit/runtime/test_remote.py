"""Models whose engine is a server elsewhere: what it is sent, what comes back, and what happens when it fails."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import pytest

from corral.api.engines.connection import Connections
from corral.runtime.errors import BadRequest, CloudDisabled, QueueFull, RemoteFailed, RequestCanceled
from corral.runtime.settings import Settings
from corral.runtime.snapshot import EngineHost, ModelState, RequestState
from corral.runtime.verbs import (
    Caller,
    ChatRequest,
    CreateRequest,
    DoneReason,
    EmbedRequest,
    GenerateRequest,
    Message,
    RerankRequest,
    ToolCall,
    ToolChoice,
    Tools,
)
from corral.runtime.workbench import Workbench
from tests.fakes.upstream import text_events, upstreams
from tests.unit.runtime.stubs import answer, lose_none, outlive_kills, question, stub, workbench
from tests.waiting import until

__all__ = ["workbench"]
PNG = b"\x89PNG\r\n\x1a\n"


async def test_a_chat_is_answered_elsewhere(workbench: Workbench) -> None:
    async with upstreams(1) as (server,):
        await stub(workbench, server)
        text, last = await answer(workbench, question(options={"temperature": 0, "num_predict": 9, "mirostat": 1}))
    assert text == "one two three "
    assert last.done_reason is DoneReason.STOP
    assert (last.stats.prompt_tokens, last.stats.cached_tokens, last.stats.output_tokens) == (7, 2, 3)
    assert (last.remote_host, last.remote_model) == (server.url, "org/model")
    assert any("mirostat" in warning for warning in last.warnings)
    (body,) = server.asked
    assert body["model"] == "org/model"
    assert body["messages"] == [{"role": "user", "content": "Hello?"}]
    assert (body["temperature"], body["max_tokens"]) == (0, 9)
    assert server.headers["Authorization"] == "Bearer secret"


async def test_connections_are_used_again(workbench: Workbench) -> None:
    async with upstreams(1) as (server,):
        await stub(workbench, server)
        for _ in range(5):
            await answer(workbench, question())
    assert len(server.connections) <= 2  # one for requests, one for a check beside them


async def test_what_the_model_says_of_itself_goes_along(workbench: Workbench) -> None:
    async with upstreams(1) as (server,):
        turns = (Message("user", "Hi"), Message("assistant", "Ho"))
        await stub(workbench, server, system="Be brief.", messages=turns, parameters={"temperature": 0.5, "top_k": 3})
        await answer(workbench, question(options={"top_k": 9}))
    (body,) = server.asked
    assert [turn["content"] for turn in body["messages"]] == ["Be brief.", "Hi", "Ho", "Hello?"]
    assert (body["temperature"], body["top_k"]) == (0.5, 9)


async def test_everything_a_chat_can_ask_is_passed_on(workbench: Workbench) -> None:
    schema = {"type": "object"}
    call = ToolCall("look", {"at": "sky"}, "c1")
    messages = (
        Message("user", "What is this?", images=(PNG,)),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "blue", tool_name="look", tool_call_id="c1"),
    )
    functions = ({"type": "function", "function": {"name": "look"}},)
    async with upstreams(1) as (server,):
        await stub(workbench, server)
        tools = Tools(functions, ToolChoice.REQUIRED, parallel=False)
        request = ChatRequest("far", messages, format=schema, think=False, tools=tools, logprobs=True, top_logprobs=2)
        await answer(workbench, request)
    (body,) = server.asked
    image = body["messages"][0]["content"][1]["image_url"]["url"]
    assert image.startswith("data:image/png;base64,")
    assert json.loads(body["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"at": "sky"}
    assert body["messages"][2]["tool_call_id"] == "c1"
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["tools"] == list(functions)
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)


async def test_thoughts_calls_and_probabilities_come_back(workbench: Workbench) -> None:
    events = [
        {"choices": [{"delta": {"role": "assistant", "content": None, "reasoning_content": "Hm. "}}]},
        {"choices": [{"delta": {"content": "So"}, "logprobs": {"content": [{"token": "So", "logprob": -0.5}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}}]},
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
    ]
    async with upstreams(1, events=events) as (server,):
        await stub(workbench, server)
        chunks = [chunk async for chunk in workbench.chat(question())]
    assert [chunk.thinking for chunk in chunks if chunk.thinking] == ["Hm. "]
    assert [chunk.logprobs[0].logprob for chunk in chunks if chunk.logprobs] == [-0.5]
    assert [chunk.tool_calls for chunk in chunks if chunk.tool_calls] == [(ToolCall("f", {"a": 1}, "c"),)]
    assert chunks[-1].stats.output_tokens == 5  # of a server that counts nothing, what it sent


async def test_a_prompt_is_completed_elsewhere(workbench: Workbench) -> None:
    async with upstreams(1) as (server,):
        await stub(workbench, server, system="Be brief.")
        text, last = await answer(workbench, GenerateRequest("far", "Hello?", context=(1, 2)))
        assert text == "one two three "
        assert any("'context'" in warning for warning in last.warnings)
        server.events = [{"choices": [{"text": "x"}]}, {"choices": [{"text": "", "finish_reason": "length"}]}]
        text, last = await answer(workbench, GenerateRequest("far", "raw text", raw=True, suffix="end"))
    assert (text, last.done_reason) == ("x", DoneReason.LENGTH)
    assert [turn["content"] for turn in server.asked[0]["messages"]] == ["Be brief.", "Hello?"]
    assert (server.asked[1]["prompt"], server.asked[1]["suffix"]) == ("raw text", "end")


async def test_texts_become_vectors_and_scores_elsewhere(workbench: Workbench) -> None:
    async with upstreams(1) as (server,):
        await stub(workbench, server, info={"capabilities": ["embedding"]})
        found = await workbench.embed(EmbedRequest("far", ("a", "b")))
        ranking = await workbench.rerank(RerankRequest("far", "q", ("a", "b", "c")))
    assert found.vectors[0] == pytest.approx((0.6, 0.8))
    assert sum(value * value for value in found.vectors[1]) == pytest.approx(1.0)
    assert found.stats.prompt_tokens == 5
    assert ranking.scores == (0.0, 1.0, 2.0)


async def test_a_stub_is_listed_shown_and_written_as_a_modelfile(workbench: Workbench) -> None:
    info = {"capabilities": ["completion", "tools"], "model_family": "qwen3", "context_length": 4096, "base_name": "Q"}
    async with upstreams(1) as (server,):
        await stub(workbench, server, info=info)
        (listed,) = await workbench.list_models()
        shown = await workbench.show("far", verbose=True)
    assert (listed.size, listed.remote_host, listed.remote_model) == (0, server.url, "org/model")
    assert listed.capabilities == ("completion", "tools")
    assert shown.model_info == {
        "general.architecture": "qwen3",
        "general.basename": "Q",
        "qwen3.context_length": 4096,
    }
    assert f"FROM {server.url}/org/model" in shown.modelfile
    assert (shown.remote_host, shown.remote_model) == (server.url, "org/model")


async def test_a_model_made_from_a_stub_is_one(workbench: Workbench) -> None:
    async with upstreams(1) as (server,):
        await stub(workbench, server)
        async for _ in workbench.create(CreateRequest("mine", base="far", system="Rhyme.")):
            pass
        await answer(workbench, ChatRequest("mine", (Message("user", "Hello?"),)))
    assert server.asked[0]["messages"][0] == {"role": "system", "content": "Rhyme."}


async def test_load_and_unload_find_the_server_there(workbench: Workbench) -> None:
    async with upstreams(1) as (server,):
        await stub(workbench, server)
        assert (await answer(workbench, ChatRequest("far")))[1].done_reason is DoneReason.LOAD
        assert (await answer(workbench, ChatRequest("far", keep_alive_s=0)))[1].done_reason is DoneReason.UNLOAD


async def test_tables_show_it(workbench: Workbench) -> None:
    async with upstreams(1, gate=asyncio.Event()) as (server,):
        await stub(workbench, server)
        async with aclosing(workbench.chat(question(caller=Caller("r1", "test")))) as chunks:
            await anext(chunks)
            now = workbench.snapshot_now()
            (model,) = now.models
            assert (model.name, model.state, model.remote) == ("far:latest", ModelState.BUSY, server.url)
            assert (model.slots_used, model.waiting, model.weights_bytes) == (1, 0, 0)
            assert now.requests[0].state is RequestState.DECODE
            (listed,) = await workbench.loaded()
            assert (listed.name, listed.size, listed.requests) == ("far:latest", 0, 1)
            assert (listed.remote_host, listed.remote_model) == (server.url, "org/model")
            assert listed.hosts == model.hosts == (EngineHost(server.url, requests=1),)
        (model,) = workbench.snapshot_now().models
        assert model.state is ModelState.IDLE
        (listed,) = await workbench.loaded()
        assert (listed.requests, listed.hosts) == (0, (EngineHost(server.url),))
        last = [chunk async for chunk in workbench.chat(ChatRequest("far", keep_alive_s=0))][-1]
        assert last.done_reason is DoneReason.UNLOAD
        assert not await workbench.loaded()


async def test_a_stop_ends_the_answer_there_at_once(workbench: Workbench) -> None:
    async with upstreams(1, gate=asyncio.Event()) as (server,):
        await stub(workbench, server)
        async with aclosing(workbench.chat(question(caller=Caller("r1", "test")))) as chunks:
            await anext(chunks)
            waiting = asyncio.ensure_future(anext(chunks))
            await asyncio.sleep(0)
            assert await workbench.cancel("r1")
            with pytest.raises(RequestCanceled):
                await waiting
        await until(lambda: server.dropped == 1)
        async with aclosing(workbench.chat(question())) as chunks:
            await anext(chunks)
        await until(lambda: server.dropped == 2)
        assert server.at_once == 0


async def test_only_servers_of_the_list_are_asked(workbench: Workbench) -> None:
    for host, error in (("http://10.1.2.3:80", BadRequest), ("https://ollama.com", CloudDisabled)):
        async for _ in workbench.create(CreateRequest("far", base="m", remote_host=host)):
            pass
        with pytest.raises(error):
            await answer(workbench, question())
    with pytest.raises(CloudDisabled, match="ollama cloud is disabled: remote model is unavailable"):
        await answer(workbench, ChatRequest("big:cloud", (Message("user", "x"),)))


@pytest.mark.parametrize(
    "host", ["http://user:pw@10.0.0.1", "ftp://10.0.0.1", "http://10.0.0.1/path", "http://a:99999", ","]
)
async def test_an_address_that_is_none_makes_no_model(workbench: Workbench, host: str) -> None:
    with pytest.raises(BadRequest, match="bad remote"):
        async for _ in workbench.create(CreateRequest("far", base="m", remote_host=host)):
            pass


async def test_what_was_passed_on_is_not_passed_on_again(workbench: Workbench) -> None:
    async with upstreams(1) as (server,):
        await stub(workbench, server)
        with pytest.raises(BadRequest, match="elsewhere"):
            await answer(workbench, question(caller=Caller("r1", "test", forwarded=True)))
        assert not server.asked


async def test_no_redirect_is_followed(workbench: Workbench) -> None:
    async with upstreams(2) as (server, other):
        server.location = f"{other.url}/v1/chat/completions"
        await stub(workbench, server)
        with pytest.raises(RemoteFailed, match="redirects"):
            await answer(workbench, question())
    assert not other.asked
    assert not other.headers


@pytest.mark.parametrize(
    ("status", "error", "ours", "words"),
    [
        (400, {"error": {"message": "too \x1b[31mlong"}}, 400, r"too \[31mlong"),
        (422, {"detail": [{"msg": "no"}]}, 400, "no"),
        (401, {"error": "who are you"}, 502, "refuses the key"),
        (404, {"error": {"message": "model not found"}}, 502, "model not found"),
        (429, {"message": "slow down"}, 503, "slow down"),
    ],
)
async def test_errors_there_are_told_with_the_servers_name(
    workbench: Workbench, status: int, error: object, ours: int, words: str
) -> None:
    async with upstreams(1, failing=1.0, status=status, error=error) as (server,):
        await stub(workbench, server)
        with pytest.raises(RemoteFailed, match=words) as caught:
            await answer(workbench, question())
    assert caught.value.status == ours
    assert server.url in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_is_asked_again_when_it_says(workbench: Workbench, status: int) -> None:
    async with upstreams(1, failing=1.0, status=status, says={"Retry-After": "0"}) as (server,):
        await stub(workbench, server)
        asking = asyncio.create_task(answer(workbench, question()))
        await until(lambda: len(server.asked) == 1)
        server.failing = 0.0
        assert (await asking)[0] == "one two three "


async def test_a_server_that_wants_more_time_than_there_is_ends_the_request_and_our_client_is_told(
    workbench: Workbench,
) -> None:
    async with upstreams(2, failing=1.0, status=503, says={"Retry-After": "60"}) as servers:
        await stub(workbench, *servers)
        with pytest.raises(RemoteFailed, match="out of order") as caught:
            await answer(workbench, question())
    assert (caught.value.status, caught.value.retry_after_s) == (503, 60)
    assert [len(server.asked) for server in servers] == [1, 1]


async def test_a_server_rests_as_long_as_it_says_while_another_is_asked_again(workbench: Workbench) -> None:
    async with upstreams(2, failing=1.0) as (busy, down):
        busy.says = {"Retry-After": "60"}
        await stub(workbench, busy, down)
        asking = asyncio.create_task(answer(workbench, question()))
        await until(lambda: len(busy.asked) == len(down.asked) == 1)
        down.failing = 0.0
        assert (await asking)[0] == "one two three "
    assert (len(busy.asked), len(down.asked)) == (1, 2)


async def test_a_server_that_has_the_model_is_asked_where_another_has_not(workbench: Workbench) -> None:
    missing = {"error": {"message": "The model `org/model` does not exist."}}
    async with upstreams(2) as (without, with_it):
        without.failing, without.status, without.error = 1.0, 404, missing
        await stub(workbench, without, with_it)
        for _ in range(3):
            assert (await answer(workbench, question()))[0] == "one two three "
    assert without.asked
    assert len(with_it.asked) == 3


async def test_an_answer_that_began_is_not_asked_for_again(workbench: Workbench) -> None:
    async with upstreams(2, breaks_after=2) as servers:
        await stub(workbench, *servers)
        text = ""

        async def read() -> None:
            nonlocal text
            async for chunk in workbench.chat(question()):
                text += chunk.text

        with pytest.raises(RemoteFailed, match="ended in the middle of its answer"):
            await read()
    assert text == "one two "
    assert sum(len(server.asked) for server in servers) == 1


@pytest.mark.parametrize("fault", ["status", "close", "truncate"])
async def test_none_is_lost_of_many_that_had_not_begun(workbench: Workbench, fault: str) -> None:
    await lose_none(workbench, fault, 100)


async def test_none_is_lost_while_servers_are_killed_and_started_again(workbench: Workbench) -> None:
    assert await outlive_kills(workbench, 200) >= 2


async def test_the_least_busy_server_is_asked(workbench: Workbench) -> None:
    gate = asyncio.Event()
    async with upstreams(3, gate=gate) as servers:
        await stub(workbench, *servers)
        answers = [asyncio.create_task(answer(workbench, question())) for _ in range(9)]
        await until(lambda: sum(server.at_once for server in servers) == 9)
        assert [server.at_once for server in servers] == [3, 3, 3]
        gate.set()
        await asyncio.gather(*answers)


async def test_a_server_that_is_ill_is_passed_over_until_it_is_well(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workbench._remotes._hosts is not None
    monkeypatch.setattr(workbench._remotes._hosts, "_check_every_s", 0.01)
    async with upstreams(2) as (ill, well):
        await stub(workbench, ill, well)
        ill.is_well = False
        await answer(workbench, question())
        known = workbench._remotes._hosts
        await until(lambda: not getattr(known.get(ill.url), "healthy", True))
        (model,) = workbench.snapshot_now().models
        assert [bool(host.ill) for host in model.hosts] == [True, False]
        before = len(ill.asked)
        for _ in range(6):
            await answer(workbench, question())
        assert len(ill.asked) == before
        ill.is_well = True
        await until(lambda: bool(getattr(known.get(ill.url), "healthy", False)))
        texts = [event.text for event in workbench.snapshot_now().events]
        assert any("is passed over" in text for text in texts)
        assert any("answers again" in text for text in texts)


async def test_a_single_server_that_is_down_is_waited_for_a_little(workbench: Workbench) -> None:
    async with upstreams(1) as (server,):
        await stub(workbench, server)
        await server.stop()
        asking = asyncio.create_task(answer(workbench, question()))
        await until(lambda: bool(workbench._remotes.in_use.views()))
        await server.start()
        assert (await asking)[0] == "one two three "
        await server.stop()
        with pytest.raises(RemoteFailed, match="does not answer") as caught:
            await answer(workbench, question())
        assert caught.value.status == 502


async def test_more_than_the_queue_holds_are_refused(workbench: Workbench) -> None:
    gate = asyncio.Event()
    async with upstreams(1, gate=gate, events=[{"choices": []}, *text_events("late")]) as (server,):
        await stub(workbench, server)
        answers = [asyncio.create_task(answer(workbench, question())) for _ in range(300)]
        await until(lambda: server.at_once == 300)
        with pytest.raises(QueueFull):
            await answer(workbench, question())
        gate.set()
        assert {text for text, _ in await asyncio.gather(*answers)} == {"late"}


@pytest.mark.parametrize("host", ["http://10.0.0.5:8000", "http://127.0.0.1:9,http://gpu.example:8000"])
async def test_without_a_cloud_no_other_machine_is_asked(tmp_path: Path, host: str) -> None:
    asked: list[str] = []
    allowed = ("10.0.0.5", "127.0.0.1", "gpu.example")
    settings = Settings(models=tmp_path / "models", remotes=allowed, cloud_source="env")

    def connect(url: str) -> Connections:
        asked.append(url)
        raise AssertionError(url)

    bench = Workbench(settings, warm=False, connect=connect)  # type: ignore[arg-type]
    await bench.start()
    try:
        request = CreateRequest("far", base="org/model", remote_host=host)
        assert [step.status async for step in bench.create(request)][-1] == "success"
        text = "ollama cloud is disabled: remote model is unavailable: .* is another machine, NO_CLOUD is set"
        with pytest.raises(CloudDisabled, match=text):
            await answer(bench, question())
        with pytest.raises(CloudDisabled, match=text):
            await bench.embed(EmbedRequest("far", ("a",)))
    finally:
        await bench.close()
    assert asked == []


async def test_without_a_cloud_a_server_on_this_machine_is_asked(tmp_path: Path) -> None:
    settings = Settings(models=tmp_path / "models", remotes=("127.0.0.1",), cloud_source="env")
    bench = Workbench(settings, warm=False, connect=Connections(()))
    await bench.start()
    try:
        async with upstreams(1) as (server,):
            await stub(bench, server)
            assert (await answer(bench, question()))[0] == "one two three "
    finally:
        await bench.close()
