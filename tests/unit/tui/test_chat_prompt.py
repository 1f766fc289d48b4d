"""The prompt: suggestions for commands and files, slash commands, files and images, long pastes, the user's editor."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from textual import events

from corral.runtime.verbs import ChatRequest, CreateRequest, GenerateRequest
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.attaching import CannotAttach, attached_in, files_below, matching_files
from corral.tui.chat_settings import ChatSettings, parse_format, parse_tools
from corral.tui.completing import COMMANDS, Completer, split_command
from corral.tui.external_editor import editor_command
from corral.tui.screens.chat import ChatScreen
from corral.tui.widgets.prompt_box import PromptBox
from corral.tui.widgets.suggestions import Suggestions
from tests.fakes.client import FakeClient
from tests.fakes.screen import picture, until, workbench

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def chat_screen(app: WorkbenchApp) -> ChatScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ChatScreen)
    return screen


def requests(client: FakeClient) -> list[ChatRequest]:
    return [one for one in client.asked if isinstance(one, ChatRequest)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("x = 1\n")
    (tmp_path / "notes with spaces.md").write_text("salt")
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "blob.bin").write_bytes(b"\0\1\2\xff")
    (tmp_path / ".hidden").write_text("secret")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Files


def test_files_named_in_a_text_go_along(folder: Path) -> None:
    text = 'see @src/main.py, and @"notes with spaces.md". mail@example.org @nobody'
    assert [one.name for one in attached_in(text, folder, sees=False)] == ["src/main.py", "notes with spaces.md"]
    assert attached_in("@src/main.py @src/main.py", folder, sees=False)[0].data == b"x = 1\n"
    assert attached_in(f"what is on {folder}/cat.png", folder, sees=False) == ()
    (image,) = attached_in(f"what is on {folder}/cat.png", folder, sees=True)
    assert (image.is_image, image.data) == (True, PNG)


@pytest.mark.parametrize(("text", "reason"), [("@cat.png", "sees none"), ("@blob.bin", "neither text nor an image")])
def test_what_cannot_go_along_is_said(folder: Path, text: str, reason: str) -> None:
    with pytest.raises(CannotAttach, match=reason):
        attached_in(text, folder, sees=False)


def test_a_file_that_is_too_long_is_refused(folder: Path) -> None:
    (folder / "long.txt").write_text("x" * ((1 << 20) + 1))
    with pytest.raises(CannotAttach, match="longer than"):
        attached_in("@long.txt", folder, sees=False)


@given(st.text(max_size=80))
def test_any_text_can_be_searched_for_files(text: str) -> None:
    attached_in(text.replace("/", ""), Path("/nonexistent"), sees=True)


def test_files_are_found_by_their_letters(folder: Path) -> None:
    files = files_below(folder)
    assert set(files) == {"src/main.py", "notes with spaces.md", "cat.png", "blob.bin"}
    assert matching_files("main", files, folder) == ["src/main.py"]
    assert matching_files("smp", files, folder) == ["src/main.py"]
    assert matching_files("./s", files, folder) == ["./src/"]
    assert matching_files(f"{folder}/src/", files, folder) == [f"{folder}/src/main.py"]
    assert matching_files("zzz", files, folder) == []


# Suggestions and commands


def offered(line: str, *, is_first: bool = True) -> list[str]:
    completer = Completer(Path.cwd(), lambda: ("a/b.py", "c d.md"), lambda: ["qwen3:8b", "smollm2:135m"])
    return [one.text for one in completer.suggestions(line, is_first=is_first)]


def test_what_may_be_typed_next() -> None:
    assert offered("/") == [command.name for command in COMMANDS]
    assert offered("/exp") == ["/export"]
    assert offered("/export ") == ["md", "json", "jsonl"]
    assert offered("/set parameter temp") == ["temperature"]
    assert offered("/set think lo") == ["low"]
    assert offered("/load q") == ["qwen3:8b"]
    assert offered("/load qwen3:8b") == []
    assert offered("/", is_first=False) == []
    assert offered("/etc/ho") == []
    assert offered("look at @b") == ["a/b.py"]
    assert offered("look at @c") == ['"c d.md"']
    assert offered("mail me@b") == []


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/set think", ("/set", "think")),
        ("/?", ("/?", "")),
        ("/nope", ("/nope", "")),
        ("/etc/hosts says", None),
        ("no", None),
        ('/system """a\nb"""', ("/system", '"""a\nb"""')),
    ],
)
def test_what_is_a_command(text: str, command: tuple[str, str] | None) -> None:
    assert split_command(text) == command


async def test_a_suggestion_is_taken_with_tab(folder: Path) -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        box = app.screen.query_one(PromptBox)
        await pilot.press(*"read @ma")
        await until(pilot, lambda: "src/main.py" in picture(app))
        await pilot.press("tab")
        await until(pilot, lambda: box.text == "read @src/main.py ")
        await pilot.press("enter")
        await until(pilot, lambda: "⊕ file src/main.py" in picture(app) and "tok/s · ttft" in picture(app))
        assert requests(client)[0].messages[0].content == "read @src/main.py\n\nsrc/main.py:\n```\nx = 1\n```"
        await pilot.resize_terminal(60, 24)
        await pilot.press("slash", *"se")
        await until(pilot, lambda: "/search" in picture(app) and "/set" in picture(app))
        assert app.screen.query_one(Suggestions).size.height == 2, "a line each, however narrow the terminal"
        await pilot.resize_terminal(120, 36)
        await pilot.press("down", "enter")
        await until(pilot, lambda: box.text == "/search ")
        await pilot.press("backspace", "backspace", "escape")
        await until(pilot, lambda: "find chats by what was said" not in picture(app))
        assert app.focused is box


async def test_an_image_is_refused_before_it_is_sent_and_sent_to_who_sees(folder: Path) -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        app.screen.query_one(PromptBox).put("what is @cat.png")
        await pilot.press("enter")
        await until(pilot, lambda: "is an image, and this model sees none" in picture(app))
        assert app.screen.query_one(PromptBox).text == "what is @cat.png"
        assert requests(client) == []
        seeing = replace(client.models["smollm2:135m"], capabilities=("completion", "vision"))
        client.models["smollm2:135m"] = seeing
        chat_screen(app).models = (seeing,)
        await pilot.press("enter")
        await until(pilot, lambda: "⊕ image cat.png" in picture(app))
        await until(pilot, lambda: requests(client)[0].messages[0].images == (PNG,))


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_slash_commands(size: tuple[int, int]) -> None:
    client = FakeClient.with_models("smollm2:135m", "qwen3:8b")
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        box = app.screen.query_one(PromptBox)

        async def say(text: str) -> None:
            box.put(text)
            await pilot.press("enter")
            await until(pilot, lambda: box.text == "" or "Unknown" in picture(app))

        await say("/set parameter temperature 0.1")
        await say('/set parameter stop "a b" c')
        await say('/set system """Be\nterse."""')
        await say("/set nothink")
        await say("/set format json")
        await say("hello")
        await until(pilot, lambda: not chat_screen(app).chats.live and len(requests(client)) == 1)
        request = requests(client)[0]
        assert request.options == {"temperature": 0.1, "stop": ["a b", "c"]}
        assert (request.format, request.think, request.messages[0].content) == ("json", False, "Be\nterse.")
        await say("/set parameter temperature hot")
        await until(pilot, lambda: "Couldn't set parameter:" in picture(app) and "[hot]" in picture(app))
        await say("/nope")
        await until(pilot, lambda: "Unknown command '/nope'." in picture(app))
        box.clear()
        await say("/save mine")
        await until(pilot, lambda: any(isinstance(one, CreateRequest) for one in client.asked))
        created = next(one for one in client.asked if isinstance(one, CreateRequest))
        assert (created.base, created.system, [one.role for one in created.messages]) == (
            "smollm2:135m",
            "Be\nterse.",
            ["user", "assistant"],
        )
        await say("/model qwen3:8b")
        assert chat_screen(app).chat.model == "qwen3:8b"
        await say("/clear")
        assert chat_screen(app).chat.turns == []
        await say("/load smollm2:135m")
        assert chat_screen(app).chat.model == "smollm2:135m"
        await until(pilot, lambda: any(isinstance(one, GenerateRequest) for one in client.asked))
        await say("/set parameter top_k 7")
        await say("/show parameters")
        await until(pilot, lambda: "User defined parameters:" in picture(app) and "top_k " in picture(app))
        assert "Model defined parameters:" in picture(app)
        await pilot.press("escape")
        await say("/show license")
        await until(pilot, lambda: "Apache License" in picture(app))
        await pilot.press("escape")
        await say("/?")
        await until(pilot, lambda: "Commands" in picture(app) and "answer again" in picture(app))
        await pilot.press("escape")
        await say("/bye")
        await until(pilot, lambda: not app.is_running)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/set format", "Invalid or missing format."),
        ("/set format json", "Set format to 'json' mode."),
        ("/set noformat", "Disabled format."),
        ("/set think", "Set 'think' mode."),
        ("/set think high", "Set 'think' mode to 'high'."),
        ("/set think high", "does not support thinking"),
        ("/set quiet", "Set 'quiet' mode."),
        ("/set nohistory", "Prompts are not remembered now."),
        ("/set foo", "Unknown command '/set foo'."),
        ("/set temperature 0", "Did you mean"),
        ("/show foo", "Unknown command '/show foo'."),
        ("/show", "/show modelfile"),
        ("/show info", "embedding length"),
        ("/? set", "/set nohistory"),
        ("/? shortcuts", "Answer it again with another model"),
        ("/load", "Usage:"),
        ("/load nobody", "Couldn't find model 'nobody'"),
        ("/save", "Usage:"),
        ("/save a/b/c/d", "is invalid"),
    ],
)
async def test_commands_say_what_ollamas_say(line: str, told: str) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        app.screen.query_one(PromptBox).put(line)
        await pilot.press("enter")
        await until(pilot, lambda: told in picture(app))


async def test_between_three_quotes_a_message_has_many_lines() -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press(*'"""', *"/bye", "enter", *"now", "enter", *'"""', "enter")
        await until(pilot, lambda: not chat_screen(app).chats.live and len(requests(client)) == 1)
        assert requests(client)[0].messages[0].content == "/bye\nnow"
        await pilot.press(*'/set system """Be', "enter", *'terse"""', "enter")
        await until(pilot, lambda: chat_screen(app).chat.settings.system == "Be\nterse")


async def test_quiet_leaves_out_the_figures_and_no_history_the_prompts() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        box = app.screen.query_one(PromptBox)
        await pilot.press(*"one", "enter")
        await until(pilot, lambda: "tok/s · ttft" in picture(app))
        for line in ("/set quiet", "/set nohistory", "two"):
            box.put(line)
            await pilot.press("enter")
            await until(pilot, lambda: box.text == "" and not chat_screen(app).chats.live)
        await until(pilot, lambda: picture(app).count("t0 t1 t2") == 2 and "tok/s · ttft" not in picture(app))
        await pilot.press("up")
        await until(pilot, lambda: box.text == "/set nohistory")


# Pastes, and the editor


async def test_a_long_paste_is_folded_and_sent_whole() -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.CHAT)
    long = "\r\n".join(f"line {number}\x1b[2J" for number in range(140))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press(*"see ")
        box = app.screen.query_one(PromptBox)
        box.post_message(events.Paste(long))
        await until(pilot, lambda: "⟦paste 1: 140 lines⟧" in picture(app))
        box.post_message(events.Paste(" and short"))
        await until(pilot, lambda: "and short" in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: bool(requests(client)))
        sent = requests(client)[0].messages[0].content
        assert sent.startswith("see line 0␛[2J\nline 1")
        assert sent.endswith("line 139␛[2J and short")


def test_the_editor_is_the_users_own() -> None:
    assert editor_command({"EDITOR": "nano -w", "VISUAL": ""}) == ["nano", "-w"]
    assert editor_command({"CORRAL_EDITOR": "hx", "EDITOR": "nano"}) == ["hx"]
    assert editor_command({"EDITOR": "'"}) == ["vi"]


# Settings


def test_settings_come_back_and_what_makes_no_sense_does_not() -> None:
    own = ChatSettings(system="Be.", options={"seed": 7, "stop": ["x"]}, think="low", form={"type": "object"})
    assert ChatSettings.restored(own.saved()) == own
    broken = {"options": {"seed": "much", "top_p": 0.5}, "think": 3, "format": 4, "tools": "x", "system": 1}
    assert ChatSettings.restored(broken) == ChatSettings(options={"top_p": 0.5})
    assert own.changes() == ["system", "seed 7", 'stop ["x"]', "think low", "schema"]


@pytest.mark.parametrize("text", ["[1]", "nope", "{"])
def test_a_form_is_json_or_a_schema(text: str) -> None:
    with pytest.raises(ValueError, match="JSON Schema"):
        parse_format(text)


@pytest.mark.parametrize("text", ["1", "[{}]", "{"])
def test_tools_are_a_list_of_functions(text: str) -> None:
    with pytest.raises(ValueError, match="tools are a"):
        parse_tools(text)


@pytest.mark.parametrize(("name", "text"), [("top_p", "2"), ("seed", "x"), ("nosuch", "1"), ("stop", "[1]")])
def test_an_option_takes_only_what_it_may_be(name: str, text: str) -> None:
    own = ChatSettings()
    with pytest.raises(ValueError, match=r"."):
        own.set_option(name, text)
    assert own.options == {}


async def test_what_is_typed_before_the_prompt_was_taken_is_kept() -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        prompt = chat_screen(app).prompt
        await until(pilot, lambda: bool(chat_screen(app).chat.model))
        prompt.text = "go on"
        prompt.action_send()
        prompt.move_cursor(prompt.document.end)
        prompt.insert("x")
        await until(pilot, lambda: bool(requests(client)))
        assert requests(client)[0].messages[-1].content == "go on"
        assert prompt.text == "x"


async def test_the_cursor_blinks_where_somebody_types_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    app = workbench(FakeClient.with_models("a:1"), Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        prompt = chat_screen(app).prompt
        await until(pilot, lambda: prompt.has_focus and prompt.cursor_blink)
        await app.action_go(Where.MODELS)
        await until(pilot, lambda: not prompt.cursor_blink)
        await app.action_go(Where.CHAT)
        await until(pilot, lambda: prompt.cursor_blink and prompt.blink_timer._active.is_set())
        monkeypatch.setattr("corral.tui.widgets.writing_area._BLINKS_S", 0.0)
        await pilot.press("a")
        await until(pilot, lambda: not prompt.blink_timer._active.is_set())
        assert prompt._cursor_visible
        monkeypatch.undo()
        await pilot.press("b")
        await until(pilot, lambda: prompt.blink_timer._active.is_set())
