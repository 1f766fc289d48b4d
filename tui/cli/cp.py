"""`corral cp SOURCE DESTINATION`."""

from __future__ import annotations

import argparse

from corral.tui.cli.session import Cli


def add_flags(parser: argparse.ArgumentParser) -> None:
    """No flags of its own."""


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Give a model a second name."""
    source, destination = arguments
    with cli.session() as session:
        session.run(session.client.copy(source, destination))
    print(f"copied '{source}' to '{destination}'")
    return 0
