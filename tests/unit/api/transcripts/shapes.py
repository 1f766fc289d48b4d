"""The shape of an answer: which fields it has, no more and no fewer, of which types, and which values are fixed.

A shape is a value that must be equal, a type, a pattern that a whole text must fit, `Many` of a shape, or a list or an
object of shapes. Booleans are no numbers; a whole number will do where a `float` stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d")
SHA256 = re.compile(r"[0-9a-f]{64}")

JSON = "application/json"
JSON_UTF8 = "application/json; charset=utf-8"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Many:
    """A list of one or more of the same shape."""

    shape: Any


@dataclass(frozen=True)
class Transcript:
    """A request and the shape of its answer. `path` is what is asked, `route` the router's own word for it.

    A stream's `answer` is the list of its lines or events; `answer` is None where there is no body. `thinks` and
    `calls` have the model do so; `fails` has the workbench fail after the first word.
    """

    route: str
    answer: Any
    body: Any = None
    path: str = ""
    status: int = 200
    kind: str = JSON_UTF8
    headers: Mapping[str, str] = field(default_factory=dict)
    thinks: bool = False
    calls: bool = False
    fails: bool = False

    @property
    def method(self) -> str:
        """The request's method."""
        return self.route.split(" ")[0]

    @property
    def target(self) -> str:
        """The request's path."""
        return self.path or self.route.split(" ")[1]

    def __str__(self) -> str:
        return f"{self.route} {self.status} {self.kind.split(';')[0].rpartition('/')[2]}"


def differences(value: object, shape: object, at: str = "answer") -> Iterator[str]:
    """Say in words where a value is not of a shape."""
    if isinstance(shape, dict):
        yield from _of_object(value, shape, at)
    elif isinstance(shape, (list, Many)):
        yield from _of_list(value, shape, at)
    elif isinstance(shape, type):
        known = (int, float) if shape is float else shape
        if not isinstance(value, known) or (isinstance(value, bool) and shape is not bool):
            yield f"{at} is {value!r}, not of type {shape.__name__}"
    elif isinstance(shape, re.Pattern):
        if not isinstance(value, str) or not shape.fullmatch(value):
            yield f"{at} is {value!r}, not {shape.pattern}"
    elif value != shape or type(value) is not type(shape):
        yield f"{at} is {value!r}, not {shape!r}"


def _of_object(value: object, shape: dict[str, object], at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at} is {value!r}, not an object"
        return
    for name in value.keys() - shape.keys():
        yield f"{at}.{name} is {value[name]!r}, and should not be there"
    for name, one in shape.items():
        if name not in value:
            yield f"{at}.{name} is missing"
        else:
            yield from differences(value[name], one, f"{at}.{name}")


def _of_list(value: object, shape: list[object] | Many, at: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{at} is {value!r}, not a list"
        return
    shapes = [shape.shape] * max(1, len(value)) if isinstance(shape, Many) else shape
    if len(value) != len(shapes):
        yield f"{at} has {len(value)} items, not {len(shapes)}: {value!r}"
    for number, (item, one) in enumerate(zip(value, shapes, strict=False)):
        yield from differences(item, one, f"{at}[{number}]")


def loosened(shape: Any) -> Any:
    """Return a shape with the same fields where texts, numbers and the lengths of lists are left open."""
    if isinstance(shape, dict):
        return {name: loosened(one) for name, one in shape.items()}
    if isinstance(shape, list):
        return Many(loosened(shape[0])) if shape else []
    if isinstance(shape, bool) or shape is None:
        return shape
    return type(shape) if isinstance(shape, (str, int, float)) else shape
