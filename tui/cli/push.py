"""`corral push MODEL`."""

from __future__ import annotations

import argparse
import sys

from corral.runtime.errors import RunError
from corral.store.errors import StoreError
from corral.store.names import DEFAULT_HOST, ModelName
from corral.tui.cli.errors import CommandError
from corral.tui.cli.progress import follow
from corral.tui.cli.session import Cli

_DENIED = "access denied"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """How to send."""
    parser.add_argument("--insecure", action="store_true", help="Allow http, and certificates that do not hold")


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Send a model, with progress on stderr."""
    name = ModelName.parse(arguments[0])
    try:
        with cli.session() as session:
            session.run(follow(session.client.push(arguments[0], insecure=flags.insecure), sys.stderr))
    except (RunError, StoreError) as error:
        if _DENIED in str(error) and name.host == DEFAULT_HOST:
            raise CommandError(
                "you are not authorized to push to this namespace, create the model under a namespace you own"
            ) from error
        raise
    if name.host == DEFAULT_HOST and not cli.settings.registries.default:
        page = f"{name.namespace}/{name.model}" + ("" if name.tag == "latest" else f":{name.tag}")
        print(f"\nYou can find your model at:\n\n\thttps://ollama.com/{page}")
    return 0
