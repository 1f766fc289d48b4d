"""Qwen3-Coder, Qwen3-VL and Qwen3.5, which share ChatML and differ in how tools and thoughts are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.prompt.renderers.form import (
    CLOSE,
    OPEN,
    Tool,
    arguments,
    begins_results,
    chatml,
    ends_results,
    function_of,
    is_begun,
    leading_system,
    parameters_of,
    properties_of,
    text_of,
    to_json,
    value_text,
)
from corral.runtime.prompt.thinking import Think

CALL_RULES: Final = """

If you choose to call a function ONLY reply in the following format with NO suffix:

<tool_call>
<function=example_function_name>
<parameter=example_parameter_1>
value_1
</parameter>
<parameter=example_parameter_2>
This is the value for the second parameter
that can span
multiple lines
</parameter>
</function>
</tool_call>

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within \
<tool_call></tool_call> XML tags
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after
- If there is no function call available, answer the question like normal with your current knowledge and do not tell \
the user about function calls
</IMPORTANT>"""
"""What Qwen and Nemotron are told of calls that look like tags."""

_CODER_SYSTEM: Final = "You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks."
_JSON_TOOLS: Final = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>"""
_JSON_CALLS: Final = """
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""
_NO_THOUGHTS: Final = "<think>\n\n</think>\n\n"


def qwen3_coder(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Qwen3-Coder: it never thinks, and the first system message is the only one."""
    system = next((turn.content for turn in turns if turn.role == "system"), "")
    said = [turn for turn in turns if turn.role != "system"]
    parts = []
    if system or tools:
        listed = f"\n\n# Tools\n\nYou have access to the following functions:\n\n{_tagged(tools)}{CALL_RULES}"
        parts.append(chatml("system", (system or _CODER_SYSTEM) + (listed if tools else "")))
    for index, turn in enumerate(said):
        match turn.role:
            case "assistant" if turn.tool_calls:
                calls = "".join(f"\n{_coder_call(call)}" for call in turn.tool_calls)
                parts.append(chatml("assistant", (f"{turn.content}\n" if turn.content else "") + calls))
            case "assistant" if is_begun(said, index):
                return "".join(parts) + f"{OPEN}assistant\n{turn.content}"
            case "tool":
                parts.append(f"{OPEN}user\n" if begins_results(said, index) else "")
                parts.append(f"<tool_response>\n{turn.content}\n</tool_response>\n")
                parts.append(f"{CLOSE}\n" if ends_results(said, index) else "")
            case role:
                parts.append(chatml(role, turn.content))
    return "".join([*parts, f"{OPEN}assistant\n"])


def qwen3_vl(turns: Sequence[Turn], tools: Sequence[Tool], think: Think, *, thinks: bool) -> str:
    """Qwen3-VL; `thinks` is what it does where nothing is said of it."""
    thinks = thinks if think is None else bool(think)
    system, _ = leading_system(turns)
    begins = bool(turns) and turns[0].role == "system"
    parts = []
    if tools:
        listed = "".join(f"\n{to_json(tool)}" for tool in tools)
        parts.append(chatml("system", (f"{system}\n\n" if begins else "") + _JSON_TOOLS + listed + _JSON_CALLS))
    elif begins:
        parts.append(chatml("system", system))
    asked = _last_question(turns)
    for index, turn in enumerate(turns):
        match turn.role:
            case "assistant":
                last = index == len(turns) - 1
                body = turn.content
                if thinks and index > asked and (last or turn.thinking):
                    body = "<think>\n" + turn.thinking.strip("\n")
                    body += "\n</think>\n\n" + turn.content.lstrip("\n") if turn.content else ""
                for number, call in enumerate(turn.tool_calls):
                    body += "\n" if number or turn.content else ""
                    body += (
                        f'<tool_call>\n{{"name": "{call.name}", "arguments": {to_json(arguments(call))}}}\n</tool_call>'
                    )
                if is_begun(turns, index):
                    return "".join(parts) + f"{OPEN}assistant\n{body}"
                parts.append(chatml("assistant", body))
            case "tool":
                parts.append(_result(turns, index))
            case "system" if index == 0:
                pass
            case role:
                parts.append(chatml(role, turn.content))
    return "".join([*parts, f"{OPEN}assistant\n", "<think>\n" if thinks else ""])


