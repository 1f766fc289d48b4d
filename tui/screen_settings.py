"""What can be set of the screen while it runs, beside the settings of the service: `:set` reads and changes both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from corral.runtime.config_file import config_path
from corral.runtime.setting_views import DEFAULT, HERE
from corral.runtime.upkeep import SettingView
from corral.tui.config_writing import CannotWrite, Choice, service_choice, write_choice
from corral.tui.preferences import Preferences, load_preferences
from corral.tui.widgets.glyphs import Glyphs

if TYPE_CHECKING:
    from corral.tui.app import WorkbenchApp

__all__ = ["RATES_S", "SCREEN_SETTINGS", "all_settings", "change", "choices_of", "file_value", "keep"]

RATES_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""How often gauges may be drawn, in seconds."""
_FILE = "config.toml"
_FLAGS = ("on", "off")
_AUTO = "auto"


@dataclass(frozen=True, slots=True)
class ScreenSetting:
    """A setting of the screen: what it is now, what it may be, how it is changed, what the file says ("" nothing).

    `change` gets one of `choices`; `default` is what holds where nobody says anything.
    """

    name: str
    about: str
    choices: Callable[[WorkbenchApp], Sequence[str]]
    value: Callable[[WorkbenchApp], str]
    change: Callable[[WorkbenchApp, str], None]
    in_file: Callable[[Preferences], object]
    default: Callable[[WorkbenchApp], str]


def _word(*, on: bool) -> str:
    return _FLAGS[0] if on else _FLAGS[1]


def _flags(app: WorkbenchApp) -> Sequence[str]:
    return _FLAGS


def _use_theme(app: WorkbenchApp, value: str) -> None:
    app.theme = value


def _use_motion(app: WorkbenchApp, value: str) -> None:
    app.animation_level = "basic" if value == "on" else "none"


def _use_confirm(app: WorkbenchApp, value: str) -> None:
    app.confirms = value == "on"


def _use_refresh(app: WorkbenchApp, value: str) -> None:
    app.refresh_s = float(value)


def _use_graph(app: WorkbenchApp, value: str) -> None:
    app.glyphs = Glyphs(value)


def _images(app: WorkbenchApp) -> str:
    return _AUTO if app.images is None else _word(on=app.images)


def _use_images(app: WorkbenchApp, value: str) -> None:
    app.images = None if value == _AUTO else value == _FLAGS[0]


def _use_history(app: WorkbenchApp, value: str) -> None:
    app.lines.is_kept = value == "on"


SCREEN_SETTINGS = (
    ScreenSetting(
        "theme", "Colours; :theme shows each while you choose", lambda app: sorted(app.available_themes),
        lambda app: app.theme, _use_theme, lambda wishes: wishes.theme, lambda app: app.first_theme,
    ),
    ScreenSetting(
        "motion", "Let things move by themselves", _flags,
        lambda app: _word(on=app.animation_level != "none"), _use_motion, lambda wishes: wishes.motion,
        lambda app: _word(on=not app.is_remote),
    ),
    ScreenSetting(
        "mouse", "Take the mouse from the terminal", _flags,
        lambda app: _word(on=app.has_mouse), lambda app, value: app.use_mouse(value == "on"),
        lambda wishes: wishes.mouse, lambda app: "on",
    ),
    ScreenSetting(
        "confirm", "Ask before deleting and cancelling, which can be undone; the rest is always asked", _flags,
        lambda app: _word(on=app.confirms), _use_confirm, lambda wishes: wishes.confirm, lambda app: "on",
    ),
    ScreenSetting(
        "refresh", "Seconds between two drawings of the gauges", lambda app: [f"{one:g}" for one in RATES_S],
        lambda app: f"{app.refresh_s:g}", _use_refresh, lambda wishes: wishes.refresh_s,
        lambda app: "2" if app.is_remote else "1",
    ),
    ScreenSetting(
        "graph", "What graphs and bars are drawn with", lambda app: list(Glyphs),
        lambda app: app.glyphs, _use_graph, lambda wishes: wishes.graph, lambda app: app.first_glyphs,
    ),
    ScreenSetting(
        "images", "Draw images in chats; auto: not over ssh, until o is pressed", lambda app: (*_FLAGS, _AUTO),
        _images, _use_images, lambda wishes: wishes.images, lambda app: _AUTO,
    ),
    ScreenSetting(
        "history", "Keep the lines typed after : for the next time; chats follow CORRAL_NOHISTORY alone", _flags,
        lambda app: _word(on=app.lines.is_kept), _use_history, lambda wishes: None, lambda app: "on",
    ),
)  # fmt: skip
"""In the order of `:set all`."""

