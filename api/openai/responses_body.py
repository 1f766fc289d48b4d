"""The request of `/v1/responses`: items to a conversation, flat tools to ours (spec b.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from msgspec.structs import replace
from pydantic import Field

from corral.api.body import WireModel
from corral.api.errors import RequestRefused
from corral.api.openai.body import TextBody, format_of
from corral.api.openai.schemas import OpenAIMessage
from corral.api.openai.tools import call_of, named_results, tools_of
from corral.runtime.verbs import Message, Tools

_CONTENT: Final = {"input_text": "text", "output_text": "text", "text": "text", "input_image": "image_url"}
_LOGPROBS: Final = "message.output_text.logprobs"


class TextForm(WireModel):
    """What the text of an answer must look like; how wordy it is to be (`verbosity`) no model is told."""

    go_name: ClassVar[str] = "ResponsesText"
    format: dict[str, Any] = Field(default_factory=lambda: {"type": "text"})


class ResponsesBody(TextBody):
    """`POST /v1/responses`. Nothing is stored, so a request brings its whole conversation along."""

    go_name: ClassVar[str] = "ResponsesRequest"
    input: Any = None
    instructions: str = ""
    max_output_tokens: int | None = None
    tools: list[Any] = Field(default_factory=list)
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    text: TextForm = TextForm()
    top_logprobs: int = 0
    include: list[Any] = Field(default_factory=list)
    truncation: str = ""
    max_tool_calls: int | None = None
    previous_response_id: str = ""
    conversation: Any = None
    prompt: Any = None
    background: bool = False

    @property
    def limit(self) -> int | None:
        """The most tokens to make."""
        return self.max_output_tokens if self.max_output_tokens is not None else self.max_tokens

    @property
    def wants_logprobs(self) -> bool:
        """Whether every token's log probability is to be told."""
        return self.top_logprobs > 0 or _LOGPROBS in self.include

    @property
    def warnings(self) -> tuple[str, ...]:
        """The tools that OpenAI would run itself, and nobody does here, in words."""
        left_out = dict.fromkeys(str(tool.get("type")) for tool in self._others())
        return tuple(f"no tool of type {kind!r} is here: it was left out" for kind in left_out)

    def check_stateless(self) -> None:
        """Refuse what would need something kept from before, or for later. Raises RequestRefused."""
        for given, name in (
            (self.previous_response_id, "previous_response_id"),
            (self.conversation, "conversation"),
            (self.prompt, "prompt"),
            (self.background, "background"),
        ):
            if given:
                raise RequestRefused(f"{name} is not supported: nothing is kept here, send the whole conversation")

    def to_format(self) -> str | dict[str, Any] | None:
        """Return what the answer must look like; see `format_of`."""
        return format_of(self.text.format.get("type", "text"), self.text.format.get("schema"), "text.format")

    def to_tools(self) -> Tools:
        """Return the functions the model may call; those of a namespace are called `namespace.function`.

        Raises:
            RequestRefused: no tools, or the choice of none that is there.
        """
        functions = []
        for tool in self.tools:
            if not isinstance(tool, Mapping):
                raise RequestRefused("tools must be objects")
            if tool.get("type") == "function":
                functions.append(_nested(tool, tool.get("name")))
            elif tool.get("type") == "namespace":
                inner = tool.get("tools")
                for one in inner if isinstance(inner, list) else []:
                    if isinstance(one, Mapping):
                        functions.append(_nested(one, f"{tool.get('name')}.{one.get('name')}"))
        return tools_of(functions, self.tool_choice, parallel=self.parallel_tool_calls)

    def _others(self) -> list[Mapping[str, Any]]:
        return [
            tool
            for tool in self.tools
            if isinstance(tool, Mapping) and tool.get("type") not in ("function", "namespace")
        ]

    def to_messages(self) -> tuple[Message, ...]:
        """Return the conversation as the workbench takes it.

        Raises:
            RequestRefused: an item that is none, or of a kind that cannot be read.
        """
        said = [Message("system", self.instructions)] if self.instructions else []
        if isinstance(self.input, str):
            return (*said, Message("user", self.input))
        if not isinstance(self.input, list):
            raise RequestRefused("input must be a string or array of items")
        return named_results([*said, *_Conversation().read(self.input)])


