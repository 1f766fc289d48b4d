"""Modelfile templates: Go's text/template as Ollama runs it (spec g.1, g.2), fenced in like the Jinja ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Sized
from datetime import date, timedelta
from functools import lru_cache
from typing import Final, cast

import msgspec
from gotpl import ExecutionBudget, SandboxPolicy, Template, TemplateError
from gotpl.runtime.gofmt import sprintf

from corral.runtime.engine.protocol import Turn
from corral.runtime.errors import TemplateFailed
from corral.runtime.prompt.clock import TimeIsUp, time_limit
from corral.runtime.prompt.godata import go_calls, go_json, go_text, go_tools
from corral.runtime.prompt.gosource import LAST_FUNCTION, TEXT_FUNCTION, mentions, open_ended, printing
from corral.runtime.prompt.jinja import MOST_OUTPUT, RENDER_SECONDS
from corral.runtime.prompt.thinking import Think

DEFAULT_TEMPLATE: Final = "{{ .Prompt }}"

_TEMPLATES_KEPT: Final = 16
_WIDEST: Final = 9999
_WIDTH: Final = re.compile(r"\d{5}")
_TYPESCRIPT: Final = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def check_go(source: str) -> None:
    """Parse a template without running it. Raises TemplateFailed where it is broken."""
    try:
        _compile(_whole(source))
    except (TemplateError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TemplateFailed(f"template error: {reason}") from None


def render_go(
    source: str, turns: Sequence[Turn], think: Think = None, tools: Sequence[object] = (), suffix: str = ""
) -> str:
    """Render a conversation; with a `suffix`, the last message and what comes behind the place to be filled.

    `tools` are objects as clients send them. Raises TemplateFailed where the template is broken or makes too much.
    """
    try:
        with time_limit(RENDER_SECONDS):
            if suffix and turns and turns[-1].content:
                return _compile(_whole(source)).render(_inserting(turns[-1].content, suffix, think))
            merged = _collate(turns)
            if _in_messages(source):
                return _compile(source).render(_messages_data(merged, think, tools))
            return _render_legacy(_whole(source), merged, think)
    except TimeIsUp:
        raise TemplateFailed(f"the template took longer than {RENDER_SECONDS:g} s") from None
    except TemplateError as error:
        raise TemplateFailed(f"the template failed: {str(error).splitlines()[0]}") from None
    except (MemoryError, RecursionError) as error:
        raise TemplateFailed(f"the template failed: {type(error).__name__}") from None
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise TemplateFailed(f"the template failed: {error}") from None  # a stranger's expression on our data


@lru_cache(maxsize=_TEMPLATES_KEPT)
def _in_messages(source: str) -> bool:
    return mentions(source, "Messages")


@lru_cache(maxsize=_TEMPLATES_KEPT)
def _whole(source: str) -> str:
    """Give a template that has no place for the answer one."""
    return source if _in_messages(source) or mentions(source, "Response") else source + "{{ .Response }}"


@lru_cache(maxsize=_TEMPLATES_KEPT)
def _open_ended(source: str) -> str:
    return open_ended(source)


@lru_cache(maxsize=_TEMPLATES_KEPT)
def _compile(source: str) -> Template:
    functions: dict[str, Callable[..., object]] = {
        "eq": _equal,
        "ne": _unequal,
        "len": _length,
        "slice": _slice,
        "printf": _printf,
        LAST_FUNCTION: _is_last,
        "json": go_json,
        "currentDate": lambda *_: date.today().isoformat(),
        "yesterdayDate": lambda *_: (date.today() - timedelta(days=1)).isoformat(),
        "toTypeScriptType": _typescript_type,
        TEXT_FUNCTION: go_text,
    }
    budget = ExecutionBudget(
        max_output_chars=MOST_OUTPUT,
        max_iterations=1_000_000,
        max_template_depth=100,
        max_function_calls=1_000_000,
    )
    sandbox = SandboxPolicy(allow_functions=functions, default_budget=budget)
    return Template(printing(source), functions=functions, missing_key="zero", sandbox=sandbox, budget=budget)


def _collate(turns: Sequence[Turn]) -> list[Turn]:
    """Merge neighbours of the same role by a blank line, but for tools' answers."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and turn.role == merged[-1].role != "tool":
            last = merged[-1]
            merged[-1] = msgspec.structs.replace(
                last, content=f"{last.content}\n\n{turn.content}", tool_calls=last.tool_calls + turn.tool_calls
            )
        else:
            merged.append(turn)
    return merged


