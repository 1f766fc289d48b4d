"""What the prompt offers while one types: slash commands and what they take, files behind `@`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from corral.runtime.options import OPTIONS
from corral.tui.attaching import matching_files
from corral.tui.chat_settings import THINK_LEVELS, value_text

__all__ = ["COMMANDS", "Command", "Completer", "Suggestion", "split_command"]

_MENTION = re.compile(r'(?:^|\s)@("?)([^\s"]*)$')
_MOST = 50


class Command(msgspec.Struct, frozen=True):
    """A slash command: its name, what it takes, what it does. The names are Ollama's where it has one."""

    name: str
    takes: str
    about: str
    words: tuple[str, ...] = ()


COMMANDS: tuple[Command, ...] = (
    Command(
        "/set",
        "what [value]",
        "set something of this chat",
        (
            *("parameter", "system", "think", "nothink", "format", "noformat", "tools"),
            *("verbose", "quiet", "history", "nohistory"),
        ),
    ),
    Command(
        "/show",
        "what",
        "show something of the model",
        ("info", "license", "modelfile", "parameters", "system", "template"),
    ),
    Command("/load", "model or chat", "begin anew, or open a saved chat"),
    Command("/save", "model", "save this chat as a model"),
    Command("/list", "", "list the models"),
    Command("/clear", "", "forget what was said"),
    Command("/bye", "", "leave the workbench"),
    Command("/help", "[what]", "list these commands, or say more", ("set", "show", "shortcuts")),
    Command("/model", "model", "go on with another model"),
    Command("/system", "text", "say who the model is"),
    Command("/options", "", "all options of this chat"),
    Command("/regen", "[model]", "answer again, or by another model"),
    Command("/continue", "", "go on where the answer was cut"),
    Command("/edit", "", "say the last question in other words"),
    Command("/branch", "", "go on in a chat of its own"),
    Command("/compare", "model", "ask a second model too"),
    Command("/result", "text", "say what the first open call of the answer gave back"),
    Command("/raw", "", "show what the model is sent, and its tokens"),
    Command("/search", "words", "find chats by what was said"),
    Command("/rename", "name", "name this chat"),
    Command("/delete", "", "delete this chat"),
    Command("/archive", "", "put this chat away, or have it listed again"),
    Command("/export", "md|json|jsonl [file]", "write this chat to a file, or copy it", ("md", "json", "jsonl")),
)


class Suggestion(msgspec.Struct, frozen=True):
    """A text that may stand from column `start` of the line on, and what it is."""

    text: str
    about: str
    start: int


def split_command(text: str) -> tuple[str, str] | None:
    """A command and the rest of it, or None where `text` is a message: `/etc/hosts` is one."""
    if not text.startswith("/"):
        return None
    parts = text.split(maxsplit=1)
    name, rest = parts[0], parts[1] if len(parts) > 1 else ""
    is_known = name in {"/?", "/exit", *(command.name for command in COMMANDS)}
    return (name, rest) if is_known or "/" not in name[1:] else None


class Completer:
    """Knows models and files, and what fits to the left of the cursor. `files` are asked for once they are needed."""

    def __init__(self, folder: Path, files: Callable[[], tuple[str, ...]], models: Callable[[], Sequence[str]]) -> None:
        self._folder = folder
        self._files = files
        self._models = models

    def suggestions(self, line: str, *, is_first: bool) -> list[Suggestion]:
        """What may follow `line`, the text to the left of the cursor."""
        if is_first and line.startswith("/") and "/" not in line[1:].split(" ")[0]:
            return self._for_command(line)
        mention = _MENTION.search(line)
        if mention is None:
            return []
        start = mention.start(1)
        names = matching_files(mention[2], self._files(), self._folder)
        return [Suggestion(f'"{name}"' if " " in name else name, "", start) for name in names]

    def _for_command(self, line: str) -> list[Suggestion]:
        words = line.split(" ")
        start = len(line) - len(words[-1])
        offered: Sequence[tuple[str, str]]
        match words:
            case [name]:
                offered = [(one.name, f"{one.takes}  {one.about}".strip()) for one in COMMANDS]
                if any(one == name for one, _ in offered):
                    return []
            case ["/set", "parameter", _]:
                offered = [(one.name, f"{value_text(one.default)}  {one.text}") for one in OPTIONS.values()]
            case ["/set", "think", _]:
                offered = [(level, "") for level in THINK_LEVELS[1:]]
            case ["/load" | "/model" | "/compare" | "/regen", _]:
                offered = [(model, "") for model in self._models()]
            case [name, _]:
                offered = [(word, "") for one in COMMANDS if one.name == name for word in one.words]
            case _:
                offered = []
        wanted = words[-1].casefold()
        fitting = [Suggestion(text, about, start) for text, about in offered if text.casefold().startswith(wanted)]
        return [] if [one.text for one in fitting] == [words[-1]] else fitting[:_MOST]
