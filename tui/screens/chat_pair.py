"""A second model beside the first, asked the same."""

from __future__ import annotations

import asyncio
from functools import partial

from textual.containers import Horizontal

from corral.store.sessions import Attached
from corral.tui.chats import Chat
from corral.tui.screens.chat_slash import SlashCommands
from corral.tui.text import clean_line
from corral.tui.widgets.transcript import Transcript

__all__ = ["PairKeys"]


class PairKeys(SlashCommands):
    """Shows two chats that begin alike and are asked alike; each streams as fast as its model does."""

    def __init__(self) -> None:
        super().__init__()
        self._paired: Chat | None = None
        self._fitting = asyncio.Lock()

    @property
    def twin_pane(self) -> Transcript | None:
        """Its messages, while it is shown."""
        return next((one for one in self.panes if one.id == "twin"), None)

    def action_split(self) -> None:
        """Choose a second model; again: back to one."""
        if self.twin is not None:
            self.part()
            return
        choices = [(clean_line(one.name), partial(self.compare, one.name), "") for one in self.models]
        self.app.search_commands(choices, placeholder="Which model beside this one?")

    def compare(self, model: str) -> None:
        """Put a second model beside this one, with all that was said so far."""
        if not any(one.name == model for one in self.models):
            raise ValueError(f"Couldn't find model '{model}'")
        self.part()
        first = self._paired = self.chat
        self.twin = first.copy(self.chats.next_number())
        self.twin.model = model
        self.twin.name = f"{first.title} · {model}" if first.root.children else ""
        self.start(self._fit_panes, "twin", exclusive=False)

    async def _fit_panes(self) -> None:
        """Show the second chat's messages or take them away, as the newest wish is.

        One after the other and never broken off: Textual ends a widget for good only if whoever waits for that does so
        to the end.
        """
        async with self._fitting:
            if not self.query("#transcript"):
                return  # the workbench is being left: parts of a screen go before it
            pane = self.twin_pane
            if self.twin is None and pane is not None:
                await pane.remove()
                self.call_after_refresh(self.entitle)  # there is room for all of the title again
            elif self.twin is not None and pane is None:
                pane = Transcript("twin")
                pane.rows_step, pane.pictures = self.transcript.rows_step, self.transcript.pictures
                pane.is_quiet = self.transcript.is_quiet
                await self.query_one("#pair", Horizontal).mount(pane)
        if self.twin is not None and self.app.is_running:
            self.draw_twin()
            self.prompt.focus()

    def part(self) -> None:
        """Show one chat only; the second one stays in the list."""
        twin, self.twin = self.twin, None
        if twin is not None:
            if not twin.is_empty and twin not in self.chats.all:
                self.chats.all.append(twin)
            self.start(self._fit_panes, "twin", exclusive=False)
            self.show_chats()

    def ask_twin(self, text: str, attached: tuple[Attached, ...]) -> None:
        """Ask the second model what the first one was asked."""
        if self.twin is not None and not self.twin.is_live:
            self.twin.ask(text, self.link, self.now_s(), attached)
            if self.twin not in self.chats.all:
                self.chats.all.insert(self.chats.all.index(self.chat) + 1, self.twin)

    def draw_twin(self) -> None:
        """Draw the second chat anew; it goes with the chat it was put beside."""
        if self.twin is not None and self._paired is not self.chat:
            self.part()
            return
        pane = self.twin_pane
        if pane is not None and self.twin is not None:
            pane.show(self.twin)
            self.entitle()
