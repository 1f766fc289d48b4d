"""What a user wants of the screen: `[keys]`, `[theme]` and `[screen]` of `config.toml`, and nothing else of it.

[theme]
name = "corral-deuter"    # see :theme

[screen]
motion = false            # nothing moves by itself
mouse = false             # leave the mouse to the terminal
images = true             # draw images in chats over SSH too; false: never

[keys]
"model.unload" = "X"      # see the key report, :keys
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from corral.runtime.config_file import config_path

_SCREEN = ("motion", "mouse", "images")


@dataclass(frozen=True, slots=True)
class Preferences:
    """The tables as they are written, checked for their form. None and "" where nothing is said."""

    theme: str = ""
    motion: bool | None = None
    mouse: bool | None = None
    images: bool | None = None
    keys: Mapping[str, object] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def load_preferences(environ: Mapping[str, str]) -> Preferences:
    """Read the file of this user. Never fails: what is wrong with it is in `problems`."""
    path = config_path(environ, Path(environ.get("HOME") or Path.home()))
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Preferences()
    except (OSError, UnicodeDecodeError) as error:
        return Preferences(problems=(f"{path} cannot be read: {error}",))
    try:
        return _read(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        return Preferences(problems=(f"{path}: {error}",))


def _read(document: Mapping[str, object]) -> Preferences:
    problems: list[str] = []
    tables: dict[str, Mapping[str, object]] = {}
    for name in ("keys", "theme", "screen"):
        table = document.get(name, {})
        if isinstance(table, Mapping):
            tables[name] = table
        else:
            problems.append(f"{name} is a table: [{name}]")
    theme = tables.get("theme", {}).get("name", "")
    if not isinstance(theme, str):
        problems.append("[theme] name is a text")
    screen: dict[str, bool] = {}
    for key, value in tables.get("screen", {}).items():
        if key not in _SCREEN:
            problems.append(f"[screen] {key} is not known")
        elif not isinstance(value, bool):
            problems.append(f"[screen] {key} is true or false")
        else:
            screen[key] = value
    return Preferences(
        theme if isinstance(theme, str) else "",
        screen.get("motion"),
        screen.get("mouse"),
        screen.get("images"),
        tables.get("keys", {}),
        tuple(problems),
    )
