"""gpt-oss: OpenAI's harmony format, where thoughts, calls and answers are messages on channels of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Final

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.renderers.form import (
    Tool,
    arguments,
    compact_json,
    function_of,
    last_user,
    leading_system,
    listing,
    mapping,
    parameters_of,
    properties_of,
    text_of,
    to_json,
)
from corral.runtime.prompt.thinking import Think

_EFFORTS: Final = ("low", "medium", "high")
_MOST_NESTED: Final = 16


def harmony(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Write a conversation; how hard to think is `medium` where nothing is said of it."""
    effort = "high" if think == "max" else think if think in _EFFORTS else "medium"
    told, said = leading_system(turns, "developer")
    meta = (
        "You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: 2024-06\n"
        f"Current date: {date.today().isoformat()}\n\nReasoning: {effort}\n\n"
        "# Valid channels: analysis, commentary, final. Channel must be included for every message."
    )
    if tools:
        meta += "\nCalls to these tools must go to the commentary channel: 'functions'."
    parts = [f"<|start|>system<|message|>{meta}<|end|>"]
    if told or tools:
        sections = [f"# Instructions\n\n{told}"] if told else []
        sections += [f"# Tools\n\n## functions\n\n{_namespace(tools)}"] if tools else []
        parts.append("<|start|>developer<|message|>" + "\n\n".join(sections) + "<|end|>")
    asked = last_user(said)
    names: dict[str, str] = {}
    called = ""
    for index, turn in enumerate(said):
        match turn.role:
            case "assistant":
                last = index == len(said) - 1
                # Thoughts of an answer that is finished are not shown again; those that led to a call still matter.
                if turn.thinking and (turn.tool_calls or last) and index > asked:
                    parts.append(f"<|start|>assistant<|channel|>analysis<|message|>{turn.thinking}<|end|>")
                if turn.content and turn.tool_calls:
                    parts.append(f"<|start|>assistant<|channel|>commentary<|message|>{turn.content}<|end|>")
                elif turn.content:
                    parts.append(f"<|start|>assistant<|channel|>final<|message|>{turn.content}")
                    if last:
                        return "".join(parts)
                    parts.append("<|end|>")
                for call in turn.tool_calls:
                    names[call.id] = called = call.name
                    parts.append(f"<|start|>assistant<|channel|>commentary to=functions.{call.name} <|constrain|>json")
                    parts.append(f"<|message|>{compact_json(arguments(call))}<|call|>")
            case "tool":
                name = turn.tool_name or names.get(turn.tool_call_id, "") or called
                parts.append(
                    f"<|start|>functions.{name} to=assistant<|channel|>commentary<|message|>{turn.content}<|end|>"
                )
            case "system" | "developer":
                parts.append(f"<|start|>developer<|message|>{turn.content}<|end|>")
            case role:
                parts.append(f"<|start|>{role}<|message|>{turn.content}<|end|>")
    return "".join([*parts, "<|start|>assistant"])


def _namespace(tools: Sequence[Tool]) -> str:
    """Declare tools in TypeScript."""
    return "namespace functions {\n\n" + "".join(map(_declaration, tools)) + "} // namespace functions"


def _declaration(tool: Tool) -> str:
    function = function_of(tool)
    name = text_of(function.get("name"))
    comment = "".join(f"// {line}\n" for line in text_of(function.get("description")).splitlines())
    properties = list(properties_of(tool))
    if not properties:
        return f"{comment}type {name} = () => any;\n\n"
    fields = "".join(_fields(properties, listing(parameters_of(tool).get("required"))))
    return f"{comment}type {name} = (_: {{\n{fields}}}) => any;\n\n"


def _fields(properties: Sequence[tuple[str, Mapping[str, object]]], required: Sequence[object]) -> Iterator[str]:
    for name, schema in properties:
        for line in text_of(schema.get("description")).splitlines():
            yield f"// {line}\n"
        optional = "" if name in required else "?"
        default = f", // default: {to_json(schema['default'])}" if "default" in schema else ","
        yield f"{name}{optional}: {_type(schema)}{default}\n"


def _type(schema: Mapping[str, object], depth: int = 0) -> str:
    """Return a JSON schema's type in TypeScript's words."""
    if depth > _MOST_NESTED:
        return "any"
    choices = listing(schema.get("anyOf")) or listing(schema.get("oneOf"))
    if choices:
        return " | ".join(_type(mapping(choice), depth + 1) for choice in choices)
    if values := listing(schema.get("enum")):
        return " | ".join(to_json(value) for value in values)
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return " | ".join(_type({**schema, "type": kind}, depth + 1) for kind in kinds)
    match kinds:
        case "string" | "boolean" | "null":
            return str(kinds)
        case "number" | "integer":
            return "number"
        case "array":
            return f"{_type(mapping(schema['items']), depth + 1)}[]" if "items" in schema else "any[]"
        case "object":
            inner = mapping(schema.get("properties"))
            fields = _fields([(name, mapping(one)) for name, one in inner.items()], listing(schema.get("required")))
            return "{\n" + "".join(fields) + "}" if inner else "object"
    return "any"
