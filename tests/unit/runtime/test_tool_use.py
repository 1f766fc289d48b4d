from __future__ import annotations

import json
import re
from typing import Any

import pytest

from corral.runtime.conversation import ToolChoice, Tools
from corral.runtime.engine.protocol import ToolUse
from corral.runtime.errors import BadRequest
from corral.runtime.tool_use import MOST_TOOLS, new_call_id, tool_use

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def test_ids_of_calls() -> None:
    assert new_call_id(lambda letters: letters[-1]) == "call_99999999"
    assert re.fullmatch("call_[a-z0-9]{8}", new_call_id())
    assert new_call_id() != new_call_id()


def test_what_a_runner_is_told() -> None:
    assert tool_use(Tools(), bound=True) is None
    assert tool_use(Tools((WEATHER,), ToolChoice.NONE), bound=False) is None
    assert tool_use(Tools((WEATHER,)), bound=True) == ToolUse(json.dumps([WEATHER]))
    named = Tools((WEATHER,), ToolChoice.REQUIRED, "weather", parallel=False)
    assert tool_use(named, bound=False) == ToolUse(json.dumps([WEATHER]), "required", "weather", False)


DEEP: dict[str, Any] = {}
for _ in range(120):
    DEEP = {"items": DEEP}


@pytest.mark.parametrize(
    ("tools", "bound", "text"),
    [
        (Tools((), ToolChoice.REQUIRED), False, "tool_choice asks for a call, but there are no tools"),
        (Tools((WEATHER,), ToolChoice.REQUIRED), True, "only one of format, grammar, regex and a tool_choice"),
        (Tools((WEATHER,), only="time"), False, "tool_choice names 'time', which is none of the tools"),
        (Tools((WEATHER, {})), False, r"tools\[1\] has no function with a name"),
        (Tools((WEATHER,) * (MOST_TOOLS + 1)), False, "there are more than 256 tools"),
        (
            Tools(({"function": {"name": "f", "parameters": DEEP}},), ToolChoice.REQUIRED),
            False,
            "the schema is nested deeper than 100 levels",
        ),
    ],
)
def test_what_cannot_be_asked(tools: Tools, bound: bool, text: str) -> None:
    with pytest.raises(BadRequest, match=text):
        tool_use(tools, bound=bound)
