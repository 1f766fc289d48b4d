"""Keys of the Chat screen that act on what was said: variants, branches, other words, code, what was sent."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from textual import on

from corral.runtime.verbs import ChatRequest, Client
from corral.tui.dialogs.details import DetailsDialog
from corral.tui.screens.chat_base import ChatBase
from corral.tui.turns import Turn, TurnState
from corral.tui.widgets.filter_bar import FilterBar
from corral.tui.widgets.markdown import code_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TurnKeys"]

_IDS_A_LINE = 14


class TurnKeys(ChatBase):
    """Acts on the chosen message, or on the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.editing: Turn | None = None
        """The question whose other words stand in the prompt."""
        self._code: tuple[Turn, int] | None = None
        self._found = ""

    def action_choose(self, by: int) -> None:
        """Choose another message."""
        turns = [turn for turn in self.chat.turns if turn.state is not TurnState.LIVE]
        if not turns:
            return
        chosen = self.transcript.chosen
        place = turns.index(chosen) + by if chosen in turns else len(turns) - 1
        if place >= len(turns):
            self.transcript.choose(None)
            self.transcript.follow()
        else:
            turn = turns[max(place, 0)]
            self.transcript.reach(self.chat.turns.index(turn))
            self.transcript.choose(turn)

    def action_regenerate(self) -> None:
        """Have the last question answered again."""
        if self.chat.again(self.link, self.now_s()):
            self.asked()

    def action_go_on(self) -> None:
        """Have the last answer continued."""
        if self.chat.go_on(self.link, self.now_s()):
            self.asked()
        else:
            self.tell("There is no answer to go on with")

    def action_variant(self, by: int) -> None:
        """Read another variant: of the chosen message, else of the last that has any."""
        chosen = self.transcript.chosen
        turns = [chosen] if chosen is not None else list(reversed(self.chat.turns))
        turn = next((one for one in turns if one.variants > 1), None)
        if turn is None or not self.chat.step_variant(turn, by):
            self.tell("There are no variants: r answers again, e asks in other words")
            return
        self.show_chats()
        if chosen is not None and turn.parent is not None:
            self.transcript.choose(turn.parent.next)

    def action_edit(self) -> None:
        """Put a question into the prompt, to be said in other words."""
        chosen = self.transcript.chosen
        turn = chosen or next((one for one in reversed(self.chat.turns) if one.role == "user"), None)
        if turn is None or self.chat.is_live:
            return
        self.editing = turn
        self.prompt.put(turn.text)
        self.entitle()

    def action_fork(self) -> None:
        """Go on in a chat of its own."""
        chat = self.chat.copy(self.chats.next_number(), self.transcript.chosen)
        if not chat.is_empty:
            self.chats.add(chat)
            self.show_chats()
            self.prompt.focus()

    def delete_turn(self, turn: Turn) -> None:
        """Delete a message and what follows it."""
        if self.chat.is_live:
            self.tell("An answer is still coming in: Esc stops it")
            return
        undo = self.chat.delete(turn)
        self.transcript.choose(None)
        self.show_chats()
        self.can_undo("The message and what followed it are deleted", undo)

    # What is copied

    def action_copy_answer(self) -> None:
        """Copy the chosen message or the last answer."""
        if self.target is not None:
            self.workbench.copy_to_clipboard(self.target.text)

    def action_copy_chat(self) -> None:
        """Copy everything that was said."""
        said = (f"{turn.role}: {turn.text}" for turn in self.chat.turns if turn.text)
        self.workbench.copy_to_clipboard("\n\n".join(said))

    def action_copy_code(self) -> None:
        """Copy the next block of code of an answer, and show which it was."""
        turn = self.target
        blocks = code_blocks(turn.text) if turn is not None else ()
        if turn is None or not blocks:
            self.tell("There is no code in this answer")
            return
        before = self._code[1] if self._code is not None and self._code[0] is turn else -1
        number = (before + 1) % len(blocks)
        self._code = (turn, number)
        self.transcript.mark_code(turn, number)
        self.workbench.copy_to_clipboard(blocks[number][1])
        if len(blocks) > 1:
            self.tell(f"code {number + 1} of {len(blocks)}")

    # What is found

    def action_find(self) -> None:
        """Look for words in this chat."""
        self.query_one(FilterBar).open()

    @on(FilterBar.Changed)
    def _look_for(self, event: FilterBar.Changed) -> None:
        self._found = event.line.strip()
        self.transcript.mark_found(self._found)
        self._tell_found()

    @on(FilterBar.Left)
    def _done_looking(self) -> None:
        self.transcript.focus()
        if not self._found:
            self.transcript.note("")
        else:
            self.action_find_next(0)

    def _hits(self) -> list[Turn]:
        words = self._found.casefold()
        return [turn for turn in self.chat.turns if words and words in turn.text.casefold()]

    def _tell_found(self, number: int = 0) -> None:
        hits = self._hits()
        if self._found:
            self.transcript.note(f"{number or len(hits)}{f'/{len(hits)}' if number else ''} messages say it · n N")

    def action_find_next(self, by: int) -> None:
        """Go to the next message that says it."""
        hits = self._hits()
        if not hits:
            self.tell("Nothing found" if self._found else "/ looks for words first")
            return
        chosen = self.transcript.chosen
        place = (hits.index(chosen) + by) % len(hits) if chosen in hits else (0 if by > 0 else len(hits) - 1)
        turn = hits[place]
        self.transcript.reach(self.chat.turns.index(turn))
        self.transcript.choose(turn)
        self._tell_found(place + 1)

    @property
    def has_marks(self) -> bool:
        """Whether a message is chosen, or words are marked."""
        return bool(self._found) or self.transcript.chosen is not None

    def forget_marks(self) -> None:
        """Take them away."""
        self._found = ""
        self.query_one(FilterBar).close()
        self.transcript.mark_found("")
        self.transcript.choose(None)
        self.entitle()

    # What was sent

    def action_raw(self) -> None:
        """Show what the model is sent up to the chosen message, with its tokens."""
        turns = self.chat.turns
        chosen = self.transcript.chosen
        upto = turns[: turns.index(chosen) + 1] if chosen in turns else turns
        if upto and upto[-1].role == "assistant":
            upto = upto[:-1]
        if upto:
            self.start(partial(self._show_raw, self.chat.request(upto)), "raw")

    async def _show_raw(self, request: ChatRequest) -> None:
        async def ask(client: Client) -> tuple[tuple[int, ...], str]:
            rendered = ""
            async with aclosing(client.chat(replace(request, render_only=True))) as chunks:
                async for chunk in chunks:
                    rendered = chunk.rendered or rendered
            return (await client.tokenize(request)).tokens, rendered

        answer = await self.try_verb(ask)
        if answer is None:
            return
        tokens, text = answer
        stops = [turn.stop for turn in self.chat.turns if turn.stop]
        lines = [*text.split("\n"), "", *_id_lines(tokens)]
        lines += ["", f"ended at: {stops[-1]!r}"] if stops else []
        self.app.push_screen(DetailsDialog(f"What {request.model} is sent · {len(tokens):,} tokens", lines))


def _id_lines(tokens: tuple[int, ...]) -> Iterator[str]:
    yield "token ids"
    for start in range(0, len(tokens), _IDS_A_LINE):
        yield " ".join(map(str, tokens[start : start + _IDS_A_LINE]))
