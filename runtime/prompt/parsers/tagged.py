"""Calls behind `<tool_call>`: an object, or a function and its parameters in tags of their own (spec g.6).

Which of the three it is, the first characters say, so that a model that falls into another's way is read too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from corral.runtime.prompt.parsers.calls import Form, Offered, Outcome, Reader, Writing, call_of, read_json
from corral.runtime.prompt.parsers.json_calls import JsonReader

OPENING: Final = "<tool_call>"
CLOSING: Final = "</tool_call>"
FUNCTION: Final = "<function="
_END: Final = "</function>"
_XML: Final = re.compile(r"\s*<function=([^>\s]+)>(.*)", re.DOTALL)
_PARAMETER: Final = re.compile(r"<parameter=([^>]+)>(.*?)(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL)
_PAIR: Final = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)


class TaggedReader:
    """Reads one call, or several objects behind one tag."""

    def __init__(self, opening: str, offered: Offered, closing: str) -> None:
        self._offered = offered
        self._closing = closing
        self._bare_function = opening == FUNCTION
        self._text = opening if self._bare_function else ""
        self._kind = ""
        self._seen = 0
        self._json: JsonReader | None = None

    def push(self, text: str, *, last: bool) -> Outcome:
        """Take the next piece."""
        if self._json is not None:
            return self._json.push(text, last=last)
        self._text += text
        if not self._kind and not self._tell(last=last):
            return Outcome()
        if self._kind == "json":
            self._json = JsonReader(self._offered, closings=(self._closing,))
            return self._json.push(self._text, last=last)
        return self._read_xml(last=last) if self._kind == "xml" else self._read_keys(last=last)

    def _tell(self, *, last: bool) -> bool:
        """Find out which way a call is written; False while that cannot be known."""
        begun = self._text.lstrip()
        if not last and (not begun or FUNCTION.startswith(begun)):
            return False
        self._kind = "json" if begun.startswith(("{", "[")) else "xml" if begun.startswith(FUNCTION) else "keys"
        return True

    def _read_xml(self, *, last: bool) -> Outcome:
        end = self._find(_END)
        if end < 0:
            return self._failed() if last else Outcome()
        head, _, object_text = self._text[: end - len(_END)].partition(">")
        if object_text.lstrip().startswith("{"):
            return self._function_object(head, object_text, end, last=last)
        found = _XML.fullmatch(self._text, 0, end - len(_END))
        return self._ended(end, self._xml_call(found), last=last) if found else self._failed()

    def _xml_call(self, found: re.Match[str]) -> tuple[str, dict[str, object]]:
        name = found[1]
        schema = self._offered.get(name, {})
        values = {one[1].strip(): typed(_line(one[2]), schema, one[1].strip()) for one in _PARAMETER.finditer(found[2])}
        return name, values

    def _function_object(self, head: str, text: str, end: int, *, last: bool) -> Outcome:
        """Read `<function=name>{…}</function>`, as Llama 3 is told to write it."""
        try:
            value = read_json(text)
        except ValueError:
            return self._failed()
        return self._ended(end, (head.strip().removeprefix(FUNCTION), value), last=last)

    def _ended(self, end: int, found: tuple[str, object], *, last: bool) -> Outcome:
        """Take the closing tag that follows a function, where one does."""
        rest = self._text[end:]
        after = rest.lstrip()
        if not last and self._closing.startswith(after) and after != self._closing:
            self._seen = end - len(_END)
            return Outcome()
        call = call_of(*found, self._offered)
        if call is None:
            return self._failed()
        return Outcome((call,), True, after.removeprefix(self._closing) if after.startswith(self._closing) else rest)

    def _read_keys(self, *, last: bool) -> Outcome:
        end = self._find(self._closing)
        if end < 0:
            return self._failed() if last else Outcome()
        text = self._text[: end - len(self._closing)]
        name = text.partition("<arg_key>")[0].strip()
        schema = self._offered.get(name, {})
        values = {one[1].strip(): typed(_line(one[2]), schema, one[1].strip()) for one in _PAIR.finditer(text)}
        call = call_of(name, values, self._offered)
        return Outcome((call,), True, self._text[end:]) if call else self._failed()

    def _find(self, mark: str) -> int:
        """Return the index behind the first of a mark, -1 where there is none; each character is looked at once."""
        at = self._text.find(mark, self._seen)
        if at < 0:
            self._seen = max(0, len(self._text) - len(mark))
            return -1
        return at + len(mark)

    def _failed(self) -> Outcome:
        return Outcome((), True, self._text.removeprefix(FUNCTION) if self._bare_function else self._text, True)


def _line(text: str) -> str:
    """Return a value without the line breaks its tags stand on."""
    return text.removeprefix("\n").removesuffix("\n")


def typed(text: str, schema: Mapping[str, object], key: str) -> object:
    """Return a value written as plain text in the type its schema says; as it stands where it fits none.

    The order is Ollama's (spec g.6): null, bool, int, number, array, object, text.
    """
    types = _types(schema, key)
    if text.strip().lower() == "null" and types != {"string"}:
        return None
    if "boolean" in types and text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    kinds = {"integer": (int,), "number": (int, float), "array": (list,), "object": (dict,)}
    wanted = tuple(kind for name in kinds if name in types for kind in kinds[name])
    if not wanted:
        return text
    try:
        value = read_json(text)
    except ValueError:
        return text
    return value if isinstance(value, wanted) and not isinstance(value, bool) else text


def _types(schema: Mapping[str, object], key: str) -> set[str]:
    properties = schema.get("properties")
    own = properties.get(key) if isinstance(properties, Mapping) else None
    found: set[str] = set()
    several = own.get("anyOf") if isinstance(own, Mapping) else None
    for one in [own, *(several if isinstance(several, list) else ())]:
        kind = one.get("type") if isinstance(one, Mapping) else None
        found |= {str(name) for name in kind} if isinstance(kind, list) else {str(kind)} if kind else set()
    return found


def tagged_form(
    writing: Writing, *, opening: str = OPENING, closing: str = CLOSING, openings: tuple[str, ...] = ()
) -> Form:
    """Return the form of a family that puts each call into a tag; `openings` are further ones it is known to use."""

    def new_reader(found: str, offered: Offered) -> Reader:
        return TaggedReader(found, offered, closing)

    return Form((opening, *openings), new_reader, writing)
