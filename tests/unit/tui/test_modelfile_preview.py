from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual.widgets import Input

from corral.runtime.verbs import ChatRequest, CreateRequest, GenerateRequest, TokenizeRequest
from corral.store.errors import ModelfileError
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.chats import new_caller
from corral.tui.modelfile_completion import directive_line, offers
from corral.tui.modelfile_diff import Change, Sign, changes, text_changes
from corral.tui.modelfile_trial import trial
from corral.tui.screens.modelfile import ModelfileScreen
from tests.fakes.client import FakeClient
from tests.fakes.screen import SIZES, asked, overflows, picture, until, workbench

MODELS = ("smollm2:135m", "qwen3:8b")
TEXT = """FROM smollm2:135m
PARAMETER temperature 0.2
PARAMETER stop END
SYSTEM You are terse.
"""


def screen_of(app: WorkbenchApp) -> ModelfileScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ModelfileScreen)
    return screen


async def test_words_are_offered_while_typing_and_tab_takes_them() -> None:
    app = workbench(FakeClient.with_models(*MODELS), Where.FILE)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: screen.editor.models == MODELS)
        screen.editor.text = ""
        await pilot.press(*"FR")
        await until(pilot, lambda: screen.editor.suggestion == "OM")
        await pilot.press("tab", "space", *"qw")
        await until(pilot, lambda: screen.editor.suggestion == "en3:8b")
        await pilot.press("tab", "enter", *"parameter temp")
        await until(pilot, lambda: "Tab takes it" in picture(app))
        await pilot.press("tab", "space", *"0.5")
        await until(pilot, lambda: screen.editor.text == "FROM qwen3:8b\nparameter temperature 0.5")
        assert screen.editor.has_focus
        await pilot.press("tab")
        await until(pilot, lambda: not screen.editor.has_focus)


@pytest.mark.parametrize("size", SIZES)
async def test_the_pane_shows_what_the_text_changes(size: tuple[int, int]) -> None:
    app = workbench(FakeClient.with_models(*MODELS), Where.FILE)
    async with app.run_test(size=size) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: screen.local == MODELS)
        screen.editor.text = TEXT
        screen.set_class(True, "-preview")
        await until(pilot, lambda: "- PARAMETER temperature 0.7" in picture(app))
        shown = picture(app)
        assert "against smollm2:135m" in shown
        assert "+ PARAMETER temperature 0.2" in shown
        assert not overflows(app)


async def test_the_prompt_is_rendered_with_its_tokens_and_nothing_is_made() -> None:
    client = FakeClient.with_models(*MODELS)
    app = workbench(client, Where.FILE)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: screen.local == MODELS)
        screen.editor.text = TEXT
        await pilot.press("escape", "right_square_bracket")
        await until(pilot, lambda: "rendered by smollm2:135m" in picture(app))
        assert "24 tokens · stops: END" in picture(app)
        request, tokenized = client.asked[-2:]
        assert isinstance(request, ChatRequest)
        assert request.render_only
        assert [message.content for message in request.messages] == ["You are terse.", "hello"]
        assert isinstance(tokenized, TokenizeRequest)
        assert set(client.models) == set(MODELS)


async def test_a_text_is_tried_without_making_a_model() -> None:
    client = FakeClient.with_models(*MODELS)
    app = workbench(client, Where.FILE)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: screen.local == MODELS)
        screen.editor.text = TEXT + 'TEMPLATE """{{ .System }} {{ .Prompt }}"""\nRENDERER qwen3-coder\n'
        await pilot.press("ctrl+r")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press(*"who?", "enter")
        await until(pilot, lambda: "t0 t1 t2" in picture(app) and "3 tokens at" in picture(app))
        assert "> who?" in picture(app)
        assert "without RENDERER" in picture(app)
        request = client.asked[-1]
        assert isinstance(request, GenerateRequest)
        assert (request.model, request.prompt, request.system) == ("smollm2:135m", "who?", "You are terse.")
        assert request.template == "{{ .System }} {{ .Prompt }}"
        assert dict(request.options) == {"temperature": 0.2, "stop": ["END"]}
        assert not any(isinstance(one, CreateRequest) for one in client.asked)


async def test_what_cannot_be_tried_is_told() -> None:
    app = workbench(FakeClient.with_models(*MODELS), Where.FILE)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: screen.local == MODELS)
        screen.editor.text = "FROM ./file.gguf\n"
        await pilot.press("ctrl+r", "enter")
        await until(pilot, lambda: "a Modelfile can be tried once its FROM" in picture(app))


async def test_create_can_make_the_weights_smaller() -> None:
    client = FakeClient.with_models(*MODELS)
    app = workbench(client, Where.FILE)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "none: F9 creates" in picture(app))
        await pilot.press("f9")
        await asked(pilot)
        app.screen.query_one("#create-quantize", Input).value = "q4_banana"
        await pilot.press("enter")
        await until(pilot, lambda: "✗" in picture(app))
        app.screen.query_one("#create-quantize", Input).value = "q4_K_M"
        await pilot.press("enter")
        await until(pilot, lambda: any(isinstance(one, CreateRequest) for one in client.asked))
        request = next(one for one in client.asked if isinstance(one, CreateRequest))
        assert request.quantize == "q4_K_M"


