"""The line at the foot of every screen: the keys that work here, as many as there is room for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import ClassVar

import msgspec
from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

__all__ = ["KeyLine"]

_ALWAYS = frozenset({"command_line", "help", "quit"})
"""Actions whose keys stand at the end however little room there is: they lead to all others."""
_GAP = 1


class _Key(msgspec.Struct, frozen=True):
    """A key as it is pressed and shown, and what it does. `tip` says that at length; a refused one only says why."""

    key: str
    shown: str
    does: str
    action: str
    is_enabled: bool
    is_refused: bool
    tip: str

    @property
    def cells(self) -> int:
        """The room it takes, with what parts it from the next."""
        return cell_len(self.shown) + 1 + cell_len(self.does) + _GAP


class KeyLine(Widget):
    """One line drawn as a whole: a widget for each key would have to be made anew whenever the focus moves.

    `refused` tells which actions come to nothing now: their keys are faint. `word_of` gives an action's word in its
    place where it means something else now.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "key-line--key",
        "key-line--does",
        "key-line--under-mouse",
        "key-line--refused",
    }
    DEFAULT_CSS = """
    KeyLine {
        dock: bottom; height: 1; text-wrap: nowrap; color: $footer-foreground; background: $footer-background;
        .key-line--key { color: $footer-key-foreground; background: $footer-key-background; text-style: bold; }
        .key-line--does { color: $footer-description-foreground; background: $footer-description-background; }
        .key-line--refused { color: $text-muted; background: $footer-description-background; }
        .key-line--under-mouse { color: $footer-key-foreground; background: $block-hover-background; }
    }
    """
    _under_mouse: reactive[str] = reactive("")

    def __init__(self, refused: Callable[[], Collection[str]], word_of: Callable[[str, str], str]) -> None:
        super().__init__()
        self._refused = refused
        self._word_of = word_of
        self._refused_then: Collection[str] = frozenset()
        self._keys: tuple[_Key, ...] = ()

    def on_mount(self) -> None:
        """Follow what the focus and the screen allow."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[object]) -> None:
        if screen.app.app_focus:
            self.choose()

    def on_resize(self) -> None:
        """Choose the keys anew."""
        self.choose()

    def look_again(self) -> None:
        """Choose anew if other keys come to nothing than when they were chosen."""
        if self._refused() != self._refused_then:
            self.choose()

    def choose(self) -> None:
        """Look again which keys there is room for, and which come to nothing."""
        chosen = tuple(self._fitting(tuple(self._known())))
        if chosen != self._keys:
            self._keys = chosen
            self.refresh()

    def _known(self) -> Iterator[_Key]:
        """One key for each action that is to be shown."""
        refused = self._refused_then = self._refused()
        seen = set()
        for _, binding, is_enabled, tooltip in self.screen.active_bindings.values():
            if binding.show and binding.action not in seen:
                seen.add(binding.action)
                shown = self.app.get_key_display(binding)
                is_refused = binding.action.removeprefix("screen.") in refused
                word = self._word_of(binding.action, binding.description)
                yield _Key(binding.key, shown, word, binding.action, is_enabled, is_refused, tooltip)

    def _fitting(self, keys: tuple[_Key, ...]) -> Iterator[_Key]:
        """The keys that fit, the last ones of them whatever comes before."""
        room = self.app.size.width + _GAP - sum(key.cells for key in keys if key.action in _ALWAYS)
        for key in keys:
            if key.action not in _ALWAYS:
                room -= key.cells
                if room < 0:
                    continue
            yield key

    def render(self) -> Text:
        """Draw the keys, what they do behind each."""
        line = Text(no_wrap=True, end="")
        for key in self._keys:
            names = ("key-line--key", "key-line--does")
            if key.action == self._under_mouse:
                names = ("key-line--under-mouse", "key-line--under-mouse")
            elif key.is_refused:
                names = ("key-line--refused", "key-line--refused")
            dim = Style(dim=key.is_refused or not key.is_enabled or None)
            key_style, style = (self.get_component_rich_style(name) + dim for name in names)
            line.append(key.shown, key_style).append(f" {key.does}", style).append(" " * _GAP)
        line.stylize_before(self.rich_style)
        return line

    def _key_at(self, x: int) -> _Key | None:
        for key in self._keys:
            if x < key.cells - _GAP:
                return key if x >= 0 else None
            x -= key.cells
        return None

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Press the key that is pointed at."""
        key = self._key_at(event.x)
        if key is not None and key.is_enabled:
            self.app.simulate_key(key.key)
        elif key is not None:
            self.app.bell()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Show which key is pointed at, and in a while what it does."""
        key = self._key_at(event.x)
        action = key.action if key is not None else ""
        if action != self._under_mouse:
            self._under_mouse = action
            self.tooltip = (key.tip or None) if key is not None else None

    def on_leave(self) -> None:
        """Nothing is pointed at."""
        self._under_mouse = ""
