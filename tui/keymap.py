"""Keys as the user wants them: the `[keys]` table against the registry of actions, and what is wrong with it.

A table says `"model.unload" = "X"`, or `["X", "f7"]` for several keys, or `""` for none. Keys are written as a person
reads them (`?`, `D`, `ctrl+k`) or by Textual's names (`question_mark`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import groupby

import msgspec
from textual.keys import Keys, _character_to_key

from corral.tui.actions import ACTIONS, Where, shown_key

__all__ = ["Keymap", "conflicts", "read_keymap", "taken_by"]

NOWHERE = "unbound"
"""A key that no keyboard has, for bindings that are taken away."""

_NAMED = {str(key.value) for key in Keys} | {"space", "enter", "escape", "tab", "backspace", "delete", "insert"}
_MODIFIERS = frozenset({"ctrl", "shift", "alt", "super", "meta", "hyper"})
_TAKEN = {
    "ctrl+a": "GNU screen",
    "ctrl+b": "tmux",
    "ctrl+g": "zellij",
    "ctrl+t": "zellij",
    "ctrl+n": "zellij",
    "ctrl+h": "terminals, for backspace",
    "ctrl+o": "zellij",
    "ctrl+p": "zellij",
    "ctrl+q": "zellij, and terminals that can be stopped with Ctrl+S",
    "ctrl+s": "zellij, and terminals that can be stopped with Ctrl+S",
    "ctrl+z": "shells, to stop programs",
    "ctrl+i": "terminals, for tab",
    "ctrl+m": "terminals, for enter",
    "f10": "terminals with a menu",
    "f11": "terminals, for the full screen",
}


class Keymap(msgspec.Struct, frozen=True):
    """The keys of actions that have others than the registry says; `problems` are lines for the user."""

    changed: Mapping[str, str]
    problems: tuple[str, ...] = ()

    def bindings(self) -> dict[str, str]:
        """What `App.set_keymap` takes: an action's first binding gets all its keys, the others get none."""
        found = {}
        for action in ACTIONS:
            if (keys := self.changed.get(action.id)) is not None:
                found[action.id] = keys or NOWHERE
                for number in range(2, len(action.keys.split(",")) + 1):
                    found[f"{action.id}.{number}"] = NOWHERE
        return found


def taken_by(key: str) -> str:
    """Who takes a key before it gets here, "" for nobody that is known."""
    return _TAKEN.get(key, "")


def read_keymap(table: Mapping[str, object]) -> Keymap:
    """Read a `[keys]` table; what is wrong in it is told and left out."""
    by_id = {action.id: action for action in ACTIONS}
    changed: dict[str, str] = {}
    problems: list[str] = []
    for name, value in _flat(table):
        keys = _keys(value)
        if name not in by_id:
            near = get_close_matches(name, by_id, 1)
            problems.append(f"{name}: no such action" + (f", did you mean {near[0]}?" if near else ""))
        elif keys is None:
            problems.append(f"{name}: a key is a text, several are a list of texts")
        elif wrong := [key for key in keys if not _is_key(key)]:
            problems.append(f"{name}: {wrong[0]} is no key")
        else:
            changed[name] = ",".join(keys)
            problems += [f"{name}: {shown_key(key)} is taken by {by}" for key in keys if (by := taken_by(key))]
    return Keymap(changed, (*problems, *conflicts(changed)))


def conflicts(changed: Mapping[str, str]) -> tuple[str, ...]:
    """Keys that mean two things in one place, where at least one of both was changed; the first of them acts.

    Those of the app that act while typing come first, then the place's own. In one place Textual takes the key from
    what was not changed (`BindingsMap.apply_keymap`); of several that were, the first in the registry has it.
    """
    told = []
    for place in Where:
        seen = sorted(
            (
                key,
                not (action.is_priority and action.where is Where.APP),
                action.where is Where.APP,
                action.id not in changed,
                number,
                action.id,
            )
            for number, action in enumerate(ACTIONS)
            if action.where in {place, Where.APP} and (place is not Where.PROMPT or action.where is place)
            for key in _split(changed.get(action.id, action.keys))
        )
        for key, group in groupby(seen, key=lambda one: one[0]):
            names = [one[-1] for one in group]
            if len(names) > 1 and not changed.keys().isdisjoint(names):
                told.append(f"{shown_key(key)} means {' and '.join(names)}: {names[0]} wins")
    return tuple(dict.fromkeys(told))


def _flat(table: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """Dotted names may be written without quotes: TOML then makes tables of them."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _keys(value: object) -> list[str] | None:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        return None
    return [_name(text) for text in texts if text]


def _name(text: str) -> str:
    *modifiers, last = text.split("+") if len(text) > 1 else [text]
    if not last:  # "ctrl++"
        return text
    last = _character_to_key(last) if len(last) == 1 else last.lower()
    return "+".join([*(one.lower() for one in modifiers), last])


def _is_key(key: str) -> bool:
    *modifiers, last = key.split("+")
    if not _MODIFIERS.issuperset(modifiers):
        return False
    return key in _NAMED or last in _NAMED or len(last) == 1 or last in _CHARACTERS


def _split(keys: str) -> Iterable[str]:
    return keys.split(",") if keys else ()


_CHARACTERS = frozenset(_character_to_key(chr(code)) for code in range(0x21, 0x7F))
