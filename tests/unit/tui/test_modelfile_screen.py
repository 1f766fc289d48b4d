from __future__ import annotations

from pathlib import Path

import pytest

from corral.runtime.verbs import CreateRequest
from corral.store.lint import Severity
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.draft import draft_path, keep_draft
from corral.tui.modelfile_check import base_of, check, parameter_line, skeleton
from corral.tui.screens.modelfile import ModelfileScreen
from corral.tui.screens.models import ModelsScreen
from corral.tui.widgets.modelfile_syntax import Kind, stretches
from tests.fakes.client import FakeClient
from tests.fakes.screen import SIZES, asked, overflows, picture, until, workbench

BROKEN = "FROM smollm2:135m\nPARAMETER top_k many\nPARAMETER temprature 1\nPARAMETER top_p 1.4\n"


def screen_of(app: WorkbenchApp) -> ModelfileScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ModelfileScreen)
    return screen


@pytest.mark.parametrize("size", SIZES)
async def test_begins_with_a_text_that_explains_itself_and_has_no_problems(size: tuple[int, int]) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.FILE)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "FROM smollm2:135m" in picture(app))
        await until(pilot, lambda: "none: F9 creates" in picture(app))
        shown = picture(app)
        assert "○ unchanged" in shown
        assert "F9 create" in shown.splitlines()[-1]
        assert not overflows(app)


@pytest.mark.parametrize("size", SIZES)
async def test_says_what_is_wrong_with_line_and_column_and_goes_there(size: tuple[int, int]) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.FILE)
    async with app.run_test(size=size) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: bool(screen.editor.text))
        screen.editor.text = BROKEN
        await until(pilot, lambda: len(screen.findings) == 3)
        await until(pilot, lambda: "✗ 2  ! 1" in picture(app) and "did you mean temperature?" in picture(app))
        shown = picture(app)
        assert "2:17" in shown
        assert "invalid int value [many]" in shown
        assert "● modified" in shown
        assert not overflows(app)
        for place in ((1, 16), (2, 0), (3, 16), (1, 16)):
            await pilot.press("f8")
            await until(pilot, lambda place=place: screen.editor.cursor_location == place)  # type: ignore[misc]


async def test_lints_while_typing() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.FILE)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: screen.editor.has_focus and not screen.findings)
        await pilot.press(*"FRM x", "enter")
        told = (1, "unknown command 'FRM'; did you mean FROM?")
        await until(pilot, lambda: told in [(one.line, one.message) for one in screen.findings])


async def test_the_ends_of_the_text_are_a_key_away() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.FILE)
    async with app.run_test(size=(80, 24)) as pilot:
        editor = screen_of(app).editor
        await until(pilot, lambda: editor.has_focus and bool(editor.text))
        await pilot.press("ctrl+end")
        await until(pilot, lambda: editor.cursor_location == editor.document.end != (0, 0))
        await pilot.press("ctrl+shift+home")
        await until(pilot, lambda: editor.selected_text == editor.text)


async def test_a_draft_that_is_back_is_told_of_where_it_is(tmp_path: Path) -> None:
    path = draft_path({"HOME": str(tmp_path)})
    keep_draft(path, "FROM smollm2:135m\nSYSTEM mine\n")
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await app.compose_mode(Where.FILE)
        await pilot.pause()
        assert "draft" not in picture(app)
        await pilot.press("f5")
        await until(pilot, lambda: "your draft of the last time is back" in picture(app))


async def test_create_asks_for_a_name_and_makes_the_model() -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.FILE)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: "none: F9 creates" in picture(app))
        await pilot.press("f9")
        line = await asked(pilot)
        await until(pilot, lambda: line.value == "my-smollm2")
        await pilot.press("enter")
        await until(pilot, lambda: "my-smollm2:latest" in client.models)
        await until(pilot, lambda: "created my-smollm2" in picture(app))
        request = client.asked[0]
        assert isinstance(request, CreateRequest)
        assert request.base == "smollm2:135m"
        assert dict(request.parameters) == {"temperature": 0.7, "num_ctx": 4096}
        assert request.system is not None
        assert request.system.startswith("You are a terse assistant.")
        assert not screen.is_dirty


async def test_a_blob_gives_no_name_to_what_is_made_of_it(tmp_path: Path) -> None:
    blob = tmp_path / f"sha256-{'0' * 64}"
    blob.write_bytes(b"GGUF")
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.FILE)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "none: F9 creates" in picture(app))
        screen_of(app).editor.text = f"FROM {blob}"
        await pilot.press("f9")
        line = await asked(pilot)
        await until(pilot, lambda: line.value == "my-model")


