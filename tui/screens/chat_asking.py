"""What is typed on the Chat screen, until the model has it: files, tokens, drafts, questions that wait."""

from __future__ import annotations

import asyncio
from functools import partial

from textual import on
from textual.timer import Timer
from textual.widgets import TextArea

from corral.runtime.errors import RunError
from corral.runtime.verbs import TokenizeRequest
from corral.store.errors import StoreError
from corral.store.sessions import Attached
from corral.tui.attaching import CannotAttach, attached_in, files_below
from corral.tui.chats import Chat, Queued, new_caller
from corral.tui.screens.chat_pair import PairKeys
from corral.tui.text import fit
from corral.tui.turns import TurnState
from corral.tui.widgets.prompt_box import PromptBox
from corral.tui.widgets.queued import QueuedLines

__all__ = ["AskingKeys"]

_COUNT_AFTER_S = 0.4
_NAME_CELLS = 24


class AskingKeys(PairKeys):
    """Sends questions. One that is sent while an answer comes in waits for its end."""

    def __init__(self) -> None:
        super().__init__()
        self._count_timer: Timer | None = None
        self._files: tuple[str, ...] | None = None
        self._typed_for: Chat | None = None

    def is_answering(self, chat: Chat) -> bool:
        """Whether an answer comes in, in this chat or in the one beside it."""
        return chat.is_live or (chat is self.chat and self.twin is not None and self.twin.is_live)

    # Files

    def forget_files(self) -> None:
        """Look for files anew when they are asked for."""
        self._files = None

    def known_files(self) -> tuple[str, ...]:
        """Files below the folder; looked for once a visit, in a thread."""
        if self._files is None:
            self._files = ()
            self.start(self._look_for_files, "files")
        return self._files

    async def _look_for_files(self) -> None:
        self._files = await asyncio.to_thread(files_below, self.folder)
        self.prompt.suggest()

    # Tokens

    @on(TextArea.Changed, "#prompt")
    def _count_soon(self) -> None:
        """Count the question's tokens once the typing rests, by a model that is in memory anyway."""
        self._keep_draft()
        if self._count_timer is not None:
            self._count_timer.stop()
        if not self.prompt.text:
            self.draft_tokens = 0
            if self.editing is not None:
                self.editing = None
            self.entitle()
        elif self.chat.model in self.contexts:
            self._count_timer = self.set_timer(_COUNT_AFTER_S, self._count)

    def _count(self) -> None:
        self.start(partial(self._count_draft, self.chat.model, self.prompt.whole_text), "count")

    async def _count_draft(self, model: str, text: str) -> None:
        try:
            attached = await asyncio.to_thread(attached_in, text, self.folder, sees=False)
            texts = [text, *(file.data.decode("utf-8", "replace") for file in attached)]
            request = TokenizeRequest(model, "\n".join(texts), caller=new_caller("/api/tokenize"))
            tokens = await self.link.call(lambda client: client.tokenize(request))
        except (CannotAttach, RunError, StoreError):
            return  # it is told when it is sent
        if self.prompt.text:
            self.draft_tokens = len(tokens.tokens)
            self.entitle()

    # Drafts

    def swap_drafts(self) -> None:
        """Put what was typed aside with its chat, and what was typed in the one that is shown now into the prompt."""
        before, self._typed_for = self._typed_for, self.chat
        if before is None or before is self.chat:
            return
        if self.editing is None and before.draft != self.prompt.whole_text:
            before.draft, before.is_changed = self.prompt.whole_text, True
        self.editing = None
        self.prompt.type(self.chat.draft)
        self.show_queue()

    def _keep_draft(self) -> None:
        """Have what stands in the prompt written with the next save."""
        chat = self.chat
        if chat is self._typed_for and self.editing is None:
            draft = self.prompt.whole_text
            if draft != chat.draft:
                chat.draft, chat.is_changed = draft, True

    # Sending

    @on(PromptBox.Sent)
    def _send(self, event: PromptBox.Sent) -> None:
        if not event.is_quoted and self.run_command(event.text):
            return
        if not self.chat.model:
            self.start(self._pick_model, "pick")
        elif "@" in event.text or "/" in event.text:
            self.start(partial(self._read_and_ask, self.chat, event.text), "ask")
        else:
            self._ask(self.chat, event.text, ())

    async def _pick_model(self) -> None:
        await self.app.run_action("pick_model", self)

    async def _read_and_ask(self, chat: Chat, text: str) -> None:
        try:
            attached = await asyncio.to_thread(attached_in, text, self.folder, sees=self.can("vision"))
        except CannotAttach as problem:
            self.tell_error(str(problem))
            return
        self._ask(chat, text, attached)

    def _ask(self, chat: Chat, text: str, attached: tuple[Attached, ...]) -> None:
        if not chat.is_there:
            return
        if self.is_answering(chat) and self.editing is not None:
            self.tell("An answer is still coming in: Esc stops it")
            return
        editing, self.editing = self.editing, None
        self.prompt.accept(text)
        if self.is_answering(chat):
            chat.queue.append(Queued(text, attached))
            chat.is_changed = True
            self.show_queue()
            return
        if editing is not None and editing in chat.turns:
            chat.edit(editing, text, self.link, self.now_s(), attached)
        else:
            chat.ask(text, self.link, self.now_s(), attached)
            self.ask_twin(text, attached)
        self.asked()

    @on(PromptBox.Left)
    def _left(self) -> None:
        if self.editing is not None:
            self.editing = None
            self.prompt.clear()
        self.transcript.focus()

    # What waits

    def show_queue(self) -> None:
        """Draw what waits in this chat."""
        calls = self.chat.open_calls
        why = "sent when the answer has ended · Esc stops that and brings them back"
        if calls:
            why = f"sent when {fit(calls[0].name, _NAME_CELLS)} has its result · Esc brings them back"
        self.query_one(QueuedLines).show(self.chat.queue, why=why)

    def ask_queued(self) -> None:
        """Ask what waited for answers that have ended; an answer that failed brings it back to be looked at."""
        for chat in self.chats.all:
            if not chat.queue or self.is_answering(chat) or chat.open_calls:
                continue
            if chat.end.state is not TurnState.DONE:
                self.bring_back(chat)
                continue
            first = chat.queue.pop(0)
            chat.ask(first.text, self.link, self.now_s(), first.attached)
            if chat is self.chat:
                self.ask_twin(first.text, first.attached)
                self.show_queue()
                self.asked()
            self.watch_closely()

    def bring_back(self, chat: Chat) -> bool:
        """Put what waits back where it was typed; False where nothing does."""
        if not chat.queue:
            return False
        unsent, chat.queue = chat.unsent, []
        chat.draft, chat.is_changed = unsent, True
        if chat is self.chat:
            self.prompt.put(unsent)
            self.show_queue()
        return True
