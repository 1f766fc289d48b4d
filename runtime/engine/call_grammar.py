"""Answers that must call a tool: the grammar of a family's calls, each with arguments that fit the tool's schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from corral.runtime.engine.deferral import ANYTHING, quoted, symbols
from corral.runtime.engine.llama import Model
from corral.runtime.formats import schema_text
from corral.runtime.prompt.parsers.calls import Arguments, Offered, Writing
from corral.runtime.prompt.parsers.families import Family

MOST_CALLS: Final = 16
"""Calls in one answer: a model that is not sure when to end would go on for ever."""


@dataclass(frozen=True, slots=True)
class CallGrammar:
    """A grammar in Lark that refers to JSON Schemas by name."""

    lark: str
    schemas: Mapping[str, str]


def call_grammar(
    model: Model, family: Family, offered: Offered, *, parallel: bool, inside: bool, begun: bool = False
) -> CallGrammar | None:
    """Return the grammar of an answer that calls one or more of the functions, None where nobody knows how.

    It may think first where the family does so in messages; not where the calls have `begun`.

    Raises:
        BadRequest: a function's schema is beyond the bounds.
    """
    if family.form is None:
        return None
    channels, writing = family.channels, family.form.writing
    rules = _Rules(model, writing if not begun else replace(writing, header=""))
    calls = [rules.call(number, name, schema) for number, (name, schema) in enumerate(offered.items())]
    begin, between, end = (" ".join(symbols(model, text)) for text in (writing.begin, writing.between, writing.end))
    more = f" ({between} call){{0,{MOST_CALLS - 1}}}" if parallel and channels is None else ""
    thoughts = ""
    if channels is not None and not begun:
        free = rules.free_until("thoughts", channels.end)
        opening = "" if inside else " ".join(symbols(model, channels.thoughts))
        thoughts = f"{opening} {free} {' '.join(symbols(model, channels.next))}"
        thoughts = thoughts if inside else f"({thoughts})?"
    start = f"start: {thoughts} {begin} call{more} {end}"
    if begun and "[" in family.form.bare:
        more = f' (", " call){{0,{MOST_CALLS - 1}}}' if parallel else ""
        start += f' | "[" call{more} "]"'
    return CallGrammar("\n".join([start, f"call: {' | '.join(calls)}", *rules.lines, ""]), rules.schemas)


@dataclass(slots=True)
class _Rules:
    """Collects the rules of one grammar."""

    model: Model
    writing: Writing
    lines: list[str] = field(default_factory=list)
    schemas: dict[str, str] = field(default_factory=dict)

    def call(self, number: int, name: str, schema: Mapping[str, object]) -> str:
        """Add the rule of one function's calls and return its name."""
        is_json = self.writing.arguments is Arguments.JSON and '"NAME"' in self.writing.before
        before = (self.writing.header + self.writing.before).replace(
            "NAME", json.dumps(name)[1:-1] if is_json else name
        )
        rule = f"call{number}"
        arguments = self._arguments(f"f{number}", schema)
        self._add(rule, f"{self._text(before)} {arguments} {self._text(self.writing.after)}")
        return rule

    def free_until(self, name: str, mark: str) -> str:
        """Return symbols for any text and the mark that ends it."""
        first, *rest = symbols(self.model, mark)
        if first.startswith("<"):
            terminal = name.upper()
            self._once(f"{terminal}: {ANYTHING} & ~({ANYTHING} {quoted(mark)} {ANYTHING})")
            return " ".join([terminal, first, *rest])
        self._once(f"{name}[suffix={first}]: {ANYTHING}")
        return " ".join([name, *rest])

    def _arguments(self, name: str, schema: Mapping[str, object]) -> str:
        items = self._items(name, schema)
        match self.writing.arguments:
            case Arguments.JSON:
                # A function that says nothing of its parameters has none.
                return self._json(name, {"type": "object", **(schema or {"additionalProperties": False})})
            case Arguments.XML:
                return self._listed(name, items(self._xml_value), "")
            case Arguments.KEYS:
                return self._listed(name, items(self._key_value), "")
            case Arguments.PYTHON:
                listed = self._listed(name, items(self._python_value), '", "')
                return f'"(" {listed} ")"'
            case Arguments.GEMMA:
                listed = self._listed(name, items(self._gemma_value), '","')
                return f'"{{" {listed} "}}"'
            case Arguments.ATEM:
                return self._listed(name, items(self._atem_value), "")

    def _items(
        self, name: str, schema: Mapping[str, object]
    ) -> Callable[[Callable[[str, str, Mapping[str, object]], str]], list[tuple[str, bool]]]:
        """Return what makes a function's parameters into symbols, each with whether it is required."""
        properties, required = schema.get("properties"), schema.get("required")
        named = properties if isinstance(properties, Mapping) else {}
        wanted = required if isinstance(required, list) else []
        shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}

        def make(value: Callable[[str, str, Mapping[str, object]], str]) -> list[tuple[str, bool]]:
            return [
                (
                    value(f"{name}v{number}", key, {**shared, **own} if isinstance(own, Mapping) else {}),
                    key in wanted,
                )
                for number, (key, own) in enumerate(named.items())
            ]

        return make

    def _xml_value(self, name: str, key: str, schema: Mapping[str, object]) -> str:
        return " ".join([quoted(f"<parameter={key}>\n"), self._plain(name, schema, "\n</parameter>"), quoted("\n")])

    def _atem_value(self, name: str, key: str, schema: Mapping[str, object]) -> str:
        before = quoted(f'<atem:parameter name="{key}">')
        return " ".join([before, self._plain(name, schema, "</atem:parameter>"), quoted("\n")])

    def _key_value(self, name: str, key: str, schema: Mapping[str, object]) -> str:
        before = self._text(f"<arg_key>{key}</arg_key>\n<arg_value>")
        return " ".join([quoted("\n"), before, self._plain(name, schema, "</arg_value>")])

    def _python_value(self, name: str, key: str, schema: Mapping[str, object]) -> str:
        return f"{quoted(f'{key}=')} {self._json(name, schema)}"

    def _gemma_value(self, name: str, key: str, schema: Mapping[str, object]) -> str:
        quote = self.writing.quote
        value = f"{self._text(quote)} {self._plain(name, schema, quote)}" if _is_text(schema) else None
        return f"{quoted(f'{key}:')} {value or self._json(name, schema)}"

    def _plain(self, name: str, schema: Mapping[str, object], end: str) -> str:
        """Return symbols for a value and the mark behind it: a text as it is, all else as JSON."""
        if not _is_text(schema):
            return f"{self._json(name, schema)} {self._text(end)}"
        values = schema.get("enum")
        if isinstance(values, list) and values:
            return f"({' | '.join(quoted(str(one)) for one in values)}) {self._text(end)}"
        return self.free_until("value", end)

    def _listed(self, name: str, items: Sequence[tuple[str, bool]], separator: str) -> str:
        """Return the rule of parameters in their order, those that are not required left out or not."""
        first, rest = f"{name}first{len(items)}", f"{name}rest{len(items)}"
        self._add(first, '""')
        self._add(rest, '""')
        for number in range(len(items) - 1, -1, -1):
            item, required = items[number]
            later_first, later_rest = first, rest
            first, rest = f"{name}first{number}", f"{name}rest{number}"
            one = f"{name}item{number}"
            self._add(one, item)
            self._add(first, f"{one} {later_rest}" if required else f"{one} {later_rest} | {later_first}")
            follows = f"{separator} {one}"
            self._add(rest, f"{follows} {later_rest}" if required else f"({follows})? {later_rest}")
        return first

    def _json(self, name: str, schema: Mapping[str, object]) -> str:
        self.schemas[name] = schema_text(schema)
        return f"@{name}"

    def _text(self, text: str) -> str:
        return " ".join(symbols(self.model, text)) if text else ""

    def _add(self, rule: str, body: str) -> None:
        self._once(f"{rule}: {body.strip()}")

    def _once(self, line: str) -> None:
        if line not in self.lines:
            self.lines.append(line)


def _is_text(schema: Mapping[str, object]) -> bool:
    return schema.get("type") == "string"
