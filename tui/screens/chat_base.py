"""What the parts of the Chat screen share: its chats, its panes, and how a change becomes visible."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

from textual.worker import Worker

from corral.runtime.verbs import ModelSummary
from corral.tui.chat_list import Chats
from corral.tui.chats import Chat
from corral.tui.screens.calling import CallingScreen
from corral.tui.turns import Turn
from corral.tui.widgets.prompt_box import PromptBox
from corral.tui.widgets.transcript import Transcript

__all__ = ["ChatBase"]

_UNDO_S = 10.0


class ChatBase(CallingScreen):
    """The state of the Chat screen. The parts are mixed in; each has one kind of keys."""

    def __init__(self) -> None:
        super().__init__()
        self.chats = Chats()
        self.models: Sequence[ModelSummary] = ()
        self.contexts: dict[str, int] = {}
        """Tokens that each model in memory sees at once."""
        self.draft_tokens = 0
        """Tokens of the question that is not sent yet."""
        self.twin: Chat | None = None
        """The chat of a second model, while it is shown beside this one."""
        self.last_pane: Transcript | None = None
        """The one that had the focus last, of two."""
        self._undo: Callable[[], None] | None = None

    @property
    def chat(self) -> Chat:
        """The chat on the screen."""
        return self.chats.current

    @property
    def transcript(self) -> Transcript:
        """Its messages."""
        return self.query_one("#transcript", Transcript)

    @property
    def panes(self) -> list[Transcript]:
        """The messages of all chats that are shown: of one, or of two side by side."""
        shown = self.query_one("#pair").children
        return [one for one in shown if isinstance(one, Transcript) and not one.is_going]

    @property
    def prompt(self) -> PromptBox:
        """Where questions are typed."""
        return self.query_one(PromptBox)

    @property
    def pane(self) -> Transcript:
        """The messages that keys act on: of the second model where its pane had the focus last."""
        last = self.last_pane
        return last if last is not None and last.is_attached else self.transcript

    @property
    def read_chat(self) -> Chat:
        """The chat that keys act on."""
        return self.twin if self.twin is not None and self.pane is not self.transcript else self.chat

    @property
    def target(self) -> Turn | None:
        """What keys act on: the chosen message, else the last answer."""
        return self.pane.chosen or self.read_chat.last_answer

    @property
    def folder(self) -> Path:
        """Where files that are named without a folder lie."""
        return Path.cwd()

    def can(self, capability: str) -> bool:
        """Whether the model of this chat can do something, as far as is known."""
        found = next((model for model in self.models if model.name == self.chat.model), None)
        return found is not None and capability in found.capabilities

    def start(self, work: Callable[[], Coroutine[None, None, object]], group: str, *, exclusive: bool = True) -> None:
        """Begin work that takes a while; where it is `exclusive`, in place of other work of its group."""
        _: Worker[object] = self.run_worker(work, group=group, exclusive=exclusive)

    def show_chats(self) -> None:
        """Draw the current chat and the list."""
        raise NotImplementedError

    def entitle(self) -> None:
        """Draw title and meter."""
        raise NotImplementedError

    def watch_closely(self) -> None:
        """Look for what comes in until nothing more does."""
        raise NotImplementedError

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def asked(self) -> None:
        """Show that something was asked, and what comes."""
        self.show_chats()
        for pane in self.panes:
            pane.follow()
        self.watch_closely()

    def can_undo(self, what: str, undo: Callable[[], None]) -> None:
        """Say what was done, and keep what undoes it."""
        self._undo = undo
        self.notify(f"{what}. U brings it back", markup=False, timeout=_UNDO_S)

    @property
    def models_meant(self) -> tuple[str, ...]:
        """The one that answers in this chat."""
        return (self.chat.model,) if self.chat.model else ()

    @property
    def has_undo(self) -> bool:
        """Whether something was deleted or put away here."""
        return self._undo is not None

    def action_undo(self) -> None:
        """Undo the last deletion."""
        undo, self._undo = self._undo, None
        if undo is None:
            self.tell("Nothing to bring back")
            return
        undo()
        self.show_chats()
