"""Nemotron 3 Nano: ChatML with calls that look like tags, and thoughts that questions switch on and off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.renderers.form import (
    CLOSE,
    OPEN,
    Tool,
    arguments,
    begins_results,
    chatml,
    ends_results,
    function_of,
    last_user,
    leading_system,
    listing,
    parameters_of,
    properties_of,
    text_of,
    to_json,
)
from corral.runtime.prompt.renderers.qwen import CALL_RULES
from corral.runtime.prompt.thinking import Think

_ASIDE = "<_end_think>"


def nemotron(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Write a conversation; `/think` and `/no_think` in a message go before what the request says."""
    thinks = _thinks(turns, think)
    system, said = leading_system(turns)
    system = _without_switches(system)
    parts = [chatml("system", system + ("\n\n" if system and tools else "") + _tools(tools))]
    asked = last_user(said)
    for index, turn in enumerate(said):
        match turn.role:
            case "assistant":
                content = _thought(turn)
                body = _shortened(content, calls=bool(turn.tool_calls)) if index < asked else content.strip()
                if turn.tool_calls:
                    body += ("\n" if body else "") + "".join(
                        f"<tool_call>\n<function={call.name}>\n{_arguments(arguments(call))}</function>\n</tool_call>\n"
                        for call in turn.tool_calls
                    )
                elif index == len(said) - 1:
                    return "".join(parts) + f"{OPEN}assistant\n{body}"
                parts.append(chatml("assistant", body))
            case "user" | "system" as role:
                parts.append(chatml(role, _without_switches(turn.content).strip()))
            case "tool":
                parts.append(f"{OPEN}user\n" if begins_results(said, index) else "")
                parts.append(f"<tool_response>\n{turn.content}\n</tool_response>\n")
                parts.append(f"{CLOSE}\n" if ends_results(said, index) else "")
            case role:
                parts.append(chatml(role, turn.content))
    return "".join([*parts, f"{OPEN}assistant\n", "<think>\n" if thinks else "<think></think>"])


def _thinks(turns: Sequence[Turn], think: Think) -> bool:
    thinks = think is None or bool(think)
    for turn in turns:
        if turn.role in ("user", "system"):
            if "/think" in turn.content.replace("</think>", ""):
                thinks = True
            elif "/no_think" in turn.content:
                thinks = False
    return thinks


def _without_switches(text: str) -> str:
    text = text.replace("</think>", _ASIDE).replace("/think", "").replace("/no_think", "")
    return text.replace(_ASIDE, "</think>")


def _thought(turn: Turn) -> str:
    """Return an answer with its thoughts; without any where it has none."""
    if turn.thinking:
        return f"<think>\n{turn.thinking}\n</think>\n{turn.content}"
    return turn.content if "<think>" in turn.content or "</think>" in turn.content else f"<think></think>{turn.content}"


def _shortened(content: str, *, calls: bool) -> str:
    """Return an old answer without its thoughts."""
    if "</think>" in content:
        rest = content.rpartition("</think>")[2]
        return "<think></think>" + (rest.strip() if calls else rest.rstrip())
    return content.strip()


def _arguments(given: Mapping[str, object]) -> str:
    return "".join(f"<parameter={name}>\n{_python(value)}\n</parameter>\n" for name, value in given.items())


def _python(value: object) -> str:
    """Print a value as the template does: objects and lists as JSON, all else as Python."""
    return to_json(value) if isinstance(value, dict | list) else str(value)


def _tools(tools: Sequence[Tool]) -> str:
    if not tools:
        return ""
    parts = ["# Tools\n\nYou have access to the following functions:\n\n<tools>"]
    for tool in tools:
        function, parameters = function_of(tool), parameters_of(tool)
        parts.append(f"\n<function>\n<name>{text_of(function.get('name'))}</name>")
        if described := text_of(function.get("description")).strip():
            parts.append(f"\n<description>{described}</description>")
        parts.append("\n<parameters>")
        for name, schema in properties_of(tool):
            parts.append(f"\n<parameter>\n<name>{name}</name>")
            if kind := schema.get("type"):
                parts.append(f"\n<type>{_python(kind) if isinstance(kind, str) else kind}</type>")
            if about := text_of(schema.get("description")).strip():
                parts.append(f"\n<description>{about}</description>")
            if values := listing(schema.get("enum")):
                parts.append(f"\n<enum>{to_json(values)}</enum>")
            rest = {k: v for k, v in schema.items() if k not in ("type", "description", "enum")}
            parts += [f"\n<{key}>{_python(value)}</{key}>" for key, value in rest.items()]
            parts.append("\n</parameter>")
        more = {k: v for k, v in parameters.items() if k not in ("type", "properties", "required")}
        parts += [f"\n<{key}>{_python(value)}</{key}>" for key, value in more.items()]
        if required := listing(parameters.get("required")):
            parts.append(f"\n<required>{to_json(required)}</required>")
        parts.append("\n</parameters>\n</function>")
    return "".join([*parts, "\n</tools>", CALL_RULES])
