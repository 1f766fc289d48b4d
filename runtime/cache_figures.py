"""What a runner says of its caches, and how much of the prompts of late came from there."""

from __future__ import annotations

from collections.abc import Callable

from corral.runtime.engine.protocol import CacheUse, Started
from corral.runtime.rates import Rate

HIT_WINDOW_S = 60.0


class CacheFigures:
    """Follows one runner's messages. Owned by the service loop; `use` is what the runner said last."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._prompt = Rate(clock, HIT_WINDOW_S)
        self._cached = Rate(clock, HIT_WINDOW_S)
        self.use = CacheUse(0, 0)

    def started(self, message: Started) -> None:
        """Count a prompt, and what of it needed no computing."""
        self._prompt.add(message.prompt_tokens)
        self._cached.add(message.cached_tokens)

    @property
    def hit_share(self) -> float | None:
        """How much of the prompts of the last minute was there already, 0..1; None where there were none."""
        prompt, cached = self._prompt.in_window(), self._cached.in_window()
        return cached / prompt if prompt else None
