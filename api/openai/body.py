"""What the requests of the OpenAI-compatible API have in common: options of ours, and how tokens are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import Field, model_validator

from corral.api.body import WireModel
from corral.api.errors import RequestRefused
from corral.api.ollama.checks import think_refusal
from corral.runtime.errors import InvalidOption
from corral.runtime.options import OPTIONS, parse_options

EFFORTS: Final[Mapping[str, bool | str]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "ultra": "max",
    "max": "max",
    "none": False,
}
"""What OpenAI's words for how hard to think are here (spec b.2)."""

_OPENAI_ONLY: Final = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "safety_identifier"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "prediction"),
    }
)
"""Fields that say how OpenAI keeps books or hurries; no answer is another without them."""


class StreamOptions(WireModel):
    """What a stream holds beside the answer."""

    go_name: ClassVar[str] = "StreamOptions"
    include_usage: bool = False


class Reasoning(WireModel):
    """How hard the model is to think; `summary` is said back and changes nothing."""

    go_name: ClassVar[str] = "Reasoning"
    effort: str = ""
    summary: str = ""


class OpenAIBody(WireModel):
    """What every request may hold: `options` and `keep_alive` as in the native API, which Ollama passes over here.

    Each option of the registry may also stand at the top, as in `"min_p": 0.05`: clients of other servers send them
    there, by `extra_body`. They win over those in `options` (spec appendix C).
    """

    model: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    keep_alive: Any = None

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {(field.alias or name).lower() for name, field in cls.model_fields.items()}
        own, rest = {}, {}
        for key, value in data.items():
            name = key.lower()
            if name in OPTIONS and name not in known:
                own[name] = value
            elif name not in _OPENAI_ONLY:
                rest["options" if name == "options" else key] = value
        given = rest.get("options") or {}
        if own and isinstance(given, dict):
            rest["options"] = given | {name: value for name, value in own.items() if value is not None}
        return rest


class TextBody(OpenAIBody):
    """A request for text: how its tokens are drawn. Temperature and top_p are 1 where nothing is said (spec b.2)."""

    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    stop: Any = None
    think: Any = None
    reasoning_effort: str = ""
    reasoning: Reasoning = Reasoning()

    @property
    def effort(self) -> str:
        """How hard to think, in OpenAI's words; "" where nothing is said of it."""
        return self.reasoning.effort or self.reasoning_effort

    @property
    def limit(self) -> int | None:
        """The most tokens to make."""
        return self.max_tokens

    def to_think(self) -> bool | str | None:
        """Return whether to think, or how hard, as the verbs have it; OpenAI's own fields win.

        Raises:
            RequestRefused: a word that is none of them.
        """
        if refusal := think_refusal(self.think):
            raise refusal
        if self.effort:
            if self.effort not in EFFORTS:
                *known, last = (f'"{effort}"' for effort in EFFORTS)
                words = f"{', '.join(known)}, or {last}"
                raise RequestRefused(f'invalid reasoning value: "{self.effort}" (must be {words})')
            return EFFORTS[self.effort]
        return None if self.think == "" else self.think

    def to_stops(self) -> list[str] | None:
        """Return the texts that end an answer; what is no text is dropped. None where nothing is said."""
        if isinstance(self.stop, str):
            return [self.stop]
        return [text for text in self.stop if isinstance(text, str)] if isinstance(self.stop, list) else None

    def to_options(self) -> dict[str, Any]:
        """Return the generation options; the API's own fields win over `options`.

        Raises:
            RequestRefused: a value that none of them can have.
        """
        options: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, **self.options}
        for name in ("temperature", "top_p"):
            if name in self.model_fields_set:
                options[name] = getattr(self, name)
        if self.limit is not None:
            options["num_predict"] = self.limit
        stops = self.to_stops()
        if stops is not None:
            options["stop"] = stops
        return checked(options)


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options whose values they can have. Raises RequestRefused."""
    try:
        parse_options(options)
    except InvalidOption as error:  # natively the server's own fault, as at Ollama; here the client is told
        raise RequestRefused(str(error)) from None
    return dict(options)


def format_of(kind: object, schema: object, field: str) -> str | dict[str, Any] | None:
    """Return what an answer must look like, as the verbs have it; `field` is where the request says so.

    Raises:
        RequestRefused: a form that is not known, or a schema that is none.
    """
    if kind == "text":
        return None
    if kind == "json_object":
        return "json"
    if kind != "json_schema":
        raise RequestRefused(f"{field} of type {kind!r} is not known: text, json_object or json_schema")
    if not isinstance(schema, dict):
        where = f"{field}.json_schema.schema" if field == "response_format" else f"{field}.schema"
        raise RequestRefused(f"{where} must be a JSON Schema object")
    return schema
