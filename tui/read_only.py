"""Looking without touching: a client whose verbs that change something refuse."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, cast

from corral.runtime.errors import RunError
from corral.runtime.verbs import Client

__all__ = ["CHANGING", "ReadOnly", "guarded"]

CHANGING = frozenset(
    {
        *("unload", "pull", "push", "create", "copy", "delete", "put_blob", "cancel", "pin", "record"),
        *("drop_unfinished", "clean_up", "trash", "restore", "adjust"),
    }
)
"""Verbs that change what lies on disk, what is in memory, or what others asked for."""
_STREAMING = frozenset({"pull", "push", "create"})


class ReadOnly(RunError):
    """A verb that changes something, asked for on a screen that must not."""

    def __init__(self) -> None:
        super().__init__("this screen is read-only: it was opened with --read-only")


def guarded(client: Client, *, read_only: bool) -> Client:
    """Return the client, or one that refuses to change anything."""
    return cast(Client, _ReadOnlyClient(client)) if read_only else client


class _ReadOnlyClient:
    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        if name not in CHANGING:
            return getattr(self._client, name)
        return _refused_stream if name in _STREAMING else _refused


async def _refused(*_: object, **__: object) -> None:
    raise ReadOnly


async def _refused_stream(*_: object, **__: object) -> AsyncGenerator[object, None]:
    raise ReadOnly
    yield
