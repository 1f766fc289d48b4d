"""Variants, branches, other words, continuing, deleting: what a conversation is read as, and what is written of it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.runtime.verbs import ChatRequest, DoneReason, Message, ToolCall
from corral.store.sessions import Attached, SavedTurn
from corral.tui.chats import Chat
from corral.tui.link import ServiceLink
from corral.tui.turns import Turn, TurnState
from tests.fakes.client import FakeClient


@pytest.fixture
def client() -> FakeClient:
    return FakeClient.with_models("smollm2:135m")


def linked(client: FakeClient) -> ServiceLink:
    return ServiceLink(client, asyncio.get_running_loop())


async def finish(chat: Chat) -> None:
    while chat.is_live:
        await asyncio.sleep(0)
        chat.poll()


async def asked(client: FakeClient, *questions: str) -> tuple[Chat, ServiceLink]:
    link = linked(client)
    chat = Chat(1, "smollm2:135m")
    for question in questions:
        chat.ask(question, link, 0.0)
        await finish(chat)
    return chat, link


def texts(chat: Chat) -> list[str]:
    return [turn.text for turn in chat.turns]


def last_request(client: FakeClient) -> ChatRequest:
    request = client.asked[-1]
    assert isinstance(request, ChatRequest)
    return request


async def test_answers_to_one_question_stand_side_by_side(client: FakeClient) -> None:
    chat, link = await asked(client, "why?")
    client.words = ("other",)
    assert chat.again(link, 1.0)
    await finish(chat)
    assert texts(chat) == ["why?", "other"]
    answer = chat.turns[1]
    assert (answer.place, answer.variants) == (1, 2)
    assert chat.step_variant(answer, -1)
    assert texts(chat) == ["why?", "t0 t1 t2 "]
    assert chat.step_variant(chat.turns[1], -1)
    assert texts(chat) == ["why?", "other"]
    assert not chat.step_variant(chat.turns[0], 1)
    assert last_request(client).messages == (Message("user", "why?"),)


async def test_other_words_make_a_branch_and_the_old_one_stays(client: FakeClient) -> None:
    chat, link = await asked(client, "one", "two")
    chat.edit(chat.turns[0], "uno", link, 2.0)
    await finish(chat)
    assert texts(chat) == ["uno", "t0 t1 t2 "]
    assert chat.step_variant(chat.turns[0], 1)
    assert texts(chat) == ["one", "t0 t1 t2 ", "two", "t0 t1 t2 "]


async def test_an_answer_in_other_words_is_not_asked_about(client: FakeClient) -> None:
    chat, link = await asked(client, "one")
    chat.edit(chat.turns[1], "I say so", link, 2.0)
    assert not chat.is_live
    chat.ask("sure?", link, 3.0)
    await finish(chat)
    assert [message.content for message in last_request(client).messages] == ["one", "I say so", "sure?"]


async def test_an_answer_goes_on_where_it_was_cut(client: FakeClient) -> None:
    client.done_reason = DoneReason.LENGTH
    chat, link = await asked(client, "tell")
    client.words, client.done_reason = ("and so on",), DoneReason.STOP
    assert chat.go_on(link, 1.0)
    assert chat.turns[-1].state is TurnState.LIVE
    await finish(chat)
    assert texts(chat) == ["tell", "t0 t1 t2 and so on"]
    assert last_request(client).messages[-1] == Message("assistant", "t0 t1 t2 ")
    answer = chat.turns[-1]
    assert (answer.stats.output_tokens, answer.stats.prompt_tokens, answer.reason) == (4, 12, "stop")
    assert answer.stats.total_ns == 4_000_000_000
    assert not Chat(1).go_on(link, 0.0)


async def test_what_is_deleted_comes_back_where_it_was(client: FakeClient) -> None:
    chat, _ = await asked(client, "one", "two")
    chat.take_changes()
    ids = [turn.id for turn in chat.turns]
    undo = chat.delete(chat.turns[2])
    assert texts(chat) == ["one", "t0 t1 t2 "]
    assert set(chat.take_changes()[1]) == set(ids[2:])
    undo()
    assert [turn.id for turn in chat.turns] == ids
    written, gone = chat.take_changes()
    assert {one.id for one in written} >= set(ids[2:])
    assert gone == ()
    undo = chat.clear()
    assert chat.turns == []
    assert set(chat.take_changes()[1]) == set(ids)
    undo()
    assert [turn.id for turn in chat.turns] == ids


async def test_a_failed_answer_without_words_leaves_no_variant(client: FakeClient) -> None:
    client.fail_with = RuntimeError("no")
    chat, link = await asked(client, "one")
    assert chat.turns[1].state is TurnState.FAILED
    client.fail_with = None
    assert chat.again(link, 1.0)
    await finish(chat)
    assert chat.turns[1].variants == 1


async def test_a_chat_of_its_own_begins_as_the_branch_does(client: FakeClient) -> None:
    chat, link = await asked(client, "one", "two")
    chat.settings.options["seed"] = 7
    twin = chat.copy(2, chat.turns[1])
    assert texts(twin) == ["one", "t0 t1 t2 "]
    assert twin.settings.options == {"seed": 7}
    twin.ask("three", link, 2.0)
    await finish(twin)
    assert texts(chat) == ["one", "t0 t1 t2 ", "two", "t0 t1 t2 "]
    assert {turn.id for turn in twin.turns}.isdisjoint(turn.id for turn in chat.turns)


async def test_settings_and_files_go_with_a_question(client: FakeClient) -> None:
    link = linked(client)
    chat = Chat(1, "smollm2:135m")
    chat.settings.system, chat.settings.form = "Be terse.", "json"
    chat.settings.set_option("temperature", "0.2")
    chat.settings.set_think("off")
    files = (Attached("a.py", b"x = '```'\n"), Attached("p.png", b"\x89PNG\r\n", is_image=True))
    chat.ask("see @a.py", link, 0.0, files)
    await finish(chat)
    request = last_request(client)
    assert (request.options, request.format, request.think) == ({"temperature": 0.2}, "json", False)
    assert request.messages[0] == Message("system", "Be terse.")
    assert request.messages[1].content == "see @a.py\n\na.py:\n````\nx = '```'\n````"
    assert request.messages[1].images == (b"\x89PNG\r\n",)


async def test_tool_calls_and_what_tools_said_go_back(client: FakeClient) -> None:
    client.can_call("smollm2:135m")
    client.calls, client.words = (ToolCall("weather", {"city": "Kiel"}, "c1"),), ()
    link = linked(client)
    chat = Chat(1, "smollm2:135m")
    chat.settings.tools = ({"type": "function", "function": {"name": "weather"}},)
    chat.ask("rain?", link, 0.0)
    await finish(chat)
    assert chat.turns[-1].tool_calls == client.calls
    chat.give("wet", link, 1.0)
    await finish(chat)
    assert [message.role for message in last_request(client).messages] == ["user", "assistant", "tool"]
    assert last_request(client).messages[1].tool_calls == client.calls
    assert last_request(client).messages[2].tool_name == "weather"
    back = Turn.restored(chat.turns[1].saved())
    assert back.tool_calls == client.calls


def _kept(chat: Chat) -> Chat:
    written, _ = chat.take_changes()
    again = Chat.restored(9, chat.saved())
    again.fill(chat.saved(), written)
    return again


async def test_a_chat_comes_back_as_it_was(client: FakeClient) -> None:
    chat, link = await asked(client, "one", "two")
    chat.edit(chat.turns[2], "deux", link, 2.0)
    await finish(chat)
    chat.again(link, 3.0)
    await finish(chat)
    chat.step_variant(chat.turns[3], -1)
    again = _kept(chat)
    assert texts(again) == texts(chat)
    assert [(turn.place, turn.variants) for turn in again.turns] == [(turn.place, turn.variants) for turn in chat.turns]
    assert [turn.stats for turn in again.turns] == [turn.stats for turn in chat.turns]
    assert again.title == chat.title == "one"
    assert again.used_tokens == chat.used_tokens


def test_an_answer_that_was_coming_in_comes_back_as_stopped() -> None:
    turn = Turn("assistant", 0.0, "half of", TurnState.LIVE, "m")
    assert Turn.restored(turn.saved()).state is TurnState.STOPPED


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 9), st.integers(-2, 5), st.booleans()), max_size=12))
def test_any_rows_make_a_tree_with_each_turn_once(rows: list[tuple[int, int, int, bool]]) -> None:
    unique = {str(name): (parent, place, picked) for name, parent, place, picked in rows}
    saved = [
        SavedTurn(name, str(parent) if parent >= 0 else "", place, picked, "user", name)
        for name, (parent, place, picked) in unique.items()
    ]
    chat = Chat(1, is_there=False)
    chat.fill(chat.saved(), saved)
    found = [turn.id for turn in chat.root.walk() if turn is not chat.root]
    assert sorted(found) == sorted(unique)
    assert len(chat.turns) <= len(unique)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "again", "edit", "delete", "variant", "undo"]), st.integers(0, 20)),
        max_size=25,
    )
)
def test_what_is_written_is_always_what_is_read(steps: list[tuple[str, int]]) -> None:
    chat = Chat(1, "m")
    disk: dict[str, SavedTurn] = {}
    undo = None
    for number, (step, choice) in enumerate(steps):
        turns = chat.turns
        turn = turns[choice % len(turns)] if turns else None
        if step == "ask" or turn is None:
            chat.mark(chat.end.add(Turn("user", 0.0, f"q{number}")))
            chat.mark(chat.end.add(Turn("assistant", 0.0, f"a{number}")))
        elif step in ("again", "edit") and turn.parent is not None:
            turn.parent.add(Turn(turn.role, 0.0, f"{step}{number}"))
            chat.mark_all(turn.parent.children)
        elif step == "delete":
            undo = chat.delete(turn)
        elif step == "variant":
            chat.step_variant(turn, 1)
        elif step == "undo" and undo is not None:
            undo()
            undo = None
        if step != "delete":
            undo = None
        written, gone = chat.take_changes()
        for one in written:
            disk[one.id] = one
        for name in gone:
            disk.pop(name, None)
        again = Chat(2, is_there=False)
        again.fill(chat.saved(), list(disk.values()))
        assert texts(again) == texts(chat)
