"""Taking a model's tool calls out of its answer as it comes: what the families have in common.

A family's `Form` says by which texts calls begin and who reads on from there. What cannot be read goes to the user as
it came: an answer loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, NamedTuple, Protocol

from corral.runtime.engine.protocol import ToolCall, ToolUse
from corral.runtime.prompt.thinking import begun_at_end

Offered = Mapping[str, Mapping[str, object]]
"""The JSON Schemas of the parameters of the functions that may be called, by name."""

UNREADABLE: Final = "the model's tool call could not be read; it is left in the text as it came"

MOST_NESTED: Final = 100


class Said(NamedTuple):
    """What is certain of an answer now: thoughts before content, calls after it, each whole."""

    thinking: str = ""
    content: str = ""
    calls: tuple[ToolCall, ...] = ()


class AnswerParser(Protocol):
    """Splits one answer's text as it comes; belongs to the loop's thread and never raises.

    Once it is `over`, nothing that follows is wanted.
    """

    @property
    def over(self) -> bool:
        """Say whether nothing that follows is wanted."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be read, in words."""
        ...

    def push(self, text: str, *, last: bool = False) -> Said:
        """Take the next piece and return what is now certain; with `last`, all that is left."""
        ...


class Outcome(NamedTuple):
    """What a reader makes of its text: calls that are whole; once it is `over`, the `rest` that is none of its own.

    Where it `failed`, the rest is everything since the last whole call.
    """

    calls: tuple[ToolCall, ...] = ()
    over: bool = False
    rest: str = ""
    failed: bool = False


class Reader(Protocol):
    """Reads the calls behind one opening; fed until it is over, which it is at the latest with the `last` piece."""

    def push(self, text: str, *, last: bool) -> Outcome:
        """Take the next piece."""
        ...


class Arguments(Enum):
    """How a family writes the arguments of a call."""

    JSON = auto()
    XML = auto()
    """`<parameter=key>` and `</parameter>` around the values, each on lines of its own."""
    KEYS = auto()
    """`<arg_key>key</arg_key>` and `<arg_value>value</arg_value>`."""
    PYTHON = auto()
    """`key=value`, parted by commas."""
    GEMMA = auto()
    """`key:value`, parted by commas; texts between the marks that `Writing.quote` names."""
    ATEM = auto()
    """`<atem:parameter name="key">` and `</atem:parameter>` around the values."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How a family writes calls, for grammars: NAME in `before` stands for the function's.

    Several have `between` them; `begin` and `end` stand around them all. `header` says before a call that one comes,
    NAME in it too; by it nobody can tell that one has begun.
    """

    before: str
    after: str = ""
    begin: str = ""
    between: str = ""
    end: str = ""
    arguments: Arguments = Arguments.JSON
    quote: str = ""
    header: str = ""


@dataclass(frozen=True, slots=True)
class Channels:
    """How a family parts its answers into messages: what begins its thoughts, ends them, and begins the next message.

    An answer makes one call then.
    """

    thoughts: str
    end: str
    next: str


@dataclass(frozen=True, slots=True)
class Form:
    """How one family calls tools.

    `openings` begin calls wherever they stand, `bare` ones only at an answer's beginning: they belong to the call.
    `dropped` are marks around the content.
    Answers in messages have `channels`, and readers of their own.
    """

    openings: tuple[str, ...]
    new_reader: Callable[[str, Offered], Reader]
    writing: Writing
    bare: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    channels: Channels | None = None


