"""Modelfile templates: Go's text/template as Ollama runs it (spec g.1, g.2), fenced in like the Jinja ones."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

import msgspec
from gotpl import ExecutionBudget, SandboxPolicy, Template, TemplateError

from corral.runtime.engine.protocol import Turn
from corral.runtime.errors import TemplateFailed
from corral.runtime.prompt.clock import TimeIsUp, time_limit
from corral.runtime.prompt.jinja import MOST_OUTPUT, RENDER_SECONDS
from corral.runtime.prompt.thinking import Think

DEFAULT_TEMPLATE: Final = "{{ .Prompt }}"

_ACTION: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_USES_MESSAGES: Final = re.compile(r"\.Messages\b")
_USES_RESPONSE: Final = re.compile(r"\.Response\b")
_ASKS_RESPONSE: Final = re.compile(r"\b(?:if|with)\b[^}]*\.Response\b")
_WIDE_FORMAT: Final = re.compile(r"%[^A-Za-z%]*(?:\d{5}|\*)")
_CUT: Final = "\ue000corral-response\ue001"
_GO_ESCAPES: Final = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}
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
        _compile(source)
    except (TemplateError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TemplateFailed(f"template error: {reason}") from None


def render_go(source: str, turns: Sequence[Turn], think: Think = None) -> str:
    """Render a conversation. Raises TemplateFailed where the template is broken or makes too much."""
    try:
        with time_limit(RENDER_SECONDS):
            template = _compile(source)
            merged = _collate(turns)
            if _mentions(source, _USES_MESSAGES):
                return template.render(_messages_data(merged, think))
            return _render_legacy(template, merged, think)
    except TimeIsUp:
        raise TemplateFailed(f"the template took longer than {RENDER_SECONDS:g} s") from None
    except TemplateError as error:
        raise TemplateFailed(f"the template failed: {str(error).splitlines()[0]}") from None
    except (MemoryError, RecursionError) as error:
        raise TemplateFailed(f"the template failed: {type(error).__name__}") from None
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise TemplateFailed(f"the template failed: {error}") from None  # a stranger's expression on our data


@lru_cache(maxsize=4)
def _compile(source: str) -> Template:
    if not _mentions(source, _USES_MESSAGES) and not _mentions(source, _USES_RESPONSE):
        source += "{{ .Response }}"
    if _mentions(source, _WIDE_FORMAT):
        raise TemplateFailed("the template was stopped: it pads to too large a width")
    functions = {
        "json": _go_json,
        "currentDate": lambda *_: date.today().isoformat(),
        "yesterdayDate": lambda *_: (date.today() - timedelta(days=1)).isoformat(),
        "toTypeScriptType": _typescript_type,
    }
    budget = ExecutionBudget(
        max_output_chars=MOST_OUTPUT,
        max_iterations=1_000_000,
        max_template_depth=100,
        max_function_calls=1_000_000,
    )
    sandbox = SandboxPolicy(allow_functions=functions, default_budget=budget)
    return Template(source, functions=functions, missing_key="zero", sandbox=sandbox, budget=budget)


def _mentions(source: str, pattern: re.Pattern[str]) -> bool:
    return any(pattern.search(action) for action in _ACTION.findall(source))


def _collate(turns: Sequence[Turn]) -> list[Turn]:
    """Merge neighbours of the same role by a blank line, but for tools' answers."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and turn.role == merged[-1].role != "tool":
            merged[-1] = msgspec.structs.replace(merged[-1], content=f"{merged[-1].content}\n\n{turn.content}")
        else:
            merged.append(turn)
    return merged


def _messages_data(turns: Sequence[Turn], think: Think) -> dict[str, object]:
    messages = [
        {
            "Role": turn.role,
            "Content": turn.content,
            "Thinking": turn.thinking,
            "Images": None,
            "ToolCalls": None,
            "ToolName": "",
            "ToolCallID": "",
        }
        for turn in turns
    ]
    system = "\n\n".join(turn.content for turn in turns if turn.role == "system")
    return {**_data(system, "", "", think), "Messages": messages}


def _data(system: str, prompt: str, response: str, think: Think) -> dict[str, object]:
    return {
        "System": system,
        "Prompt": prompt,
        "Response": response,
        "Suffix": "",
        "Messages": None,
        "Tools": None,
        "Think": bool(think),
        "ThinkLevel": think if isinstance(think, str) else "",
        "IsThinkSet": think is not None,
    }


def _render_legacy(template: Template, turns: Sequence[Turn], think: Think) -> str:
    """Render turn by turn; the last one ends where the answer goes, so that the model continues there."""
    parts: list[str] = []
    system = prompt = response = ""
    for turn in turns:
        if (turn.role == "system" and (prompt or response)) or (turn.role == "user" and response):
            parts.append(template.render(_data(system, prompt, response, think)))
            system = prompt = response = ""
        if turn.role == "system":
            system = turn.content
        elif turn.role == "user":
            prompt = turn.content
        elif turn.role == "assistant":
            response = turn.content
    parts.append(_open_ended(template, system, prompt, response, think))
    return "".join(parts)


def _open_ended(template: Template, system: str, prompt: str, response: str, think: Think) -> str:
    """Render up to the place of the answer and put there what is already said of it."""
    if not response and _mentions(template.source, _ASKS_RESPONSE):
        return template.render(_data(system, prompt, "", think))  # a branch that asks for an answer is not taken
    text = template.render(_data(system, prompt, _CUT, think))
    before, cut, _ = text.partition(_CUT)
    return before + response if cut else text


def _go_json(value: object) -> str:
    """Print compact JSON as Go's encoder does: keys sorted, what could be HTML escaped."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return "".join(_GO_ESCAPES.get(character, character) for character in text)


def _typescript_type(prop: object) -> str:
    """Return a tool property's JSON schema type in TypeScript's words."""
    if not isinstance(prop, Mapping):
        return "any"
    if alternatives := prop.get("AnyOf"):
        return " | ".join(map(_typescript_type, alternatives))
    kinds = prop.get("Type") or []
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    return " | ".join(_TYPESCRIPT.get(str(name), "any") for name in names) or "any"