def _messages_data(turns: Sequence[Turn], think: Think, tools: Sequence[object]) -> dict[str, object]:
    messages = [
        {
            "Role": turn.role,
            "Content": turn.content,
            "Thinking": turn.thinking,
            "Images": None,
            "ToolCalls": go_calls(turn.tool_calls) if turn.tool_calls else None,
            "ToolName": turn.tool_name,
            "ToolCallID": turn.tool_call_id,
        }
        for turn in turns
    ]
    system = "\n\n".join(turn.content for turn in turns if turn.role == "system")
    shown = go_tools(tools) if tools else None
    return {"System": system, "Messages": messages, "Tools": shown, "Response": "", **_thinking(think)}


def _inserting(prompt: str, suffix: str, think: Think) -> dict[str, object]:
    return {"Prompt": prompt, "Suffix": suffix, "Response": "", **_thinking(think)}


def _thinking(think: Think) -> dict[str, object]:
    return {
        "Think": bool(think),
        "ThinkLevel": think if isinstance(think, str) else "",
        "IsThinkSet": think is not None,
    }


def _render_legacy(source: str, turns: Sequence[Turn], think: Think) -> str:
    """Render turn by turn; the last one ends where the answer goes, so that the model continues there."""
    parts: list[str] = []
    system = prompt = response = ""
    for turn in turns:
        if (turn.role == "system" and (prompt or response)) or (turn.role == "user" and response):
            parts.append(_render_turn(source, system, prompt, response, think))
            system = prompt = response = ""
        if turn.role == "system":
            system = turn.content
        elif turn.role == "user":
            prompt = turn.content
        elif turn.role == "assistant":
            response = turn.content
    parts.append(_render_turn(_open_ended(source), system, prompt, response, think))
    return "".join(parts)


def _render_turn(source: str, system: str, prompt: str, response: str, think: Think) -> str:
    said = {"System": system, "Prompt": prompt, "Response": response}
    return _compile(source).render({**said, **_thinking(think)})


# The functions that long chats call for each message. The library checks arguments by signature before every call but
# for `*values`, and its own versions check each value again: together a third of the time.


def _equal(*values: object) -> bool:
    first, *others = values
    return first in others


def _unequal(*values: object) -> bool:
    first, second = values
    return first != second


def _length(*values: object) -> int:
    """Count as Go does: a text's bytes."""
    (value,) = values
    return len(value.encode()) if isinstance(value, str) else len(cast(Sized, value))


def _slice(*values: object) -> object:
    """Cut a list or, by its bytes, a text. Raises IndexError and TypeError as Go panics."""
    value, *indexes = values
    whole = value.encode() if isinstance(value, str) else value
    if not isinstance(whole, bytes | list):
        raise TypeError(f"cannot slice {type(value).__name__}")
    start = indexes[0] if indexes else 0
    stop = indexes[1] if len(indexes) > 1 else len(whole)
    if not (type(start) is int and type(stop) is int and 0 <= start <= stop <= len(whole)):
        raise IndexError("slice index out of range")
    cut = whole[start:stop]
    return cut.decode(errors="replace") if isinstance(cut, bytes) else type(whole)(cut)


def _printf(*values: object) -> str:
    """Format as Go does, within a width: templates count by `len (printf "%*s" …)`. Raises ValueError beyond it."""
    pattern, *rest = values
    widths = [value for value in rest if isinstance(value, int)] if "*" in str(pattern) else []
    if _WIDTH.search(str(pattern)) or any(abs(width) > _WIDEST for width in widths):
        raise ValueError("it pads to too large a width")
    return sprintf(pattern, *rest)


def _is_last(*values: object) -> bool:
    """Stand for `eq (len (slice values index)) 1`."""
    sequence, index = values
    return _length(_slice(sequence, index)) == 1


def _typescript_type(prop: object) -> str:
    """Return a tool property's JSON schema type in TypeScript's words."""
    if not isinstance(prop, Mapping):
        return "any"
    if alternatives := prop.get("AnyOf"):
        return " | ".join(map(_typescript_type, alternatives))
    kinds = prop.get("Type") or []
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    return " | ".join(_TYPESCRIPT.get(str(name), "any") for name in names) or "any"
