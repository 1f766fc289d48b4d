"""gpt-oss: an answer is several messages, each with a channel; some are thoughts, some calls (spec g.6).

`<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json
<|message|>{…}<|call|>`; what the channel `final` says, and `commentary` to nobody, is for the user.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from corral.runtime.engine.protocol import ToolCall
from corral.runtime.prompt.parsers.calls import UNREADABLE, Offered, Said, call_of, read_json
from corral.runtime.prompt.thinking import begun_at_end

START: Final = "<|start|>"
CHANNEL: Final = "<|channel|>"
MESSAGE: Final = "<|message|>"
_ENDS: Final = ("<|end|>", "<|call|>", "<|return|>", START)
_CHANNEL: Final = re.compile(r"<\|channel\|>\s*([a-z]+)")
_RECIPIENT: Final = re.compile(r"\bto=([^\s<]+)")
_LONGEST_HEADER: Final = 400


class _Stage(Enum):
    OPENING = auto()
    HEADER = auto()
    BODY = auto()


class _Kind(Enum):
    THINKING = auto()
    CONTENT = auto()
    CALL = auto()


class HarmonyStream:
    """Splits one answer into thoughts, content and calls; an answer without any channel is content as it stands."""

    def __init__(self, offered: Offered | None = None, *, inside: bool = False, parallel: bool = True) -> None:
        """`inside` says that the prompt has opened the thoughts already."""
        self._offered = offered or {}
        self._parallel = parallel
        self._stage = _Stage.BODY if inside else _Stage.OPENING
        self._kind = _Kind.THINKING if inside else _Kind.CONTENT
        self._marked = inside
        self._held = ""
        self._header = ""
        self._recipient = ""
        self._trims = True
        self._failed = False
        self.over = False

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
            body, ended = self._body(last=last)
            if self._kind is _Kind.CALL:
                if not ended and not last:
                    break
                self._call(body, content, calls)
            elif self._kind is _Kind.THINKING:
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
        marks = (CHANNEL, START, "to=")
        if begun.startswith(marks):
            self._stage = _Stage.HEADER
        elif last or not any(mark.startswith(begun) for mark in marks):
            self._stage, self._trims = _Stage.BODY, False
        return self._stage is not _Stage.OPENING

    def _read_header(self, content: list[str], *, last: bool) -> bool:
        """Read what says what the next message is; False where it isn't whole."""
        at = self._held.find(MESSAGE, 0, _LONGEST_HEADER)
        if at < 0:
            if last or len(self._held) >= _LONGEST_HEADER:
                left = self._held.strip()
                content.append(self._held if left not in ("", *_ENDS) else "")
                self._held = ""
                self._stage, self._kind = _Stage.BODY, _Kind.CONTENT
                return not last
            return False
        header, rest = self._held[:at], self._held[at + len(MESSAGE) :]
        channel, recipient = _CHANNEL.search(header), _RECIPIENT.search(header)
        self._recipient = recipient[1] if recipient else ""
        self._header = header + MESSAGE
        name = channel[1] if channel else ""
        self._kind = _Kind.CALL if self._recipient and self._offered else _Kind.CONTENT
        if self._kind is _Kind.CONTENT and name == "analysis":
            self._kind = _Kind.THINKING
        self._held, self._stage, self._trims = rest, _Stage.BODY, True
        return True

    def _body(self, *, last: bool) -> tuple[str, bool]:
        """Return what is certain of a message and whether it has ended; a call's is only told as a whole."""
        if not self._marked and self._stage is _Stage.BODY and not self._header:
            body, self._held = self._held, ""
            return body, False
        found = [(at, mark) for mark in _ENDS if (at := self._held.find(mark)) >= 0]
        if found:
            at, mark = min(found)
            body, rest = self._held[:at], self._held[at + len(mark) :]
            self._held = mark + rest if mark == START else rest
            return body, True
        if self._kind is _Kind.CALL and not last:
            return "", False
        sure = len(self._held)
        if not last:
            sure -= max(begun_at_end(self._held, mark) for mark in _ENDS)
        body, self._held = self._held[:sure], self._held[sure:]
        return body, False

    def _trimmed(self, body: str) -> str:
        if self._trims:
            body = body.lstrip()
            self._trims = not body
        return body

    def _call(self, body: str, content: list[str], calls: list[ToolCall]) -> None:
        try:
            arguments = read_json(body) if body.strip() else {}
        except ValueError:
            arguments = None
        call = call_of(self._recipient, arguments, self._offered)
        if call is None:
            self._failed = True
            content.append(self._header + body)
        else:
            calls.append(call)
            self.over = not self._parallel
