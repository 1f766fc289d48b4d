"""What can stand where one types in a Modelfile: directives, parameters with their ranges, models, values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from corral.runtime.options import DEPRECATED, OPTIONS, Kind
from corral.store.modelfile import COMMANDS, ROLES
from corral.tui.paths import complete, is_path

_ABOUT = {
    "from": "FROM model or file: what it is made of; a model on this machine, a GGUF file, a folder of safetensors",
    "adapter": "ADAPTER file: a LoRA adapter put on the weights",
    "template": "TEMPLATE text: how a conversation becomes a prompt; three quotes let it run over lines",
    "system": "SYSTEM text: what it is told first",
    "renderer": "RENDERER name: a built-in way of writing prompts, instead of a template",
    "parser": "PARSER name: a built-in way of reading thoughts and tool calls out of answers",
    "parameter": "PARAMETER name value: how it answers; an option of a request outdoes it",
    "license": "LICENSE text: added to those of the model it is made from",
    "message": "MESSAGE role text: an example of how a conversation goes",
    "requires": "REQUIRES version: the least version of the server",
    "draft": "DRAFT file: a small model that guesses ahead for this one",
}
_CHOICES = {
    "flash_attention": ("auto", "on", "off"),
    "split_mode": ("none", "layer", "row", "tensor"),
    "kv_cache_type": ("f16", "q8_0", "q4_0"),
}
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Offers:
    """What can come: `typed` is the part of it that is there, `words` the candidates, best first."""

    typed: str = ""
    words: tuple[str, ...] = ()

    @property
    def ghost(self) -> str:
        """What accepting the best adds behind the cursor."""
        return self.words[0][len(self.typed) :] if self.words else ""

    @property
    def line(self) -> str:
        """The candidates in one line, "" where there is no choice."""
        more = " …" if len(self.words) > _SHOWN else ""
        return "  ".join(self.words[:_SHOWN]) + more if len(self.words) > 1 else ""


def _offers(typed: str, words: Iterable[str]) -> Offers:
    start = typed.casefold()
    found = tuple(typed + word[len(typed) :] for word in words if word.casefold().startswith(start))
    return Offers(typed, tuple(word for word in found if word != typed))


def offers(before: str, models: Sequence[str]) -> Offers:
    """What can stand at the end of `before`, the line up to the cursor; nothing where nobody has begun a word."""
    words = before.split()
    if not before.strip() or before.lstrip().startswith("#"):
        return Offers()
    is_new_word = before[-1].isspace()
    command, typed = words[0].casefold(), "" if is_new_word else words[-1]
    place = len(words) + is_new_word
    if place == 1:
        every = (name if typed.islower() else name.upper() for name in COMMANDS)
        return _offers(typed, every)
    if command in ("from", "adapter", "draft") and place == 2:
        if is_path(typed):
            path = complete(typed, suffix=".gguf")
            return Offers(typed, (path,) if path else ())
        return _offers(typed, models) if command == "from" else Offers()
    if command == "message" and place == 2:
        return _offers(typed, ROLES)
    if command == "parameter" and place == 2:
        return _offers(typed, sorted(name for name in OPTIONS if name not in DEPRECATED))
    if command == "parameter" and place == 3:
        return _offers(typed, _values(words[1].casefold()))
    return Offers()


def _values(name: str) -> tuple[str, ...]:
    option = OPTIONS.get(name)
    if option is None:
        return ()
    if name in _CHOICES:
        return _CHOICES[name]
    if option.kind is Kind.BOOL:
        return ("true", "false")
    if option.default is None or isinstance(option.default, tuple | str):
        return ()
    return (f"{option.default:g}",)


def directive_line(name: str) -> str:
    """What a directive does, "" for none of that name."""
    return _ABOUT.get(name.casefold(), "")