def qwen35(turns: Sequence[Turn], tools: Sequence[Tool], think: Think, *, shows_all: bool = False) -> str:
    """Qwen3.5: it thinks where nothing is said of it; with `shows_all` old answers keep their thoughts."""
    thinks = think is None or bool(think)
    system, _ = leading_system(turns)
    system = system.strip()
    parts = []
    if tools:
        listed = "".join(f"\n{to_json(tool)}" for tool in tools)
        told = f"# Tools\n\nYou have access to the following functions:\n\n<tools>{listed}\n</tools>{CALL_RULES}"
        parts.append(chatml("system", told + (f"\n\n{system}" if system else "")))
    elif turns and turns[0].role == "system":
        parts.append(chatml("system", system))
    asked = _last_question(turns)
    for index, turn in enumerate(turns):
        match turn.role:
            case "assistant":
                thoughts, content = _split(turn)
                body = f"<think>\n{thoughts}\n</think>\n\n{content}" if index > asked or shows_all else content
                for number, call in enumerate(turn.tool_calls):
                    body += "\n" if number else "\n\n" if content.strip() else ""
                    body += _call(call)
                if is_begun(turns, index):
                    return "".join(parts) + f"{OPEN}assistant\n{body}"
                parts.append(chatml("assistant", body))
            case "tool":
                parts.append(_result(turns, index))
            case "system" if index == 0:
                pass
            case role:
                parts.append(chatml(role, turn.content.strip()))
    return "".join([*parts, f"{OPEN}assistant\n", "<think>\n" if thinks else _NO_THOUGHTS])


def tagged_parameter(name: str, value: object) -> str:
    """Return one argument of a call that looks like tags."""
    return f"<parameter={name}>\n{value_text(value)}\n</parameter>\n"


def _tagged(tools: Sequence[Tool]) -> str:
    """List tools as Qwen3-Coder reads them."""
    parts = ["<tools>"]
    for tool in tools:
        function = function_of(tool)
        parts.append(f"\n<function>\n<name>{text_of(function.get('name'))}</name>")
        if description := text_of(function.get("description")):
            parts.append(f"\n<description>{description}</description>")
        parts.append("\n<parameters>")
        for name, schema in properties_of(tool):
            parts.append(f"\n<parameter>\n<name>{name}</name>")
            if kind := schema.get("type"):
                parts.append(f"\n<type>{value_text(kind)}</type>")
            if described := text_of(schema.get("description")):
                parts.append(f"\n<description>{described}</description>")
            parts.append(_more(schema, "type", "description") + "\n</parameter>")
        parts.append(_more(parameters_of(tool), "type", "properties") + "\n</parameters>\n</function>")
    return "".join([*parts, "\n</tools>"])


def _more(schema: Mapping[str, object], *known: str) -> str:
    """Return what a schema says besides, each key as a tag."""
    rest = ((key, value) for key, value in schema.items() if key not in known and value is not None)
    return "".join(f"\n<{key}>{value_text(value)}</{key}>" for key, value in rest)


def _coder_call(call: ToolCall) -> str:
    given = "".join(f"\n{tagged_parameter(name, value)}".rstrip("\n") for name, value in arguments(call).items())
    return f"<tool_call>\n<function={call.name}>{given}\n</function>\n</tool_call>"


def _call(call: ToolCall) -> str:
    given = "".join(tagged_parameter(name, value) for name, value in arguments(call).items())
    return f"<tool_call>\n<function={call.name}>\n{given}</function>\n</tool_call>"


def _result(turns: Sequence[Turn], index: int) -> str:
    before = f"{OPEN}user" if begins_results(turns, index) else ""
    after = f"{CLOSE}\n" if ends_results(turns, index) else ""
    return f"{before}\n<tool_response>\n{turns[index].content}\n</tool_response>{after}"


def _last_question(turns: Sequence[Turn]) -> int:
    """Return the index of the user's last message that is no tool's result in disguise."""
    for index in range(len(turns) - 1, -1, -1):
        content = turns[index].content.strip()
        disguised = content.startswith("<tool_response>") and content.endswith("</tool_response>")
        if turns[index].role == "user" and not disguised:
            return index
    return len(turns) - 1


def _split(turn: Turn) -> tuple[str, str]:
    """Return an answer's thoughts and what it says, also where they stand in its text."""
    content = turn.content.strip()
    if turn.thinking:
        return turn.thinking.strip(), content
    before, closing, after = content.partition("</think>")
    if not closing:
        return "", content
    return before.rpartition("<think>")[2].strip(), after.lstrip("\n")
