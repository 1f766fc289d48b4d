"""The chats there are, found by what was said in them: to be opened, named, exported, deleted."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option
from textual.worker import Worker

from corral.store.sessions import FOUND_BEGINS, FOUND_ENDS, FoundSession
from corral.tui import figures
from corral.tui.chats import is_archived
from corral.tui.dialogs.searched_list import SearchedList, browsing
from corral.tui.text import clean_line, fit

__all__ = ["SessionChoice", "SessionVerb", "SessionsDialog"]

_TITLE_CELLS = 48
_MODEL_CELLS = 18
_EXCERPT_CELLS = 76
_FOUND = re.compile(f"({FOUND_BEGINS}[^{FOUND_ENDS}]*{FOUND_ENDS})")


class SessionVerb(StrEnum):
    """What is to be done with a chat."""

    OPEN = "open"
    RENAME = "rename"
    DELETE = "delete"
    EXPORT = "export"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class SessionChoice:
    """A chat and what is to be done with it; `words` were looked for in it."""

    verb: SessionVerb
    found: FoundSession
    words: str = ""


class SessionsDialog(SearchedList[SessionChoice]):
    """Lists chats, newest first; what is typed is looked for in all that was ever said.

    Those that were put away are listed where words find them, and by a key of their own.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *browsing("sessions"),
        Binding("R,shift+r,r", "choose('rename')", "Rename", id="sessions.rename"),
        Binding("d", "choose('delete')", "Delete", id="sessions.delete"),
        Binding("a", "choose('archive')", "Archive", id="sessions.archive"),
        Binding("A,shift+a", "archived", "Archived ones", id="sessions.archived"),
        Binding("E,shift+e,e", "choose('export')", "Export", id="sessions.export"),
    ]
    DEFAULT_CSS = """
    SessionsDialog OptionList { height: 1fr; border: none; margin-top: 1; background: transparent; padding: 0; }
    SessionsDialog OptionList:focus { border: none; }
    """

    def __init__(self, search: Callable[[str], Awaitable[Sequence[FoundSession]]], *, words: str = "") -> None:
        super().__init__()
        self._search = search
        self._words = clean_line(words)
        self._found: Sequence[FoundSession] = ()
        self._found_of: str | None = None
        """The words whose chats are listed; None while others are looked for."""
        self._wanted: tuple[SessionVerb, str] | None = None
        """What is to be done with the first of them, and of which words, as soon as they are there."""
        self._shows_archived = False

    def compose(self) -> ComposeResult:
        """Draw the box."""
        with Vertical(classes="dialog -large") as box:
            box.border_title = "Chats"
            box.border_subtitle = "⏎ open · list: R name · E export · a archive · A archived · d delete"
            yield Input(self._words, placeholder="search everything that was said", compact=True)
            yield OptionList(markup=False)

    def on_mount(self) -> None:
        """Let words be typed, and show all."""
        self.query_one(Input).focus()
        self._look(self._words)

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._look(event.value)

    def _look(self, words: str) -> None:
        self._found_of = None
        work: Callable[[], Coroutine[None, None, object]] = partial(self._fill, words)
        _: Worker[object] = self.run_worker(work, group="search", exclusive=True)

    async def _fill(self, words: str) -> None:
        found = await self._search(words)
        if not words.strip():
            found = [one for one in found if is_archived(one.session) is self._shows_archived]
        self._found = found
        options = self.query_one(OptionList)
        options.set_options(Option(self._row(one)) for one in self._found)
        if self._found:
            options.highlighted = 0
        else:
            options.set_options([Option(Content(self._nothing(words)), disabled=True)])
        self._found_of = words
        wanted, self._wanted = self._wanted, None
        if wanted is not None and wanted[1] == words:
            self.call_later(self.action_choose, wanted[0])

    def _nothing(self, words: str) -> str:
        if words:
            return "Nothing was said of that."
        return "No chat is archived. A shows the others." if self._shows_archived else "No chats yet."

    @staticmethod
    def _row(found: FoundSession) -> Content:
        session = found.session
        head = fit(f"▫ {session.title}" if is_archived(session) else session.title, _TITLE_CELLS, pad=True)
        about = f"  {fit(session.model, _MODEL_CELLS, pad=True)} {figures.ago(time.time() - session.changed_s):>4}"
        row = Content.assemble(head, (about, "dim"))
        if found.excerpt:
            row = Content.assemble(row, "\n  ", _excerpt(found.excerpt))
        return row

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_choose(SessionVerb.OPEN)

    @on(OptionList.OptionSelected)
    def _selected(self) -> None:
        self.action_choose(SessionVerb.OPEN)

    def action_archived(self) -> None:
        """List the chats that were put away, or the others."""
        self._shows_archived = not self._shows_archived
        self.query_one(".dialog").border_title = "Archived chats" if self._shows_archived else "Chats"
        self.query_one(Input).value = ""
        self._look("")

    def action_choose(self, verb: str) -> None:
        """Do something with the chat under the cursor, or with the first of what was typed once that is found."""
        words = self.query_one(Input).value
        if words != self._found_of:
            self._wanted = SessionVerb(verb), words
            return
        place = self.query_one(OptionList).highlighted
        if place is not None and place < len(self._found):
            self.dismiss(SessionChoice(SessionVerb(verb), self._found[place], words))


def _excerpt(text: str) -> Content:
    """Where it was said, the words that were looked for in bold."""
    parts: list[tuple[str, str]] = []
    room = _EXCERPT_CELLS
    for piece in _FOUND.split(text):
        is_found = piece.startswith(FOUND_BEGINS)
        shown = fit(piece.strip(FOUND_BEGINS + FOUND_ENDS), room)
        parts.append((shown, "bold reverse" if is_found else "dim italic"))
        room -= cell_len(shown)
    return Content.assemble(*parts)
