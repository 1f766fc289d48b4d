"""Conversations as the Chat screen has them, each with the answer it may be receiving.

Owned by Textual's thread. An answer streams on whether or not its chat is the one on the screen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from uuid import uuid4

import msgspec
from msgspec import structs

from corral.runtime.verbs import Caller, ChatRequest, Chunk, Message, Stats, ToolCall
from corral.store.sessions import Attached, SavedSession, SavedTurn
from corral.tui.chat_settings import ChatSettings
from corral.tui.link import ServiceLink, StreamHandle
from corral.tui.turns import Turn, TurnState, new_id

__all__ = ["CLIENT", "Chat", "Queued", "is_archived", "new_caller"]

CLIENT = "tui"
"""Who the screen is in the table of requests."""

_TITLE_CHARACTERS = 60
NEW = "new chat"
ARCHIVED = "archived"


def is_archived(saved: SavedSession) -> bool:
    """Whether a saved chat was put away."""
    return saved.settings.get(ARCHIVED) is True


def new_caller(path: str) -> Caller:
    """Name a request of this screen, for the table of requests."""
    return Caller(uuid4().hex[:12], CLIENT, "POST", path)


class Queued(msgspec.Struct, frozen=True):
    """A question that is asked once the answer that is coming in has ended."""

    text: str
    attached: tuple[Attached, ...] = ()


class Chat(msgspec.Struct, eq=False):
    """One conversation with one model, which may be changed on the way.

    `root` says nothing itself: what follows it is the tree of what was said. `is_there` tells that the turns of a saved
    chat have been read, `is_archived` that it is not listed. `changed` and `gone` are turns that must be written, and
    ids of those deleted since. `draft` is what stands in the prompt, not sent yet, and `queue` what was sent while an
    answer came in.
    """

    number: int
    model: str = ""
    root: Turn = msgspec.field(default_factory=lambda: Turn("", 0.0))
    handle: StreamHandle[Chunk] | None = None
    settings: ChatSettings = msgspec.field(default_factory=ChatSettings)
    name: str = ""
    id: str = msgspec.field(default_factory=new_id)
    created_s: float = msgspec.field(default_factory=time.time)
    changed_s: float = msgspec.field(default_factory=time.time)
    is_there: bool = True
    is_changed: bool = False
    changed: dict[str, Turn] = msgspec.field(default_factory=dict)
    gone: list[str] = msgspec.field(default_factory=list)
    draft: str = ""
    is_archived: bool = False
    queue: list[Queued] = msgspec.field(default_factory=list)
    _live: Turn | None = None
    _before: Stats = msgspec.field(default_factory=Stats)

    @property
    def turns(self) -> list[Turn]:
        """What was said, on the branch that is read."""
        turns = []
        turn = self.root.next
        while turn is not None:
            turns.append(turn)
            turn = turn.next
        return turns

    @property
    def end(self) -> Turn:
        """The last turn, or the root of an empty chat."""
        turn = self.root
        while turn.next is not None:
            turn = turn.next
        return turn

    @property
    def title(self) -> str:
        """Its name, else the beginning of the first question."""
        if self.name:
            return self.name
        first = next((turn.text for turn in self.turns if turn.role == "user"), "")
        line = " ".join(first[: _TITLE_CHARACTERS * 2].split())
        if len(line) > _TITLE_CHARACTERS:
            line = line[: _TITLE_CHARACTERS - 1].rstrip() + "…"
        return line or NEW

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said, and nothing is known to have been."""
        return self.is_there and not self.root.children

    @property
    def unsent(self) -> str:
        """What was sent and waits, and what is typed, as one text."""
        return "\n\n".join(part for part in (*(one.text for one in self.queue), self.draft) if part)

    @property
    def is_live(self) -> bool:
        """Whether an answer is coming in."""
        return self.handle is not None

    @property
    def live_turn(self) -> Turn | None:
        """The answer that is coming in."""
        return self._live if self.handle is not None else None

    @property
    def last_answer(self) -> Turn | None:
        """The newest answer with anything in it."""
        return next((turn for turn in reversed(self.turns) if turn.role == "assistant" and turn.text), None)

    @property
    def open_calls(self) -> tuple[ToolCall, ...]:
        """What the last answer called and nobody has given the result of yet, in order."""
        turns = self.turns
        while turns and turns[-1].role == "tool":
            turns.pop()
        return turns[-1].tool_calls[len(turns[-1].results) :] if turns and not self.is_live else ()

    @property
    def used_tokens(self) -> int:
        """Tokens the conversation took at the last answer's end."""
        answer = next((turn for turn in reversed(self.turns) if turn.stats.prompt_tokens), None)
        return answer.stats.prompt_tokens + answer.stats.output_tokens if answer is not None else 0

    # What is asked

    def request(self, turns: Sequence[Turn] | None = None, *, draft: str = "") -> ChatRequest:
        """The request that has these turns answered, `turns` None for all; `draft` is a question not asked yet."""
        said = [turn.message() for turn in (self.turns if turns is None else turns)]
        messages = [one for one in said if one.content or one.images or one.tool_calls or one.role == "tool"]
        if self.settings.system:
            messages.insert(0, Message("system", self.settings.system))
        if draft:
            messages.append(Message("user", draft))
        return ChatRequest(
            self.model,
            tuple(messages),
            dict(self.settings.options),
            format=self.settings.form,
            think=self.settings.think,
            tools=self.settings.offered,
        )

    def ask(self, text: str, link: ServiceLink, wall_s: float, attached: tuple[Attached, ...] = ()) -> None:
        """Say something and have it answered. A chat that goes on is archived no longer."""
        self.is_archived = False
        self.mark(self.end.add(Turn("user", wall_s, text, attached=attached)))
        self._answer(link, wall_s)

    def give(self, text: str, link: ServiceLink, wall_s: float) -> ToolCall | None:
        """Give the first open call its result; the answer goes on with the last one. None where no call is open."""
        calls = self.open_calls
        if not calls:
            return None
        self.mark(self.end.add(Turn("tool", wall_s, text, tool_name=calls[0].name, tool_call_id=calls[0].id)))
        if len(calls) == 1:
            self._answer(link, wall_s)
        return calls[0]

    def again(self, link: ServiceLink, wall_s: float, *, model: str = "") -> bool:
        """Have the last question answered once more, beside its answer; False where there is none.

        An answer that failed with nothing to show for it goes. `model` answers this once, "" for the chat's own.
        """
        if self.is_live:
            return False
        last = self.end
        while last.parent is not None and last.role == "assistant":
            above = last.parent
            if last.state is TurnState.FAILED and not last.text:
                self._forget(last)
            last = above
        if last.parent is None or (last.role == "tool" and self.open_calls):
            return False
        self._answer(link, wall_s, last, model=model)
        return True

    def edit(
        self, turn: Turn, text: str, link: ServiceLink, wall_s: float, attached: tuple[Attached, ...] = ()
    ) -> None:
        """Say a turn in other words, on a branch of its own; a question is answered then.

        An answer in other words is what the model is taken to have said.
        """
        parent = turn.parent if turn.parent is not None else self.root
        model = turn.model if turn.role == "assistant" else ""
        edited = Turn(turn.role, wall_s, text, model=model, attached=attached, tool_name=turn.tool_name)
        edited.tool_call_id = turn.tool_call_id
        parent.add(edited)
        self.mark_all(parent.children)
        if edited.role == "user" or (edited.role == "tool" and not self.open_calls):
            self._answer(link, wall_s, edited)

    def go_on(self, link: ServiceLink, wall_s: float) -> bool:
        """Have the last answer continued where it was cut; False where there is none."""
        last = self.end
        if self.is_live or last.role != "assistant" or not last.text:
            return False
        self._before = last.stats
        self._stream(last, link)
        return True

    def _answer(self, link: ServiceLink, wall_s: float, question: Turn | None = None, *, model: str = "") -> None:
        above = question if question is not None else self.end
        answer = above.add(Turn("assistant", wall_s, "", TurnState.LIVE, model or self.model))
        self.mark_all(above.children)
        self._before = Stats()
        self._stream(answer, link, model)

    def _stream(self, answer: Turn, link: ServiceLink, model: str = "") -> None:
        caller = new_caller("/api/chat")
        answer.state, answer.request_id, answer.problem = TurnState.LIVE, caller.request_id, ""
        request = structs.replace(self.request(), model=model or self.model, caller=caller)
        self._live = answer
        self.mark(answer)
        self.handle = link.stream(lambda client: client.chat(request))

    # What comes in

    def poll(self) -> bool:
        """Take what has come in; True if anything changed."""
        handle, turn = self.handle, self._live
        if handle is None or turn is None:
            return False
        is_done = handle.done  # before taking: what comes in between is taken next time
        chunks = handle.take()
        now_s = time.monotonic()
        for chunk in chunks:
            turn.take(chunk, now_s)
        if chunks or is_done:
            self.mark(turn)
        if is_done:
            self._finish(turn, handle.error)
        return bool(chunks) or is_done

    def _finish(self, turn: Turn, error: BaseException | None) -> None:
        if error is not None:
            turn.state = TurnState.FAILED
            turn.problem = str(error) or type(error).__name__
        elif turn.state is TurnState.LIVE:
            turn.state = TurnState.DONE
        self._sum_up(turn)
        self.handle = None

    def _sum_up(self, turn: Turn) -> None:
        """Add what the part before a continuation took."""
        before, after = self._before, turn.stats
        if before.total_ns and after is not before:
            turn.stats = structs.replace(
                after,
                total_ns=before.total_ns + after.total_ns,
                prompt_tokens=before.prompt_tokens or after.prompt_tokens,
                prompt_ns=before.prompt_ns,
                cached_tokens=before.cached_tokens,
                output_tokens=before.output_tokens + after.output_tokens,
                output_ns=before.output_ns + after.output_ns,
                drafted=before.drafted + after.drafted,
                accepted=before.accepted + after.accepted,
                thinking_tokens=before.thinking_tokens + after.thinking_tokens,
            )
        self._before = Stats()

    def stop(self, so_far: Stats | None = None, warnings: tuple[str, ...] = ()) -> bool:
        """Stop the answer that is coming in and keep its text; False where there is none.

        `so_far` are its figures, `warnings` what was said of it: a stream that is cancelled sends neither any more.
        """
        if self.handle is None or self._live is None:
            return False
        self.poll()
        if self.handle is not None:
            self.handle.cancel()
            self._live.state = TurnState.STOPPED
            self._live.stats = so_far or Stats()
            self._live.warnings = warnings
            self._sum_up(self._live)
            self.mark(self._live)
            self.handle = None
        return True

    # Branches

    def step_variant(self, turn: Turn, by: int) -> bool:
        """Read another variant of `turn`, and what followed that; False where there is none."""
        if turn.parent is None or turn.variants < 2 or self.is_live:
            return False
        turn.parent.picked = (turn.place + by) % turn.variants
        self.mark_all(turn.parent.children)
        return True

    def delete(self, turn: Turn) -> Callable[[], None]:
        """Delete `turn` and what follows it; returns what brings it back."""
        parent, place = turn.parent, self._forget(turn)

        def undo() -> None:
            turn.put_back(place)
            self.mark_all(turn.walk())
            if parent is not None:
                self.mark_all(parent.children)
            self.gone = [one for one in self.gone if one not in self.changed]

        return undo

    def clear(self) -> Callable[[], None]:
        """Forget all that was said; returns what brings it back."""
        before, self.root = self.root, Turn("", 0.0)
        all_turns = [turn for turn in before.walk() if turn is not before]
        self.gone += [turn.id for turn in all_turns]
        self.changed.clear()
        self.is_changed = True

        def undo() -> None:
            self.root = before
            self.mark_all(all_turns)
            self.gone = [one for one in self.gone if one not in self.changed]

        return undo

    def _forget(self, turn: Turn) -> int:
        place = turn.drop()
        for one in turn.walk():
            self.changed.pop(one.id, None)
            self.gone.append(one.id)
        if turn.parent is not None:
            self.mark_all(turn.parent.children)
        self.is_changed = True
        return place

    def mark(self, turn: Turn) -> None:
        """Have a turn written with the next save."""
        self.changed[turn.id] = turn
        self.is_changed = True
        self.changed_s = time.time()

    def mark_all(self, turns: Iterable[Turn]) -> None:
        """As `mark`, for several."""
        for turn in list(turns):
            self.mark(turn)

    # What is kept

    def saved(self) -> SavedSession:
        """Its head, as it is kept."""
        return SavedSession(self.id, self.title, self.model, self.created_s, self.changed_s, self._kept())

    def _kept(self) -> dict[str, object]:
        own = {"name": self.name, "draft": self.unsent, ARCHIVED: self.is_archived}
        return self.settings.saved() | {name: value for name, value in own.items() if value}

    def take_changes(self) -> tuple[tuple[SavedTurn, ...], tuple[str, ...]]:
        """What must be written and what deleted since the last time, parents first."""
        turns, gone = tuple(turn.saved() for turn in self.changed.values()), tuple(self.gone)
        self.changed.clear()
        self.gone.clear()
        self.is_changed = False
        return turns, gone

    def mark_unsaved(self) -> None:
        """Have all of it written once more."""
        if self.is_there:
            self.mark_all(turn for turn in self.root.walk() if turn is not self.root)

    @classmethod
    def restored(cls, number: int, saved: SavedSession) -> Chat:
        """A saved chat, without its turns yet."""
        chat = cls(number, saved.model, id=saved.id, created_s=saved.created_s, changed_s=saved.changed_s)
        chat.settings = ChatSettings.restored(saved.settings)
        chat.name = saved.title  # until its first question is known
        draft = saved.settings.get("draft")
        chat.draft = draft if isinstance(draft, str) else ""
        chat.is_archived = is_archived(saved)
        chat.is_there = False
        return chat

    def fill(self, saved: SavedSession, turns: Sequence[SavedTurn]) -> None:
        """Take in what was said in it. A turn whose parent is gone begins a branch of its own."""
        if self.is_there:
            return
        restored: dict[str, Turn] = {"": self.root}
        waiting = sorted(turns, key=lambda one: one.place)
        while waiting:
            ready = [one for one in waiting if one.parent in restored]
            for one in ready or waiting:  # what hangs on nothing, or in a ring, is put to the beginning
                turn, parent = Turn.restored(one), restored.get(one.parent, self.root)
                restored[one.id] = turn
                turn.parent = parent
                parent.children.append(turn)
                if one.is_picked:
                    parent.picked = len(parent.children) - 1
            waiting = [one for one in waiting if one.id not in restored]
        name = saved.settings.get("name")
        self.name = name if isinstance(name, str) else ""
        self.is_there = True

    def copy(self, number: int, upto: Turn | None = None) -> Chat:
        """A chat of its own that begins as this branch does, up to a turn and with it."""
        chat = Chat(number, self.model, settings=ChatSettings.restored(self.settings.saved()))
        for turn in self.turns:
            if turn.state is not TurnState.LIVE:
                twin = structs.replace(turn, id=new_id(), parent=None, children=[], picked=0)
                chat.mark(chat.end.add(twin))
            if turn is upto:
                break
        return chat
