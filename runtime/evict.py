"""Which model makes room: one class a policy. Only the order is said here; the scheduler knows who may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from corral.runtime.residents import Resident
from corral.runtime.verbs import FOREVER


class Policy(Protocol):
    """Says how much a model in memory is worth; the cheapest goes first."""

    def used(self, digest: str, now: float) -> None:
        """Take note of a request."""
        ...

    def worth(self, resident: Resident, now: float) -> tuple[float, ...]:
        """Return what is lost if it goes, to be compared with others'."""
        ...

    def reason(self, resident: Resident, now: float) -> str:
        """Say in a few words what `worth` comes from."""
        ...


@dataclass(slots=True)
class _Use:
    """How often a model is asked for: a count that halves with time, as of `at`."""

    count: float = 0.0
    at: float = 0.0


class LoadTimeSaved:
    """What a model saves by staying: how often it is asked for, times what loading it takes.

    How often is a count that halves every `half_life_s`; it outlives the model's stay in memory. Models that were asked
    to stay for ever go last. Greedy-Dual-Frequency (Cherkasova 1998) without the size: memory is weighed by the caller.
    """

    def __init__(self, half_life_s: float = 600.0) -> None:
        self._half_life_s = half_life_s
        self._uses: dict[str, _Use] = {}

    def used(self, digest: str, now: float) -> None:
        """Take note of a request; of models that nobody asked for in a long time nothing is kept."""
        use = self._uses.setdefault(digest, _Use(at=now))
        use.count, use.at = self._count(use, now) + 1.0, now
        if len(self._uses) > _MOST_KNOWN:
            del self._uses[min(self._uses, key=lambda one: self._count(self._uses[one], now))]

    def worth(self, resident: Resident, now: float) -> tuple[float, ...]:
        """See `Policy`."""
        use = self._uses.get(resident.wanted.digest, _Use(at=now))
        stays = resident.keep_alive_s == FOREVER
        return (float(stays), self._count(use, now) * max(resident.load_s, _LEAST_LOAD_S), resident.expires_at)

    def reason(self, resident: Resident, now: float) -> str:
        """See `Policy`."""
        use = self._uses.get(resident.wanted.digest, _Use(at=now))
        stays = ", asked to stay" if resident.keep_alive_s == FOREVER else ""
        return f"asked {self._count(use, now):.1f}× lately, loads in {resident.load_s:.1f} s{stays}"

    def _count(self, use: _Use, now: float) -> float:
        return float(use.count * 0.5 ** ((now - use.at) / self._half_life_s))


_MOST_KNOWN = 1000
_LEAST_LOAD_S = 0.05
