"""What a Jinja chat template understands, found out by rendering small conversations with it.

Templates differ in ways that nothing declares: some know no system message, some want a call's arguments as text.
llama.cpp asks them the same way (`minja::chat_template`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final

from corral.runtime.errors import TemplateFailed
from corral.runtime.prompt.jinja import TemplateTooSlow, render_jinja

_NEEDLE: Final = "corral_needle"
_KEPT: Final = 16


class Arguments(Enum):
    """How a template wants a call's arguments."""

    OBJECT = auto()
    TEXT = auto()


class ToolPlace(Enum):
    """Where a template finds the tools: by their own name, or in its system message, as objects or as text."""

    VARIABLE = auto()
    SYSTEM = auto()
    SYSTEM_TEXT = auto()


@dataclass(frozen=True, slots=True)
class CallStyle:
    """How a template reads a message with calls; with `bare` it wants no content where there is none."""

    arguments: Arguments
    bare: bool


@lru_cache(maxsize=_KEPT)
def knows_system(source: str) -> bool:
    """Say whether a system message is found in the prompt."""
    return _NEEDLE in _try(source, [_said("system", _NEEDLE), _said("user", "hi")])


@lru_cache(maxsize=_KEPT)
def knows_later_systems(source: str) -> bool:
    """Say whether several system messages are all found in the prompt; many take the first alone, or the last."""
    first, second = f"{_NEEDLE}_1", f"{_NEEDLE}_2"
    said = [_said("system", first), _said("user", "hi"), _said("assistant", "yes"), _said("system", second)]
    text = _try(source, [*said, _said("user", "hi")])
    return first in text and second in text


@lru_cache(maxsize=_KEPT)
def wants_parts(source: str) -> bool:
    """Say whether a message's content must be a list of parts."""
    if _NEEDLE in _try(source, [_said("user", _NEEDLE)]):
        return False
    parts = [{"type": "text", "text": _NEEDLE}]
    return _NEEDLE in _try(source, [{"role": "user", "content": parts}])


@lru_cache(maxsize=_KEPT)
def knows_results(source: str) -> bool:
    """Say whether a tool's message is found in the prompt."""
    style = call_style(source) or CallStyle(Arguments.OBJECT, bare=False)
    call = call_object("corral_tool", {}, "{}", "call00000", style)
    asked = _called(call, style)
    return _NEEDLE in _try(source, [_said("user", "hi"), asked, _answer(_NEEDLE)])


@lru_cache(maxsize=_KEPT)
def tool_place(source: str) -> ToolPlace:
    """Say where tools are to be given: in the system message only where the template finds them nowhere else."""
    function = {"name": _NEEDLE, "description": "x", "parameters": {"type": "object", "properties": {}}}
    tools: list[object] = [{"type": "function", "function": function}]
    if "tools" not in source or _NEEDLE in _try(source, [_said("system", "x"), _said("user", "hi")], tools):
        return ToolPlace.VARIABLE
    for place, given in ((ToolPlace.SYSTEM, tools), (ToolPlace.SYSTEM_TEXT, _NEEDLE)):
        if _NEEDLE in _try(source, [{**_said("system", "x"), "tools": given}, _said("user", "hi")]):
            return place
    return ToolPlace.VARIABLE


@lru_cache(maxsize=_KEPT)
def call_style(source: str) -> CallStyle | None:
    """Say how calls are to be given, None where no way brings them into the prompt."""
    styles = [CallStyle(arguments, bare) for arguments in Arguments for bare in (False, True)]
    for style in styles:
        call = call_object("corral_tool", {_NEEDLE: "x"}, '{"corral_needle": "x"}', "call00000", style)
        message = _called(call, style)
        text = _try(source, [_said("user", "hi"), message, _answer("x")]) or _try(
            source, [_said("user", "hi"), message]
        )
        if _NEEDLE in text and f"'{_NEEDLE}':" not in text and f'\\"{_NEEDLE}\\":' not in text:
            return style
    return None


def call_object(
    name: str, arguments: Mapping[str, object], text: str, call_id: str, style: CallStyle
) -> dict[str, object]:
    """Return a call as a template wants it."""
    given = arguments if style.arguments is Arguments.OBJECT else text
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": given}}


def _called(call: Mapping[str, object], style: CallStyle) -> dict[str, object]:
    return {"role": "assistant", "content": None if style.bare else "", "tool_calls": [call]}


def _answer(content: str) -> dict[str, object]:
    return {"role": "tool", "content": content, "name": "corral_tool", "tool_call_id": "call00000"}


def _said(role: str, content: str) -> dict[str, object]:
    return {"role": role, "content": content}


def _try(source: str, messages: list[dict[str, object]], offered: list[object] | None = None) -> str:
    """Render, "" where the template refuses. Raises TemplateTooSlow."""
    variables = {"messages": messages, "add_generation_prompt": True, "bos_token": "", "eos_token": ""}
    choices: tuple[list[object] | None, ...] = (None, []) if offered is None else (offered,)
    for tools in choices:
        try:
            return render_jinja(source, {**variables, "tools": tools})
        except TemplateTooSlow:
            raise
        except TemplateFailed:
            continue
    return ""
