"""`corral pull MODEL`."""

from __future__ import annotations

import argparse
import sys

from corral.tui.cli.progress import follow
from corral.tui.cli.session import Cli


def add_flags(parser: argparse.ArgumentParser) -> None:
    """`--insecure` is taken and does nothing: the sources there are have no such mode."""
    parser.add_argument("--insecure", action="store_true", help=argparse.SUPPRESS)


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Fetch a model, with progress on stderr."""
    with cli.session() as session:
        session.run(follow(session.client.pull(arguments[0]), sys.stderr))
    return 0
