"""Cohere's Command A of 2026 and North: every text, thought, action and result between marks of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.renderers.form import (
    Tool,
    arguments,
    begins_results,
    ends_results,
    function_of,
    leading_system,
    parameters_of,
    text_of,
    to_json,
)
from corral.runtime.prompt.thinking import Think

_TURN: Final = "<|START_OF_TURN_TOKEN|>"
_END: Final = "<|END_OF_TURN_TOKEN|>"


def cohere(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Write a conversation; calls are numbered through it, and it thinks where nothing is said of it.

    Lines are as the makers' template breaks them the way Hugging Face renders it (`trim_blocks`, `lstrip_blocks`);
    Ollama has the empty lines of that template's source in between.
    """
    system, said = leading_system(turns)
    told = (f"{system}\n\n\n\n" if system else "") + _tools(tools)
    parts = [f"<BOS_TOKEN>{_TURN}<|SYSTEM_TOKEN|>{_text(told)}{_END}"]
    numbers: dict[str, str] = {}
    count = answered = 0
    for index, turn in enumerate(said):
        match turn.role:
            case "assistant":
                thoughts = f"<|START_THINKING|>{turn.thinking}<|END_THINKING|>" if turn.thinking else ""
                parts.append(f"{_TURN}<|CHATBOT_TOKEN|>")
                if not turn.tool_calls and index == len(said) - 1:
                    return "".join(parts) + f"{thoughts}<|START_TEXT|>{turn.content}"
                if not turn.tool_calls:
                    parts.append(f"{thoughts}{_text(turn.content)}{_END}")
                    continue
                calls = []
                answered = count
                for call in turn.tool_calls:
                    numbers.setdefault(call.id, str(count))
                    given = to_json(arguments(call))
                    calls.append(
                        f'\n    {{"tool_call_id": "{count}", "tool_name": "{call.name}", "parameters": {given}}}'
                    )
                    count += 1
                parts.append(f"{thoughts}<|START_ACTION|>[{','.join(calls)}\n]<|END_ACTION|>{_END}")
            case "tool":
                number = numbers.get(turn.tool_call_id, str(answered)) if turn.tool_call_id else str(answered)
                answered += 1
                parts.append(f"{_TURN}<|SYSTEM_TOKEN|><|START_TOOL_RESULT|>[" if begins_results(said, index) else ",")
                parts.append(_result(number, turn))
                parts.append(f"\n]<|END_TOOL_RESULT|>{_END}" if ends_results(said, index) else "")
            case role:
                mark = "<|USER_TOKEN|>" if role == "user" else "<|SYSTEM_TOKEN|>"
                parts.append(f"{_TURN}{mark}{_text(turn.content)}{_END}")
    thinks = think is None or bool(think)
    return "".join([*parts, f"{_TURN}<|CHATBOT_TOKEN|><|START_THINKING|>", "" if thinks else "<|END_THINKING|>"])


def _text(content: str) -> str:
    return f"<|START_TEXT|>{content}<|END_TEXT|>"


def _tools(tools: Sequence[Tool]) -> str:
    entries = ",".join(f"\n    {_tool(tool)}" for tool in tools) or "\n"
    return f"# Available Tools\n```json\n[{entries}\n]\n```"


def _tool(tool: Tool) -> str:
    function = function_of(tool)
    described = {
        "name": text_of(function.get("name")),
        "description": text_of(function.get("description")),
        "parameters": parameters_of(tool),
        "responses": None,
    }
    return to_json(described)


def _result(number: str, turn: Turn) -> str:
    content = to_json({"content": turn.content})
    return (
        f'\n    {{\n        "tool_call_id": "{number}",\n'
        f'        "results": {{\n            "0": {content}\n'
        '        },\n        "is_error": null\n    }'
    )
