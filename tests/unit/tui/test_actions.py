from __future__ import annotations

from collections import Counter

import pytest

from corral.tui.actions import ACTIONS, Action, Where, actions_for, bindings_for, shown_keys

NEVER = {"ctrl+a", "ctrl+b", "ctrl+g", "ctrl+t", "ctrl+n", "ctrl+h", "ctrl+z", "f10", "f11", "f12"}


def test_every_id_is_unique() -> None:
    assert [name for name, times in Counter(action.id for action in ACTIONS).items() if times > 1] == []


@pytest.mark.parametrize("where", Where)
def test_no_key_means_two_things_in_one_place(where: Where) -> None:
    places = {where} if where in (Where.PROMPT, Where.TRANSFERS) else {where, Where.APP}
    keys = Counter(key for action in ACTIONS if action.where in places for key in action.keys.split(",") if key)
    assert [key for key, times in keys.items() if times > 1] == []


def test_no_key_is_one_that_terminals_and_multiplexers_take() -> None:
    assert {key for action in ACTIONS for key in action.keys.split(",")} & NEVER == set()


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.id)
def test_every_action_can_be_described(action: Action) -> None:
    assert action.description[0].isupper()
    assert not action.description.endswith(".")
    assert bool(shown_keys(action)) is bool(action.keys)


def test_bindings_carry_the_ids_and_show_one_key() -> None:
    bindings = bindings_for(Where.CHAT)
    assert {binding.id for binding in bindings} >= {action.id for action in actions_for(Where.CHAT)}
    shown = Counter(binding.action for binding in bindings if binding.show)
    assert set(shown.values()) == {1}


def test_keys_are_written_as_people_read_them() -> None:
    by_id = {action.id: action for action in ACTIONS}
    assert shown_keys(by_id["prompt.newline"]) == "^J Alt+⏎ Shift+⏎"
    assert shown_keys(by_id["copy.all"]) == "Y"
    assert shown_keys(by_id["go.chat.always"]) == "F2"
