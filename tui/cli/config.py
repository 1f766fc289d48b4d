"""`corral config`: what the settings are and where each comes from; `path`, `check` and `reload` for the file."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from corral.runtime.config_file import ConfigFile, config_path, find_config, read_config
from corral.runtime.durations import FOREVER
from corral.runtime.model_tables import ModelTable
from corral.runtime.setting_views import setting_views
from corral.runtime.settings import load
from corral.runtime.settings_change import SettingsChange
from corral.tui.cli.errors import CommandError, UsageError
from corral.tui.cli.session import Cli
from corral.tui.cli.table import table


class Row(NamedTuple):
    """A setting: the name it has in the file, its value as it was written, and who says so."""

    name: str
    value: str
    origin: str


def add_flags(parser: argparse.ArgumentParser) -> None:
    """How it is printed."""
    parser.add_argument("--json", action="store_true", help="Print JSON")


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Print the settings, or do what the first argument says with their file."""
    verb = arguments[0] if arguments else "show"
    if verb != "check" and len(arguments) > 1:
        raise UsageError(f"config {verb} takes no arguments")
    if verb == "show":
        return _show(cli, as_json=flags.json)
    if verb == "path":
        print(config_path(cli.environ, cli.home))
        return 0
    if verb == "check":
        return _check(Path(arguments[1]) if len(arguments) > 1 else config_path(cli.environ, cli.home))
    if verb == "reload":
        return _reload(cli)
    if verb == "docs":
        from corral.tui.cli.config_page import page

        print(page(), end="")
        return 0
    raise UsageError(f'unknown argument "{verb}": corral config [path | check [FILE] | reload]')


def _show(cli: Cli, *, as_json: bool) -> int:
    file, settings = find_config(cli.environ, cli.home), cli.settings
    views = setting_views(cli.environ, cli.home, {})
    rows = [*(Row(one.name, one.value, one.origin) for one in views), *_model_rows(file)]
    if as_json:
        found = {
            "file": str(file.path) if file.path else None,
            "settings": [row._asdict() for row in rows],
            "warnings": settings.warnings,
            "faults": settings.faults,
        }
        print(json.dumps(found, indent=2))
    else:
        print(table(("NAME", "VALUE", "FROM"), rows), end="")
        _tell((*settings.faults, *settings.warnings))
    return 1 if settings.faults else 0


def _model_rows(file: ConfigFile) -> Iterator[Row]:
    for name, one in file.models.items():
        for key, value in _entries(one):
            text = value if isinstance(value, str) else json.dumps(value)
            yield Row(f'models."{name}".{key}', text, str(file.path))


def _entries(model: ModelTable) -> Iterator[tuple[str, object]]:
    if model.stays_s is not None:
        yield "keep_alive", "forever" if model.stays_s == FOREVER else f"{model.stays_s:g}s"
    for key in ("pinned", "preload", "num_parallel"):
        if value := getattr(model, key):
            yield key, value
    yield from model.options.items()


def _check(path: Path) -> int:
    """Say what is wrong with a file, all of it; the code is 1 where a server would not start with it."""
    if not path.is_file():
        raise CommandError(f"no file {path}")
    alone = {"CORRAL_CONFIG": str(path)}
    settings = load(alone, Path.home())
    _tell((*settings.faults, *settings.warnings))
    if not settings.faults:
        file = read_config(path)
        print(f"{path}: {len(file.values)} settings, {len(file.models)} models: ok")
    return 1 if settings.faults else 0


def _tell(lines: tuple[str, ...]) -> None:
    for line in lines:
        print(line, file=sys.stderr)


def _reload(cli: Cli) -> int:
    """Have the server that runs read its settings again, from its own environment and file."""
    from corral.api.client import HttpClient

    settings = cli.settings

    async def ask() -> SettingsChange:
        client = HttpClient(settings.base_url, next(iter(settings.api_keys), ""), settings.trusted)
        try:
            return await client.reload_settings()
        finally:
            await client.close()

    change = asyncio.run(ask())
    print(f"changed: {', '.join(change.changed) or 'nothing'}")
    if change.restart:
        print(f"waiting for a restart: {', '.join(change.restart)}")
    _tell(change.warnings)
    return 0
