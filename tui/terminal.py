"""Terminals that come and go: what the workbench does when its own is closed, and what it knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

__all__ = ["ExitReason", "is_remote"]


class ExitReason(StrEnum):
    """Why the workbench left the terminal."""

    QUIT = "quit"
    """The user left; the caller stops serving."""
    HANGUP = "hangup"
    """The terminal went away; the caller goes on serving."""


def is_remote(environ: Mapping[str, str]) -> bool:
    """Whether this terminal is at the far end of an SSH connection."""
    return bool(environ.get("SSH_TTY") or environ.get("SSH_CONNECTION"))
