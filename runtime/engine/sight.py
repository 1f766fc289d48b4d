"""The images of one request on their way into its tokens."""

from __future__ import annotations

from collections.abc import Sequence

from corral.runtime.engine.llama import Model
from corral.runtime.engine.pictures import MOST_IMAGES
from corral.runtime.engine.protocol import ChatPrompt, RawPrompt, Turn
from corral.runtime.engine.vision import Media, Piece, Span, Vision
from corral.runtime.prompt.images import Placed


class Sight:
    """A request's images; belongs to the runner's main thread."""

    def __init__(self, vision: Vision | None, most_at_once: int, prompt: RawPrompt | ChatPrompt) -> None:
        """Read the prompt's images. Raises ValueError for those that cannot be read."""
        self._placed = Placed()
        self._vision = vision
        self._most_at_once = most_at_once
        raw = prompt if isinstance(prompt, RawPrompt) else None
        self._text = self._placed.text(raw.text, raw.images, numbered=True) if raw else ""
        self._turns = self._placed.turns(prompt.turns) if isinstance(prompt, ChatPrompt) else []
        self._pieces: list[list[Piece]] = []
        images = self._placed.images
        if len(images) > MOST_IMAGES:
            raise ValueError(f"a request may have {MOST_IMAGES} images, not {len(images)}")
        for number, image in enumerate(images, start=1):
            if vision is None:
                raise ValueError("this model does not read images")
            self._pieces.append(vision.read(image, number))

    def text(self, prompt: RawPrompt) -> str:
        """Return a raw prompt with marks where its images stand."""
        return self._text if prompt.images else prompt.text

    def turns(self, prompt: ChatPrompt) -> Sequence[Turn]:
        """Return a chat's messages with marks where their images stand."""
        return self._turns if self._pieces else prompt.turns

    def shown(self, text: str) -> str:
        """Return a rendered prompt for people: its images by number."""
        return self._placed.shown(text)

    def tokenize(self, text: str, model: Model, *, begin: bool) -> list[int]:
        """Return a rendered prompt's tokens, with stand-ins for its images."""
        if not self._pieces:
            return model.tokenize(text, begin=begin)
        tokens: list[int] = []
        ends_in_image = False
        for part in self._placed.split(text):
            for piece in [model.tokenize(part, begin=False)] if isinstance(part, str) else self._pieces[part]:
                ends_in_image = isinstance(piece, Media)
                tokens += piece.stand_ins if isinstance(piece, Media) else piece
        start = model.tokenize("", begin=begin)
        if tokens[: len(start)] != start:
            tokens = start + tokens
        # An answer begins behind a token: llama.cpp gives no logits for the end of an image here.
        return tokens + model.tokenize("\n", begin=False) if ends_in_image else tokens

    def spans(self, tokens: Sequence[int]) -> tuple[Span, ...]:
        """Return where the images stand in a prompt."""
        media = [piece for pieces in self._pieces for piece in pieces if isinstance(piece, Media)]
        found: list[Span] = []
        at = 0
        while media and at < len(tokens):
            if tokens[at] >= 0:
                at += 1
                continue
            here = next(one for one in media if tokens[at : at + len(one.stand_ins)] == one.stand_ins)
            found.append(Span(at, here))
            at = found[-1].end
        return tuple(found)

    def encode(self, spans: Sequence[Span]) -> None:
        """Compute the embeddings of what stands in a prompt. Raises ValueError."""
        if self._vision is not None and spans:
            self._vision.encode([span.media for span in spans], self._most_at_once)
