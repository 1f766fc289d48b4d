"""What requests said, kept in memory for a while where somebody at the screen asked for it. Bodies may hold secrets.

Nothing of it is written to disk or leaves by the API, and switching off forgets all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from msgspec import structs

from corral.runtime.verbs import ChatRequest, GenerateRequest

KEPT_BODIES = 50
LONGEST_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is kept of a request. `body` is the beginning of its JSON, `cut` how many bytes more there were.

    `asked` is what it asked a model; its images are left out.
    """

    body: str = ""
    cut: int = 0
    asked: ChatRequest | GenerateRequest | None = None


class Recordings:
    """The last requests' contents by id, while `on`. Owned by the service loop."""

    def __init__(self) -> None:
        self._kept: dict[str, Recorded] = {}
        self.on = False

    def switch(self, *, on: bool) -> None:
        """Begin to keep, or stop and forget."""
        self.on = on
        if not on:
            self._kept.clear()

    def add_body(self, request_id: str, body: bytes) -> None:
        """Keep a request's body."""
        if self.on:
            text = body[:LONGEST_BODY].decode(errors="replace")
            self._keep(request_id, replace(self._of(request_id), body=text, cut=max(0, len(body) - LONGEST_BODY)))

    def add_asked(self, request_id: str, asked: ChatRequest | GenerateRequest) -> None:
        """Keep what a model is asked, if that is not too much."""
        if self.on and not asked.render_only and _characters(asked) <= LONGEST_BODY:
            self._keep(request_id, replace(self._of(request_id), asked=_without_images(asked)))

    def get(self, request_id: str) -> Recorded | None:
        """What is kept of a request."""
        return self._kept.get(request_id)

    def _of(self, request_id: str) -> Recorded:
        return self._kept.get(request_id, Recorded())

    def _keep(self, request_id: str, recorded: Recorded) -> None:
        self._kept[request_id] = recorded
        while len(self._kept) > KEPT_BODIES:
            del self._kept[next(iter(self._kept))]


def _characters(asked: ChatRequest | GenerateRequest) -> int:
    if isinstance(asked, GenerateRequest):
        return len(asked.prompt) + len(asked.system or "")
    return sum(len(message.content) + len(message.thinking) for message in asked.messages)


def _without_images(asked: ChatRequest | GenerateRequest) -> ChatRequest | GenerateRequest:
    if isinstance(asked, GenerateRequest):
        return structs.replace(asked, images=())
    return structs.replace(asked, messages=tuple(structs.replace(message, images=()) for message in asked.messages))
