"""Answers that are several messages, each with a header: some are thoughts, some calls, the rest is for the user."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum, auto
from typing import Final

from corral.runtime.engine.protocol import ToolCall
from corral.runtime.prompt.parsers.calls import UNREADABLE, Offered, Said
from corral.runtime.prompt.thinking import begun_at_end

START: Final = "<|start|>"
MESSAGE: Final = "<|message|>"
_LONGEST_HEADER: Final = 400


class _Stage(Enum):
    OPENING = auto()
    HEADER = auto()
    BODY = auto()


class Kind(Enum):
    """What a message is."""

    THINKING = auto()
    CONTENT = auto()
    CALL = auto()


class ChannelStream(ABC):
    """Splits one answer into thoughts, content and calls; an answer without any header is content as it stands.

    A family says by which marks messages end, what a header means and how a call is read.
    """

    openings: tuple[str, ...]
    """What an answer with headers begins with."""
    ends: tuple[str, ...]
    """What ends a message; the mark that begins the next one does so too."""
    final: tuple[str, ...] = ()
    """Those of them that end the answer."""
    begins_call: str = ""
    """What a call begins with, where it is known by more than its header: a message to anybody may be one then."""

    def __init__(self, offered: Offered | None = None, *, inside: bool = False, parallel: bool = True) -> None:
        """`inside` says that the prompt has opened the thoughts already."""
        self._offered = offered or {}
        self._parallel = parallel
        self._stage = _Stage.BODY if inside else _Stage.OPENING
        self._kind = Kind.THINKING if inside else Kind.CONTENT
        self._marked = inside
        self._held = ""
        self._header = ""
        self._recipient = ""
        self._trims = True
        self._failed = False
        self.over = False

    @property
    def offers(self) -> bool:
        """Say whether there is anything that may be called."""
        return bool(self._offered)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be read, in words."""
        return (UNREADABLE,) if self._failed else ()

    def push(self, text: str, *, last: bool = False) -> Said:
        """Take the next piece and return what is now certain; with `last`, all that is left."""
        self._held += text
        thinking: list[str] = []
        content: list[str] = []
        calls: list[ToolCall] = []
        while not self.over:
            if self._stage is _Stage.OPENING and not self._open(last=last):
                break
            if self._stage is _Stage.HEADER:
                if not self._read_header(content, last=last):
                    break
                continue
            if self._kind is Kind.CONTENT and self._trims and self._offered and self.begins_call:
                begun = self._held.lstrip()
                if begun.startswith(self.begins_call):
                    self._kind, self._marked = Kind.CALL, True
                elif not last and self.begins_call.startswith(begun):
                    break
            body, ended = self._body(last=last)
            if self._kind is Kind.CALL:
                if not ended and not last:
                    break
                self._call(body, content, calls)
            elif self._kind is Kind.THINKING:
                thinking.append(self._trimmed(body))
            else:
                content.append(self._trimmed(body))
            if not ended:
                break
            self._stage, self._marked = _Stage.HEADER, True
        return Said("".join(thinking), "".join(content), tuple(calls))

    def _open(self, *, last: bool) -> bool:
        """Find out whether an answer has channels at all; False while that cannot be known."""
        begun = self._held.lstrip()
        call = self.begins_call if self._offered else ""
        if begun.startswith(self.openings):
            self._stage = _Stage.HEADER
        elif call and begun.startswith(call):
            self._stage = _Stage.BODY
        elif last or not any(mark.startswith(begun) for mark in (*self.openings, call)):
            self._stage, self._trims = _Stage.BODY, False
        return self._stage is not _Stage.OPENING

    def _read_header(self, content: list[str], *, last: bool) -> bool:
        """Read what says what the next message is; False where it isn't whole."""
        at = self._held.find(MESSAGE, 0, _LONGEST_HEADER)
        if at < 0:
            if last or len(self._held) >= _LONGEST_HEADER:
                left = self._held.strip()
                content.append(self._held if left not in ("", START, *self.ends) else "")
                self._held = ""
                self._stage, self._kind = _Stage.BODY, Kind.CONTENT
                return not last
            return False
        header, rest = self._held[:at], self._held[at + len(MESSAGE) :]
        self._kind, self._recipient = self.kind_of(header)
        self._header = header + MESSAGE
        self._held, self._stage, self._trims = rest, _Stage.BODY, True
        return True

    def _body(self, *, last: bool) -> tuple[str, bool]:
        """Return what is certain of a message and whether it has ended; a call's is only told as a whole."""
        if not self._marked and self._stage is _Stage.BODY and not self._header:
            body, self._held = self._held, ""
            return body, False
        found = [(at, mark) for mark in (START, *self.ends) if (at := self._held.find(mark)) >= 0]
        if found:
            at, mark = min(found)
            body, rest = self._held[:at], self._held[at + len(mark) :]
            self._held = mark + rest if mark == START else rest
            self.over = mark in self.final
            return body, True
        if self._kind is Kind.CALL and not last:
            return "", False
        sure = len(self._held)
        if not last:
            sure -= max(begun_at_end(self._held, mark) for mark in (START, *self.ends))
        body, self._held = self._held[:sure], self._held[sure:]
        return body, False

    def _trimmed(self, body: str) -> str:
        if self._trims:
            body = body.lstrip()
            self._trims = not body
        return body

    def _call(self, body: str, content: list[str], calls: list[ToolCall]) -> None:
        call = self.call_in(self._recipient, body, self._offered)
        if call is None:
            self._failed = True
            content.append(self._header + body)
        else:
            calls.append(call)
            self.over = self.over or not self._parallel

    @abstractmethod
    def kind_of(self, header: str) -> tuple[Kind, str]:
        """Return what the message behind a header is, and whom it is to."""

    @abstractmethod
    def call_in(self, recipient: str, body: str, offered: Offered) -> ToolCall | None:
        """Read a message that calls, None where it cannot be read."""
