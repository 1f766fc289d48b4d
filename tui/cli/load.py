"""`corral load MODEL...`."""

from __future__ import annotations

import argparse

from corral.runtime.durations import parse_setting
from corral.tui.cli.errors import CommandError
from corral.tui.cli.session import Cli
from corral.tui.loading import load


def add_flags(parser: argparse.ArgumentParser) -> None:
    """How long it is to stay."""
    parser.add_argument("--keepalive", metavar="DURATION", help="How long it stays (e.g. 5m; -1 for ever)")


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Bring models into a server's memory, one after the other."""
    keep_alive_s = None if flags.keepalive is None else parse_setting(flags.keepalive)
    with cli.session() as session:
        if session.own:
            raise CommandError("no server runs that could keep a model", hint="Start one: corral serve")
        for model in arguments:
            session.run(load(session.client, model, keep_alive_s))
            print(f"loaded '{model}'")
    return 0
