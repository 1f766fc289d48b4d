"""`corral attach`: the screen of a server that runs, here or elsewhere; an Ollama server too."""

from __future__ import annotations

import argparse

from msgspec.structs import replace

from corral.runtime.errors import RunError
from corral.runtime.server_address import parse_host
from corral.runtime.settings import Settings
from corral.store.errors import StoreError
from corral.tui.cli.errors import CommandError
from corral.tui.cli.interrupts import held_back
from corral.tui.cli.screen_flags import add_screen_flags, demand_terminal
from corral.tui.cli.session import Cli


def add_flags(parser: argparse.ArgumentParser) -> None:
    """How the terminal is used."""
    add_screen_flags(parser)


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Open the five screens on a server; leaving them leaves it as it is.

    Raises:
        CommandError: no server answers there, or it wants a key.
    """
    demand_terminal()
    settings = at_host(cli.settings, arguments[0]) if arguments else cli.settings
    with held_back():
        from corral.tui.app import WorkbenchApp
        from corral.tui.read_only import guarded
        from corral.tui.remote import RemoteLink, RemoteService
        from corral.tui.terminal import run_workbench
    service = RemoteService(settings.base_url, next(iter(settings.api_keys), ""))
    service.start()
    try:
        link = RemoteLink(service, guarded(service.client, read_only=flags.read_only))
        link.meet()
        app = WorkbenchApp(link, environ=cli.environ)
        app.is_read_only = flags.read_only
        run_workbench(app, mouse=not flags.no_mouse)
    except (RunError, StoreError) as error:
        hint = f"A server there is started with: CORRAL_HOST={settings.listen_host} corral serve"
        raise CommandError(f"{error}", hint=_hint(error) or hint) from None
    finally:
        service.stop()
    return 0


def _hint(error: Exception) -> str:
    if getattr(error, "status", 0) in (401, 403):
        return "Where the server wants a key: CORRAL_API_KEY=... corral attach"
    return ""


def at_host(settings: Settings, host: str) -> Settings:
    """The settings with another server to talk to, written as in `CORRAL_HOST`.

    Raises:
        CommandError: this is no address.
    """
    warnings: list[str] = []
    address = parse_host(host, warnings.append)
    if warnings:
        raise CommandError(f"no address of a server: {host}")
    return replace(settings, base_url=address.url)
