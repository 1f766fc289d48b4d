"""Where questions are typed: one to ten rows, Enter sends, a history of what was asked, long pastes folded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.actions import SkipAction
from textual.binding import BindingType
from textual.message import Message

from corral.tui.actions import Where, bindings_for
from corral.tui.cli.entry import FENCE, Assembler, EntryKind
from corral.tui.completing import Completer
from corral.tui.external_editor import edit_in_editor
from corral.tui.text import clean, clean_line
from corral.tui.widgets.suggestions import Suggestions
from corral.tui.widgets.writing_area import WritingArea

__all__ = ["HISTORY", "PromptBox"]

HISTORY = 200
"""How many prompts are remembered."""
_LONG_PASTE_LINES = 12
_LONG_PASTE = 2_000  # characters
_FOLDED = re.compile(r"⟦paste \d+: [\d,]+ (?:lines|characters)⟧")


class PromptBox(WritingArea):
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
        """The user sent `text`; one that was `is_quoted` is a message, whatever it looks like."""

        def __init__(self, text: str, *, is_quoted: bool = False) -> None:
            super().__init__()
            self.text = text
            self.is_quoted = is_quoted

    class Left(Message):
        """The user wants to use single keys."""

    def __init__(self) -> None:
        super().__init__(id="prompt", highlight_cursor_line=False, placeholder="Ask something")
        self.border_subtitle = "F1 keys · F2-F6 screens"
        self._history: list[str] = []
        self._place = 0
        self._draft = ""
        self._pastes: dict[str, str] = {}
        self.completer: Completer | None = None
        """What offers suggestions, where there is any."""
        self.remembers = True
        """Whether what is sent goes into the history."""

    @property
    def whole_text(self) -> str:
        """What is typed, long pastes in full."""
        return _FOLDED.sub(lambda found: self._pastes.get(found[0], found[0]), self.text).strip()

    def remember(self, prompts: Sequence[str]) -> None:
        """Put prompts of earlier days before those of today."""
        self._history = [*prompts, *self._history][-HISTORY:]
        self._place = len(self._history)

    @property
    def _suggestions(self) -> Suggestions | None:
        """What is offered, beside the box: a search of the whole screen takes milliseconds of each letter."""
        return next((one for one in self.siblings if isinstance(one, Suggestions)), None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave Escape to the screen while an answer comes in, unless it closes the suggestions."""
        if action == "leave":
            suggestions = self._suggestions if self.is_mounted else None
            return not self.is_answering or (suggestions is not None and suggestions.is_open)
        return True

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
        '''Send what stands here; a new line while a text in `"""` is open, as in Ollama.'''
        suggestions = self._suggestions
        if suggestions is not None and suggestions.is_open and suggestions.is_touched:
            self.action_complete()
            return
        text = self.whole_text
        if not text:
            return
        self._close_suggestions()
        lines = Assembler()
        entry = lines.feed(text)
        if lines.open and text.count(FENCE) == 1:
            self.insert("\n")
        elif entry is not None and entry.kind is EntryKind.MESSAGE and text.startswith(FENCE):
            if entry.text.strip():
                self.post_message(self.Sent(entry.text.strip(), is_quoted=True))
        else:
            self.post_message(self.Sent(text))

    def accept(self, sent: str = "") -> None:
        """Put the text, or the part of it that was sent, into the history and take it out of the box.

        What was typed behind it since is kept.
        """
        text = self.whole_text.strip()
        since = ""
        if sent and text.startswith(sent):
            text, since = sent, text[len(sent) :]
        if text and self.remembers and (not self._history or self._history[-1] != text):
            self._history = [*self._history[-HISTORY:], text]
        self._place = len(self._history)
        self._draft = ""
        self._pastes.clear()
        self.clear()
        if since:
            self.type(since)

    def put(self, text: str) -> None:
        """Put a text here in place of what was typed, the cursor behind it."""
        self.type(text)
        self.focus()

    def type(self, text: str) -> None:
        """As `put`, and leave the focus where it is."""
        self.text = self._folded(clean(text))
        self.move_cursor(self.document.end)

    def action_leave(self) -> None:
        """Close the suggestions; else give the keys back to the screen."""
        suggestions = self._suggestions
        if suggestions is not None and suggestions.is_open:
            self._close_suggestions()
        else:
            self.post_message(self.Left())

    def action_complete(self) -> None:
        """Take the suggestion that is marked."""
        suggestions = self._suggestions
        marked = suggestions.marked if suggestions is not None else None
        if marked is None:
            raise SkipAction
        row, column = self.cursor_location
        is_folder = marked.text.endswith("/")
        self.replace(marked.text + ("" if is_folder else " "), (row, marked.start), (row, column))
        self._close_suggestions()
        if is_folder:
            self.suggest()

    async def action_edit_external(self) -> None:
        """Go on writing in the user's own editor."""
        text = await edit_in_editor(self.app, self.whole_text)
        if text is not None:
            self.put(text)

    def action_search_history(self) -> None:
        """Find an earlier prompt by its letters."""
        choices = [
            (clean_line(text)[:_LONG_PASTE], lambda text=text: self.put(text)) for text in reversed(self._history)
        ]
        if choices:
            self.app.search_commands(choices, placeholder="Which prompt?")

    def suggest(self) -> None:
        """Offer what may be typed next."""
        suggestions = self._suggestions
        if suggestions is None or self.completer is None:
            return
        row, column = self.cursor_location
        line = str(self.document.get_line(row))[:column]
        suggestions.show(self.completer.suggestions(line, is_first=row == 0))

    def _close_suggestions(self) -> None:
        suggestions = self._suggestions
        if suggestions is not None:
            suggestions.show(())

    def _folded(self, text: str) -> str:
        """A long text as one word that stands for it: the box stays fast, and the screen free."""
        lines = text.count("\n") + 1
        if lines <= _LONG_PASTE_LINES and len(text) <= _LONG_PASTE:
            return text
        size = f"{lines:,} lines" if lines > 1 else f"{len(text):,} characters"
        name = f"⟦paste {len(self._pastes) + 1}: {size}⟧"
        self._pastes[name] = text
        return name

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self.insert(self._folded(clean(event.text.replace("\r\n", "\n").replace("\r", "\n"))))

    def on_text_area_changed(self) -> None:
        """Follow what is typed."""
        self.suggest()

    def action_newline(self) -> None:
        """Start a new line."""
        self.insert("\n")

    def action_older(self) -> None:
        """Move up; in the first line take the prompt before. Among suggestions: mark the one above."""
        suggestions = self._suggestions
        if suggestions is not None and suggestions.is_open:
            suggestions.move(-1)
            return
        if self.cursor_location[0] > 0 or self._place == 0:
            self.action_cursor_up()
            return
        if self._place == len(self._history):
            self._draft = self.text
        self._recall(self._place - 1)

    def action_newer(self) -> None:
        """Move down; in the last line take the prompt after. Among suggestions: mark the one below."""
        suggestions = self._suggestions
        if suggestions is not None and suggestions.is_open:
            suggestions.move(1)
            return
        if self.cursor_location[0] < self.document.line_count - 1 or self._place >= len(self._history):
            self.action_cursor_down()
            return
        self._recall(self._place + 1)

    def _recall(self, place: int) -> None:
        self._place = place
        self.text = self._folded(self._history[place]) if place < len(self._history) else self._draft
        self.move_cursor(self.document.end)
