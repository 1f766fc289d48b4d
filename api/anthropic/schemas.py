"""The requests of the Anthropic-compatible API as they come over the wire (spec c).

`cache_control`, `metadata`, `service_tier`, a thinking's `budget_tokens` and `display` are known and mean nothing here:
what was computed is found again unasked, and nobody is billed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import Field

from corral.api.body import WireModel
from corral.api.errors import RequestRefused
from corral.runtime.verbs import ToolChoice, Tools

EFFORTS: Final[Mapping[str, str]] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}
"""What Anthropic's words for how hard to think are here (spec c)."""

_CHOICES: Final[Mapping[str, ToolChoice]] = {
    "": ToolChoice.AUTO,
    "auto": ToolChoice.AUTO,
    "any": ToolChoice.REQUIRED,
    "tool": ToolChoice.REQUIRED,
    "none": ToolChoice.NONE,
}


class WireMessage(WireModel):
    """A message; `content` is a text or a list of blocks."""

    go_name: ClassVar[str] = "MessageParam"
    role: str = ""
    content: Any = None


class Tool(WireModel):
    """A tool: the client's own, or by its `type` one that Anthropic defines."""

    go_name: ClassVar[str] = "Tool"
    cache_control: Any = None
    type: str = ""
    name: str = ""
    description: str = ""
    input_schema: dict[str, Any] | None = None


class Choice(WireModel):
    """Whether tools are called."""

    go_name: ClassVar[str] = "ToolChoice"
    type: str = ""
    name: str = ""
    disable_parallel_tool_use: bool = False


class Thinking(WireModel):
    """Whether the model thinks first."""

    go_name: ClassVar[str] = "ThinkingConfig"
    type: str = ""
    budget_tokens: Any = None
    display: Any = None


class OutputConfig(WireModel):
    """How hard the model thinks, and what form its answer has."""

    go_name: ClassVar[str] = "OutputConfig"
    effort: str = ""
    format: dict[str, Any] | None = None


class CountBody(WireModel):
    """`POST /v1/messages/count_tokens`: all that makes the prompt. `keep_alive` and `options` are ours."""

    go_name: ClassVar[str] = "MessagesRequest"
    model: str = ""
    messages: list[WireMessage] = Field(default_factory=list)
    system: Any = None
    cache_control: Any = None
    tools: list[Tool] = Field(default_factory=list)
    tool_choice: Choice = Choice()
    thinking: Thinking | None = None
    output_config: OutputConfig = OutputConfig()
    keep_alive: Any = None
    options: dict[str, Any] = Field(default_factory=dict)

    def to_tools(self) -> tuple[Tools, tuple[str, ...]]:
        """Return the tools as the workbench takes them, and the names of those that only Anthropic's servers have.

        Raises:
            RequestRefused: a tool without a name, a choice that is none, or a choice of what is not there.
        """
        choice = self.tool_choice
        if choice.type not in _CHOICES:
            raise RequestRefused(f"tool_choice.type {choice.type!r} is not known: auto, any, tool or none")
        own = [tool for tool in self.tools if tool.input_schema is not None or tool.type in ("", "custom")]
        if any(not tool.name for tool in own):
            raise RequestRefused("tools: name is required")
        names = [tool.name for tool in own]
        wanted = _CHOICES[choice.type]
        only = choice.name if choice.type == "tool" else ""
        if choice.type == "tool" and only not in names:
            raise RequestRefused(f"tool_choice names {only!r}, which is none of the tools")
        if wanted is ToolChoice.REQUIRED and not own:
            raise RequestRefused(f"tool_choice {choice.type!r} needs tools")
        left_out = tuple(tool.name or tool.type for tool in self.tools if tool not in own)
        return Tools(tuple(map(_function, own)), wanted, only, not choice.disable_parallel_tool_use), left_out

    def to_think(self) -> bool | str | None:
        """Return whether to think, or how hard, as `verbs.ChatRequest` has it. Raises RequestRefused."""
        kind, effort = self.thinking.type if self.thinking is not None else "", self.output_config.effort
        if kind not in ("", "enabled", "adaptive", "disabled"):
            raise RequestRefused(f"thinking.type {kind!r} is not known: enabled, adaptive or disabled")
        if effort and effort not in EFFORTS:
            raise RequestRefused(f"output_config.effort {effort!r} is not known: {', '.join(EFFORTS)}")
        if kind in ("", "adaptive") and effort:
            return EFFORTS[effort]
        return {"": None, "disabled": False}.get(kind, True)


class MessagesBody(CountBody):
    """`POST /v1/messages`."""

    max_tokens: int = 0
    stream: bool = False
    stop_sequences: list[str] = Field(default_factory=list)
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    output_format: dict[str, Any] | None = None
    metadata: Any = None
    service_tier: Any = None

    def to_options(self) -> dict[str, Any]:
        """Return the generation options; the API's own fields win over `options`."""
        options = {**self.options, "num_predict": self.max_tokens}
        if self.stop_sequences:
            options["stop"] = self.stop_sequences
        own = {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}
        return options | {name: value for name, value in own.items() if value is not None}

    def to_format(self) -> dict[str, Any] | None:
        """Return the schema of the answer; `output_format` is the older place for it. Raises RequestRefused."""
        wanted = self.output_config.format or self.output_format
        if not wanted:
            return None
        schema = wanted.get("schema")
        if wanted.get("type") != "json_schema" or not isinstance(schema, dict):
            raise RequestRefused('output_config.format must be {"type": "json_schema", "schema": {...}}')
        return schema


def _function(tool: Tool) -> dict[str, object]:
    schema = tool.input_schema if tool.input_schema is not None else {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": schema}
    return {"type": "function", "function": function}
