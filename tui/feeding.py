"""When the visible screen is given the newest snapshot: what begins or ends is shown soon, figures at a steady pace.

Each time costs the processor milliseconds that the engine's threads wait for.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from corral.runtime.snapshot import ModelState, Snapshot
from corral.tui.states import IN_FLIGHT

__all__ = ["Feeding"]

_LOOK_S = 0.25
"""How often to look for what began or ended while something runs."""
_FIGURES_S = 0.5
"""How often figures that only grow are drawn meanwhile."""
_SAME_S = 1.0
"""How often a snapshot is handed on that was before: screens tell of more than what stands in it."""
_IDLE_S, _FAR_IDLE_S = 0.4, 1.0
"""How often to look while nothing runs: what begins then is to be seen within half a second. A server elsewhere is
asked at every look, which costs both sides more.
"""
_BLURRED_S = 5.0
_SLACK_S = 0.05
"""How much early a look may come and still count as one whole interval later."""

_Shape = tuple[object, ...]


def _shape(snapshot: Snapshot) -> _Shape:
    """What runs, and how far it has come in words."""
    return (
        *((one.id, one.state) for one in snapshot.requests if one.state in IN_FLIGHT),
        *((one.name, one.state, one.load_phase) for one in snapshot.models),
        *((one.id, one.status) for one in snapshot.transfers),
    )


def _is_busy(snapshot: Snapshot) -> bool:
    """Whether anything runs that is worth watching closely."""
    return bool(
        snapshot.transfers
        or any(request.state in IN_FLIGHT for request in snapshot.requests)
        or any(model.state in (ModelState.BUSY, ModelState.LOADING) for model in snapshot.models)
    )


class Feeding:
    """Remembers what the screen was given last, and when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._fed: Snapshot | None = None
        self._shape: _Shape | None = None
        self._fed_s = float("-inf")

    def is_due(self, snapshot: Snapshot) -> bool:
        """Whether to hand it on now; taken for done where it is."""
        now_s = self._clock()
        rests_s = now_s - self._fed_s + _SLACK_S
        if snapshot is self._fed and self._shape is not None and rests_s < _SAME_S:
            return False
        shape = _shape(snapshot)
        if shape == self._shape and rests_s < _FIGURES_S:
            return False
        self._fed, self._shape, self._fed_s = snapshot, shape, now_s
        return True

    def forget(self) -> None:
        """Whatever comes next is due: another screen is shown, or somebody has done something."""
        self._shape = None

    @staticmethod
    def delay_s(snapshot: Snapshot, *, has_focus: bool, is_elsewhere: bool = False) -> float:
        """Seconds until the next look; a terminal that nobody looks at is served less often."""
        if not has_focus:
            return _BLURRED_S
        if _is_busy(snapshot):
            return _LOOK_S
        return _FAR_IDLE_S if is_elsewhere else _IDLE_S
