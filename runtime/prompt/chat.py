"""A conversation as a Jinja chat template reads it, with what the template does not understand said otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Final

import msgspec

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.errors import TemplateFailed
from corral.runtime.prompt.dialect import (
    ToolPlace,
    call_object,
    call_style,
    knows_later_systems,
    knows_results,
    knows_system,
    tool_place,
    wants_parts,
)
from corral.runtime.prompt.godata import call_arguments
from corral.runtime.prompt.jinja import TemplateTooSlow, render_jinja
from corral.runtime.prompt.thinking import Tags, Think, infer_tags

_WITH_TOOLS: Final = "You are a helpful assistant with some tools."
"""What Phi-4-mini's makers have its system say where tools are all there is to say."""
_MISTRAL_ID: Final = 9
"""Characters of a call's id that Mistral's templates insist on."""


def render_chat(
    source: str, turns: Sequence[Turn], think: Think, tools: Sequence[object], *, bos: str, eos: str
) -> str:
    """Render a conversation; an answer that is begun at its end is continued. Raises TemplateFailed.

    `tools` are objects as clients send them.
    """
    last = turns[-1] if turns else None
    begun = last if last is not None and last.role == "assistant" and not last.tool_calls else None
    variables = {
        "add_generation_prompt": True,
        "bos_token": bos,
        "eos_token": eos,
        "tools": list(tools) or None,
        "documents": None,
        **({"xml_tools": list(tools)} if tools and "xml_tools" in source else {}),
        **_thinking(think),
    }
    text = _render(source, turns[:-1] if begun else turns, variables, _for_system(source, tools))
    return text + _begun(infer_tags(source), text, begun) if begun else text


def _begun(tags: Tags | None, text: str, turn: Turn) -> str:
    """Return what is there of an answer, to go behind the place where the model answers."""
    if tags is None or not text.rstrip().endswith(tags.opening):
        return turn.content
    return f"{turn.thinking}\n{tags.closing}\n\n{turn.content}" if turn.content else turn.thinking


def _for_system(source: str, tools: Sequence[object]) -> object:
    """Return the tools as a template wants them in its system message, None where it does not.

    Microsoft and Zhipu publish their templates with Phi-4-mini and GLM-4 so, the one with the functions as JSON.
    """
    place = tool_place(source) if tools else ToolPlace.VARIABLE
    if place is ToolPlace.SYSTEM_TEXT:
        functions = [tool.get("function", tool) if isinstance(tool, Mapping) else tool for tool in tools]
        return json.dumps(functions, ensure_ascii=False)
    return list(tools) if place is ToolPlace.SYSTEM else None


def _with_tools(said: list[dict[str, object]], tools: object) -> list[dict[str, object]]:
    """Put tools into the first system message, or before all into one of their own."""
    if tools is None:
        return said
    at = next((index for index, message in enumerate(said) if message["role"] == "system"), None)
    if at is None:
        content = _WITH_TOOLS if isinstance(tools, str) else ""
        return [{"role": "system", "content": content, "tools": tools}, *said]
    return [*said[:at], {**said[at], "tools": tools}, *said[at + 1 :]]


def _render(source: str, turns: Sequence[Turn], variables: dict[str, object], for_system: object) -> str:
    """Render; what a template refuses is tried again in forms that most of those who refuse can read."""
    shaped = _shape(source, turns)
    try:
        return render_jinja(source, {**variables, "messages": _with_tools(messages(source, shaped), for_system)})
    except TemplateTooSlow:
        raise
    except TemplateFailed as error:
        refused = error
    tools = variables["tools"] or []
    for strict in (_merged(shaped), _merged(_in_turn(shaped))):
        try:
            return render_jinja(
                source, {**variables, "tools": tools, "messages": _with_tools(messages(source, strict), for_system)}
            )
        except TemplateTooSlow:
            raise
        except TemplateFailed:
            continue
    raise refused


def _shape(source: str, turns: Sequence[Turn]) -> list[Turn]:
    """Say otherwise what a template does not know: a system, calls of tools, their results."""
    turns = _identified(turns, short="length 9" in source)
    if any(turn.tool_calls for turn in turns) and call_style(source) is None:
        turns = [_spelled_out(turn) if turn.tool_calls else turn for turn in turns]
    if any(turn.role == "tool" for turn in turns) and not knows_results(source):
        turns = [_as_question(turn) if turn.role == "tool" else turn for turn in turns]
    return _with_known_system(source, turns)


def _spelled_out(turn: Turn) -> Turn:
    """Put calls into what a message says."""
    calls = [
        {"name": call.name, "arguments": call_arguments(call.arguments), "id": call.id} for call in turn.tool_calls
    ]
    said = {"tool_calls": calls, "content": turn.content} if turn.content else {"tool_calls": calls}
    content = json.dumps(said, ensure_ascii=False, indent=2)
    return msgspec.structs.replace(turn, content=content, tool_calls=[])


def _as_question(turn: Turn) -> Turn:
    """Have the user tell a tool's result."""
    told = {"tool": turn.tool_name, "content": turn.content, "tool_call_id": turn.tool_call_id}
    content = json.dumps({"tool_response": told}, ensure_ascii=False, indent=2)
    return Turn("user", content, images=turn.images)


def _with_known_system(source: str, turns: Sequence[Turn]) -> list[Turn]:
    """Put the system's messages where a template finds them: all into the first, or into the user's."""
    systems = [turn for turn in turns if turn.role == "system"]
    if not systems:
        return list(turns)
    if not knows_system(source):
        return _said_by_user(turns)
    if len(systems) == 1 or knows_later_systems(source):
        return list(turns)
    joined = "\n\n".join(turn.content for turn in systems)
    return [Turn("system", joined), *(turn for turn in turns if turn.role != "system")]


