"""What one side said in a conversation, and the tree that answers and their variants make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from uuid import uuid4

import msgspec

from corral.runtime.verbs import Chunk, Message, Stats, ToolCall
from corral.store.sessions import Attached, SavedTurn

__all__ = ["Turn", "TurnState", "new_id"]

_LANGUAGE_FENCE = "```"


def new_id() -> str:
    """A name that nothing else has."""
    return uuid4().hex


class TurnState(StrEnum):
    """How far a turn of a conversation is."""

    LIVE = "live"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class Turn(msgspec.Struct, eq=False):
    """What one side said. `text` is as it came, not cleaned; `wall_s` is seconds since the epoch.

    `thinking`, also as it came, was thought before it and took `thought_s` seconds. `attached` files go to the model
    with the text. `children` are what was said next, one of them `picked`; the others are branches not read now.
    `reason` says why an answer ended, `stop` the text that ended it. A tool's turn answers the call of `tool_name`.
    """

    role: str
    wall_s: float
    text: str = ""
    state: TurnState = TurnState.DONE
    model: str = ""
    stats: Stats = msgspec.field(default_factory=Stats)
    problem: str = ""
    warnings: tuple[str, ...] = ()
    request_id: str = ""
    thinking: str = ""
    thought_s: float = 0.0
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""
    attached: tuple[Attached, ...] = ()
    reason: str = ""
    stop: str = ""
    id: str = msgspec.field(default_factory=new_id)
    parent: Turn | None = None
    children: list[Turn] = msgspec.field(default_factory=list)
    picked: int = 0
    _began_thinking_s: float = 0.0

    @property
    def is_thinking(self) -> bool:
        """Whether what comes in are still thoughts."""
        return self.state is TurnState.LIVE and bool(self.thinking) and not self.text

    @property
    def next(self) -> Turn | None:
        """What was said after it, on the branch that is read."""
        return self.children[self.picked] if self.children else None

    @property
    def results(self) -> list[Turn]:
        """What tools gave back to its calls, in order, on the branch that is read."""
        found = []
        turn = self.next
        while turn is not None and turn.role == "tool":
            found.append(turn)
            turn = turn.next
        return found

    @property
    def place(self) -> int:
        """Its number among its variants; 0 for one that was taken out."""
        siblings = self.parent.children if self.parent is not None else []
        return siblings.index(self) if self in siblings else 0

    @property
    def variants(self) -> int:
        """How many turns stand in its place."""
        return len(self.parent.children) if self.parent is not None else 1

    def add(self, turn: Turn) -> Turn:
        """Say `turn` next, on a branch of its own where something was said already."""
        turn.parent = self
        self.children.append(turn)
        self.picked = len(self.children) - 1
        return turn

    def drop(self) -> int:
        """Take it and what follows out of the tree; returns where it was."""
        parent = self.parent
        if parent is None:
            raise ValueError("the beginning of a conversation cannot be dropped")
        place = self.place
        parent.children.remove(self)
        parent.picked = max(min(parent.picked, len(parent.children) - 1), 0)
        return place

    def put_back(self, place: int) -> None:
        """Undo `drop`."""
        if self.parent is not None:
            self.parent.children.insert(place, self)
            self.parent.picked = place

    def walk(self) -> Iterator[Turn]:
        """It and everything that follows, branches too, parents first."""
        waiting = [self]
        while waiting:
            turn = waiting.pop()
            yield turn
            waiting.extend(reversed(turn.children))

    def take(self, chunk: Chunk, now_s: float) -> None:
        """Take in a piece of the answer; `now_s` is monotonic."""
        if chunk.thinking and not self.thinking:
            self._began_thinking_s = now_s
        self.thinking += chunk.thinking
        if self.thinking and not self.text:
            self.thought_s = now_s - self._began_thinking_s
        self.text += chunk.text
        self.tool_calls += chunk.tool_calls
        if chunk.done_reason is not None:
            self.stats = chunk.stats
            self.warnings = chunk.warnings
            self.reason = chunk.done_reason.value
            self.stop = chunk.stop

    def message(self) -> Message:
        """It as the model is sent it: files of text stand behind the text, each in a fence of its own."""
        parts = [self.text, *(_fenced(one) for one in self.attached if not one.is_image)]
        images = tuple(one.data for one in self.attached if one.is_image)
        content = "\n\n".join(part for part in parts if part)
        return Message(self.role, content, self.thinking, images, self.tool_calls, self.tool_name, self.tool_call_id)

    def saved(self) -> SavedTurn:
        """It as it is kept."""
        parent = self.parent
        about: dict[str, object] = {
            "state": self.state.value,
            "model": self.model,
            "problem": self.problem,
            "warnings": list(self.warnings),
            "request_id": self.request_id,
            "thought_s": self.thought_s,
            "reason": self.reason,
            "stop": self.stop,
            "tool_name": self.tool_name,
            "tool_call_id": self.tool_call_id,
            "tool_calls": [
                {"name": one.name, "arguments": dict(one.arguments), "id": one.id} for one in self.tool_calls
            ],
            "stats": {name: getattr(self.stats, name) for name in Stats.__struct_fields__},
        }
        return SavedTurn(
            self.id,
            parent.id if parent is not None and parent.parent is not None else "",
            self.place,
            parent is not None and parent.next is self,
            self.role,
            self.text,
            self.thinking,
            self.wall_s,
            {name: value for name, value in about.items() if value},
            self.attached,
        )

    @classmethod
    def restored(cls, saved: SavedTurn) -> Turn:
        """It as it was, without its place in the tree. What was coming in when it was saved has been cut off."""
        about = saved.about
        state = _word(about, "state")
        turn = cls(saved.role, saved.wall_s, saved.text, thinking=saved.thinking, attached=saved.attached, id=saved.id)
        turn.state = TurnState(state) if state in (TurnState.STOPPED, TurnState.FAILED) else TurnState.DONE
        if state == TurnState.LIVE:
            turn.state = TurnState.STOPPED
        turn.model, turn.problem = _word(about, "model"), _word(about, "problem")
        turn.request_id, turn.tool_name = _word(about, "request_id"), _word(about, "tool_name")
        turn.tool_call_id = _word(about, "tool_call_id")
        turn.reason, turn.stop = _word(about, "reason"), _word(about, "stop")
        thought_s, warnings = about.get("thought_s"), about.get("warnings")
        turn.thought_s = float(thought_s) if isinstance(thought_s, (int, float)) else 0.0
        turn.warnings = tuple(map(str, warnings)) if isinstance(warnings, list) else ()
        stats, calls = about.get("stats"), about.get("tool_calls")
        if isinstance(stats, dict):
            known = {name: value for name, value in stats.items() if name in Stats.__struct_fields__}
            turn.stats = Stats(**{name: value for name, value in known.items() if isinstance(value, int)})
        if isinstance(calls, list):
            turn.tool_calls = tuple(_call(one) for one in calls if isinstance(one, dict))
        return turn


def _fenced(file: Attached) -> str:
    text = file.data.decode("utf-8", "replace")
    fence = _LANGUAGE_FENCE
    while fence in text:
        fence += "`"
    return f"{file.name}:\n{fence}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"


def _word(about: Mapping[str, object], name: str) -> str:
    value = about.get(name)
    return value if isinstance(value, str) else ""


def _call(saved: Mapping[str, object]) -> ToolCall:
    arguments = saved.get("arguments")
    return ToolCall(
        str(saved.get("name", "")), arguments if isinstance(arguments, dict) else {}, str(saved.get("id", ""))
    )
