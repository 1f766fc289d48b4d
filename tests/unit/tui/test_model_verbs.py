from __future__ import annotations

import pytest
from msgspec.structs import replace
from textual.widgets import Input

from corral.runtime.snapshot import EMPTY, ModelState
from corral.runtime.upkeep import Cleanup, Fit, PullPlan, Trashed
from corral.runtime.verbs import FOREVER, GenerateRequest, ModelDetails, TensorInfo
from corral.store.errors import CannotRestore
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.dialogs.cleanup import cleanup_lines
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.screens.models import ModelsScreen
from corral.tui.widgets.model_info import ModelInfo, Tab
from corral.tui.widgets.model_table import fits_text
from tests.fakes.client import FakeClient, loaded, summary
from tests.fakes.moment import model, moment
from tests.fakes.screen import asked, overflows, picture, until, workbench

NAMES = ("a:1", "b:1", "c:1", "d:1")


def screen_of(app: WorkbenchApp) -> ModelsScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ModelsScreen)
    return screen


async def test_a_deletion_waits_and_undo_keeps_everything() -> None:
    client = FakeClient.with_models(*NAMES)
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: len(screen.table.keys_shown) == 4)
        await pilot.press("asterisk", "d")
        await until(pilot, lambda: "Delete 4 models?" in picture(app))
        assert "for 10 s with U" in picture(app)
        assert "Type a:1 to delete all 4." in picture(app)
        await pilot.press(*"a:1", "enter")
        await until(pilot, lambda: "✗ in " in picture(app))
        await until(pilot, lambda: "✗ 4 will be deleted in" in picture(app))
        await pilot.press("U")
        await until(pilot, lambda: "✗ in " not in picture(app))
        await until(pilot, lambda: "4 marked" in picture(app))
        assert [one for one in client.asked if isinstance(one, tuple) and one[0] == "delete"] == []
        screen.undo_s = 0.01
        await pilot.press("escape", "d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: len(screen.table.keys_shown) == 3)


async def test_several_models_go_only_where_a_name_is_typed_in_full() -> None:
    client = FakeClient.with_models(*NAMES)
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: len(screen.table.keys_shown) == 4)
        await pilot.press("asterisk", "d")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press("y", "enter")
        await until(pilot, lambda: "✗ this is not a:1; Esc keeps the models" in picture(app))
        await pilot.press("backspace", *"a:", "enter")
        await until(pilot, lambda: "✗ go on: all of the name" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        assert (screen.doomed, len(client.models)) == ([], 4)


async def test_what_many_models_are_asked_about_stays_on_the_screen() -> None:
    names = [f"registry.example.com/somebody/model-{number:02}:q4_K_M" for number in range(40)]
    client = FakeClient.with_models(*names)
    client.memory = {name: loaded(name) for name in names}
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: len(screen.table.keys_shown) == 40)
        await pilot.press("asterisk", "d")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await until(pilot, lambda: "its name" in picture(app) and "and 37 more" in picture(app))
        await pilot.press("x")
        await until(pilot, lambda: "✗" not in picture(app) and "this is not" in picture(app))


async def test_what_lies_in_the_trash_comes_back_with_u_and_is_listed_before_it_goes() -> None:
    client = FakeClient.with_models(*NAMES)
    client.trash_s = 86400.0
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = screen_of(app)
        screen.undo_s = 0.01
        await until(pilot, lambda: len(screen.table.keys_shown) == 4)
        await pilot.press("s", "g", "space", "space", "d")
        await until(pilot, lambda: "Delete 2 models?" in picture(app))
        await until(pilot, lambda: isinstance(app.focused, Input))
        assert "197M after 1d, or at once with :gc" in picture(app)
        assert "for 1d with U or :undo" in picture(app)
        await pilot.press(*"a:1", "enter")
        await until(pilot, lambda: len(screen.table.keys_shown) == 2)
        assert ("trash", "a:1", "b:1") in client.asked
        await pilot.press("U")
        await until(pilot, lambda: "2 models are back" in picture(app) and len(screen.table.keys_shown) == 4)
        client.fail_with = CannotRestore("'a:1' is there again")
        await pilot.press("U")
        await until(pilot, lambda: "'a:1' is there again" in picture(app))
        await client.trash(["c:1"])
        await screen.run_action("clean_up")
        await until(pilot, lambda: "Remove orphans, empty the trash?" in picture(app))
        assert "c:1  100B  deleted 2h ago, goes in 21h" in picture(app)
        await pilot.press("y")
        await until(pilot, lambda: "clean_up" in client.asked)


