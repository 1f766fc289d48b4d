"""What the service needs of a workbench beside its verbs."""

from __future__ import annotations

from typing import Protocol

from corral.runtime.requests import RequestLog
from corral.runtime.settings_change import SettingsChange
from corral.runtime.snapshot import Snapshot
from corral.runtime.verbs import Client


class ServedClient(Client, Protocol):
    """A workbench as the service holds it: the verbs, the table of requests, a beginning and an end."""

    @property
    def requests(self) -> RequestLog:
        """Who asks what, one row per HTTP request."""
        ...

    def snapshot_now(self) -> Snapshot:
        """What holds at this moment; on the service loop only."""
        ...

    async def start(self, serving: str = "") -> None:
        """Begin work on the running loop; `serving` is the address that is listened on."""
        ...

    async def reload_settings(self) -> SettingsChange:
        """Read the settings again and take over those that can change; says which.

        Raises:
            BadRequest: they have mistakes.
        """
        ...

    async def close(self) -> None:
        """Unload everything and end."""
        ...
