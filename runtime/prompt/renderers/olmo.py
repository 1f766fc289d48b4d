"""OLMo 3 and 3.1: ChatML that says in its system message whether there are functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.prompt.renderers.form import OPEN, Tool, arguments, chatml, compact_json, is_begun, to_json
from corral.runtime.prompt.thinking import Think

_OLMO: Final = (
    "You are Olmo, a helpful AI assistant built by Ai2. Your date cutoff is December 2024, and your model weights are "
    "available at https://huggingface.co/allenai."
)
OLMO3_SYSTEM: Final = "You are a helpful function-calling AI assistant. "
OLMO31_SYSTEM: Final = f"{_OLMO} "
OLMO31_THINK: Final = _OLMO
OLMO3_32B_THINK: Final = "You are a helpful AI assistant."
_NO_FUNCTIONS: Final = "You do not currently have access to any functions. <functions></functions>"
_FUNCTIONS: Final = (
    "You are provided with function signatures within <functions></functions> XML tags. You may call one or more "
    "functions to assist with the user query. Output any function calls within <function_calls></function_calls> XML "
    "tags. Do not make assumptions about what values to plug into functions."
)


def olmo3(turns: Sequence[Turn], tools: Sequence[Tool], think: Think, *, system: str) -> str:
    """OLMo 3 Instruct; `system` is what it is told where nobody tells it anything."""
    own, said = _first_system(turns)
    listed = f"<functions>{to_json(list(tools))}</functions>" if tools else ""
    told = own + listed if own is not None else system + (_FUNCTIONS + listed if tools else _NO_FUNCTIONS)
    parts = [chatml("system", told)]
    for index, turn in enumerate(said):
        match turn.role:
            case "user":
                parts.append(chatml("user", turn.content))
            case "assistant":
                calls = "\n".join(_call(call) for call in turn.tool_calls)
                body = turn.content + (f"<function_calls>{calls}</function_calls>" if calls else "")
                if is_begun(said, index):
                    return "".join(parts) + f"{OPEN}assistant\n{body}"
                parts.append(chatml("assistant", body))
            case "tool":
                parts.append(chatml("environment", turn.content))
    return "".join([*parts, f"{OPEN}assistant\n"])


def olmo3_think(turns: Sequence[Turn], tools: Sequence[Tool], think: Think, *, system: str) -> str:
    """OLMo 3 Think: it always thinks and knows no tools."""
    own, said = _first_system(turns)
    parts = [chatml("system", f"{own} {_NO_FUNCTIONS}" if own is not None else system)]
    parts += [chatml(turn.role, turn.content) for turn in said if turn.role in ("user", "assistant")]
    return "".join([*parts, f"{OPEN}assistant\n<think>"])


def _first_system(turns: Sequence[Turn]) -> tuple[str | None, list[Turn]]:
    own = next((turn.content for turn in turns if turn.role == "system"), None)
    return own, [turn for turn in turns if turn.role != "system"]


def _call(call: ToolCall) -> str:
    given = ", ".join(f"{name}={compact_json(value)}" for name, value in sorted(arguments(call).items()))
    return f"{call.name}({given})"
