"""Keys of the Chat screen that act on what was said: variants, code, finding, what was sent, options, two models."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from textual.widgets import Input

from corral.runtime.snapshot import EMPTY, ModelState, ModelView
from corral.runtime.verbs import ChatRequest, DoneReason, Stats, ToolCall
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.screens.chat import ChatScreen
from corral.tui.turns import Turn
from corral.tui.widgets.context_meter import meter, will_be_cut
from corral.tui.widgets.prompt_box import PromptBox
from corral.tui.widgets.transcript import Transcript
from tests.fakes.client import FakeClient
from tests.fakes.screen import picture, strips, until, workbench
from tests.waiting import until as holds

CODE = "Two:\n\n```python\nx = 1\n```\n\nand\n\n```sh\nls\n```\n"


def chat_screen(app: WorkbenchApp) -> ChatScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ChatScreen)
    return screen


def copied(app: WorkbenchApp) -> list[str]:
    texts: list[str] = []
    app.copy_to_clipboard = texts.append  # type: ignore[method-assign, assignment]
    return texts


async def test_variants_and_other_words() -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press(*"why", "enter")
        await until(pilot, lambda: not chat_screen(app).chats.live and "tok/s · ttft" in picture(app))
        client.words = ("other",)
        await pilot.press("escape", "r")
        await until(
            pilot, lambda: "other" in picture(app) and "[2/2]" in picture(app) and "tok/s · ttft" in picture(app)
        )
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: "t0 t1 t2" in picture(app) and "[1/2]" in picture(app))
        await pilot.press("e")
        box = app.screen.query_one(PromptBox)
        await until(pilot, lambda: box.text == "why" and "In other words" in picture(app))
        client.words = ("third",)
        await pilot.press("end", *" not", "enter")
        await until(pilot, lambda: "why not" in picture(app) and "third" in picture(app))
        assert [turn.text for turn in chat_screen(app).chat.turns] == ["why not", "third"]
        await until(pilot, lambda: "In other words" not in picture(app) and not chat_screen(app).chat.is_live)
        await pilot.press("escape", "e")
        await until(pilot, lambda: box.text == "why not")
        await pilot.press("escape")
        await until(pilot, lambda: "In other words" not in picture(app) and box.text == "")


async def test_a_cut_answer_goes_on() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.done_reason = DoneReason.LENGTH
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press(*"x", "enter")
        await until(pilot, lambda: "cut at its length, + goes on" in picture(app))
        client.words, client.done_reason = ("further",), DoneReason.STOP
        await pilot.press("escape", "plus")
        await until(pilot, lambda: "t0 t1 t2 further" in picture(app) and "cut at its length" not in picture(app))
        assert len(app.screen.query_one(Transcript).messages.children) == 2


async def test_a_message_is_chosen_deleted_and_brought_back() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        for question in ("one", "two"):
            await pilot.press(*question, "enter")
            await until(pilot, lambda: not chat_screen(app).chats.live and "tok/s · ttft" in picture(app))
        texts = copied(app)
        await pilot.press("escape", "K", "K")
        await until(pilot, lambda: "▶ you" in picture(app))
        await pilot.press("y")
        await until(pilot, lambda: texts == ["two"])
        await pilot.press("d")
        await until(pilot, lambda: "what followed it are deleted" in picture(app))
        assert [turn.text for turn in chat_screen(app).chat.turns] == ["one", "t0 t1 t2 "]
        await pilot.press("U")
        await until(pilot, lambda: len(chat_screen(app).chat.turns) == 4)
        await pilot.press("K", "K", "K", "F")
        await until(pilot, lambda: len(chat_screen(app).chats.all) == 2)
        assert [turn.text for turn in chat_screen(app).chat.turns] == ["one", "t0 t1 t2 "]


async def test_code_is_copied_block_by_block() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.words = (CODE,)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press("x", "enter")
        await until(pilot, lambda: "2 code" in picture(app))
        texts = copied(app)
        await pilot.press("escape", "c")
        await until(pilot, lambda: "╭ python · copied" in picture(app) and "▌ x = 1" in picture(app))
        await pilot.press("c")
        await until(pilot, lambda: "╭ sh · copied" in picture(app) and "▏ x = 1" in picture(app))
        await pilot.press("c")
        await until(pilot, lambda: texts == ["x = 1\n", "ls\n", "x = 1\n"])


async def test_a_question_without_an_answer_is_copied() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.gate = asyncio.Semaphore(0)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2:135m" in picture(app))
        texts = copied(app)
        await pilot.press(*"hello", "enter", "escape")
        await until(pilot, lambda: "stopped" in picture(app))
        await pilot.press("escape", "Y")
        await until(pilot, lambda: texts == ["user: hello"])
        await pilot.press("K", "K", "y")
        await until(pilot, lambda: texts[1:] == ["hello"])


async def test_words_are_found_in_a_chat() -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        for word in ("gull", "tern", "gulls"):
            await pilot.press(*word, "enter")
            await until(pilot, lambda: not chat_screen(app).chats.live and "tok/s · ttft" in picture(app))
        await pilot.press("escape", "slash", *"GULL")
        await until(pilot, lambda: "2 found in 2 messages" in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: "2/2 found in 2 messages" in picture(app) and "▶ you" in picture(app))
        await until(pilot, lambda: "Esc back" in picture(app) and "Esc stop" not in picture(app))
        await pilot.press("n")
        await until(pilot, lambda: "1/2 found in 2 messages" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: "found in" not in picture(app) and "▶" not in picture(app))
        await until(pilot, lambda: "Esc back" not in picture(app))


async def test_every_place_in_a_long_message_is_gone_to() -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        chat = chat_screen(app).chat
        lines = [f"gull {number}" if number % 40 == 0 else f"sea {number}" for number in range(81)]
        chat.ask("\n".join(lines), chat_screen(app).link, 0.0)
        chat_screen(app).watch_closely()
        chat_screen(app).show_chats()
        await until(pilot, lambda: not chat_screen(app).chats.live and "tok/s · ttft" in picture(app))

        def here() -> list[str]:
            marked = [
                strip.text for strip in strips(app) for one in strip if one.style is not None and one.style.underline
            ]
            return [text.strip(" ┃▁▂▃▄▅▆▇█") for text in marked]

        await pilot.press("escape", "slash", *"gull", "enter")
        await until(pilot, lambda: "3/3 found in 1 message ·" in picture(app) and here() == ["gull 80"])
        await pilot.press("n")
        await until(pilot, lambda: "1/3 found" in picture(app) and here() == ["gull 0"])
        await pilot.press("n")
        await until(pilot, lambda: "2/3 found" in picture(app) and here() == ["gull 40"])
        await pilot.press("N", "N")
        await until(pilot, lambda: "3/3 found" in picture(app) and here() == ["gull 80"])


async def test_what_the_model_is_sent_is_shown_with_its_tokens() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press(*"abc", "enter")
        await until(pilot, lambda: not chat_screen(app).chats.live and "tok/s · ttft" in picture(app))
        await pilot.press("escape", "t")
        await until(pilot, lambda: "3 tokens" in picture(app) and "97 98 99" in picture(app))
        assert "rendered by smollm2:135m" in picture(app)


async def test_a_second_model_can_be_put_back_before_its_messages_have_gone() -> None:
    app = workbench(FakeClient.with_models("a:1", "b:1"), Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = chat_screen(app)
        await until(pilot, lambda: bool(screen.chats.current.model))
        screen.compare("b:1")
        for steps in range(12):
            await holds(lambda: len(screen.panes) == 2)
            screen.part()
            for _ in range(steps):
                await asyncio.sleep(0)
                app.refresh_now()
            screen.compare("b:1")
        await holds(lambda: len(screen.panes) == 2 and "Prompt to a:1 and b:1" in picture(app))
        assert len(screen.query("#twin")) == 1


async def test_the_workbench_can_be_left_while_a_second_model_comes_and_goes() -> None:
    for steps in range(6):
        app = workbench(FakeClient.with_models("a:1", "b:1"), Where.CHAT)
        async with app.run_test(size=(120, 36)) as pilot:
            screen = chat_screen(app)
            await until(pilot, lambda screen=screen: bool(screen.chats.current.model))  # type: ignore[misc]
            for _ in range(3):
                screen.compare("b:1")
                screen.part()
            screen.compare("b:1")
            for _ in range(steps):
                await asyncio.sleep(0)


async def test_two_models_answer_one_question_side_by_side() -> None:
    client = FakeClient.with_models("smollm2:135m", "qwen3:8b")
    client.gate = asyncio.Semaphore(0)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press("escape", "v")
        await until(pilot, lambda: "Which model beside this one?" in picture(app))
        await pilot.press(*"qwen", "down", "enter")
        await until(pilot, lambda: "Prompt to smollm2:135m and qwen3:8b" in picture(app))
        await pilot.press(*"who", "enter")
        await until(pilot, lambda: len(chat_screen(app).chats.live) == 2)
        client.release(2)
        await until(pilot, lambda: len(app.screen.query(Transcript)) == 2)
        client.release(8)
        await until(pilot, lambda: picture(app).count("t0 t1 t2") == 2 and picture(app).count("tok/s · ttft") == 2)
        asked = [request.model for request in client.asked if isinstance(request, ChatRequest)]
        assert sorted(asked) == ["qwen3:8b", "smollm2:135m"]
        await pilot.press("escape", "v")
        await until(pilot, lambda: len(app.screen.query(Transcript)) == 1 and "and qwen3:8b" not in picture(app))
        assert [chat.model for chat in chat_screen(app).chats.all] == ["smollm2:135m", "qwen3:8b"]


async def test_a_chat_that_stood_beside_another_is_entitled_as_others_are() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m", "qwen3:8b"), Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press(*"which bird is the largest", "enter")
        await until(pilot, lambda: not chat_screen(app).chats.live and "tok/s · ttft" in picture(app))
        chat_screen(app).compare("qwen3:8b")
        await until(pilot, lambda: "─ qwen3:8b ─" in picture(app))
        await pilot.press("escape", "v")
        await until(pilot, lambda: "━ which bird is the largest · smollm2:135m ━" in picture(app))
        await pilot.press("full_stop")
        await until(pilot, lambda: "━ which bird is the largest · qwen3:8b ━" in picture(app))


async def test_tool_calls_are_folded_lines() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.can_call("smollm2:135m")
    client.calls = (ToolCall("weather", {"city": "[b]Kiel\x1b[2J"}),)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        chat_screen(app).chat.settings.tools = ({"type": "function", "function": {"name": "weather"}},)
        await pilot.press("x", "enter")
        await until(pilot, lambda: '▸ wants weather(city="[b]Kiel' in picture(app))
        await pilot.press("escape", "o")
        await until(pilot, lambda: '│   "city": "[b]Kiel' in picture(app) and "▾ wants weather" in picture(app))
        await pilot.press("i", *"/result wet", "enter")
        await until(pilot, lambda: "tool weather" in picture(app))
        assert "\x1b" not in picture(app)


async def test_figures_break_between_two_of_them() -> None:
    parts = ["3.0 tok/s", "ttft 1.00s", "prompt 12 @ 80.0/s", "cached 4", "3 tok", "guessed 8/9"]
    client = FakeClient.with_models("smollm2:135m")
    client.drafted = 9
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press(*"why", "enter")
        await until(pilot, lambda: " · ".join(parts) in picture(app))
        for width in range(61, 80, 3):
            await pilot.resize_terminal(width, 24)
            await until(pilot, lambda: all(part in picture(app) for part in parts), within_s=5)
        await pilot.resize_terminal(120, 36)
        await until(pilot, lambda: " · ".join(parts) in picture(app))


async def test_two_hundred_messages_are_few_widgets() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        screen = chat_screen(app)
        for number in range(100):
            screen.chat.end.add(Turn("user", 0.0, f"question {number}"))
            screen.chat.end.add(Turn("assistant", 0.0, f"answer {number}\n\n- one\n- two", model="m"))
        screen.show_chats()
        await until(pilot, lambda: "answer 99" in picture(app))
        assert len(screen.query("*")) <= 400
        await pilot.press("escape", "g", "g", "g")
        await until(pilot, lambda: "… 20 earlier messages" in picture(app) and "question 10" in picture(app))
        await pilot.press("g", "g", "g")
        await until(pilot, lambda: "earlier messages" not in picture(app) and "answer 1" in picture(app))
        assert len(screen.query("*")) <= 400
        await pilot.press("G")
        await until(pilot, lambda: "answer 99" in picture(app))


def _said(*totals: int) -> list[Turn]:
    turns = []
    for total in totals:
        turns += [
            Turn("user", 0.0, "q"),
            Turn("assistant", 0.0, "a", stats=Stats(prompt_tokens=total - 10, output_tokens=10)),
        ]
    return turns


@pytest.mark.parametrize(
    ("totals", "draft", "limit", "cut"),
    [
        ((100, 200, 300), 0, 400, 0),
        ((100, 200, 300), 101, 400, 2),
        ((100, 200, 300), 250, 400, 4),
        ((100, 200, 300), 500, 400, 6),
        ((100, 200, 300), 500, 0, 0),
        ((100, 200, 300), 0, 250, 2),
        ((), 50, 20, 0),
    ],
)
def test_the_oldest_messages_are_cut(totals: tuple[int, ...], draft: int, limit: int, cut: int) -> None:
    assert len(will_be_cut(_said(*totals), draft, limit)) == cut


def test_the_meter_says_what_is_used_and_what_is_cut() -> None:
    assert meter(0, 0, 0).text == ""
    assert meter(812, 0, 8192, is_wide=True).text.startswith("ctx 812/8k ")
    assert meter(812, 46, 8192).text == "ctx 812+46/8k 10%"
    tight = meter(7000, 0, 8192)
    assert (tight.is_tight, tight.text) == (True, "! ctx 7000/8k 85%")
    assert meter(8000, 900, 8192, cut=2).text == "! ctx 8000+900/8k 100% ✂ 2 oldest"


async def test_a_question_is_counted_while_it_is_typed_and_what_it_cuts_is_shown() -> None:
    client = FakeClient.with_models("smollm2:135m")
    loaded = ModelView(
        *("smollm2:135m", "d", ModelState.IDLE, 1, 1.0, 1024, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, None)
    )
    client.snapshot = replace(EMPTY, models=(loaded,))
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press("x", "enter")
        await until(pilot, lambda: "ctx 15/1k" in picture(app))
        await pilot.press(*"hello")
        await until(pilot, lambda: "ctx 15+5/1k" in picture(app))
        app.screen.query_one(PromptBox).put("word " * 210)
        await until(pilot, lambda: "✂ 2 oldest" in picture(app) and "✂ will be cut" in picture(app))
        app.screen.query_one(PromptBox).clear()
        await until(pilot, lambda: "✂" not in picture(app))


async def test_options_are_found_set_and_reset() -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press("escape", "O")
        await until(pilot, lambda: "Options of this chat" in picture(app))
        await pilot.press(*"0 always")
        await until(pilot, lambda: "the model says 0.7; 0 always the likeliest" in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: "It may be: 0 …" in picture(app))
        await pilot.press(*"-1", "enter")
        await until(pilot, lambda: "✗" in picture(app))
        app.screen.query_one(Input).value = "0.25"
        await pilot.press("enter")
        await until(pilot, lambda: "● temperature" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: "1 set" in picture(app))
        await pilot.press("i", "x", "enter")
        await until(pilot, lambda: any(isinstance(one, ChatRequest) for one in client.asked))
        assert chat_screen(app).chat.settings.options == {"temperature": 0.25}
        await pilot.press("escape", "escape", "O")
        await until(pilot, lambda: "Options of this chat" in picture(app))
        await pilot.press(*"system who", "enter")
        await until(pilot, lambda: "F9 save" in picture(app))
        await pilot.press(*"Be terse", "f9")
        await until(pilot, lambda: chat_screen(app).chat.settings.system == "Be terse")