@dataclass(slots=True)
class CallStream:
    """Splits content into text and calls. Blanks before and after a call go with it.

    Once one that seemed to begin could not be read, it has `failed`; an answer that is JSON by itself is no failure.
    """

    form: Form
    offered: Offered
    parallel: bool = True
    over: bool = False
    failed: bool = False
    _held: str = ""
    _begun: bool = False
    _trims: bool = False
    _opening: str = ""
    _bare: bool = False
    _reader: Reader | None = field(default=None)

    def push(self, text: str, *, last: bool = False) -> tuple[str, list[ToolCall]]:
        """Take the next piece of content and return the text and the calls that are now certain."""
        said: list[str] = []
        calls: list[ToolCall] = []
        while not self.over:
            if self._reader is None:
                found = self._find(text, said, last=last)
                if found is None:
                    break
                text = found
            assert self._reader is not None
            outcome = self._reader.push(text, last=last)
            if outcome.calls:
                self._opening, self._trims, self._begun = "", True, True
                calls += outcome.calls
                if not self.parallel:
                    self.over = True
                    return "".join(said), calls[:1]
            if not outcome.over:
                break
            self._reader, text = None, outcome.rest
            if outcome.failed:
                said.append(self._opening)
                self.failed = self.failed or not self._bare
                self._begun, self._trims = True, False
            self._opening = ""
        return "".join(said), calls

    def _find(self, text: str, said: list[str], *, last: bool) -> str | None:
        """Look for an opening: returns what follows it, None where there is none yet; content goes to `said`."""
        self._held += text
        while True:
            if self._trims:
                self._held = self._held.lstrip()
                self._trims = not self._held
            if not self._begun and self._held.lstrip().startswith(self.form.bare):
                return self._begin("", len(self._held) - len(self._held.lstrip()), said)
            at, mark = self._first()
            if at < 0:
                break
            if mark in self.form.openings:
                return self._begin(mark, at, said)
            self._say(at, said)
            self._held = self._held[len(mark) :]
        sure = len(self._held)
        if not last:
            sure -= max((begun_at_end(self._held, mark) for mark in self._marks), default=0)
            sure = len(self._held[:sure].rstrip())
        self._say(sure, said)
        return None

    @property
    def _marks(self) -> tuple[str, ...]:
        return self.form.openings + self.form.dropped

    def _first(self) -> tuple[int, str]:
        """Return where the earliest mark stands, and the longest there."""
        found = [(at, -len(mark), mark) for mark in self._marks if (at := self._held.find(mark)) >= 0]
        at, _, mark = min(found, default=(-1, 0, ""))
        return at, mark

    def _begin(self, opening: str, at: int, said: list[str]) -> str:
        """Hand over to a reader; the blanks before the opening come back with it where it opens no call."""
        blanks = at - len(self._held[:at].rstrip())
        self._say(at - blanks, said)
        self._opening, self._bare = self._held[:blanks] + opening, not opening
        rest, self._held = self._held[len(self._opening) :], ""
        self._reader = self.form.new_reader(opening, self.offered)
        return rest

    def _say(self, count: int, said: list[str]) -> None:
        said.append(self._held[:count])
        self._begun = self._begun or bool(self._held[:count].strip())
        self._held = self._held[count:]


def offered_by(tools: ToolUse) -> dict[str, Mapping[str, object]]:
    """Return what may be called: the functions of a request, or the only one of them."""
    offered: dict[str, Mapping[str, object]] = {}
    for tool in json.loads(tools.functions):
        function = tool["function"]
        parameters = function.get("parameters")
        offered[function["name"]] = parameters if isinstance(parameters, dict) else {}
    return {name: schema for name, schema in offered.items() if tools.only in ("", name)}


def read_json(text: str) -> object:
    """Read a JSON value. Raises ValueError for what is none, or could not be sent on as JSON."""
    try:
        return json.loads(text, parse_constant=_no_constant, strict=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def call_of(name: str, arguments: object, offered: Offered) -> ToolCall | None:
    """Return a call, None where it is none that may be made or its arguments are no object."""
    name = name if name in offered else name.removeprefix("functions.")
    if name not in offered or not isinstance(arguments, Mapping):
        return None
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return None
    return ToolCall(name, text.encode(errors="replace").decode())  # half a surrogate pair is no text
