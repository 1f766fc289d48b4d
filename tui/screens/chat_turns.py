"""Keys of the Chat screen that act on what was said: variants, branches, other words, code, what was sent."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial

from msgspec.structs import replace
from textual import on

from corral.runtime.verbs import ChatRequest, Client
from corral.tui.dialogs.details import DetailsDialog
from corral.tui.screens.chat_select import SelectKeys
from corral.tui.text import clean_line
from corral.tui.turns import Turn, TurnState
from corral.tui.widgets.filter_bar import FilterBar
from corral.tui.widgets.markdown import code_blocks
from corral.tui.widgets.said import count_hits

__all__ = ["TurnKeys"]


class TurnKeys(SelectKeys):
    """Acts on the chosen message, or on the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.editing: Turn | None = None
        """The question whose other words stand in the prompt."""
        self._code: tuple[Turn, int] | None = None
        self._found = ""
        self._hit: tuple[Turn, int] | None = None

    def action_choose(self, by: int) -> None:
        """Choose another message."""
        turns = [turn for turn in self.read_chat.turns if turn.state is not TurnState.LIVE]
        if not turns:
            return
        chosen = self.pane.chosen
        place = turns.index(chosen) + by if chosen in turns else len(turns) - 1
        if place >= len(turns):
            self.pane.choose(None)
            self.pane.follow()
        else:
            turn = turns[max(place, 0)]
            self.pane.reach(self.read_chat.turns.index(turn))
            self.pane.choose(turn)

    def action_regenerate(self) -> None:
        """Have the last question answered again."""
        if self.read_chat.again(self.link, self.now_s()):
            self.asked()

    def action_regenerate_with(self) -> None:
        """Have the last question answered by another model, this once."""
        choices = [(clean_line(one.name), partial(self.regenerate_with, one.name), "") for one in self.models]
        self.app.search_commands(choices, placeholder="Answered again by which model?")

    def regenerate_with(self, model: str) -> None:
        """Have the last question answered by a model; the chat's own stays what it is.

        Raises:
            ValueError: there is no such model.
        """
        if not any(one.name == model for one in self.models):
            raise ValueError(f"Couldn't find model '{model}'")
        if self.read_chat.again(self.link, self.now_s(), model=model):
            self.asked()

    def action_go_on(self) -> None:
        """Have the last answer continued."""
        if self.read_chat.go_on(self.link, self.now_s()):
            self.asked()
        else:
            self.tell("There is no answer to go on with")

    def action_variant(self, by: int) -> None:
        """Read another variant: of the chosen message, else of the last that has any."""
        chosen = self.pane.chosen
        turns = [chosen] if chosen is not None else list(reversed(self.read_chat.turns))
        turn = next((one for one in turns if one.variants > 1), None)
        if turn is None or not self.read_chat.step_variant(turn, by):
            self.tell("There are no variants: r answers again, e asks in other words")
            return
        self.show_chats()
        if chosen is not None and turn.parent is not None:
            self.pane.choose(turn.parent.next)

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
        chat = self.read_chat.copy(self.chats.next_number(), self.pane.chosen)
        if not chat.is_empty:
            self.chats.add(chat)
            self.show_chats()
            self.prompt.focus()

    def delete_turn(self, turn: Turn) -> None:
        """Delete a message and what follows it."""
        if self.read_chat.is_live:
            self.tell("An answer is still coming in: Esc stops it")
            return
        undo = self.read_chat.delete(turn)
        self.pane.choose(None)
        self.show_chats()
        self.can_undo("The message and what followed it are deleted", undo)

    # What is copied

    def action_copy_answer(self) -> None:
        """Copy the lines that are selected, else the chosen message or the last answer."""
        if not self.copy_selection() and self.target is not None:
            self.workbench.copy_to_clipboard(self.target.text)

    def action_copy_chat(self) -> None:
        """Copy everything that was said."""
        said = (f"{turn.role}: {turn.text}" for turn in self.read_chat.turns if turn.text)
        self.workbench.copy_to_clipboard("\n\n".join(said))

    def action_copy_code(self) -> None:
        """Copy the next block of code of an answer, and show which it was."""
        if self.copy_selection():
            return
        turn = self.target
        blocks = code_blocks(turn.text) if turn is not None else ()
        if turn is None or not blocks:
            self.tell("There is no code in this answer")
            return
        before = self._code[1] if self._code is not None and self._code[0] is turn else -1
        number = (before + 1) % len(blocks)
        self._code = (turn, number)
        self.pane.mark_code(turn, number)
        self.workbench.copy_to_clipboard(blocks[number][1])
        if len(blocks) > 1:
            self.tell(f"code {number + 1} of {len(blocks)}")

    # What is found

    def action_find(self) -> None:
        """Look for words in this chat."""
        self.query_one(FilterBar).open()

    @on(FilterBar.Changed)
    def _look_for(self, event: FilterBar.Changed) -> None:
        self.look_for(event.line.strip())

    def look_for(self, words: str) -> None:
        """Mark words wherever they are said, for keys to go from one place to the next."""
        self._found, self._hit = words, None
        self.pane.mark_found(words)
        self._tell_found()

    @on(FilterBar.Left)
    def _done_looking(self) -> None:
        self.pane.focus()
        if not self._found:
            self.pane.note("")
        else:
            self.action_find_next(0)

    def _hits(self) -> list[tuple[Turn, int]]:
        """Every place where it is said: the turn, and which one in it."""
        return [(turn, hit) for turn in self.read_chat.turns for hit in range(count_hits(turn, self._found))]

    def _tell_found(self, place: int = 0) -> None:
        hits = self._hits()
        if self._found:
            count = f"{place}/{len(hits)}" if place else str(len(hits))
            messages = len({turn.id for turn, _ in hits})
            self.pane.note(f"{count} found in {messages} message{'s' * (messages != 1)} · n N")

    def action_find_next(self, by: int) -> None:
        """Go to the next place where it is said."""
        hits = self._hits()
        if not hits:
            self.tell("Nothing found" if self._found else "/ looks for words first")
            return
        chosen = self.pane.chosen
        if self._hit in hits and chosen is self._hit[0]:
            place = (hits.index(self._hit) + by) % len(hits)
        else:  # the reader went elsewhere: from there
            within = [number for number, (turn, _) in enumerate(hits) if turn is chosen]
            place = (within[0] if by >= 0 else within[-1]) if within else 0 if by > 0 else len(hits) - 1
        self._hit = turn, hit = hits[place]
        self.pane.reach(self.read_chat.turns.index(turn))
        self.pane.choose(turn, hit)
        self._tell_found(place + 1)

    @property
    def has_marks(self) -> bool:
        """Whether a message is chosen, or words are marked."""
        marked = any(pane.chosen is not None for pane in self.panes)
        return bool(self._found) or marked or self.selecting is not None

    def forget_marks(self) -> None:
        """Take them away; lines that are selected before all others."""
        if self.leave_selection():
            return
        self._found, self._hit = "", None
        self.query_one(FilterBar).close()
        for pane in self.panes:
            pane.mark_found("")
            pane.choose(None)
        self.entitle()
        self.refresh_bindings()

    # What was sent

    def action_raw(self) -> None:
        """Show what the model is sent up to the chosen message, with its tokens."""
        turns = self.read_chat.turns
        chosen = self.pane.chosen
        upto = turns[: turns.index(chosen) + 1] if chosen in turns else turns
        if upto and upto[-1].role == "assistant":
            upto = upto[:-1]
        if upto:
            self.start(partial(self._show_raw, self.read_chat.request(upto)), "raw")

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
        stops = [turn.stop for turn in self.read_chat.turns if turn.stop]
        lines = [*text.split("\n"), "", "token ids", " ".join(map(str, tokens))]
        lines += ["", f"ended at: {stops[-1]!r}"] if stops else []
        self.app.push_screen(DetailsDialog(f"What {request.model} is sent · {len(tokens):,} tokens", lines))
