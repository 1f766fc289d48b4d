"""`corral web`: the workbench in a browser."""

from __future__ import annotations

import argparse
import secrets

from corral.runtime.server_address import is_loopback
from corral.tui.cli.errors import CommandError, UsageError
from corral.tui.cli.interrupts import held_back
from corral.tui.cli.session import Cli

_PORT = 11435


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where the page is."""
    parser.add_argument("--listen", metavar="ADDRESS", default="127.0.0.1", help="Address of the page")
    parser.add_argument("--port", metavar="N", default=str(_PORT), help=f"Port of the page (default {_PORT})")
    parser.add_argument("--read-only", action="store_true", help="Refuse whatever changes models or stops requests")


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C; the service too, unless one runs already or an address is given.

    Raises:
        CommandError: others could reach the page and no key is set, or a package is missing.
    """
    if not (flags.port.isascii() and flags.port.isdigit() and 0 < int(flags.port) < 65536):
        raise UsageError(f'invalid value for --port: "{flags.port}" (must be a number from 1 to 65535)')
    if not is_loopback(flags.listen) and not cli.settings.api_keys:
        raise CommandError(
            f"others could use the workbench at {flags.listen}, and no key is set",
            hint="Set CORRAL_API_KEY; the page then asks for that key as its token.",
        )
    try:
        with held_back():
            from corral.tui.web import WebServer
    except ImportError:
        raise CommandError(
            "the page in the browser needs the package textual-serve",
            hint="pip install textual-serve",
        ) from None
    from corral.tui.cli.service_for import service_for

    tokens = cli.settings.api_keys or (secrets.token_urlsafe(24),)
    with service_for(cli, arguments[0] if arguments else None) as (inner, greeting):
        print(greeting, flush=True)
        base_url = inner.settings.base_url
        WebServer(base_url, flags.listen, int(flags.port), tuple(tokens), read_only=flags.read_only).serve()
    return 0
