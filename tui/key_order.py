"""Keys that act one after the other, however fast they come."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial
from typing import Any

from textual import events
from textual.app import App
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, TextArea

from corral.tui.key_parser import behind_escape, key_of
from corral.tui.terminal import ExitReason

__all__ = ["KeyOrder"]

_DIALOG_S = 0.3
"""How long the next key waits for a dialog to say where it is typed."""
_LOST_S = 2.0
"""How long keys wait for one of which nothing is heard: the widget it went to may be gone."""
_LOOK_S = 0.01
_ROUNDS = 3
"""How often what a key began is followed from its widget up: a line that is submitted is a message behind its key."""
_BY_WORDS = {"alt+b": "ctrl+left", "alt+f": "ctrl+right"}
"""What these mean in text, on a Mac and to who is used to Emacs or a shell."""


class KeyOrder(App[ExitReason]):
    """An app that looks where a key belongs only once the one before it has acted.

    Textual looks as soon as a key arrives. A key that moves the focus or opens a dialog passes through several queues
    before it does so: what came in the same packet would go where the focus was. Owned by the screen's loop.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._keys_waiting: deque[events.Event] = deque()
        self._key_acting = 0
        self._keys_taken = 0

    class Acted(Message):
        """A key has been where it went. This message follows it there, from queue to queue, and then what it began."""

        def __init__(self, number: int, screen: Screen[Any], target: Widget, rounds: int = _ROUNDS) -> None:
            super().__init__()
            self.number = number
            self.screen = screen
            self.target = target
            self.rounds = rounds

    async def on_event(self, event: events.Event) -> None:
        """Take a key, or keep it until the one before has acted."""
        is_typed = isinstance(event, events.Key | events.Paste) and not event.is_forwarded
        if not is_typed or not self.screen_stack:
            await super().on_event(event)
        elif self._key_acting:
            if not self._keys_waiting:
                self.set_timer(_LOST_S, partial(self._go_on, self._key_acting))
            self._keys_waiting.append(event)
        else:
            await self._take_key(event)

    async def _take_key(self, event: events.Event) -> None:
        screen = self.screen
        if isinstance(event, events.Key) and (character := behind_escape(event)):
            if (meant := self._with_alt(event.key)) is not None:
                event = events.Key(meant, None)
            else:
                self._keys_waiting.appendleft(key_of(character))
                event = events.Key("escape", "\x1b")
        target = self.focused or screen
        if isinstance(event, events.Paste) or (
            isinstance(event, events.Key) and event.is_printable and isinstance(target, Input | TextArea)
        ):
            await super().on_event(event)  # text stays in its order by itself
            return
        self._keys_taken += 1
        self._key_acting = number = self._keys_taken
        await super().on_event(event)
        if self._keys_waiting:
            self.set_timer(_LOST_S, partial(self._go_on, number))
        self._follow(self.Acted(number, screen, target, _ROUNDS if event.is_forwarded else 0))

    def _with_alt(self, key: str) -> str | None:
        """The key that is meant by one with Alt, where such a one does something; None where it is Esc and a key."""
        if getattr(self.screen, "NAMES_KEYS", False):
            return key
        bound = self.screen.active_bindings
        return next((one for one in (key, _BY_WORDS.get(key, "")) if one in bound), None)

    def _follow(self, acted: Acted) -> None:
        if not (acted.rounds and acted.target.post_message(acted)):
            self.call_later(self._look, acted.number, acted.screen, time.monotonic() + _DIALOG_S)

    async def on_key_order_acted(self, message: Acted) -> None:
        """Go round once more, or go on behind what the key has put into the app's own queue, a focus that moves."""
        message.stop()
        if message.number == self._key_acting:
            self._follow(self.Acted(message.number, message.screen, message.target, message.rounds - 1))

    async def _look(self, number: int, before: Screen[Any], give_up_s: float) -> None:
        """Go on, but wait for a dialog that the key opened until it has the focus."""
        for _ in range(2):
            await asyncio.sleep(0)  # dialogs are opened by tasks, which begin now
        if (
            self.screen_stack
            and self.screen is not before
            and time.monotonic() < give_up_s
            and not _is_ready(self.screen)
        ):
            self.set_timer(_LOOK_S, partial(self._look, number, before, give_up_s))
        else:
            await self._go_on(number)

    async def _go_on(self, number: int) -> None:
        """Take the keys that waited for this one."""
        if number == self._key_acting:
            self._key_acting = 0
            while self._keys_waiting and not self._key_acting:
                await self._take_key(self._keys_waiting.popleft())


def _is_ready(screen: Screen[Any]) -> bool:
    """Whether a screen knows where keys go."""
    return screen.focused is not None or (screen.is_mounted and not screen.focus_chain)
