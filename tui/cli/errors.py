"""What the command line itself can refuse. Every text is one line after `Error: `, the exit code is 1."""

from __future__ import annotations


class CommandError(Exception):
    """Base of the command line's own errors; `hint` is a further line that says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(CommandError):
    """Flags or arguments that make no sense."""