async def test_create_is_refused_while_there_are_errors() -> None:
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.FILE)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: bool(screen_of(app).editor.text))
        screen_of(app).editor.text = BROKEN
        await pilot.press("f9")
        await until(pilot, lambda: "there are errors" in picture(app))
        assert client.asked == []


async def test_draft_is_saved_and_opened(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.FILE)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: bool(screen.editor.text))
        screen.editor.text = "FROM smollm2:135m\n"
        await pilot.press("ctrl+s")
        (await asked(pilot)).value = str(path)
        await pilot.press("enter")
        await until(pilot, lambda: path.exists() and not screen.is_dirty)
        assert path.read_text() == "FROM smollm2:135m\n"
        path.write_text("FROM other:1b\n")
        await pilot.press("ctrl+o")
        (await asked(pilot)).value = str(path)
        await pilot.press("enter")
        await until(pilot, lambda: screen.editor.text == "FROM other:1b\n")
        await until(pilot, lambda: "not on this machine" in picture(app))


async def test_edit_on_models_opens_here_and_asks_before_a_draft_is_lost() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        models = app.screen_stack[0]
        assert isinstance(models, ModelsScreen)
        await until(pilot, lambda: len(models.table.keys_shown) == 1)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ModelfileScreen))
        screen = screen_of(app)
        await until(pilot, lambda: screen.editor.text == "FROM smollm2:135m\nPARAMETER temperature 0.7\n")
        assert "Modelfile · smollm2:135m" in picture(app)
        await pilot.press(*"# x")
        await until(pilot, lambda: screen.is_dirty)
        screen.open_text("other", "FROM other\n")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("n")
        await until(pilot, lambda: app.screen is screen)
        assert screen.editor.text.startswith("# x")


async def test_control_characters_and_markup_in_a_modelfile_are_inert() -> None:
    app = workbench(FakeClient(), Where.FILE)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: bool(screen.editor.text))
        screen.open_text("[/x]\x1b[2J", "FROM [/x]\x1b[2J\u202e漢字\nSYSTEM [@click=app.exit]x[/]\n")
        await until(pilot, lambda: "FROM [/x]␛[2J" in picture(app))
        await until(pilot, lambda: bool(screen.findings))
        assert "\x1b" not in picture(app)
        assert not overflows(app)


def test_check_uses_the_rules_of_store_and_runtime() -> None:
    found = check(BROKEN, local=("smollm2:135m",), folder=Path("/"))
    assert [(one.severity, one.line, one.column) for one in found] == [
        (Severity.ERROR, 2, 17),
        (Severity.ERROR, 3, 1),
        (Severity.WARNING, 4, 17),
    ]
    assert check("FROM smollm2:135m", local=None, folder=Path("/")) == ()
    assert check("FROM a b", local=(), folder=Path("/"))[0].message == "a b is neither a model's name nor a file"
    (doubt,) = check("FROM a\nPARSER qwen3\nRENDERER glimer", local=None, folder=Path("/"))
    assert (doubt.severity, doubt.line, doubt.column) == (Severity.WARNING, 3, 10)
    assert doubt.message == 'unknown renderer "glimer": no chat will be answered; did you mean glimmer?'
    assert check('SYSTEM """x', local=(), folder=Path("/"))[0].message == "unexpected EOF"
    assert check(skeleton("a:b"), local=("a:b",), folder=Path("/")) == ()


def test_small_answers() -> None:
    assert base_of("FROM a:b\n") == "a:b"
    assert base_of("FRM") == ""
    assert parameter_line("temperature").startswith("temperature: float32")
    assert parameter_line("nonsense") == ""


def test_syntax_runs_over_lines() -> None:
    lines = ['SYSTEM """one', "{{ .x }}", 'two"""', "PARAMETER stop y", "nonsense z", " # note"]
    kinds = [[one.kind for one in line] for line in stretches(lines)]
    assert kinds == [
        [Kind.COMMAND, Kind.STRING],
        [Kind.STRING, Kind.ACTION],
        [Kind.STRING],
        [Kind.COMMAND, Kind.NAME, Kind.VALUE],
        [Kind.UNKNOWN, Kind.VALUE],
        [Kind.COMMENT],
    ]
    assert stretches(["", "FROM", 'SYSTEM "a" b"'])[2][-1].kind is Kind.STRING