_BY_NAME = {one.name: one for one in SCREEN_SETTINGS}
_USUAL = {
    "keep_alive": ("0", "5m", "1h", "-1"),
    "limit_rate": ("0", "1MB", "5MB", "50MB"),
    "num_parallel": ("1", "2", "4", "8"),
    "context_length": ("4096", "8192", "32768", "131072"),
    "kv_cache_type": ("f16", "q8_0", "q4_0"),
    "flash_attention": ("auto", "1", "0"),
    "sched_spread": ("0", "1"),
    "go_template": ("0", "1"),
}
"""Values of the service's settings that are proposed; any other can be typed."""


def file_value(one: ScreenSetting, wishes: Preferences) -> str:
    """What the file says of a setting in the words of `change`, "" for nothing."""
    said = one.in_file(wishes)
    if isinstance(said, bool):
        return _word(on=said)
    return f"{said:g}" if isinstance(said, float) else str(said or "")


def _view(app: WorkbenchApp, one: ScreenSetting) -> SettingView:
    origin = HERE if one.name in app.set_here else _FILE if file_value(one, app.preferences) else DEFAULT
    return SettingView(one.name, one.value(app), origin, live=True, about=one.about)


async def all_settings(app: WorkbenchApp) -> list[SettingView]:
    """Those of the screen, then those of the service, the ones that can be changed now first.

    Raises:
        RunError: the service does not answer.
    """
    of_service = await app.link.call(lambda client: client.settings())
    return [*(_view(app, one) for one in SCREEN_SETTINGS), *sorted(of_service, key=lambda one: not one.live)]


def choices_of(app: WorkbenchApp, name: str) -> Sequence[str]:
    """What may be proposed as a value."""
    of_screen = _BY_NAME.get(name)
    return (*(of_screen.choices(app) if of_screen is not None else _USUAL.get(name, ())), DEFAULT)


async def change(app: WorkbenchApp, name: str, value: str) -> str:
    """Set something; `default` takes back what was set. Returns what to tell.

    Raises:
        BadRequest: the service has no such setting, or cannot read the value.
        RunError: the service does not answer.
    """
    one = _BY_NAME.get(name)
    if one is None:
        wanted = "" if value == DEFAULT else value
        changed = await app.link.call(lambda client: client.adjust(name, wanted))
        if changed.restart:
            return f"{name} waits for a restart"
        models = " · models in memory stay as they were loaded" if name != "limit_rate" else ""
        return f"{name} is {value} until the service ends{models}"
    if value == DEFAULT:
        app.set_here.discard(name)
        one.change(app, one.default(app))
        return f"{name} is {one.value(app)}"
    choices = one.choices(app)
    if value not in choices:
        return f"{name} is one of {', '.join(choices)}"
    one.change(app, value)
    app.set_here.add(name)
    return f"{name} is {value} · {_kept_by(name, value)}"


def _kept_by(name: str, value: str) -> str:
    """What keeps it for the next time."""
    return "CORRAL_NOHISTORY=1 turns it off for good" if name == "history" else f":set! {name} {value} keeps it"


async def keep(app: WorkbenchApp, name: str, value: str) -> str:
    """Set something and write it into `config.toml`; `default` takes it out of there. Returns what to tell.

    Raises:
        CannotWrite: the file cannot say it, or cannot be written.
        BadRequest, RunError: as `change`.
    """
    one = _BY_NAME.get(name)
    if name == "history":
        raise CannotWrite("config.toml has no history: CORRAL_NOHISTORY=1 turns it off for good")
    if one is None and app.link.place:
        raise CannotWrite(f"{name} is the setting of a server elsewhere: its own config.toml keeps it")
    if one is not None and value != DEFAULT and value not in (choices := one.choices(app)):
        return f"{name} is one of {', '.join(choices)}"
    choice = None if value == DEFAULT else _screen_choice(name, value) if one else service_choice(name, value)
    told = await change(app, name, value)
    path = config_path(app.environ, Path(app.environ.get("HOME") or Path.home()))
    table = ("theme" if name == "theme" else "screen") if one else ""
    write_choice(path, table, "name" if name == "theme" else name, choice)
    app.preferences = load_preferences(app.environ)
    app.set_here.discard(name)
    above = next((one for one in (f"CORRAL_{name.upper()}", f"OLLAMA_{name.upper()}") if app.environ.get(one)), "")
    if one is None and above:
        return f"{told} · {path} is changed, but {above} outweighs it"
    written = f"{path} says so" if choice is not None else f"{path} says nothing of it"
    return f"{told.partition(' · ')[0].removesuffix(' until the service ends')} · {written}"


def _screen_choice(name: str, value: str) -> Choice:
    if value == _AUTO:
        return None
    return {"on": True, "off": False}.get(value, float(value) if name == "refresh" else value)
