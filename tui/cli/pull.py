"""`corral pull MODEL`."""

from __future__ import annotations

import argparse
import sys

from corral.runtime.environment import parse_size
from corral.tui.cli.errors import UsageError
from corral.tui.cli.progress import follow
from corral.tui.cli.session import Cli


def add_flags(parser: argparse.ArgumentParser) -> None:
    """How to fetch."""
    parser.add_argument("--insecure", action="store_true", help="Allow http, and certificates that do not hold")
    parser.add_argument("--limit-rate", metavar="RATE", default="", help="At most so many bytes a second (e.g. 10MB)")


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Fetch a model, with progress on stderr."""
    limit_rate = parse_size(flags.limit_rate) if flags.limit_rate else 0
    if limit_rate is None:
        raise UsageError(f'invalid value for --limit-rate: "{flags.limit_rate}" (must be a size such as 10MB)')
    with cli.session() as session:
        steps = session.client.pull(arguments[0], insecure=flags.insecure, limit_rate=limit_rate)
        session.run(follow(steps, sys.stderr))
    return 0
