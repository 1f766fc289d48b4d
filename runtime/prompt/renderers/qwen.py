"""Qwen3-Coder, Qwen3-VL, Qwen3.5 and Qwen3.8, which share ChatML and differ in how tools and thoughts are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.renderers.form import (
    CLOSE,
    OPEN,
    Tool,
    arguments,
    begins_results,
    chatml,
    ends_results,
    is_begun,
    leading_system,
    to_json,
    value_text,
)
from corral.runtime.prompt.renderers.tags import CALL_RULES, Listing, tagged_call
from corral.runtime.prompt.thinking import Think

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
_LISTING: Final = Listing(lambda key, value: value_text(value))
_MOST_EFFORT: Final = (
    "Reasoning effort is set to xhigh. Please think carefully through the task, validate key assumptions, consider "
    "plausible alternatives, and prioritize correctness, consistency, and clarity in the final answer."
)
_EFFORTS: Final = {
    "low": "Reasoning effort is set to low. Keep your thinking brief and focused, moving directly to the conclusion "
    "without unnecessary elaboration.",
    "medium": "",
}
_NO_THOUGHTS: Final = "<think>\n\n</think>\n\n"


def qwen3_coder(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Qwen3-Coder: it never thinks, and the first system message is the only one."""
    system = next((turn.content for turn in turns if turn.role == "system"), "")
    said = [turn for turn in turns if turn.role != "system"]
    parts = []
    if system or tools:
        listed = f"\n\n# Tools\n\nYou have access to the following functions:\n\n{_LISTING.tools(tools)}{CALL_RULES}"
        parts.append(chatml("system", (system or _CODER_SYSTEM) + (listed if tools else "")))
    for index, turn in enumerate(said):
        match turn.role:
            case "assistant" if turn.tool_calls:
                said_first = f"{content}\n\n" if (content := turn.content.strip()) else ""
                calls = "\n".join(tagged_call(call, value_text) for call in turn.tool_calls)
                parts.append(chatml("assistant", said_first + calls))
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


def qwen38(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Qwen3.8: as Qwen3.5 with all thoughts kept, and told first how hard to think."""
    effort = "" if think is False else _EFFORTS.get(str(think), _MOST_EFFORT)
    return qwen35(turns, tools, think, shows_all=True, effort=effort)


def qwen35(
    turns: Sequence[Turn], tools: Sequence[Tool], think: Think, *, shows_all: bool = False, effort: str = ""
) -> str:
    """Qwen3.5: it thinks where nothing is said of it; with `shows_all` old answers keep their thoughts."""
    thinks = think is None or bool(think)
    system, _ = leading_system(turns)
    system = system.strip()
    parts = []
    if tools:
        listed = "".join(f"\n{to_json(tool)}" for tool in tools)
        told = f"# Tools\n\nYou have access to the following functions:\n\n<tools>{listed}\n</tools>{CALL_RULES}"
        parts.append(chatml("system", "\n\n".join(filter(None, [effort, told, system]))))
    elif effort or (turns and turns[0].role == "system"):
        parts.append(chatml("system", "\n\n".join(filter(None, [effort, system]))))
    asked = _last_question(turns)
    for index, turn in enumerate(turns):
        match turn.role:
            case "assistant":
                thoughts, content = _split(turn)
                body = f"<think>\n{thoughts}\n</think>\n\n{content}" if index > asked or shows_all else content
                for number, call in enumerate(turn.tool_calls):
                    body += "\n" if number else "\n\n" if content.strip() else ""
                    body += tagged_call(call, value_text)
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