async def test_what_is_removed_by_its_name_comes_back_too() -> None:
    client = FakeClient.with_models("a:1", "b:1")
    client.trash_s = 3600.0
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: len(screen.table.keys_shown) == 2)
        await pilot.press("colon", *"rm a:1", "enter")
        await until(pilot, lambda: "after 1h, or at once with :gc" in picture(app))
        await pilot.press("y")
        await until(pilot, lambda: "deleted a:1 · :undo brings it back" in picture(app))
        assert list(client.models) == ["b:1"]
        await pilot.press("U")
        await until(pilot, lambda: set(client.models) == {"a:1", "b:1"})


def test_what_would_be_cleaned_up_is_told_in_full() -> None:
    old = Trashed(("a:1", "b:1"), 5_000_000, 0.0, 86_400.0)
    assert cleanup_lines(Cleanup(0, 0, (old,), 5_000_000), 86_400.0 * 2) == [
        *("In the trash, 5.0M:", "  a:1, b:1  5.0M  deleted 2d ago, goes now", "", "This cannot be undone.")
    ]
    many = cleanup_lines(Cleanup(2, 9, (old,) * 10, 5_000_000), 30.0)
    assert many[0].startswith("2 files that no model needs")
    assert many[3].endswith("deleted now, goes in 23h")
    assert "  and 2 more" in many


async def test_a_range_is_marked_and_acted_on_as_one() -> None:
    client = FakeClient.with_models(*NAMES)
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: len(screen.table.keys_shown) == 4)
        await pilot.press("s", "g", "space", "down", "V")
        await until(pilot, lambda: screen.chosen == ("a:1", "b:1", "c:1"))
        assert "✓ 3 marked · 295M" in picture(app)
        await pilot.press("l")
        await until(pilot, lambda: set(client.memory) == {"a:1", "b:1", "c:1"})
        await pilot.press("u")
        await until(pilot, lambda: not client.memory)
        await pilot.press("U")
        await until(pilot, lambda: len(client.memory) == 3)
        await screen.run_action("verify")
        await until(pilot, lambda: "3 of 3 models are whole" in picture(app))
        client.damaged = {"b:1"}
        await screen.run_action("verify")
        await until(pilot, lambda: "blob sha256:00 is damaged" in picture(app))
        await screen.run_action("update")
        await until(pilot, lambda: ("pull", "c:1") in client.asked)


async def test_pin_keeps_for_ever_and_lets_go_again() -> None:
    client = FakeClient.with_models("a:1")
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(screen_of(app).table.keys_shown) == 1)
        await pilot.press("P")
        await until(pilot, lambda: bool(client.asked))
        first = client.asked[0]
        assert isinstance(first, GenerateRequest)
        assert first.keep_alive_s == FOREVER
        client.snapshot = moment(models=(model("a:1", state=ModelState.IDLE, expires_in_s=FOREVER),))
        await until(pilot, lambda: "● loaded ∞" in picture(app))
        await pilot.press("P")
        await until(pilot, lambda: len(client.asked) == 2)
        second = client.asked[1]
        assert isinstance(second, GenerateRequest)
        assert second.keep_alive_s is None


async def test_rename_asks_before_it_replaces() -> None:
    client = FakeClient.with_models("a:1", "b:latest")
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: len(screen.table.keys_shown) == 2)
        screen.table.go_to("a:1")
        await pilot.press("R")
        (await asked(pilot)).value = "b"
        await pilot.press("enter")
        await until(pilot, lambda: "b:latest exists already" in picture(app))
        await pilot.press("n")
        assert set(client.models) == {"a:1", "b:latest"}
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("R")
        (await asked(pilot)).value = "c:2"
        await pilot.press("enter")
        await until(pilot, lambda: set(client.models) == {"c:2", "b:latest"})


async def test_newer_versions_are_marked_and_orphans_removed_after_a_yes() -> None:
    client = FakeClient.with_models("a:1", "b:1")
    client.plans = {
        "a:1": PullPlan("a:1", "f" * 64, 9, 9, 1, 0, 9, 99),
        "b:1": PullPlan("b:1", summary("b:1").digest, 9, 0, 1, 1, 9, 99),
    }
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: len(screen.table.keys_shown) == 2)
        await screen.run_action("outdated")
        await until(pilot, lambda: "newer: a:1" in picture(app) and "↑ a:1" in picture(app))
        assert "↑ b:1" not in picture(app)
        await screen.run_action("clean_up")
        await until(pilot, lambda: "3 files that no model needs, 20.9G" in picture(app))
        await pilot.press("y")
        await until(pilot, lambda: "clean_up" in client.asked)