async def test_the_users_own_editor_changes_the_text_and_that_can_be_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "editor.py"
    script.write_text("import sys; f = open(sys.argv[1], 'a'); f.write('PARAMETER seed 7\\n')")
    app = workbench(FakeClient.with_models(*MODELS), Where.FILE)
    app.environ = {**app.environ, "EDITOR": f"{sys.executable} {script}"}
    monkeypatch.setattr(app, "suspend", _no_terminal)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: screen.local == MODELS)
        screen.editor.text = TEXT
        await pilot.press("f7")
        await until(pilot, lambda: screen.editor.text.endswith("PARAMETER seed 7"))
        await pilot.press("ctrl+z")
        await until(pilot, lambda: screen.editor.text == TEXT)


@contextmanager
def _no_terminal():  # type: ignore[no-untyped-def]
    yield


async def test_a_file_that_somebody_else_wrote_is_not_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    path.write_text(TEXT)
    app = workbench(FakeClient.with_models(*MODELS), Where.FILE)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: screen.local == MODELS)
        await pilot.press("ctrl+o")
        (await asked(pilot)).value = str(path)
        await pilot.press("enter")
        await until(pilot, lambda: screen.path == path)
        path.write_text("FROM qwen3:8b\n# theirs\n")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Save the draft" in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: "changed since you opened it" in picture(app))
        await pilot.press("n")
        await until(pilot, lambda: app.screen is screen)
        assert path.read_text().endswith("# theirs\n")


def test_offers() -> None:
    assert offers("FROM sm", MODELS).words == ("smollm2:135m",)
    assert offers("PARAMETER top_", ()).words == ("top_k", "top_n_sigma", "top_p")
    assert offers("PARAMETER top_", ()).line == "top_k  top_n_sigma  top_p"
    assert offers("PARAMETER top_k ", ()).ghost == "40"
    assert offers("parameter use_mmap f", ()).ghost == "alse"
    assert offers("MESSAGE a", ()).ghost == "ssistant"
    assert offers("te", ()).ghost == "mplate"
    for nothing in ("", "  ", "# FR", "SYSTEM y", "PARAMETER stop ", "PARAMETER nonsense 1", "FROM a b"):
        assert offers(nothing, MODELS).words == (), nothing
    assert directive_line("FROM").startswith("FROM model or file")


async def test_diff_against_the_base() -> None:
    base = await FakeClient.with_models("smollm2:135m").show("smollm2:135m")
    found = changes('FROM smollm2:135m\nTEMPLATE """a\nb"""\nPARAMETER stop X\nMESSAGE user hi\n', base)
    assert [f"{one.sign} {one.text}" for one in found] == [
        "+ TEMPLATE a",
        "+ b",
        "  PARAMETER temperature 0.7",
        "- PARAMETER stop <|im_end|>",
        "+ PARAMETER stop X",
        "+ MESSAGE user hi",
    ]
    assert text_changes("a\nb\nc", "a\nx\nc") == [
        Change(Sign.SAME, "a"),
        Change(Sign.REMOVED, "b"),
        Change(Sign.ADDED, "x"),
        Change(Sign.SAME, "c"),
    ]
    assert text_changes("a", "a") == []


def test_trial_takes_the_model_whose_file_it_is() -> None:
    caller = new_caller("x")
    found = trial("FROM /blobs/sha256-1\n", "hi", models=MODELS, opened="qwen3:8b", caller=caller)
    assert found.request.model == "qwen3:8b"
    with pytest.raises(ModelfileError, match="invalid int value"):
        trial("FROM qwen3:8b\nPARAMETER top_k x\n", "hi", models=MODELS, opened="", caller=caller)


async def test_what_was_typed_outlives_the_app_until_it_is_saved(tmp_path: Path) -> None:
    draft = tmp_path / "corral" / "Modelfile.draft"

    def started() -> WorkbenchApp:
        app = workbench(FakeClient.with_models(*MODELS), Where.FILE)
        app.environ = {**app.environ, "XDG_STATE_HOME": str(tmp_path)}
        return app

    first = started()
    async with first.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: screen_of(first).local == MODELS)
        screen_of(first).editor.text = TEXT
        await until(pilot, draft.exists)
    second = started()
    async with second.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: screen_of(second).local == MODELS)
        assert screen_of(second).editor.text == TEXT
        assert screen_of(second).is_dirty
        await pilot.press("ctrl+s")
        (await asked(pilot)).value = str(tmp_path / "Modelfile")
        await pilot.press("enter")
        await until(pilot, lambda: not draft.exists())