def _said_by_user(turns: Sequence[Turn]) -> list[Turn]:
    """Put every system message in front of the next that the user says."""
    shaped: list[Turn] = []
    held = ""
    for turn in turns:
        if turn.role == "system":
            held += f"{turn.content}\n\n"
        elif held and turn.role == "user":
            shaped.append(msgspec.structs.replace(turn, content=held + turn.content))
            held = ""
        else:
            shaped.append(turn)
    return [*shaped, Turn("user", held.rstrip())] if held else shaped


def _in_turn(turns: Sequence[Turn]) -> list[Turn]:
    """Have the user begin, and one call a message."""
    first = next((index for index, turn in enumerate(turns) if turn.role != "system"), len(turns))
    silent = [Turn("user", "")] if first < len(turns) and turns[first].role == "assistant" else []
    return _one_by_one([*turns[:first], *silent, *turns[first:]])


def _one_by_one(turns: Sequence[Turn]) -> list[Turn]:
    """Tell calls that were made at once one after the other, each with its result."""
    told: list[Turn] = []
    rest = list(turns)
    while rest:
        turn = rest.pop(0)
        if len(turn.tool_calls) < 2:
            told.append(turn)
            continue
        results = list(takewhile(lambda one: one.role == "tool", rest))
        del rest[: len(results)]
        for call in turn.tool_calls:
            told.append(msgspec.structs.replace(turn, tool_calls=[call]))
            told += [one for one in results if one.tool_call_id == call.id]
            turn = msgspec.structs.replace(turn, content="", thinking="")
        ids = {call.id for call in turn.tool_calls}
        told += [one for one in results if one.tool_call_id not in ids]
    return told


def _merged(turns: Sequence[Turn]) -> list[Turn]:
    """Join neighbours of one role, for templates that insist on user and assistant taking turns."""
    merged: list[Turn] = []
    for turn in turns:
        last = merged[-1] if merged else None
        if last is not None and last.role == turn.role != "tool" and not (last.tool_calls or turn.tool_calls):
            joined = f"{last.content}\n\n{turn.content}"
            merged[-1] = msgspec.structs.replace(last, content=joined, images=last.images + turn.images)
        else:
            merged.append(turn)
    return merged


def messages(source: str, turns: Sequence[Turn]) -> list[dict[str, object]]:
    """Return a conversation in the form a template reads."""
    parts = wants_parts(source)
    return [_message(source, turn, parts=parts) for turn in turns]


def _message(source: str, turn: Turn, *, parts: bool) -> dict[str, object]:
    """Return one message; some templates call its thoughts one thing, some the other."""
    content: object = [{"type": "text", "text": turn.content}] if parts else turn.content
    message: dict[str, object] = {"role": turn.role, "content": content}
    if turn.thinking:
        message |= {"thinking": turn.thinking, "reasoning_content": turn.thinking}
    style = call_style(source) if turn.tool_calls else None
    if style is not None:
        message["tool_calls"] = [
            call_object(
                call.name,
                call_arguments(call.arguments),
                json.dumps(call_arguments(call.arguments), ensure_ascii=False),
                call.id,
                style,
            )
            for call in turn.tool_calls
        ]
        if style.bare and not turn.content:
            message["content"] = None
    if turn.tool_name:
        message["name"] = turn.tool_name
    if turn.tool_call_id:
        message["tool_call_id"] = turn.tool_call_id
    return message


def _identified(turns: Sequence[Turn], *, short: bool) -> list[Turn]:
    """Give every call an id, and every result the id and the name of the call that it answers.

    A result without an id answers the first call of its name, or the first at all, that has no result yet.
    """
    if not any(turn.tool_calls or turn.role == "tool" for turn in turns):
        return list(turns)
    identified: list[Turn] = []
    open_calls: list[ToolCall] = []
    count = 0
    for turn in turns:
        if turn.tool_calls:
            calls = []
            for call in turn.tool_calls:
                given = call.id or f"call{count:05d}"
                calls.append(msgspec.structs.replace(call, id=_short(given) if short else given))
                count += 1
            open_calls = list(calls)
            identified.append(msgspec.structs.replace(turn, tool_calls=calls))
        elif turn.role == "tool":
            wanted = _short(turn.tool_call_id) if short and turn.tool_call_id else turn.tool_call_id
            answered = _answered(open_calls, wanted, turn.tool_name)
            if answered is not None:
                open_calls.remove(answered)
            identified.append(
                msgspec.structs.replace(
                    turn,
                    tool_call_id=wanted or (answered.id if answered else ""),
                    tool_name=turn.tool_name or (answered.name if answered else ""),
                )
            )
        else:
            identified.append(turn)
    return identified


def _answered(calls: Sequence[ToolCall], call_id: str, name: str) -> ToolCall | None:
    if call_id:
        return next((call for call in calls if call.id == call_id), None)
    return next((call for call in calls if call.name == name), calls[0] if calls and not name else None)


def _short(call_id: str) -> str:
    letters = "".join(character for character in call_id if character.isascii() and character.isalnum())
    return letters[-_MISTRAL_ID:].rjust(_MISTRAL_ID, "0")


def _thinking(think: Think) -> dict[str, object]:
    """Return what tells a template to have its model think (spec g.3); `thinking` is DeepSeek's and Granite's word."""
    if think is None:
        return {}
    levels = {"reasoning_effort": think} if isinstance(think, str) else {}
    return {"enable_thinking": bool(think), "thinking": bool(think), **levels}
