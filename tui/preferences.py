"""What a user wants of the screen: its own tables of `config.toml`, and nothing else of it.

[theme]
name = "corral-deuter"    # see :theme

[screen]
motion = false            # nothing moves by itself
mouse = false             # leave the mouse to the terminal
images = true             # draw images in chats over SSH too; false: never
confirm = false           # delete and cancel without a question where U or r takes it back
refresh = 2               # seconds between two drawings of the gauges
graph = "block"           # or braille, ascii

[hosts]
gpu01 = "10.0.0.5:11434"  # :host gpu01

[commands]
work = "host gpu01"       # :work
about = "!ollama show $MODEL | less"  # by a shell, see shell_commands.py

[keys]
"model.unload" = "X"      # see the key report, :keys
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from corral.runtime.config_file import config_path
from corral.tui.widgets.glyphs import Glyphs

_FLAGS = ("motion", "mouse", "images", "confirm")
_TEXTS = ("hosts", "commands")
_LEAST_REFRESH_S, _MOST_REFRESH_S = 0.5, 60.0


class Preferences(msgspec.Struct, frozen=True):
    """The tables as they are written, checked for their form. None and "" where nothing is said."""

    theme: str = ""
    motion: bool | None = None
    mouse: bool | None = None
    images: bool | None = None
    confirm: bool | None = None
    refresh_s: float | None = None
    graph: str = ""
    hosts: Mapping[str, str] = msgspec.field(default_factory=dict)
    commands: Mapping[str, str] = msgspec.field(default_factory=dict)
    keys: Mapping[str, object] = msgspec.field(default_factory=dict)
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
    import tomllib  # 2 ms, for those who have such a file

    try:
        return _read(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        return Preferences(problems=(f"{path}: {error}",))


def _read(document: Mapping[str, object]) -> Preferences:
    problems: list[str] = []
    tables: dict[str, Mapping[str, object]] = {}
    for name in ("keys", "theme", "screen", *_TEXTS):
        table = document.get(name, {})
        if isinstance(table, Mapping):
            tables[name] = table
        else:
            problems.append(f"{name} is a table: [{name}]")
    theme = tables.get("theme", {}).get("name", "")
    if not isinstance(theme, str):
        problems.append("[theme] name is a text")
    texts = {name: _texts(name, tables.get(name, {}), problems) for name in _TEXTS}
    flags, refresh_s, graph = _screen(tables.get("screen", {}), problems)
    return Preferences(
        theme=theme if isinstance(theme, str) else "",
        motion=flags.get("motion"),
        mouse=flags.get("mouse"),
        images=flags.get("images"),
        confirm=flags.get("confirm"),
        refresh_s=refresh_s,
        graph=graph,
        hosts=texts["hosts"],
        commands=texts["commands"],
        keys=tables.get("keys", {}),
        problems=tuple(problems),
    )


def _texts(name: str, table: Mapping[str, object], problems: list[str]) -> dict[str, str]:
    problems += [f"[{name}] {key} is a text" for key, value in table.items() if not isinstance(value, str)]
    return {key: value for key, value in table.items() if isinstance(value, str)}


def _screen(table: Mapping[str, object], problems: list[str]) -> tuple[dict[str, bool], float | None, str]:
    flags: dict[str, bool] = {}
    refresh_s: float | None = None
    graph = ""
    for key, value in table.items():
        if key == "refresh":
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and _LEAST_REFRESH_S <= float(value) <= _MOST_REFRESH_S:  # type: ignore[arg-type]
                refresh_s = float(value)  # type: ignore[arg-type]
            else:
                problems.append(f"[screen] refresh is a number of seconds from {_LEAST_REFRESH_S:g} to 60")
        elif key == "graph":
            if isinstance(value, str) and value in set(Glyphs):
                graph = value
            else:
                problems.append(f"[screen] graph is one of {', '.join(Glyphs)}")
        elif key not in _FLAGS:
            problems.append(f"[screen] {key} is not known")
        elif not isinstance(value, bool):
            problems.append(f"[screen] {key} is true or false")
        else:
            flags[key] = value
    return flags, refresh_s, graph
