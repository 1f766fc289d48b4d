"""What one chat asks of its model: who it is, options, thinking, form, tools. Owned by Textual's thread."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from corral.runtime.errors import RunError
from corral.runtime.options import OPTIONS, Kind, parse_options, parse_parameter
from corral.runtime.verbs import Tools

__all__ = ["THINK_LEVELS", "ChatSettings", "checked_option", "parse_format", "parse_tools", "value_text"]

THINK_LEVELS = ("model's own", "off", "on", "low", "medium", "high", "max")
_THINK = {"model's own": None, "off": False, "on": True}
Form = str | Mapping[str, object] | None


def parse_format(text: str) -> Form:
    """Read a form: "" for none, `json`, or a JSON Schema.

    Raises:
        ValueError: it is none of them; the message says what is wrong.
    """
    wanted = text.strip()
    if not wanted or wanted == "json":
        return wanted or None
    try:
        schema = json.loads(wanted)
    except ValueError as error:
        raise ValueError(f"a form is json, or a JSON Schema: {error}") from None
    if not isinstance(schema, dict):
        raise ValueError("a JSON Schema is an object: {…}")
    return schema


def parse_tools(text: str) -> tuple[Mapping[str, object], ...]:
    """Read tools: a JSON list of objects as Ollama's and OpenAI's clients send them.

    Raises:
        ValueError: it is no such list.
    """
    try:
        functions = json.loads(text)
    except ValueError as error:
        raise ValueError(f"tools are a JSON list: {error}") from None
    functions = [functions] if isinstance(functions, dict) else functions
    if not isinstance(functions, list) or not all(
        isinstance(one, dict) and isinstance(one.get("function"), dict) for one in functions
    ):
        raise ValueError('tools are a list of {"type": "function", "function": {"name": …}}')
    return tuple(functions)


def value_text(value: object) -> str:
    """An option's value as it is typed."""
    if value is None:
        return "auto"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


class ChatSettings(msgspec.Struct):
    """A chat's own settings; what is not set is the model's own."""

    system: str = ""
    options: dict[str, object] = msgspec.field(default_factory=dict)
    think: bool | str | None = None
    form: Form = None
    tools: tuple[Mapping[str, object], ...] = ()

    @property
    def offered(self) -> Tools:
        """The tools, as a request has them."""
        return Tools(self.tools)

    def set_option(self, name: str, text: str) -> None:
        """Set an option from what was typed; "" makes it the model's own again.

        Lists are typed as JSON, or as one text of them.

        Raises:
            ValueError: no such option, or a value it cannot have.
        """
        if not text.strip():
            self.options.pop(name, None)
            return
        self.options[name] = checked_option(name, text)

    def set_think(self, level: str) -> None:
        """Set how hard it thinks, in a word of `THINK_LEVELS`, or `true` and `false`."""
        word = {"true": "on", "false": "off", "": "model's own"}.get(level, level)
        if word not in THINK_LEVELS:
            raise ValueError("the level must be on, off, low, medium, high or max")
        self.think = _THINK.get(word, word)

    @property
    def think_level(self) -> str:
        """How hard it thinks, in a word."""
        if isinstance(self.think, str):
            return self.think
        return next(word for word, value in _THINK.items() if value is self.think)

    @property
    def form_text(self) -> str:
        """The form, as it is typed."""
        return "" if self.form is None else self.form if isinstance(self.form, str) else json.dumps(self.form)

    def changes(self) -> list[str]:
        """What differs from the model's own, in short."""
        parts = ["system"] if self.system else []
        parts += [f"{name} {value_text(value)}" for name, value in self.options.items()]
        parts += [f"think {self.think_level}"] if self.think is not None else []
        parts += [("json" if isinstance(self.form, str) else "schema")] if self.form is not None else []
        return parts + ([f"{len(self.tools)} tools"] if self.tools else [])

    def saved(self) -> dict[str, object]:
        """As they are kept."""
        kept: dict[str, object] = {"system": self.system, "options": self.options, "format": self.form}
        kept["tools"] = [dict(one) for one in self.tools]
        return {name: value for name, value in kept.items() if value} | (
            {"think": self.think} if self.think is not None else {}
        )

    @classmethod
    def restored(cls, kept: Mapping[str, object]) -> ChatSettings:
        """As they were, without what makes no sense any more."""
        settings = cls()
        system, options, think, form = (kept.get(name) for name in ("system", "options", "think", "format"))
        settings.system = system if isinstance(system, str) else ""
        for name, value in options.items() if isinstance(options, dict) else ():
            try:
                parse_options({name: value})
            except RunError:
                continue
            settings.options[name] = value
        settings.think = think if isinstance(think, bool) or think in THINK_LEVELS[3:] else None
        settings.form = form if isinstance(form, (str, dict)) else None
        tools = kept.get("tools")
        settings.tools = tuple(one for one in tools if isinstance(one, dict)) if isinstance(tools, list) else ()
        return settings


def checked_option(name: str, text: str) -> object:
    """An option's value from what was typed.

    Raises:
        ValueError: no such option, or a value it cannot have.
    """
    option = OPTIONS.get(name)
    if option is None:
        raise ValueError(f"there is no option {name}")
    is_json = option.kind in (Kind.STRINGS, Kind.WEIGHTS) and text.lstrip()[:1] in ("[", "{")
    try:
        value = (
            json.loads(text) if is_json else parse_parameter(name, text.strip() if option.kind in _NUMBERS else text)
        )
        parse_options({name: value})
    except (RunError, ValueError) as error:
        raise ValueError(str(error)) from None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not option.low <= value <= option.high:
        raise ValueError(f"{name} goes from {option.low:g} to {option.high:g}")
    return list(value) if isinstance(value, tuple) else value


_NUMBERS = (Kind.INT, Kind.FLOAT, Kind.BOOL)
