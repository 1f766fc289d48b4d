"""Calls written as Python's: `[weather(city="Oslo"), time()]` (spec g.6: olmo3, lfm2)."""

from __future__ import annotations

import ast
import warnings
from typing import Final

from corral.runtime.engine.protocol import ToolCall
from corral.runtime.prompt.parsers.calls import Arguments, Form, Offered, Outcome, Reader, Writing, call_of
from corral.runtime.prompt.parsers.json_calls import JsonReader

_CONSTANTS: Final = {"true": True, "false": False, "null": None}


class PythonReader:
    """Reads the calls between two marks."""

    def __init__(self, offered: Offered, closing: str) -> None:
        self._offered = offered
        self._closing = closing
        self._text = ""
        self._seen = 0

    def push(self, text: str, *, last: bool) -> Outcome:
        """Take the next piece."""
        self._text += text
        at = self._text.find(self._closing, self._seen)
        if at < 0 and not last:
            self._seen = max(0, len(self._text) - len(self._closing))
            return Outcome()
        inside, rest = (self._text[:at], self._text[at + len(self._closing) :]) if at >= 0 else (self._text, "")
        calls = read_python(inside, self._offered) or self._as_json(inside)
        return Outcome(tuple(calls), True, rest) if calls else Outcome((), True, self._text, True)

    def _as_json(self, text: str) -> tuple[ToolCall, ...]:
        """Read what is JSON in spite of its marks."""
        outcome = JsonReader(self._offered).push(text, last=True)
        return () if outcome.failed or outcome.rest else outcome.calls


def read_python(text: str, offered: Offered) -> list[ToolCall]:
    """Return the calls of a list, or one a line; none where one of them cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of escapes that only JSON has
            body = ast.parse(text.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    calls: list[ToolCall] = []
    for statement in body:
        value = statement.value if isinstance(statement, ast.Expr) else None
        for one in value.elts if isinstance(value, (ast.List, ast.Tuple)) else (value,):
            call = _call(one, offered)
            if call is None:
                return []
            calls.append(call)
    return calls


def _call(node: ast.expr | None, offered: Offered) -> ToolCall | None:
    if not isinstance(node, ast.Call):
        return None
    name = _dotted(node.func)
    schema = offered.get(name, {}).get("properties")
    names = list(schema) if isinstance(schema, dict) else []
    if len(node.args) > len(names) or any(keyword.arg is None for keyword in node.keywords):
        return None
    try:
        values = {str(key): _value(one) for key, one in zip(names, node.args, strict=False)}
        values |= {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    except (ValueError, RecursionError):
        return None
    return call_of(name, values, offered)


def _dotted(node: ast.expr) -> str:
    """Return a function's name; some have dots."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _value(node: ast.expr) -> object:
    """Return a literal, Python's or JSON's. Raises ValueError for anything else."""
    match node:
        case ast.Constant(value=str() | bool() | int() | float() | None as value):
            return value
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(one) for one in items]
        case ast.Dict(keys=keys, values=values) if all(key is not None for key in keys):
            return {str(_value(key)): _value(one) for key, one in zip(keys, values, strict=True) if key is not None}
        case _:
            raise ValueError("no literal")


def python_form(opening: str, closing: str, *, between: str) -> Form:
    """Return the form of a family that writes Python between two marks."""

    def new_reader(found: str, offered: Offered) -> Reader:
        return PythonReader(offered, closing)

    listed = between == ", "
    begin, end = (f"{opening}[", f"]{closing}") if listed else (opening, closing)
    return Form(
        (opening,), new_reader, Writing("NAME", begin=begin, between=between, end=end, arguments=Arguments.PYTHON)
    )
