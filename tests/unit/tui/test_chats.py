from __future__ import annotations

import asyncio

from corral.runtime.errors import RunnerDied
from corral.runtime.verbs import ChatRequest, Message
from corral.tui.chat_list import Chats
from corral.tui.chats import Chat
from corral.tui.link import ServiceLink
from corral.tui.turns import Turn, TurnState
from tests.fakes.client import FakeClient


def live_chat(client: FakeClient, question: str = "why?") -> tuple[Chat, ServiceLink]:
    link = ServiceLink(client, asyncio.get_running_loop())
    chat = Chat(1, "smollm2:135m")
    chat.ask(question, link, 0.0)
    return chat, link


async def finish(chat: Chat) -> None:
    while chat.is_live:
        await asyncio.sleep(0)
        chat.poll()


def asked(client: FakeClient) -> list[tuple[Message, ...]]:
    return [request.messages for request in client.asked if isinstance(request, ChatRequest)]


async def test_an_answer_is_collected() -> None:
    client = FakeClient.with_models("smollm2:135m")
    chat, link = live_chat(client)
    await finish(chat)
    answer = chat.last_answer
    assert answer is not None
    assert (answer.text, answer.state, answer.stats.output_tokens) == ("t0 t1 t2 ", TurnState.DONE, 3)
    assert chat.used_tokens == 15
    chat.ask("and?", link, 1.0)
    await finish(chat)
    assert asked(client)[1] == (Message("user", "why?"), Message("assistant", "t0 t1 t2 "), Message("user", "and?"))


async def test_requests_say_who_asks() -> None:
    client = FakeClient.with_models("smollm2:135m")
    chat, _ = live_chat(client)
    await finish(chat)
    (request,) = client.asked
    assert isinstance(request, ChatRequest)
    assert request.caller is not None
    assert (request.caller.client, request.caller.method, request.caller.path) == ("tui", "POST", "/api/chat")
    assert request.caller.request_id == chat.turns[-1].request_id


async def test_stopping_keeps_the_text_and_closes_the_stream() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.gate = asyncio.Semaphore(0)
    chat, _ = live_chat(client)
    client.release()
    while not chat.turns[-1].text:
        await asyncio.sleep(0)
        chat.poll()
    assert chat.stop()
    assert (chat.turns[-1].text, chat.turns[-1].state) == ("t0 ", TurnState.STOPPED)
    while not client.closed:
        await asyncio.sleep(0)
    assert not chat.stop()


async def test_an_error_ends_the_answer_with_its_reason() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.fail_with, client.fail_after = RunnerDied("out of memory"), 2
    chat, link = live_chat(client)
    await finish(chat)
    assert chat.turns[-1].state is TurnState.FAILED
    assert chat.turns[-1].text == "t0 t1 "
    assert chat.turns[-1].problem.endswith("out of memory")
    client.fail_with = None
    assert chat.again(link, 1.0)
    await finish(chat)
    assert [turn.role for turn in chat.turns] == ["user", "assistant"]
    assert asked(client)[1] == (Message("user", "why?"),)


def test_a_long_title_says_that_it_goes_on() -> None:
    chat = Chat(1)
    question = chat.root.add(Turn("user", 0.0, "word " * 30))
    assert len(chat.title) <= 60
    assert chat.title.endswith("word…")
    question.text = "short"
    assert chat.title == "short"


async def test_nothing_to_answer_again() -> None:
    link = ServiceLink(FakeClient(), asyncio.get_running_loop())
    assert not Chat(1, "x").again(link, 0.0)


async def test_an_empty_chat_is_used_before_a_new_one_is_made() -> None:
    chats = Chats()
    first = chats.open("a")
    assert chats.open("b") is first
    client = FakeClient.with_models("smollm2:135m")
    first.ask("  a\nlong\tquestion " + "x" * 90, ServiceLink(client, asyncio.get_running_loop()), 0.0)
    second = chats.open("c")
    assert [chat.number for chat in chats.all] == [2, 1]
    assert first.title.startswith("a long question xxx")
    assert second.title == "new chat"
    assert chats.step(1) is first
    assert chats.step(-1) is second
    assert chats.live == [first]
    await finish(first)
