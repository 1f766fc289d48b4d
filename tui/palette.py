"""The palette: commands found by what their names hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from textual.command import CommandList, CommandListItem, CommandPalette, SimpleProvider
from textual.screen import Screen

__all__ = ["Palette"]


class Palette(CommandPalette):
    """Textual's, which ends the program where its list is paged before it has been laid out."""

    @classmethod
    def of(cls, screen: Screen[Any], commands: Iterable[CommandListItem], placeholder: str) -> Palette:
        """One of these commands alone, on a screen."""
        found: Any = SimpleProvider(screen, list(commands))  # Textual calls it as if it were a class
        return cls(providers=[found], placeholder=placeholder)

    def _action_command_list(self, action: str) -> None:
        if self.query_one(CommandList).size.width:
            super()._action_command_list(action)
