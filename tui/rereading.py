"""`:reload`: the screen's tables of `config.toml`, read again while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corral.tui.hosts import KnownHosts
from corral.tui.keymap import read_keymap
from corral.tui.preferences import load_preferences
from corral.tui.screen_settings import SCREEN_SETTINGS, file_value

if TYPE_CHECKING:
    from corral.tui.app import WorkbenchApp

__all__ = ["reread"]


def reread(app: WorkbenchApp) -> str:
    """Take over what the file says now, and tell it; a file with mistakes changes nothing.

    Only what the file says differently than before is set, so that what was chosen with `:set`, or as the program was
    started, stays.
    """
    fresh, before = load_preferences(app.environ), app.preferences
    if fresh.problems:
        return "\n".join(("nothing is changed:", *fresh.problems))
    told = []
    wrong = []
    for one in SCREEN_SETTINGS:
        if one.in_file(fresh) == one.in_file(before):
            continue
        value = file_value(one, fresh) or one.default(app)
        if one.name != "refresh" and value not in one.choices(app):
            wrong.append(f"{one.name}: {value} is none of {', '.join(one.choices(app))}")
            continue
        one.change(app, value)
        app.set_here.discard(one.name)
        told.append(one.name)
    if fresh.keys != before.keys:
        app.keys = read_keymap(fresh.keys)
        app.set_keymap(app.keys.bindings())
        told.append("keys")
        wrong += app.keys.problems
    if fresh.hosts != before.hosts:
        app.hosts = KnownHosts(fresh.hosts, app.environ)
        told.append("hosts")
    if fresh.commands != before.commands:
        told.append("commands")
    app.preferences = fresh
    return "\n".join((f"from config.toml: {', '.join(told)}" if told else "config.toml says nothing new", *wrong))
