"""`corral serve`: the server without a screen."""

from __future__ import annotations

import argparse

from corral.tui.cli.session import Cli


def add_flags(parser: argparse.ArgumentParser) -> None:
    """No flags of its own: the environment says everything."""


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM, and leave no runner behind."""
    from corral.api.headless import run_headless

    return run_headless(cli.settings)
