"""Muse Glimmer: messages to somebody, itself, a tool or the user; calls in tags (its published chat template)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.prompt.renderers.form import (
    Tool,
    arguments,
    function_of,
    is_begun,
    parameters_of,
    text_of,
    to_json,
    value_text,
)
from corral.runtime.prompt.thinking import Think

_STRENGTHS: Final = {"low": "low", "medium": "medium", "max": "xhigh"}
_TAUGHT: Final = """\
In this environment you have access to a set of tools you can use to answer the user's question.

You can invoke a function by writing a "<atem:function_calls>" block like the following:
<atem:function_calls>
<atem:invoke name="$FUNCTION_NAME">
<atem:parameter name="$PARAMETER_NAME">$PARAMETER_VALUE</atem:parameter>
...
</atem:invoke>
</atem:function_calls>

String and scalar parameters should be specified as is, while lists and objects should use JSON format. Note that \
spaces for string values are not stripped. The output is not expected to be valid XML and is parsed with regular \
expressions.
Here are the functions available in JSONSchema format:
// Tool metadata
"""
_EXAMPLE: Final = """

Here's an example of how to call a function in the tool set:
(If the tool namespace is not specified, invoke the function directly as `example_function_name` rather than \
`example_tool_name.example_function_name`)

to=example_tool_name.example_function_name

<atem:function_calls>
<atem:invoke name="example_tool_name.example_function_name">
<atem:parameter name="example_parameter_1">value_1</atem:parameter>
<atem:parameter name="example_parameter_2">This is the value for the second parameter
that can span
"multiple" lines
</atem:parameter>
</atem:invoke>
</atem:function_calls>"""


def glimmer(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Write a conversation; it thinks hard where nothing is said of it, and keeps the thoughts of old answers."""
    strength = "none" if think is False else _STRENGTHS.get(str(think), "high")
    told = f"\n\nReasoning strength: {strength}.\n\n{_offer(tools)}"
    parts = ["<|begin_of_text|>"]
    if not any(turn.role in ("system", "developer") for turn in turns):
        today = date.today().isoformat()
        default = f"You are a helpful AI assistant.\nKnowledge cutoff: 2026-01-04.\nCurrent date: {today}."
        parts.append(_message("system", default + told))
    names: dict[str, str] = {}
    for index, turn in enumerate(turns):
        match turn.role:
            case "system" | "developer":
                parts.append(_message("system", turn.content + told))
            case "assistant":
                names |= {call.id: call.name for call in turn.tool_calls}
                if turn.thinking:
                    parts.append(_message("assistant to=self", turn.thinking, "<|eom|>"))
                if is_begun(turns, index):
                    return "".join([*parts, _message("assistant to=user", turn.content, "")])
                goes_on = index + 1 < len(turns) and turns[index + 1].role == "assistant"
                parts += [_message(f"assistant to={call.name}", _call(call), "<|eom|>") for call in turn.tool_calls]
                if not turn.tool_calls:
                    parts.append(_message("assistant to=user", turn.content))
                elif not goes_on:
                    parts[-1] = parts[-1].removesuffix("<|eom|>") + "<|eot|>"
            case "tool":
                name = turn.tool_name or names.get(turn.tool_call_id, turn.tool_call_id)
                parts.append(_message(f"tool {name}", f'<tool_output name="{name}">\n{turn.content}\n</tool_output>'))
            case role:
                parts.append(_message(role, turn.content))
    return "".join([*parts, "<|start|>assistant"])


def _message(header: str, content: str, end: str = "<|eot|>") -> str:
    return f"<|start|>{header}<|message|>{content}{end}"


def _call(call: ToolCall) -> str:
    given = "".join(
        f'<atem:parameter name="{name}">{value_text(value)}</atem:parameter>\n'
        for name, value in arguments(call).items()
    )
    return f'<atem:function_calls>\n<atem:invoke name="{call.name}">\n{given}</atem:invoke>\n</atem:function_calls>'


def _offer(tools: Sequence[Tool]) -> str:
    """Tell of the tools, where there are any, and to whom messages may go: a tool's name begins with its namespace."""
    spaces = dict.fromkeys(text_of(function_of(tool).get("name")).partition(".")[0] for tool in tools)
    to = ", ".join(['"self"', *(f'"{space}.*"' for space in spaces), '"user"'])
    recipients = f"# Valid recipients: {to}."
    if not tools:
        return recipients
    metadata = "".join(f'{{"name": {to_json(space)}, "description": ""}}\n' for space in spaces)
    schemas = "".join(f"\n{_schema(tool)}" for tool in tools)
    return f"{_TAUGHT}{metadata}// Function schemas{schemas}{_EXAMPLE}\n\n{recipients}"


def _schema(tool: Tool) -> str:
    function = function_of(tool)
    name, description = (to_json(text_of(function.get(key))) for key in ("name", "description"))
    return f'{{"name": {name}, "description": {description}, "parameters": {to_json(parameters_of(tool))}}}'
