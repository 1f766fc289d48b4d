"""What of new settings a running server takes over."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from corral.runtime.errors import BadRequest
from corral.runtime.settings import LIVE, Settings

_NO_SETTINGS = frozenset({"warnings", "faults", "reread", "tell", "config"})


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """Which fields `changed` and hold from now on, and which of the new ones wait for a `restart`."""

    changed: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def take_over(now: Settings, new: Settings) -> tuple[Settings, SettingsChange]:
    """Return the settings with those of the new ones that may change while a server runs, and what that changed.

    Raises:
        BadRequest: the new ones have faults.
    """
    if new.faults:
        raise BadRequest("; ".join(new.faults))
    names = [name for name in now.__struct_fields__ if name not in _NO_SETTINGS]
    differ = [name for name in names if getattr(now, name) != getattr(new, name)]
    changed = tuple(name for name in differ if name in LIVE)
    values = {name: getattr(new, name) for name in changed}
    restart = tuple(name for name in differ if name not in LIVE)
    return replace(now, **values), SettingsChange(changed, restart, new.warnings)
