"""GLM-4.7 and GLM-OCR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.renderers.form import Tool, begins_results, to_json
from corral.runtime.prompt.renderers.tags import keyed_call
from corral.runtime.prompt.thinking import Think

_CALLS: Final = (
    "For each function call, output the function name and arguments within the following XML format:\n"
    "<tool_call>{function-name}<arg_key>{arg-key-1}</arg_key><arg_value>{arg-value-1}</arg_value>"
    "<arg_key>{arg-key-2}</arg_key><arg_value>{arg-value-2}</arg_value>...</tool_call>"
)


def glm47(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """GLM-4.7: it thinks where nothing is said of it, and keeps the thoughts of old answers."""
    parts = ["[gMASK]<sop>", _tools(tools)]
    for index, turn in enumerate(turns):
        match turn.role:
            case "user" | "system" as role:
                parts.append(f"<|{role}|>{turn.content}")
            case "assistant":
                thoughts = f"<think>{turn.thinking}</think>" if turn.thinking else "</think>"
                parts.append(f"<|assistant|>{thoughts}{turn.content}{''.join(map(keyed_call, turn.tool_calls))}")
                if index == len(turns) - 1 and not turn.tool_calls:
                    return "".join(parts)
            case "tool":
                parts.append("<|observation|>" if begins_results(turns, index) else "")
                parts.append(f"<tool_response>{turn.content}</tool_response>")
    thinks = think is None or bool(think)
    return "".join([*parts, "<|assistant|>", "<think>" if thinks else "</think>"])


def glm_ocr(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """GLM-OCR: it thinks unless each question says not to."""
    silent = think is not None and not think
    parts = ["[gMASK]<sop>", _tools(tools)]
    for index, turn in enumerate(turns):
        match turn.role:
            case "user":
                told = "/nothink" if silent and not turn.content.endswith("/nothink") else ""
                parts.append(f"<|user|>\n{turn.content}{told}")
            case "system":
                parts.append(f"<|system|>\n{turn.content}\n")
            case "assistant":
                parts.append(f"<|assistant|>\n<think>{turn.thinking.strip()}</think>")
                parts.append(f"\n{turn.content.strip()}" if turn.content else "")
                parts += [f"\n{keyed_call(call)}" for call in turn.tool_calls]
                if index == len(turns) - 1 and not turn.tool_calls:
                    return "".join(parts)
                parts.append("\n")
            case "tool":
                parts.append("<|observation|>" if begins_results(turns, index) else "")
                parts.append(f"\n<tool_response>\n{turn.content}\n</tool_response>\n")
    return "".join([*parts, "<|assistant|>\n", "<think></think>\n" if silent else ""])


def _tools(tools: Sequence[Tool]) -> str:
    if not tools:
        return ""
    listed = "".join(f"{to_json(tool)}\n" for tool in tools)
    return (
        "<|system|>\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n"
        f"<tools>\n{listed}</tools>\n\n{_CALLS}"
    )
