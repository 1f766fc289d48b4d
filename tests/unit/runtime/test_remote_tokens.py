"""Models whose engine is elsewhere: what their server is asked about tokens, and what a model would be sent."""

from __future__ import annotations

import pytest

from corral.runtime.errors import RemoteFailed
from corral.runtime.snapshot import RequestState
from corral.runtime.verbs import ChatRequest, DetokenizeRequest, GenerateRequest, Message, TokenizeRequest
from corral.runtime.workbench import Workbench
from tests.fakes.upstream import upstreams
from tests.unit.runtime.stubs import answer, question, stub, workbench

__all__ = ["workbench"]


@pytest.mark.parametrize("kind", ["llama.cpp", "vllm"])
async def test_a_text_becomes_tokens_and_they_a_text(workbench: Workbench, kind: str) -> None:
    async with upstreams(1, tokens=kind) as (server,):
        await stub(workbench, server)
        bare = await workbench.tokenize(TokenizeRequest("far", "grüß"))
        begun = await workbench.tokenize(TokenizeRequest("far", "grüß", begin=True))
        text = await workbench.detokenize(DetokenizeRequest("far", bare.tokens))
    assert bare.tokens == tuple("grüß".encode())
    assert begun.tokens == (1, *bare.tokens)
    assert text.text == "grüß"
    assert bare.total_ns > 0
    assert server.asked[0]["model"] == "org/model"


async def test_a_conversation_becomes_tokens_as_its_server_would_write_it(workbench: Workbench) -> None:
    async with upstreams(1, tokens="llama.cpp") as (one,), upstreams(1, tokens="vllm") as (other,):
        await stub(workbench, one, system="Be brief.")
        found = await workbench.tokenize(question("Hi"))
        assert bytes(found.tokens[1:]).decode() == "<system>Be brief.<user>Hi"
        await stub(workbench, other, system="Be brief.")
        assert bytes((await workbench.tokenize(question("Hi"))).tokens).decode() == "Be brief.Hi"


async def test_what_a_model_would_be_sent_is_told_by_its_server(workbench: Workbench) -> None:
    async with upstreams(1, tokens="llama.cpp") as (server,):
        await stub(workbench, server, system="Be brief.")
        text, last = await answer(workbench, question("Hi", render_only=True, think=False))
        assert (text, last.rendered) == ("", "<system>Be brief.<user>Hi")
        assert server.asked[-1]["chat_template_kwargs"] == {"enable_thinking": False}
        _, last = await answer(workbench, GenerateRequest("far", "Hi", render_only=True))
        assert last.rendered == "<system>Be brief.<user>Hi"
        _, last = await answer(workbench, GenerateRequest("far", "Hi", raw=True, render_only=True))
        assert last.rendered == "Hi"
        with pytest.raises(RemoteFailed, match="around a gap"):
            await answer(workbench, GenerateRequest("far", "Hi", suffix="!", render_only=True))


async def test_an_ollama_server_tells_what_a_model_would_be_sent_and_no_tokens(workbench: Workbench) -> None:
    png = b"\x89PNG\r\n\x1a\n"
    async with upstreams(1, tokens="ollama") as (server,):
        await stub(workbench, server, system="Be brief.")
        text, last = await answer(workbench, question("Hi", render_only=True, think=False))
        assert (text, last.rendered, last.images) == ("", "<system>Be brief.<user>Hi", 0)
        asked = server.asked[-1]
        assert (asked["model"], asked["_debug_render_only"], asked["stream"]) == ("org/model", True, False)
        assert asked["think"] is False
        _, last = await answer(workbench, GenerateRequest("far", "What?", images=(png,), render_only=True))
        assert (last.rendered, last.images) == ("<user>What?", 1)
        assert (server.asked[-1]["system"], server.asked[-1]["stream"]) == ("Be brief.", False)
        for ask in (
            workbench.tokenize(TokenizeRequest("far", "x")),
            workbench.tokenize(question("Hi")),
            workbench.detokenize(DetokenizeRequest("far", (1,))),
        ):
            with pytest.raises(RemoteFailed, match=f"{server.url}: .*cannot be asked") as refused:
                await ask
            assert refused.value.status == 501


async def test_a_server_without_such_routes_says_so(workbench: Workbench) -> None:
    conversation = ChatRequest("far", (Message("user", "Hi"),))
    async with upstreams(1) as (server,):
        await stub(workbench, server)
        for ask in (
            workbench.tokenize(TokenizeRequest("far", "x")),
            workbench.tokenize(conversation),
            workbench.detokenize(DetokenizeRequest("far", (1,))),
            answer(workbench, question(render_only=True)),
        ):
            with pytest.raises(RemoteFailed, match=f"{server.url}: .*cannot be asked") as refused:
                await ask
            assert refused.value.status == 501
        states = [one.state for one in workbench.snapshot_now().requests if one.model == "far:latest"]
        assert states.count(RequestState.FAILED) == 4


async def test_a_server_that_can_is_asked_where_another_cannot(workbench: Workbench) -> None:
    async with upstreams(1) as (one,), upstreams(1, tokens="vllm") as (other,):
        await stub(workbench, one, other)
        for _ in range(2):
            assert (await workbench.tokenize(TokenizeRequest("far", "a"))).tokens == (97,)
