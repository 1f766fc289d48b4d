"""Conversations as the Chat screen keeps them: in memory, each with the answer it may be receiving.

Owned by Textual's thread. An answer streams on whether or not its chat is the one on the screen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from uuid import uuid4

from corral.runtime.verbs import Caller, ChatRequest, Chunk, Message, Stats
from corral.tui.link import ServiceLink, StreamHandle

__all__ = ["Chat", "Chats", "Turn", "TurnState", "new_caller"]

_TITLE_CHARACTERS = 60


def new_caller(path: str) -> Caller:
    """Name a request of this screen, for the table of requests."""
    return Caller(uuid4().hex[:12], "tui", "POST", path)


class TurnState(StrEnum):
    """How far a turn of a conversation is."""

    LIVE = "live"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(eq=False)
class Turn:
    """What one side said. `text` is as it came, not cleaned; `wall_s` is seconds since the epoch.

    `thinking`, also as it came, was thought before it and took `thought_s` seconds.
    """

    role: str
    wall_s: float
    text: str = ""
    state: TurnState = TurnState.DONE
    model: str = ""
    stats: Stats = field(default_factory=Stats)
    problem: str = ""
    warnings: tuple[str, ...] = ()
    request_id: str = ""
    thinking: str = ""
    thought_s: float = 0.0
    _began_thinking_s: float = 0.0

    @property
    def is_thinking(self) -> bool:
        """Whether what comes in are still thoughts."""
        return self.state is TurnState.LIVE and bool(self.thinking) and not self.text

    def take(self, chunk: Chunk, now_s: float) -> None:
        """Take in a piece of the answer; `now_s` is monotonic."""
        if chunk.thinking and not self.thinking:
            self._began_thinking_s = now_s
        self.thinking += chunk.thinking
        if self.thinking and not self.text:
            self.thought_s = now_s - self._began_thinking_s
        self.text += chunk.text
        if chunk.done_reason is not None:
            self.stats = chunk.stats
            self.warnings = chunk.warnings


@dataclass(eq=False)
class Chat:
    """One conversation with one model, which may be changed on the way."""

    number: int
    model: str = ""
    turns: list[Turn] = field(default_factory=list)
    handle: StreamHandle[Chunk] | None = None

    @property
    def title(self) -> str:
        """The beginning of the first question."""
        first = next((turn.text for turn in self.turns if turn.role == "user"), "")
        line = " ".join(first[: _TITLE_CHARACTERS * 2].split())
        if len(line) > _TITLE_CHARACTERS:
            line = line[: _TITLE_CHARACTERS - 1].rstrip() + "…"
        return line or "new chat"

    @property
    def is_live(self) -> bool:
        """Whether an answer is coming in."""
        return self.handle is not None

    @property
    def last_answer(self) -> Turn | None:
        """The newest answer with anything in it."""
        return next((turn for turn in reversed(self.turns) if turn.role == "assistant" and turn.text), None)

    @property
    def used_tokens(self) -> int:
        """Tokens the conversation took at the last answer's end."""
        answer = next((turn for turn in reversed(self.turns) if turn.stats.prompt_tokens), None)
        return answer.stats.prompt_tokens + answer.stats.output_tokens if answer is not None else 0

    def ask(self, text: str, link: ServiceLink, wall_s: float) -> None:
        """Say something and have it answered."""
        self.turns.append(Turn("user", wall_s, text))
        self._answer(link, wall_s)

    def again(self, link: ServiceLink, wall_s: float) -> bool:
        """Have the last question answered once more, in place of its answer; False where there is none."""
        if self.is_live:
            return False
        while self.turns and self.turns[-1].role != "user":
            self.turns.pop()
        if self.turns:
            self._answer(link, wall_s)
        return bool(self.turns)

    def _answer(self, link: ServiceLink, wall_s: float) -> None:
        caller = new_caller("/api/chat")
        said = tuple(Message(turn.role, turn.text, turn.thinking) for turn in self.turns if turn.text)
        request = ChatRequest(self.model, said, caller=caller)
        self.turns.append(Turn("assistant", wall_s, "", TurnState.LIVE, self.model, request_id=caller.request_id))
        self.handle = link.stream(lambda client: client.chat(request))

    def poll(self) -> bool:
        """Take what has come in; True if anything changed."""
        handle = self.handle
        if handle is None:
            return False
        is_done = handle.done  # before taking: what comes in between is taken next time
        turn = self.turns[-1]
        chunks = handle.take()
        now_s = time.monotonic()
        for chunk in chunks:
            turn.take(chunk, now_s)
        if is_done:
            self._finish(turn, handle.error)
        return bool(chunks) or is_done

    def _finish(self, turn: Turn, error: BaseException | None) -> None:
        if error is not None:
            turn.state = TurnState.FAILED
            turn.problem = str(error) or type(error).__name__
        elif turn.state is TurnState.LIVE:
            turn.state = TurnState.DONE
        self.handle = None

    def stop(self, so_far: Stats | None = None, warnings: tuple[str, ...] = ()) -> bool:
        """Stop the answer that is coming in and keep its text; False where there is none.

        `so_far` are its figures, `warnings` what was said of it: a stream that is cancelled sends neither any more.
        """
        if self.handle is None:
            return False
        self.poll()
        if self.handle is not None:
            self.handle.cancel()
            self.turns[-1].state = TurnState.STOPPED
            self.turns[-1].stats = so_far or Stats()
            self.turns[-1].warnings = warnings
            self.handle = None
        return True


class Chats:
    """All conversations of this session and which one is on the screen."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self.all: list[Chat] = [Chat(next(self._numbers))]
        self.current = self.all[0]

    @property
    def live(self) -> list[Chat]:
        """The chats with an answer coming in."""
        return [chat for chat in self.all if chat.is_live]

    def open(self, model: str) -> Chat:
        """Make a chat with `model` the current one: the current one where it is still empty, else a new one."""
        if self.current.turns:
            self.current = Chat(next(self._numbers))
            self.all.append(self.current)
        self.current.model = model
        return self.current

    def step(self, by: int) -> Chat:
        """Make the next or previous chat the current one."""
        self.current = self.all[(self.all.index(self.current) + by) % len(self.all)]
        return self.current

    def select(self, matches: Callable[[Chat], bool]) -> Chat:
        """Make the first chat that matches the current one."""
        self.current = next((chat for chat in self.all if matches(chat)), self.current)
        return self.current
