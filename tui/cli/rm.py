"""`corral rm MODEL...`."""

from __future__ import annotations

import argparse
import sys

from corral.runtime.errors import RunError
from corral.runtime.verbs import Client
from corral.store.errors import ModelNotFound
from corral.tui.cli.session import Cli


def add_flags(parser: argparse.ArgumentParser) -> None:
    """No flags of its own."""


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Take each model out of memory and off the disk; the first that fails ends it."""
    with cli.session() as session:
        for model in arguments:
            session.run(_remove(session.client, model))
            print(f"deleted '{model}'")
    return 0


async def _remove(client: Client, model: str) -> None:
    try:
        await client.unload(model)
    except ModelNotFound:
        pass  # the deletion says so in its own words, or finds a manifest that only it can read
    except RunError:
        print(f"Warning: unable to stop model '{model}'", file=sys.stderr)
    await client.delete(model)
