"""Tools and calls written as tags, which Qwen3-Coder began and others took up, each with details of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from corral.runtime.engine.protocol import ToolCall
from corral.runtime.prompt.renderers.form import (
    Tool,
    arguments,
    function_of,
    parameters_of,
    properties_of,
    text_of,
    value_text,
)

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
"""What the models are told of such calls."""

_OF_A_TOOL: Final = ("type", "properties")
"""What a tool's parameters say that its listing shows otherwise, or not."""


@dataclass(frozen=True, slots=True)
class Listing:
    """How a family lists tools.

    Of each parameter come `first` these keys, of all parameters together `last` those, both only where they say
    something. `show` prints the value of a key; with `trims` descriptions lose the blanks around them.
    """

    show: Callable[[str, object], str]
    first: tuple[str, ...] = ("type", "description")
    last: tuple[str, ...] = ()
    shows_nulls: bool = False
    trims: bool = False

    def tools(self, tools: Sequence[Tool]) -> str:
        """Return the list between its tags."""
        return f"<tools>{''.join(map(self._tool, tools))}\n</tools>"

    def _tool(self, tool: Tool) -> str:
        function = function_of(tool)
        about = _tag("name", text_of(function.get("name"))) + self._tags(function, first=("description",), rest=False)
        each = (
            f"\n<parameter>{_tag('name', name)}{self._tags(schema, first=self.first)}\n</parameter>"
            for name, schema in properties_of(tool)
        )
        together = self._tags(parameters_of(tool), last=self.last, hidden=_OF_A_TOOL)
        return f"\n<function>{about}\n<parameters>{''.join(each)}{together}\n</parameters>\n</function>"

    def _tags(
        self,
        schema: Mapping[str, object],
        first: tuple[str, ...] = (),
        last: tuple[str, ...] = (),
        hidden: tuple[str, ...] = (),
        *,
        rest: bool = True,
    ) -> str:
        return "".join(
            _tag(key, self.show(key, value)) for key, value in self._ordered(schema, first, last, hidden, rest=rest)
        )

    def _ordered(
        self,
        schema: Mapping[str, object],
        first: tuple[str, ...],
        last: tuple[str, ...],
        hidden: tuple[str, ...],
        *,
        rest: bool,
    ) -> Iterator[tuple[str, object]]:
        said = {key: value for key, value in schema.items() if value is not None or self.shows_nulls}
        if self.trims and "description" in first:
            said["description"] = text_of(said.get("description")).strip()
        yield from ((key, said[key]) for key in first if said.get(key))
        if rest:
            yield from ((key, value) for key, value in said.items() if key not in first + last + hidden)
        yield from ((key, said[key]) for key in last if said.get(key))


def _tag(name: str, content: str) -> str:
    return f"\n<{name}>{content}</{name}>"


def tagged_call(call: ToolCall, show: Callable[[object], str]) -> str:
    """Return a call; `show` prints the value of an argument."""
    given = "".join(f"<parameter={name}>\n{show(value)}\n</parameter>\n" for name, value in arguments(call).items())
    return f"<tool_call>\n<function={call.name}>\n{given}</function>\n</tool_call>"


def keyed_call(call: ToolCall) -> str:
    """Return a call as GLM and Laguna write it: keys and values in turn."""
    given = "".join(
        f"<arg_key>{name}</arg_key><arg_value>{value_text(value)}</arg_value>"
        for name, value in arguments(call).items()
    )
    return f"<tool_call>{call.name}{given}</tool_call>"