def _nested(tool: Mapping[str, Any], name: object) -> dict[str, Any]:
    """Return a flat tool as chat completions have it."""
    return {"type": "function", "function": {key: tool[key] for key in tool if key != "type"} | {"name": name}}


class _Conversation:
    """Turns items into messages: what an assistant thought, said and called is one message."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._thinking = ""

    def read(self, items: list[Any]) -> list[Message]:
        for item in items:
            if not isinstance(item, Mapping):
                raise RequestRefused("input items must be objects")
            self._take(item, item.get("type") or ("message" if "role" in item else None))
        return self._messages

    def _take(self, item: Mapping[str, Any], kind: object) -> None:
        match kind:
            case "message":
                self._message(item)
            case "function_call":
                self._call(item)
            case "function_call_output":
                call_id = item.get("call_id")
                if not isinstance(call_id, str):
                    raise RequestRefused("function_call_output needs a call_id")
                found = _spoken({"role": "tool", "content": item.get("output"), "tool_call_id": call_id})
                self._messages += found
            case "reasoning":
                self._thinking = _thoughts(item)
            case "web_search_call" | "item_reference":
                pass  # what was found stands in the answer that follows; a reference has nothing in it
            case None:
                raise RequestRefused("input item missing required 'type' field")
            case _:
                raise RequestRefused(f'unknown input item type: "{kind}"')

    def _message(self, item: Mapping[str, Any]) -> None:
        spoken = _spoken({"role": item.get("role"), "content": item.get("content")})
        if item.get("role") != "assistant":
            self._messages += spoken
            return
        text = "\n\n".join(one.content for one in spoken)
        last = self._messages[-1] if self._messages else None
        if last is not None and last.role == "assistant" and last.tool_calls:
            # Said between a call and its result: a message of its own would stand between the two.
            self._messages[-1] = replace(last, content="\n\n".join(part for part in (last.content, text) if part))
        else:
            self._messages.append(Message("assistant", text, self._thinking))
        self._thinking = ""

    def _call(self, item: Mapping[str, Any]) -> None:
        call = call_of(item.get("name"), item.get("arguments"), item.get("call_id"))
        last = self._messages[-1] if self._messages else None
        if last is not None and last.role == "assistant" and not self._thinking:
            self._messages[-1] = replace(last, tool_calls=(*last.tool_calls, call))
        else:
            self._messages.append(Message("assistant", "", self._thinking, tool_calls=(call,)))
        self._thinking = ""


def _spoken(message: Mapping[str, Any]) -> list[Message]:
    """Return a message whose parts are of this route, read as chat completions read theirs."""
    role, content = message["role"], message["content"]
    if not isinstance(role, str):
        raise RequestRefused("a message needs a role")
    if isinstance(content, list):
        content = [_part(part) for part in content]
    return OpenAIMessage(role=role, content=content, tool_call_id=message.get("tool_call_id", "")).to_messages()


def _part(part: object) -> Mapping[str, Any]:
    if not isinstance(part, Mapping):
        raise RequestRefused("content parts must be objects")
    kind = part.get("type")
    if kind == "input_file":
        raise RequestRefused("file inputs are not currently supported")
    if kind == "refusal":
        return {"type": "text", "text": part.get("refusal")}
    return {**part, "type": _CONTENT.get(kind, kind) if isinstance(kind, str) else kind}


def _thoughts(item: Mapping[str, Any]) -> str:
    """Return what was thought: this server sends it as plain text in `encrypted_content`, and as the summary."""
    if isinstance(item.get("encrypted_content"), str):
        return str(item["encrypted_content"])
    parts = item.get("summary") or item.get("content")
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
    return "".join(text for text in texts if isinstance(text, str))