@pytest.mark.parametrize(("size", "shown"), [((80, 24), "8k✓ 32k✗"), ((160, 40), "8k✓ 32k✗")])
async def test_the_list_says_at_which_contexts_a_model_fits(size: tuple[int, int], shown: str) -> None:
    app = workbench(FakeClient.with_models("a:1"), Where.MODELS)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: shown in picture(app))


async def test_details_turn_through_their_parts_and_tensors_are_sorted_and_filtered() -> None:
    app = workbench(FakeClient.with_models("a:1"), Where.MODELS)
    async with app.run_test(size=(140, 36)) as pilot:
        await until(pilot, lambda: "[Info]" in picture(app) and "32k ✗" in picture(app))
        for expected in ("FROM a:1", "{{ .Prompt }}", "SmolLM", "Apache License"):
            await pilot.press("right_square_bracket")
            await until(pilot, lambda expected=expected: expected in picture(app))  # type: ignore[misc]
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "blk.0.attn_q.weight" in picture(app) and "token_embd.weight" in picture(app))
        assert "576×49152" in picture(app)
        assert "30.1M" in picture(app)
        await pilot.press("tab", "s")
        await until(pilot, lambda: "NAME▲" in picture(app))
        await pilot.press("s", "s", "s", "S")
        await until(pilot, lambda: "SIZE▼" in picture(app))
        lines = picture(app).splitlines()
        first = next(number for number, line in enumerate(lines) if "SIZE▼" in line)
        assert "token_embd" in lines[first + 1]
        await pilot.press("slash", *"attnq")
        await until(pilot, lambda: "token_embd" not in picture(app))
        assert "blk.0.attn_q.weight" in picture(app)
        await pilot.press("enter", "right_square_bracket")
        await until(pilot, lambda: "llama.context_length" not in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: "llama.context_length" in picture(app) and "8,192" in picture(app))


def test_fits_in_short() -> None:
    whole, partly, too_much = Fit(8192, 1, 33, 33, True), Fit(32768, 1, 33, 20, True), Fit(131072, 1, 33, 9, False)
    assert fits_text((whole, partly, too_much)) == "8k✓ 32k◐"
    assert fits_text((whole,)) == "8k✓"
    assert fits_text((partly, too_much)) == "32k◐ 128k✗"
    assert fits_text(()) == "—"


async def test_nothing_to_undo_and_nothing_chosen_is_no_error() -> None:
    client = FakeClient()
    client.snapshot = replace(EMPTY)
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: "No models yet" in picture(app))
        await pilot.press("l", "u", "d", "c", "R", "V", "asterisk", "right_square_bracket", "U")
        await until(pilot, lambda: "nothing to undo" in picture(app))
        assert client.asked == []


class HostileClient(FakeClient):
    """Everything a model says of itself would like to be obeyed."""

    async def show(self, model: str, *, verbose: bool = False) -> ModelDetails:
        found = await super().show(model, verbose=verbose)
        bad = "[/x]\x1b]52;c;aGk=\x07漢字"
        return replace(
            found,
            modelfile=bad,
            template=bad,
            system=bad,
            license=bad,
            parameters=((bad, bad),),
            model_info={bad: bad},
            tensors=(TensorInfo(bad, bad, (1,)),),
        )


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_what_a_model_says_of_itself_is_inert_in_every_part(size: tuple[int, int]) -> None:
    client = HostileClient()
    client.models = {"a:1": summary("a:1")}
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=size) as pilot:
        screen = screen_of(app)
        await until(pilot, lambda: screen.table.keys_shown == ("a:1",))
        info = screen.query_one(ModelInfo)
        for tab in (*list(Tab)[1:], Tab.INFO):
            await pilot.press("right_square_bracket")
            expected = "architecture" if tab is Tab.INFO else "[/x]␛]52"
            await until(pilot, lambda tab=tab, words=expected: info.tab is tab and words in picture(app))  # type: ignore[misc]
            assert "\x1b" not in picture(app)
            assert not overflows(app)
