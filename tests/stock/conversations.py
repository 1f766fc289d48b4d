"""Conversations of every kind that templates tell apart, in words that are found again in a prompt."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.prompt.thinking import Think

_WORD: Final = re.compile(r"\w{3,}")

WEATHER: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'The weather <b>of</b> a "place" & its surroundings',
        "parameters": {
            "type": "object",
            "required": ["city"],
            "properties": {
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "city": {"type": "string", "description": "Which city: São Paulo, O'Hare"},
                "days": {"type": ["integer", "null"], "description": "How many days"},
            },
        },
    },
}
CLOCK: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "The time now",
        "parameters": {"type": "object", "properties": {}},
    },
}


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is rendered, and what may not be lost of it."""

    name: str
    turns: tuple[Turn, ...]
    tools: tuple[dict[str, Any], ...] = ()
    think: Think = None
    suffix: str = ""

    def as_go_reads_it(self) -> dict[str, Any]:
        """Return it for the Go program."""
        return {
            "messages": [_for_go(turn) for turn in self.turns],
            "tools": list(self.tools) or None,
            "think": self.think,
            "suffix": self.suffix,
        }

    def as_openai_has_it(self) -> list[dict[str, Any]]:
        """Return its messages as clients of Hugging Face's renderer write them."""
        return [_for_huggingface(turn) for turn in self.turns]

    @property
    def words(self) -> list[str]:
        """What was said, called and answered: to be found in its prompt, whatever the form."""
        words: list[str] = []
        for turn in self.turns:
            words += _WORD.findall(turn.content)
            for call in turn.tool_calls:
                words += [word for value in json.loads(call.arguments).values() for word in _WORD.findall(str(value))]
        return words


def _for_go(turn: Turn) -> dict[str, Any]:
    calls = [
        {"id": call.id, "function": {"index": index, "name": call.name, "arguments": json.loads(call.arguments)}}
        for index, call in enumerate(turn.tool_calls)
    ]
    return {
        "role": turn.role,
        "content": turn.content,
        "thinking": turn.thinking,
        "tool_calls": calls or None,
        "tool_name": turn.tool_name,
        "tool_call_id": turn.tool_call_id,
    }


def _for_huggingface(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.thinking:
        message["reasoning_content"] = turn.thinking
    if turn.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.loads(call.arguments)},
            }
            for call in turn.tool_calls
        ]
    if turn.role == "tool":
        message |= {"name": turn.tool_name, "tool_call_id": turn.tool_call_id}
    return message


SYSTEM: Final = Turn("system", "Be kind to <all> & everyone.")
HELLO: Final = Turn("user", "Hello, my friend!")
REPLY: Final = Turn("assistant", "Good day to you.")
MORE: Final = Turn("user", "Was wären 2 < 3?\nSay it slowly.")
ASKED: Final = Turn("user", "How warm will it get in Norway?")
CALLED: Final = Turn(
    "assistant", "", tool_calls=[ToolCall("get_weather", '{"city": "Bergen <N>", "days": 2}', "call00001")]
)
CALLED_TWICE: Final = Turn(
    "assistant",
    "",
    tool_calls=[
        ToolCall("get_weather", '{"city": "Rome", "days": 5}', "call00002"),
        ToolCall("clock", "{}", "call00003"),
    ],
)
SUNNY: Final = Turn("tool", '{"sky": "sunny"}', tool_name="get_weather", tool_call_id="call00001")
RAINY: Final = Turn("tool", "rainy", tool_name="get_weather", tool_call_id="call00002")
NOON: Final = Turn("tool", "noon sharp", tool_name="clock", tool_call_id="call00003")
THOUGHT: Final = Turn("assistant", "It is four.", thinking="Two and two, let me count.")
BOTH: Final = (WEATHER, CLOCK)

PLAIN: Final = (
    Conversation("a question", (HELLO,)),
    Conversation("a system and a question", (SYSTEM, HELLO)),
    Conversation("several turns", (SYSTEM, HELLO, REPLY, MORE)),
    Conversation("no system, several turns", (HELLO, REPLY, MORE)),
)
CALLS: Final = (
    Conversation("tools", (SYSTEM, ASKED), BOTH),
    Conversation("tools without a system", (ASKED,), (CLOCK,)),
    Conversation("a call", (SYSTEM, ASKED, CALLED, SUNNY), BOTH),
    Conversation("a call and more", (SYSTEM, ASKED, CALLED, SUNNY, REPLY, MORE), BOTH),
    Conversation("two calls at once", (ASKED, CALLED_TWICE, RAINY, NOON), BOTH),
)
THINKING: Final = (
    Conversation("to think", (SYSTEM, HELLO), think=True),
    Conversation("not to think", (SYSTEM, HELLO), think=False),
    Conversation("to think hard", (HELLO,), think="high"),
    Conversation("thoughts before", (HELLO, THOUGHT, MORE), think=True),
    Conversation("thoughts of the last answer but tools", (ASKED, CALLED, SUNNY), BOTH, think=True),
)
BEGUN: Final = (
    Conversation("an answer begun", (SYSTEM, HELLO, REPLY)),
    Conversation("an answer begun after its thoughts", (HELLO, THOUGHT), think=True),
)
ODD: Final = (
    Conversation("nothing but a system", (SYSTEM,)),
    Conversation("several systems", (SYSTEM, HELLO, REPLY, Turn("system", "Be brief."), MORE)),
    Conversation("two systems at once", (SYSTEM, Turn("system", "Be brief."), HELLO)),
    Conversation("two questions at once", (HELLO, MORE)),
    Conversation("an answer first", (REPLY, HELLO)),
    Conversation("blanks around", (Turn("user", "  hello  \n"), Turn("assistant", " yes "), MORE)),
    Conversation("nothing said", (Turn("user", ""),)),
)
INFILL: Final = Conversation("between", (Turn("user", "def f(x):\n"),), suffix="\n    return y")
