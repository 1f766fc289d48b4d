"""DeepSeek V3.1 and Cogito, which share DeepSeek's marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.renderers.form import (
    Tool,
    arguments,
    begins_results,
    compact_json,
    ends_results,
    function_of,
    is_begun,
    leading_system,
    parameters_of,
    text_of,
    to_json,
)
from corral.runtime.prompt.thinking import Think

_BOS: Final = "<｜begin▁of▁sentence｜>"
_EOS: Final = "<｜end▁of▁sentence｜>"
_USER: Final = "<｜User｜>"
_ASSISTANT: Final = "<｜Assistant｜>"
_CALLS: Final = "<｜tool▁calls▁begin｜>"
_CALLS_END: Final = "<｜tool▁calls▁end｜>"
_CALL: Final = "<｜tool▁call▁begin｜>"
_CALL_END: Final = "<｜tool▁call▁end｜>"
_SEP: Final = "<｜tool▁sep｜>"
_RESULT: Final = "<｜tool▁output▁begin｜>"
_RESULT_END: Final = "<｜tool▁output▁end｜>"
_RULES: Final = f"""
IMPORTANT: ALWAYS adhere to this exact format for tool use:
{_CALLS}{_CALL}tool_call_name{_SEP}tool_call_arguments{_CALL_END}{{{{additional_tool_calls}}}}{_CALLS_END}

Where:

- `tool_call_name` must be an exact match to one of the available tools
- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema
- For multiple tool calls, chain them directly without separators or spaces
"""
_THOUGHTS: Final = re.compile(r"\A<think>.*?</think>", re.DOTALL)
_COGITO: Final = (
    "You are Cogito, an AI assistant created by Deep Cogito, which is an AI research lab based in San Francisco."
)


def deepseek31(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """DeepSeek V3.1: it thinks only where it is told to."""
    parts = [_BOS, "\n\n".join(turn.content for turn in turns if turn.role == "system"), _listed(tools)]
    said = [turn for turn in turns if turn.role in ("user", "assistant", "tool")]
    for index, turn in enumerate(said):
        before = said[index - 1].role if index else ""
        match turn.role:
            case "user":
                parts.append(f"{_USER}{turn.content}")
            case "tool":
                parts.append(f"{_RESULT}{turn.content}{_RESULT_END}")
            case _:
                begun = is_begun(turns, len(turns) - 1) and index == len(said) - 1
                if before == "user":
                    shown = think and turn.thinking and begun
                    parts.append(f"{_ASSISTANT}<think>{turn.thinking}</think>" if shown else f"{_ASSISTANT}</think>")
                parts.append(turn.content if before == "tool" else _THOUGHTS.sub("", turn.content))
                if begun:
                    return "".join(parts)
                parts.append(_calls(f"{call.name}{_SEP}{compact_json(arguments(call))}" for call in turn.tool_calls))
                parts.append(_EOS)
    if said and said[-1].role == "user":
        parts.append(_ASSISTANT + ("<think>" if think else "</think>"))
    return "".join(parts)


def cogito(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Cogito: thinking is switched on by the first words of its system message."""
    system, said = leading_system(turns)
    told = f"Enable deep thinking subroutine.\n\n{_COGITO}" if think else _COGITO
    if system:
        told += f"\n\n{system}" + ("\n\n" if think else "")
    if tools:
        listed = "".join(f"```json\n{to_json(tool, indent=4)}\n```\n" for tool in tools)
        told += f"\nYou have the following functions available:\n{listed}"
    parts = [_BOS, told]
    for index, turn in enumerate(said):
        match turn.role:
            case "user":
                parts.append(f"{_USER}{turn.content}{_ASSISTANT}")
            case "assistant" if turn.tool_calls:
                calls = _calls(
                    (
                        f"function{_SEP}{call.name}\n```json\n{compact_json(arguments(call))}\n```"
                        for call in turn.tool_calls
                    ),
                    between="\n",
                )
                parts.append(f"{turn.content}{calls}{_EOS}")
            case "assistant" if index == len(said) - 1:
                return "".join(parts) + turn.content
            case "assistant":
                parts.append(turn.content + _EOS)
            case "tool":
                parts.append("<｜tool▁outputs▁begin｜>" if begins_results(said, index) else "\n")
                parts.append(f"{_RESULT}{turn.content}{_RESULT_END}")
                parts.append("<｜tool▁outputs▁end｜>" if ends_results(said, index) else "")
    if not said or said[-1].role != "user":
        parts.append(_ASSISTANT)
    return "".join([*parts, "<think>\n" if think else ""])


def _listed(tools: Sequence[Tool]) -> str:
    """Describe tools, and how to call them, as DeepSeek reads it."""
    entries = []
    for tool in tools:
        function = function_of(tool)
        name, described = text_of(function.get("name")), text_of(function.get("description"))
        entries.append(f"\n### {name}\nDescription: {described}\n\nParameters: {to_json(parameters_of(tool))}\n")
    return f"\n\n## Tools\nYou have access to the following tools:\n{''.join(entries)}{_RULES}" if tools else ""


def _calls(calls: Iterable[str], *, between: str = "") -> str:
    """Put marks around calls, none around nothing."""
    inner = between.join(f"{_CALL}{call}{_CALL_END}" for call in calls)
    return f"{_CALLS}{inner}{_CALLS_END}" if inner else ""
