"""What the commands that open a screen have in common."""

from __future__ import annotations

import argparse
import os
import sys

from corral.tui.cli.errors import CommandError


def add_screen_flags(parser: argparse.ArgumentParser) -> None:
    """How the terminal is used, and what may be done from it."""
    parser.add_argument("--no-mouse", action="store_true", help="Leave the mouse to the terminal")
    parser.add_argument("--read-only", action="store_true", help="Refuse whatever changes models or stops requests")


def demand_terminal() -> None:
    """Refuse where there is no terminal.

    Raises:
        CommandError: input or output is none.
    """
    if os.environ.get("TEXTUAL_DRIVER"):
        return  # drawn in a browser, over pipes
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError("the workbench needs a terminal", hint="Without one: corral serve, or corral --help")
