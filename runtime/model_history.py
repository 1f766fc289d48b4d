"""How fast each model was and what its process took in the last minute, for the screens' small graphs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import structs

from corral.runtime.snapshot import ModelView

KEPT_S = 60


@dataclass(slots=True)
class _Samples:
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_S))
    rss: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT_S))


class ModelHistory:
    """A sample a second of every model in memory. Owned by the service loop."""

    def __init__(self) -> None:
        self._samples: dict[str, _Samples] = {}

    def add(self, models: Iterable[ModelView]) -> None:
        """Take a sample of each; models that are gone are forgotten."""
        kept: dict[str, _Samples] = {}
        for model in models:
            kept[model.digest] = samples = self._samples.get(model.digest) or _Samples()
            samples.rates.append(round(model.tokens_per_s, 1))
            samples.rss.append(model.rss_bytes)
        self._samples = kept

    def with_history(self, model: ModelView) -> ModelView:
        """The model with what is known of its last minute."""
        samples = self._samples.get(model.digest)
        if samples is None:
            return model
        return structs.replace(model, rates=tuple(samples.rates), rss_history=tuple(samples.rss))
