"""Where images stand in a prompt (spec a.8): at each `[img]` in order, the others before their message's text."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from corral.runtime.engine.protocol import Turn

_PLACE: Final = "[img]"


class Placed:
    """The images of a request, and the marks that stand for them in its text; nobody outside can guess a mark."""

    def __init__(self) -> None:
        self.images: list[bytes] = []
        self._secret = secrets.token_hex(8)
        self._mark = re.compile(rf"\[img-{self._secret}-(\d+)\]")

    def turns(self, turns: Sequence[Turn]) -> list[Turn]:
        """Return messages with marks in their texts for the images they have."""
        return [
            msgspec.structs.replace(turn, content=self.text(turn.content, turn.images), images=[])
            if turn.images
            else turn
            for turn in turns
        ]

    def text(self, text: str, images: Sequence[bytes], *, numbered: bool = False) -> str:
        """Return a text with a mark for each image; `numbered` looks for `[img-0]`, `[img-1]` too, in a raw prompt."""
        before = ""
        for number, image in enumerate(images):
            mark = f"[img-{self._secret}-{len(self.images)}]"
            self.images.append(image)
            place = f"[img-{number}]" if numbered and f"[img-{number}]" in text else _PLACE
            if place in text:
                text = text.replace(place, mark, 1)
            else:
                before += mark
        return before + text

    def shown(self, text: str) -> str:
        """Return a rendered text with `[img-0]`, `[img-1]` for its images, as Ollama writes them (spec a.8)."""
        return self._mark.sub(r"[img-\1]", text)

    def split(self, text: str) -> Iterator[str | int]:
        """Yield a rendered text's parts in order: texts, and images by their number in `images`."""
        for index, part in enumerate(self._mark.split(text)):
            if index % 2:
                yield int(part)
            elif part:
                yield part
