"""The requests of the native API as they come over the wire (spec a.7, a.8, a.12 to a.18)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, field_validator

from corral.api.body import WireModel
from corral.api.images import Image
from corral.runtime.tool_use import parse_tool_choice
from corral.runtime.verbs import Message, ToolCall, Tools


class NamedModel(WireModel):
    """A request that is about one model; `name` is the older word for `model`."""

    model_field: str = Field(default="", alias="model")
    name: str = ""

    @property
    def model(self) -> str:
        """The model's name as the client wrote it."""
        return self.model_field or self.name


class WireFunction(WireModel):
    """The function of a call; `arguments` is an object."""

    go_name: ClassVar[str] = "ToolCallFunction"
    index: int = 0
    name: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)


class WireCall(WireModel):
    """A call an assistant made before."""

    go_name: ClassVar[str] = "ToolCall"
    id: str = ""
    function: WireFunction = Field(default_factory=WireFunction)

    def to_call(self) -> ToolCall:
        """Return the call as the workbench takes it."""
        return ToolCall(self.function.name, self.function.arguments, self.id)


class WireMessage(WireModel):
    """A message of a conversation."""

    go_name: ClassVar[str] = "Message"
    role: str = ""
    content: str = ""
    thinking: str = ""
    images: list[Image] = Field(default_factory=list)
    tool_calls: list[WireCall] = Field(default_factory=list)
    tool_name: str = ""
    tool_call_id: str = ""

    def to_message(self) -> Message:
        """Return the message as the workbench takes it; the role in lower case."""
        return Message(
            role=self.role.lower(),
            content=self.content,
            thinking=self.thinking,
            images=tuple(self.images),
            tool_calls=tuple(call.to_call() for call in self.tool_calls),
            tool_name=self.tool_name,
            tool_call_id=self.tool_call_id,
        )


class InferenceBody(NamedModel):
    """What generate and chat have in common. `think`, `format` and the rest are checked in `checks.py`.

    `prompt_eval_progress` is ours: it asks a stream to tell how far load and prompt are.
    """

    stream: bool = True
    keep_alive: Any = None
    options: dict[str, Any] = Field(default_factory=dict)
    format: Any = None
    think: Any = None
    truncate: bool = True
    shift: bool | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    prompt_eval_progress: bool = False
    debug_render_only: bool = Field(default=False, alias="_debug_render_only")

    def to_think(self) -> bool | str | None:
        """Return whether to think, or how hard, as the verbs have it."""
        return None if self.think == "" else self.think


class GenerateBody(InferenceBody):
    """`POST /api/generate`."""

    go_name: ClassVar[str] = "GenerateRequest"
    prompt: str = ""
    suffix: str = ""
    system: str | None = None
    template: str | None = None
    context: list[int] = Field(default_factory=list)
    raw: bool = False
    images: list[Image] = Field(default_factory=list)


class ChatBody(InferenceBody):
    """`POST /api/chat`. `tool_choice` and `parallel_tool_calls` are ours, with OpenAI's values."""

    go_name: ClassVar[str] = "ChatRequest"
    messages: list[WireMessage] = Field(default_factory=list)
    tools: list[dict[str, Any]] = Field(default_factory=list)
    tool_choice: Any = None
    parallel_tool_calls: bool = True

    def to_tools(self) -> Tools:
        """Return what may be called, as the verbs have it. Raises BadRequest for a `tool_choice` that is none."""
        choice, only = parse_tool_choice(self.tool_choice)
        return Tools(tuple(self.tools), choice, only, self.parallel_tool_calls)


class ShowBody(NamedModel):
    """`POST /api/show`."""

    go_name: ClassVar[str] = "ShowRequest"
    verbose: bool = False


class DeleteBody(NamedModel):
    """`DELETE /api/delete`."""

    go_name: ClassVar[str] = "DeleteRequest"


class CopyBody(WireModel):
    """`POST /api/copy`."""

    go_name: ClassVar[str] = "CopyRequest"
    source: str = ""
    destination: str = ""


class PullBody(NamedModel):
    """`POST /api/pull`. `limit_rate`, in bytes a second, is ours."""

    go_name: ClassVar[str] = "PullRequest"
    stream: bool = True
    insecure: bool = False
    limit_rate: int = 0


class PushBody(NamedModel):
    """`POST /api/push`."""

    go_name: ClassVar[str] = "PushRequest"
    stream: bool = True
    insecure: bool = False


class CreateBody(NamedModel):
    """`POST /api/create`.

    `imatrix` is ours: the file that says which columns matter when weights are quantized. `modelfile` is what clients
    sent up to Ollama 0.5.4, `path` where they had it from.
    """

    go_name: ClassVar[str] = "CreateRequest"
    stream: bool = True
    base: str = Field(default="", alias="from")
    files: dict[str, str] = Field(default_factory=dict)
    draft_files: dict[str, str] = Field(default_factory=dict)
    template: str | None = None
    system: str | None = None
    license: list[str] = Field(default_factory=list)
    parameters: dict[str, Any] = Field(default_factory=dict)
    messages: list[WireMessage] = Field(default_factory=list)
    adapters: dict[str, str] = Field(default_factory=dict)
    imatrix: dict[str, str] = Field(default_factory=dict)
    quantize: str = ""
    draft_quantize: str = ""
    quantization: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    remote_host: str = ""
    info: dict[str, Any] = Field(default_factory=dict)
    modelfile: str = ""
    path: str = ""

    @field_validator("license", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value
