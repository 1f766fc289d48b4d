"""Colours: our own dark theme, and which theme a terminal starts with."""

from __future__ import annotations

from collections.abc import Mapping

from textual.theme import Theme

__all__ = ["CORRAL", "initial_theme", "is_monochrome"]

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


def is_monochrome(environ: Mapping[str, str]) -> bool:
    """Whether the user asked for no colours; an empty NO_COLOR asks for nothing (no-color.org)."""
    return bool(environ.get("NO_COLOR"))


def initial_theme(environ: Mapping[str, str]) -> str:
    """Return our theme where the terminal shows true colours, else the one of the terminal's own palette."""
    if is_monochrome(environ) or environ.get("COLORTERM", "").lower() not in {"truecolor", "24bit"}:
        return "ansi-dark"
    return CORRAL.name
