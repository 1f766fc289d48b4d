"""An answer's text split into thoughts, content and calls, by the family of its model."""

from __future__ import annotations

from dataclasses import replace

from corral.runtime.prompt.parsers.calls import UNREADABLE, AnswerParser, CallStream, Offered, Said
from corral.runtime.prompt.parsers.families import GLIMMER_FORM, Family
from corral.runtime.prompt.parsers.glimmer import GlimmerStream
from corral.runtime.prompt.parsers.harmony import HarmonyStream
from corral.runtime.prompt.thinking import ThinkingStream


class SplitStream:
    """Takes thoughts out of an answer first, then calls out of what it says."""

    def __init__(self, thinking: ThinkingStream | None, calls: CallStream | None) -> None:
        self._thinking = thinking
        self._calls = calls

    @property
    def over(self) -> bool:
        """Say whether nothing that follows is wanted."""
        return self._calls is not None and self._calls.over

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be read, in words."""
        return (UNREADABLE,) if self._calls is not None and self._calls.failed else ()

    def push(self, text: str, *, last: bool = False) -> Said:
        """Take the next piece and return what is now certain; with `last`, all that is left."""
        thinking = ""
        if self._thinking is not None:
            thinking, text = self._thinking.push(text, last=last)
        if self._calls is None:
            return Said(thinking, text)
        content, calls = self._calls.push(text, last=last)
        return Said(thinking, content, tuple(calls))


def parser_for(
    family: Family, offered: Offered | None, *, thinks: bool, inside: bool = False, parallel: bool = True
) -> AnswerParser | None:
    """Return what splits an answer, None where there is nothing to split.

    `offered` are the functions it may call, None where no tools were offered; `inside` says that the prompt has opened
    its thoughts. Without `parallel` it is over with the first call.
    """
    tags, form = family.tags, family.form
    if family.channels is not None:
        stream = GlimmerStream if form is GLIMMER_FORM else HarmonyStream
        return stream(offered, inside=inside and thinks, parallel=parallel)
    thinking = ThinkingStream(tags, inside=inside) if tags and (tags.marks_answers or thinks) else None
    if form is None or not (offered or form.dropped):
        return SplitStream(thinking, None) if thinking is not None else None
    form = form if offered else replace(form, openings=(), bare=())
    return SplitStream(thinking, CallStream(form, offered or {}, parallel))
