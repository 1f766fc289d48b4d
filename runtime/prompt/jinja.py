"""Chat templates in Jinja, as Hugging Face's models carry them: code from strangers, so fenced in.

The sandbox keeps templates from Python's internals, a clock ends what never ends, and a meter refuses what would fill
the memory: every operation that makes text or lists is charged for what it makes before it makes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any, Final, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from corral.runtime.errors import TemplateFailed
from corral.runtime.prompt.clock import TimeIsUp, time_limit

RENDER_SECONDS: Final = 2.0
MOST_OUTPUT: Final = 8 * 1024 * 1024
_MOST_MADE: Final = 32 * MOST_OUTPUT
_LARGEST_COUNT: Final = 1_000_000
_LARGEST_EXPONENT: Final = 64
_LONG_NUMBER: Final = re.compile(r"\d{6}")
_CHARGED: Final = (str, bytes, list, tuple)
_OF_ANY_DICT: Final = frozenset(dir(dict))
_GENERATION: Final = {"generation"}


class TemplateTooSlow(TemplateFailed):
    """A template took its time; nobody should try it again in another form."""


class _TooMuch(Exception):
    """A template made more than it may."""


class _Meter:
    """Counts what one rendering makes, in characters and list items."""

    def __init__(self) -> None:
        self._made = 0

    def reset(self) -> None:
        self._made = 0

    def charge(self, size: int) -> None:
        self._made += size
        if size > MOST_OUTPUT or self._made > _MOST_MADE:
            raise _TooMuch("it makes too much text")

    def charge_value(self, value: object) -> None:
        if isinstance(value, _CHARGED):
            self.charge(len(value))


class _Generator(CodeGenerator):
    """Compiles `a ~ b` into a call that is metered."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class _Generation(Extension):
    """Takes `{% generation %}` for what it is here, nothing: Hugging Face marks by it what a model is trained on."""

    tags = _GENERATION

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "*", "**", "%", "//", "-"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation])
        self.meter = _Meter()
        self.filters["tojson"] = _to_json
        self.filters = {name: _metered(name, function, self.meter) for name, function in self.filters.items()}
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _strftime_now

    def concat(self, parts: Iterable[str]) -> str:
        texts = parts if isinstance(parts, list) else list(parts)
        self.meter.charge(sum(map(len, texts)))
        return "".join(texts)

    def joined(self, parts: Sequence[object]) -> str:
        """Return `a ~ b ~ …`."""
        return self.concat([str(part) for part in parts])

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return `a.b`: of a message that is the item of that name, for which the sandbox would look in vain first."""
        if type(obj) is dict and attribute in obj and attribute not in _OF_ANY_DICT:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            _check_product(self.meter, left, right)
        elif operator == "**" and (abs(right) > _LARGEST_EXPONENT or abs(left) > _LARGEST_COUNT):
            raise _TooMuch("it raises to too high a power")
        elif operator == "%" and isinstance(left, str | bytes):
            _check_format(str(left))
        result = super().call_binop(context, operator, left, right)
        self.meter.charge_value(result)
        return result

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        method = getattr(function, "__wrapped__", function)  # the sandbox wraps str.format
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str | bytes):
            _check_method(self.meter, owner, getattr(method, "__name__", ""), [*args, *kwargs.values()])
        result = super().call(context, function, *args, **kwargs)
        self.meter.charge_value(result)
        return result


def render_jinja(source: str, variables: Mapping[str, object]) -> str:
    """Render a chat template. Raises TemplateFailed where it is broken, refuses, or takes too long or too much."""
    try:
        with time_limit(RENDER_SECONDS):
            environment = _environment()
            environment.meter.reset()
            text = _compile(source).render(variables)
    except TimeIsUp:
        raise TemplateTooSlow(f"the chat template took longer than {RENDER_SECONDS:g} s") from None
    except _TooMuch as error:
        raise TemplateFailed(f"the chat template was stopped: {error}") from None
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if line else ""
        raise TemplateFailed(f"the chat template failed{where}: {error.message or type(error).__name__}") from None
    except (MemoryError, RecursionError) as error:
        raise TemplateFailed(f"the chat template failed: {type(error).__name__}") from None
    except Exception as error:  # whatever a stranger's expression raises is the template's fault
        raise TemplateFailed(f"the chat template failed: {error}") from None
    return str(text)


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    return _Environment()


@lru_cache(maxsize=16)
def _compile(source: str) -> Any:
    return _environment().from_string(source)


def _raise_exception(message: object) -> NoReturn:
    raise TemplateError(str(message))


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Print JSON as Hugging Face does: nothing is escaped for HTML; what a filter yields one by one is a list."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys, default=list
    )


def _metered(name: str, function: Callable[..., Any], meter: _Meter) -> Callable[..., Any]:
    """Wrap a filter so that it is refused where it would make too much."""

    @wraps(function)  # also carries the mark that says it wants the context
    def guarded(*args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if isinstance(value, int) and abs(value) > _LARGEST_COUNT and name in _COUNTED_FILTERS:
                raise _TooMuch(f"{name} asks for too much")
        texts = [value for value in args if isinstance(value, str)]
        if name == "replace" and len(texts) >= 3:
            _check_replace(meter, *texts[:3])
        elif name == "format" and texts:
            _check_format(texts[0])
        elif name in ("indent", "wordwrap") and texts:
            _check_lines(meter, texts[0], [*args, *kwargs.values()])
        elif name in _DEEP_FILTERS:
            meter.charge(_weight(args[-1] if name == "join" and len(args) == 1 else args))
            if name == "join":
                args = tuple(list(one) if isinstance(one, Iterator) else one for one in args)  # to be counted
                _check_join(meter, [*args, *kwargs.values()])
        result = function(*args, **kwargs)
        meter.charge_value(result)
        return result

    return guarded


_COUNTED_FILTERS: Final = frozenset({"center", "indent", "truncate", "wordwrap", "batch", "slice", "tojson"})
_DEEP_FILTERS: Final = frozenset({"join", "tojson", "string", "pprint", "urlencode", "xmlattr", "escape", "e"})


def _weight(value: object, depth: int = 0, budget: int = _LARGEST_COUNT) -> int:
    """Return about how much text a nested value prints to. Raises _TooMuch where it is nested too deep or too wide."""
    total, stack = 0, [(value, depth)]
    while stack:
        item, level = stack.pop()
        if level > 100 or len(stack) > budget:
            raise _TooMuch("it prints too large a value")
        if isinstance(item, str | bytes):
            total += len(item)
        elif isinstance(item, Mapping):
            stack.extend((part, level + 1) for pair in item.items() for part in pair)
        elif isinstance(item, list | tuple | set | frozenset):
            stack.extend((part, level + 1) for part in item)
        else:
            total += 8
        if total > MOST_OUTPUT:
            raise _TooMuch("it prints too large a value")
    return total


def _check_product(meter: _Meter, left: Any, right: Any) -> None:
    for sequence, count in ((left, right), (right, left)):
        if isinstance(sequence, str | bytes | list | tuple) and isinstance(count, int):
            meter.charge(len(sequence) * max(0, count))
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > 4096:
        raise _TooMuch("it makes too large a number")


def _check_format(pattern: str) -> None:
    if _LONG_NUMBER.search(pattern) or "*" in pattern:
        raise _TooMuch("it pads to too large a width")


def _check_replace(meter: _Meter, text: str, old: str, new: str) -> None:
    count = text.count(old)
    meter.charge(len(text) + count * max(0, len(new) - len(old)))


def _check_lines(meter: _Meter, text: str, given: Sequence[Any]) -> None:
    """Charge what goes before or behind every line of a text: a number of blanks, or another text."""
    widths = [one if isinstance(one, int) else len(one) for one in given if isinstance(one, int | str) and one != text]
    meter.charge((text.count("\n") + text.count(" ") + 1) * max([0, *widths]))


def _check_join(meter: _Meter, given: Sequence[Any]) -> None:
    """Charge what stands between the parts."""
    count = max((len(one) for one in given if isinstance(one, Sized) and not isinstance(one, str)), default=0)
    meter.charge(count * max((len(one) for one in given if isinstance(one, str)), default=0))


def _check_method(meter: _Meter, owner: Any, name: str, args: Sequence[Any]) -> None:
    if any(isinstance(value, int) and abs(value) > _LARGEST_COUNT for value in args):
        raise _TooMuch(f"{name} asks for too much")
    if name == "replace" and len(args) >= 2 and isinstance(owner, str):
        _check_replace(meter, owner, str(args[0]), str(args[1]))
    elif name in ("format", "format_map"):
        _check_format(str(owner))
        meter.charge(_weight(args))
    elif name == "expandtabs":
        width = next((value for value in args if isinstance(value, int)), 8)
        tabs = owner.count("\t") if isinstance(owner, str) else owner.count(b"\t")
        meter.charge(len(owner) + tabs * max(0, width))
    elif name in ("join", "translate"):
        meter.charge(_weight(args))
        if name == "translate" and args and isinstance(args[0], Mapping):
            longest = max((len(value) for value in args[0].values() if isinstance(value, str)), default=1)
            meter.charge(len(owner) * longest)
        if name == "join" and args and isinstance(args[0], Sequence):
            meter.charge(len(owner) * len(args[0]))
