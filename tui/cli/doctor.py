"""`corral doctor`: the checks of `:doctor`, as lines; the code is 1 where something does not work."""

from __future__ import annotations

import argparse
import shutil

from corral.runtime.errors import RunError
from corral.tui.cli.session import Cli
from corral.tui.control_chars import one_line


def add_flags(parser: argparse.ArgumentParser) -> None:
    """No flags of its own."""


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Look at everything, as far as it can be reached."""
    from rich.console import Console

    from corral.tui import doctor
    from corral.tui.keymap import read_keymap
    from corral.tui.preferences import load_preferences
    from corral.tui.terminal import is_remote
    from corral.tui.widgets.glyphs import Glyphs, terminal_glyphs

    preferences = load_preferences(cli.environ)
    columns, rows = shutil.get_terminal_size()
    first = terminal_glyphs(cli.environ)
    colours = Console(force_terminal=True).color_system or "none"
    seen = doctor.Terminal(
        cli.environ, columns, rows, colours, Glyphs(preferences.graph or first), first, is_remote(cli.environ)
    )
    faults, warnings = cli.settings.faults, cli.settings.warnings
    problems = (*faults, *warnings, *preferences.problems, *read_keymap(preferences.keys).problems)
    lines = [*doctor.terminal(seen), *doctor.settings(problems)]
    try:
        with cli.session() as session:
            if session.own:
                lines.append(
                    f"! service    none answers at {cli.settings.base_url}: the models are looked at from here"
                )
            else:
                refresh = getattr(session.client, "refresh", None)  # a client over HTTP asks for figures
                snapshot = session.run(refresh()) if refresh is not None else session.client.latest()
                lines += [*doctor.service(snapshot, is_there=False), *doctor.machine(snapshot)]
            lines += session.run(doctor.store(session.client))
    except RunError as error:
        lines.append(f"✗ service    {error}")
    for line in lines:
        print(one_line(line))
    return 1 if faults or doctor.is_ill(lines) else 0
