"""Where in an answer a call begins, by its family's first mark, or by the first key where calls have no mark."""

from __future__ import annotations

from corral.runtime.prompt.parsers.families import Family
from corral.runtime.prompt.thinking import ThinkingStream, begun_at_end


class CallTrigger:
    """Watches the text of one answer; thoughts don't count."""

    def __init__(self, family: Family, *, thinks: bool, inside: bool) -> None:
        """`inside` says that the prompt has opened the thoughts already. Without a way to write calls it is `off`."""
        tags, form = family.tags, family.form
        splits = tags is not None and (tags.marks_answers or thinks) and family.channels is None
        self._thoughts = ThinkingStream(tags, inside=inside) if tags is not None and splits else None
        writing = form.writing if form is not None else None
        self._head = (writing.begin + writing.before).partition("NAME")[0] if writing is not None else ""
        openings = form.openings if form is not None else ()
        marks = [mark for mark in openings if self._head.startswith(mark)]
        self._bare = not marks and family.channels is None
        self._mark = max(marks, key=len, default=self._head)
        self._held = ""
        self.off = not self._head or (self._bare and (form is None or not form.bare))

    def push(self, text: str) -> str | None:
        """Take the next piece; returns what of a call stands there once one has begun, None before.

        It is given as the family writes it, whatever blanks this answer has between. What only looked like a call
        turns the trigger off.
        """
        if self.off:
            return None
        self._held += self._thoughts.push(text)[1] if self._thoughts is not None else text
        if not self._bare:
            at = self._held.find(self._mark)
            if at < 0:
                self._held = self._held[len(self._held) - begun_at_end(self._held, self._mark) :]
                return None
            self._held = self._held[at:]
        elif not self._held.strip():
            return None
        text = self._held.lstrip()
        head = f"[{self._head}" if self._bare and text.startswith("[") else self._head
        written, whole = _as_written(head, text)
        if self._bare and written is not None and not whole:
            return None  # an object, but nothing says yet that it is a call
        self.off = True
        return written


def _as_written(head: str, text: str) -> tuple[str | None, bool]:
    """Return a text with the blanks of the head it begins with, or begins to be, and whether that is there as a whole.

    None where it is another text.
    """
    at = 0
    for index, character in enumerate(text):
        if character.isspace():
            continue
        while at < len(head) and head[at].isspace():
            at += 1
        if at == len(head):
            return head + text[index:], True
        if head[at] != character:
            return None, False
        at += 1
    while text and text[-1].isspace() and at < len(head) and head[at].isspace():
        at += 1
    return head[:at], at == len(head)
