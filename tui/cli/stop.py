"""`corral stop MODEL`."""

from __future__ import annotations

import argparse

from corral.store.errors import ModelNotFound
from corral.tui.cli.errors import CommandError
from corral.tui.cli.session import Cli


def add_flags(parser: argparse.ArgumentParser) -> None:
    """No flags of its own."""


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Take a model out of memory."""
    with cli.session() as session:
        try:
            session.run(session.client.unload(arguments[0]))
        except ModelNotFound:
            raise CommandError(f'couldn\'t find model "{arguments[0]}" to stop') from None
    return 0
