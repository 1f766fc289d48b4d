"""`corral stop MODEL`, `corral stop --all`."""

from __future__ import annotations

import argparse

from corral.store.errors import ModelNotFound
from corral.tui.cli.errors import CommandError, UsageError
from corral.tui.cli.session import Cli


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Whether all are meant."""
    parser.add_argument("--all", action="store_true", help="Stop every running model")


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Take a model out of memory, or all."""
    if len(arguments) != (0 if flags.all else 1):
        raise UsageError(f"accepts {0 if flags.all else 1} arg(s), received {len(arguments)}")
    with cli.session() as session:
        names = arguments or [model.name for model in session.run(session.client.loaded())]
        for name in names:
            try:
                session.run(session.client.unload(name))
            except ModelNotFound:
                raise CommandError(f'couldn\'t find model "{name}" to stop') from None
            if flags.all:
                print(f"stopped '{name}'")
    return 0
