"""What a model thinks before it answers: which tags stand around it, and taking it out of the text as it comes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import msgspec

from corral.runtime.engine.protocol import Turn

Think = bool | str | None
"""Whether to think, or how hard ("low", "medium", "high", "max"); None where nothing is said of it."""


@dataclass(frozen=True, slots=True)
class Tags:
    """What stands before and after a model's thoughts.

    Where a model marks its answers too, `header` is what may stand before the answer itself, thought about or not.
    """

    opening: str
    closing: str
    header: str = ""

    @property
    def marks_answers(self) -> bool:
        """Say whether marks come with every answer, so that they are to be taken out of those without thoughts."""
        return bool(self.header)


HARMONY: Final = Tags(
    "<|channel|>analysis<|message|>",
    "<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|channel|>final<|message|>",
)
"""gpt-oss: the thoughts are a message of their own."""

GLIMMER: Final = Tags(
    "to=self<|message|>",
    "<|eom|><|start|>assistant to=user<|message|>",
    "to=user<|message|>",
)
"""Muse Glimmer: so are its, to itself."""

KNOWN: Final = (
    Tags("<think>", "</think>"),
    Tags("[THINK]", "[/THINK]"),
    Tags("<seed:think>", "</seed:think>"),
    Tags("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>"),
    Tags("<|channel>thought", "<channel|>"),
    Tags("◁think▷", "◁/think▷"),
    Tags("<thought>", "</thought>"),
)
"""Tags that are known when a template has them."""

_GO_THINKING: Final = re.compile(r"\}\}([^{}]*)\{\{-?\s*(?:\$\w*)?\.Thinking\s*-?\}\}([^{}]*)(?:\{\{|\Z)")
_GO_MESSAGES: Final = re.compile(r"\{\{-?\s*range\b[^}]*\.Messages\b")
_JINJA: Final = "{%"


def infer_tags(template: str) -> Tags | None:
    """Return the tags around the thoughts of a model with such a template, None where it doesn't seem to think.

    Of a Go template they are the texts before and after `{{ .Thinking }}` in a range over `.Messages` (spec g.7), of a
    Jinja template known ones that it mentions (spec a.12).
    """
    if "<|channel|>" in template and "<|message|>" in template:
        return HARMONY
    if GLIMMER.opening in template:
        return GLIMMER
    return _known_in(template) if _JINJA in template else _around_thinking(template)


def _known_in(template: str) -> Tags | None:
    for tags in KNOWN:
        if tags.closing in template and (tags.opening in template or _splits_at(template, tags.closing)):
            return tags
    return None


def _splits_at(template: str, closing: str) -> bool:
    """Say whether a template cuts old answers at the closing tag, which the model then opens by itself."""
    return any(f"split({quote}{closing}{quote})" in template for quote in "'\"")


def _around_thinking(template: str) -> Tags | None:
    messages = _GO_MESSAGES.search(template)
    found = _GO_THINKING.search(template, messages.start()) if messages else None
    if found is None:
        return None
    opening, closing = found[1].strip(), found[2].strip()
    for tags in KNOWN:
        if opening.endswith(tags.opening) and closing.startswith(tags.closing):
            return tags
    return Tags(opening, closing) if opening and closing else None


class _Stage(Enum):
    OPENING = auto()
    THINKING = auto()
    CONTENT = auto()


class ThinkingStream:
    """Splits one answer's text into thoughts and content as it comes (spec g.7).

    An answer thinks where it begins with the opening tag, whitespace aside, or where the prompt has opened it already
    (`inside`); anything else is content, untouched. Whitespace after a tag goes with it.
    """

    __slots__ = ("_header", "_held", "_stage", "_tags", "_trims")

    def __init__(self, tags: Tags, *, inside: bool = False) -> None:
        self._tags = tags
        self._stage = _Stage.THINKING if inside else _Stage.OPENING
        self._trims = inside
        self._held = ""
        self._header = tags.header

    def push(self, text: str, *, last: bool = False) -> tuple[str, str]:
        """Take the next piece and return what is now certain, thoughts and content; with `last`, all that is left."""
        self._held += text
        thinking = content = ""
        if self._stage is _Stage.OPENING:
            self._open(last=last)
        if self._stage is _Stage.THINKING:
            thinking = self._think(last=last)
        if self._stage is _Stage.CONTENT:
            content = self._say(last=last)
        return thinking, content

    def _open(self, *, last: bool) -> None:
        """Find out whether the answer begins with thoughts."""
        tags, begun = self._tags, self._held.lstrip()
        if begun.startswith(tags.opening):
            self._held = begun[len(tags.opening) :]
            self._stage, self._trims = _Stage.THINKING, True
        elif tags.header and begun.startswith(tags.header):
            self._stage, self._trims = _Stage.CONTENT, True
        elif last or not (tags.opening.startswith(begun) or tags.header.startswith(begun)):
            self._stage = _Stage.CONTENT

    def _think(self, *, last: bool) -> str:
        if self._trims:
            self._held = self._held.lstrip()
            self._trims = not self._held
        thinking, closing, rest = self._held.partition(self._tags.closing)
        if closing:
            self._held = rest
            self._stage, self._trims = _Stage.CONTENT, True
            return thinking
        sure = len(self._held) - (0 if last else begun_at_end(self._held, self._tags.closing))
        thinking, self._held = self._held[:sure], self._held[sure:]
        return thinking

    def _say(self, *, last: bool) -> str:
        if self._trims:
            self._held = self._held.lstrip()
            header = self._header
            if header and self._held.startswith(header):
                self._held, self._header = self._held[len(header) :].lstrip(), ""
            elif header and header.startswith(self._held) and not last:
                return ""
            self._trims = not self._held
        content, self._held = self._held, ""
        return content


def begun_at_end(text: str, tag: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a tag."""
    longest = min(len(text), len(tag) - 1)
    return next((count for count in range(longest, 0, -1) if tag.startswith(text[-count:])), 0)


def forget_thinking(turns: Sequence[Turn], tags: Tags) -> list[Turn]:
    """Return a conversation without thoughts that old answers have in their text: those before the last question.

    Ollama does this for two families (spec a.8); no model is trained to read them again.
    """
    last = max((index for index, turn in enumerate(turns) if turn.role == "user"), default=0)
    return [
        msgspec.structs.replace(turn, content=ThinkingStream(tags).push(turn.content, last=True)[1])
        if turn.role == "assistant" and index < last
        else turn
        for index, turn in enumerate(turns)
    ]
