"""LFM2: ChatML with its own marks around tools and calls."""

from __future__ import annotations

from collections.abc import Sequence

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.renderers.form import (
    OPEN,
    Tool,
    arguments,
    chatml,
    function_of,
    is_begun,
    leading_system,
    to_json,
)
from corral.runtime.prompt.thinking import Think


def lfm2(turns: Sequence[Turn], tools: Sequence[Tool], think: Think, *, thinks: bool) -> str:
    """LFM2; thoughts of old answers are kept only where a model that `thinks` is told to think."""
    system, said = leading_system(turns)
    if tools:
        listed = ", ".join(to_json(function_of(tool) or tool) for tool in tools)
        system += ("\n" if system else "") + f"List of tools: <|tool_list_start|>[{listed}]<|tool_list_end|>"
    parts = ["<|startoftext|>", chatml("system", system) if system else ""]
    keeps = thinks and bool(think)
    latest = max((index for index, turn in enumerate(said) if turn.role == "assistant"), default=-1)
    for index, turn in enumerate(said):
        content = turn.content
        if turn.role == "assistant" and not keeps and index != latest and "</think>" in content:
            content = content.rpartition("</think>")[2].strip()
        if turn.role == "assistant" and turn.tool_calls:
            content = _calls(turn) + content
        if turn.role == "tool":
            content = f"<|tool_response_start|>{content}<|tool_response_end|>"
        if is_begun(said, index):
            return "".join(parts) + f"{OPEN}assistant\n{content}"
        parts.append(chatml(turn.role, content))
    return "".join([*parts, f"{OPEN}assistant\n"])


def _calls(turn: Turn) -> str:
    calls = []
    for call in turn.tool_calls:
        given = ",".join(f"{name}={to_json(value)}" for name, value in sorted(arguments(call).items()))
        calls.append(f"{call.name}({given})")
    return f"<|tool_call_start|>[{','.join(calls)}]<|tool_call_end|>"
