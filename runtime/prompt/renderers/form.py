"""What a renderer is, and the small forms that families share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.prompt.godata import call_arguments
from corral.runtime.prompt.thinking import Think

Tool = Mapping[str, object]

OPEN: Final = "<|im_start|>"
CLOSE: Final = "<|im_end|>"


class Renderer(Protocol):
    """Writes a conversation as its family was trained on it, up to where the answer goes."""

    def __call__(self, turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
        """Return the prompt; `tools` are objects as clients send them."""
        ...


def chatml(role: str, content: str) -> str:
    """Return a whole ChatML message."""
    return f"{OPEN}{role}\n{content}{CLOSE}\n"


def to_json(value: object, *, indent: int | None = None) -> str:
    """Print JSON as Hugging Face's `tojson` does."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def compact_json(value: object) -> str:
    """Print JSON without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def value_text(value: object) -> str:
    """Return an argument as it stands between tags: texts as they are, all else as JSON."""
    return value if isinstance(value, str) else to_json(value)


def arguments(call: ToolCall) -> dict[str, object]:
    """Return a call's arguments by name, in its order."""
    return call_arguments(call.arguments)


def function_of(tool: Tool) -> Mapping[str, object]:
    """Return what a tool says of its function."""
    return mapping(tool.get("function"))


def parameters_of(tool: Tool) -> Mapping[str, object]:
    """Return the schema of a tool's parameters."""
    return mapping(function_of(tool).get("parameters"))


def properties_of(tool: Tool) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield a tool's parameters by name, with their schemas."""
    for name, schema in mapping(parameters_of(tool).get("properties")).items():
        yield str(name), mapping(schema)


def text_of(value: object) -> str:
    """Return a text, "" for anything else."""
    return value if isinstance(value, str) else ""


def mapping(value: object) -> Mapping[str, object]:
    """Return an object, an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def listing(value: object) -> Sequence[object]:
    """Return a list, an empty one for anything else."""
    return value if isinstance(value, list) else ()


def leading_system(turns: Sequence[Turn], *roles: str) -> tuple[str, Sequence[Turn]]:
    """Return the system message that a conversation begins with, "" where there is none, and the rest."""
    if turns and turns[0].role in ("system", *roles):
        return turns[0].content, turns[1:]
    return "", turns


def last_user(turns: Sequence[Turn]) -> int:
    """Return the index of the user's last message, -1 where there is none."""
    return max((index for index, turn in enumerate(turns) if turn.role == "user"), default=-1)


def begins_results(turns: Sequence[Turn], index: int) -> bool:
    """Say whether a tool's message is the first of its row."""
    return index == 0 or turns[index - 1].role != "tool"


def ends_results(turns: Sequence[Turn], index: int) -> bool:
    """Say whether a tool's message is the last of its row."""
    return index == len(turns) - 1 or turns[index + 1].role != "tool"


def is_begun(turns: Sequence[Turn], index: int) -> bool:
    """Say whether a message is an answer that the model is to continue."""
    turn = turns[index]
    return index == len(turns) - 1 and turn.role == "assistant" and not turn.tool_calls
