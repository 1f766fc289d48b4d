"""Where questions are typed: one to ten rows, Enter sends, a history of what was asked."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import TextArea

from corral.tui.actions import Where, bindings_for

__all__ = ["PromptBox"]

_HISTORY = 200


class PromptBox(TextArea):
    """A text area that grows with its text."""

    is_answering = False
    """Whether Escape stops an answer instead of leaving the box."""
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for(Where.PROMPT)]
    DEFAULT_CSS = """
    PromptBox {
        height: auto;
        min-height: 3;
        max-height: 12;
        border: round $border-blurred;
        border-title-color: $foreground;
        border-subtitle-color: $text-muted;
        background: transparent;
        padding: 0 1;
        scrollbar-size-vertical: 1;
        &:focus { border: heavy $border; }
        & .text-area--cursor-line { background: transparent; }
    }
    """

    class Sent(Message):
        """The user sent `text`."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The user wants to use single keys."""

    def __init__(self) -> None:
        super().__init__(id="prompt", highlight_cursor_line=False, placeholder="Ask something")
        self.border_subtitle = "F1 keys · F2-F6 screens"
        self._history: list[str] = []
        self._place = 0
        self._draft = ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave Escape to the screen while an answer comes in."""
        return not self.is_answering if action == "leave" else True

    async def _on_key(self, event: events.Key) -> None:
        """Act on our own keys in the order they were typed.

        Bindings of the app or of the screen would overtake letters that came in the same packet, and Enter would send
        a prompt without its end.
        """
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            if await self.app.run_action(binding.action, self):
                event.stop()
                event.prevent_default()
                return
        await super()._on_key(event)

    def action_send(self) -> None:
        """Send what stands here."""
        text = self.text.strip()
        if not text:
            return
        self.post_message(self.Sent(text))

    def accept(self) -> None:
        """Put the text into the history and empty the box; called once it was really sent."""
        text = self.text.strip()
        if not self._history or self._history[-1] != text:
            self._history = [*self._history[-_HISTORY:], text]
        self._place = len(self._history)
        self._draft = ""
        self.clear()

    def action_leave(self) -> None:
        """Give the keys back to the screen."""
        self.post_message(self.Left())

    def action_newline(self) -> None:
        """Start a new line."""
        self.insert("\n")

    def action_older(self) -> None:
        """Move up; in the first line take the prompt before."""
        if self.cursor_location[0] > 0 or self._place == 0:
            self.action_cursor_up()
            return
        if self._place == len(self._history):
            self._draft = self.text
        self._recall(self._place - 1)

    def action_newer(self) -> None:
        """Move down; in the last line take the prompt after."""
        if self.cursor_location[0] < self.document.line_count - 1 or self._place >= len(self._history):
            self.action_cursor_down()
            return
        self._recall(self._place + 1)

    def _recall(self, place: int) -> None:
        self._place = place
        self.text = self._history[place] if place < len(self._history) else self._draft
        self.move_cursor(self.document.end)
