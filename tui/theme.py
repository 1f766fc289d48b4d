"""Colours: our own themes, and which one a terminal starts with.

Colours only repeat what a sign or a word says already (`states.py`). The themes `deuter` and `trit` keep good, warning
and bad apart for eyes that do not tell red from green, or blue from yellow; their hues are those of the Modus palettes.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from textual.theme import Theme

__all__ = ["CORRAL", "THEMES", "forget_empty_wish", "initial_theme", "is_monochrome"]

CORRAL = Theme(
    name="corral",
    primary="#7AA2D6",
    secondary="#8FBCBB",
    warning="#E0B05C",
    error="#E07A70",
    success="#8CBF72",
    accent="#5FB3A8",
    foreground="#D8DEE6",
    background="#14181D",
    surface="#191E24",
    panel="#222931",
    dark=True,
    variables={
        "border": "#7AA2D6",
        "border-blurred": "#3A444F",
        "footer-background": "#1C2228",
        "footer-key-foreground": "#E0B05C",
        "footer-description-foreground": "#A9B3BE",
        "scrollbar-background": "#14181D",
        "scrollbar-background-hover": "#14181D",
        "scrollbar-background-active": "#14181D",
        "scrollbar-corner-color": "#14181D",
        "input-selection-background": "#7AA2D6 35%",
    },
)


_EYES = {
    "primary": "#79A8FF",
    "foreground": "#FFFFFF",
    "background": "#000000",
    "surface": "#101010",
    "panel": "#1E1E1E",
    "dark": True,
    "variables": {
        "border": "#79A8FF",
        "border-blurred": "#646464",
        "footer-background": "#1E1E1E",
        "footer-key-foreground": "#FEC43F",
        "footer-description-foreground": "#C6DAFF",
        "input-selection-background": "#79A8FF 35%",
    },
}
DEUTER = Theme(
    name="corral-deuter",
    secondary="#B6A0FF",
    success="#2FAFFF",
    accent="#00D3D0",
    warning="#FEF0A0",
    error="#E08A00",
    **_EYES,  # type: ignore[arg-type]
)
TRIT = Theme(
    name="corral-trit",
    secondary="#FEACD0",
    success="#00D3D0",
    accent="#6AE4B9",
    warning="#F5D0D8",
    error="#FF5F59",
    **_EYES,  # type: ignore[arg-type]
)
LIGHT = Theme(
    name="corral-light",
    primary="#2F5FA8",
    secondary="#2E6E6D",
    warning="#8A5A00",
    error="#B3261E",
    success="#2F6B1F",
    accent="#00696A",
    foreground="#1B2127",
    background="#FBFBF9",
    surface="#F1F1EC",
    panel="#E6E6DF",
    dark=False,
    variables={
        "border": "#2F5FA8",
        "border-blurred": "#A8A8A0",
        "footer-background": "#E6E6DF",
        "footer-key-foreground": "#8A5A00",
        "footer-description-foreground": "#3B444D",
        "input-selection-background": "#2F5FA8 25%",
    },
)
THEMES = (CORRAL, LIGHT, DEUTER, TRIT)
"""The themes of ours, beside those that Textual brings."""

_LIGHT_BACKGROUNDS = frozenset({"7", "15"})


def is_monochrome(environ: Mapping[str, str]) -> bool:
    """Whether the user asked for no colours; an empty NO_COLOR asks for nothing (no-color.org)."""
    return bool(environ.get("NO_COLOR"))


def forget_empty_wish(environ: MutableMapping[str, str]) -> None:
    """Take an empty NO_COLOR away: Textual would draw in grey for it."""
    if environ.get("NO_COLOR") == "":
        del environ["NO_COLOR"]


def initial_theme(environ: Mapping[str, str], wanted: str = "") -> str:
    """Return the theme that is wanted; else ours where the terminal shows true colours, else its own palette's.

    Without colours there are those of the terminal's own palette only, whatever is wanted. `COLORFGBG`, which rxvt,
    Konsole and others set, tells a light background.
    """
    is_light = environ.get("COLORFGBG", "").rpartition(";")[2] in _LIGHT_BACKGROUNDS
    plain = "ansi-light" if is_light else "ansi-dark"
    if is_monochrome(environ):
        return plain
    if wanted:
        return wanted
    colours = environ.get("TEXTUAL_COLOR_SYSTEM") or environ.get("COLORTERM", "")
    if colours.lower() not in {"truecolor", "24bit"}:
        return plain
    return LIGHT.name if is_light else CORRAL.name
