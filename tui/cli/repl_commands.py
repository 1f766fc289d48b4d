"""The `/` commands of a conversation (spec d.4)."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any, Protocol

from corral.runtime.errors import RunError
from corral.runtime.options import DEPRECATED, OPTIONS, Kind, parse_parameter
from corral.runtime.verbs import CreateRequest, ModelDetails
from corral.store.errors import InvalidName, ModelNotFound, StoreError
from corral.tui.cli import repl_texts
from corral.tui.cli.list_models import describe as list_table
from corral.tui.cli.repl import Conversation
from corral.tui.cli.show import describe, part_of
from corral.tui.cli.thinking import THINK_WORDS, think_of
from corral.tui.control_chars import visible
from corral.tui.exhausting import exhaust

_INVALID_NAME = "invalid model name"


class Switch(Protocol):
    """Something that can be turned off: the history."""

    enabled: bool


def execute(talk: Conversation, history: Switch, line: str) -> bool:
    """Do what a line that begins with `/` says; False where it says goodbye. Errors are told, none is raised."""
    name, *words = line.split()
    if name in {"/bye", "/exit"}:
        return False
    try:
        match name:
            case "/?" | "/help":
                _help(words)
            case "/set":
                _set(talk, history, words)
            case "/show":
                _show(talk, words)
            case "/load":
                _load(talk, words)
            case "/save":
                _save(talk, words)
            case "/list":
                models = talk.session.run(talk.session.client.list_models())
                print(list_table(models, words[0] if words else "", datetime.now(UTC)), end="")
            case "/clear":
                talk.clear()
                print("Cleared session context")
            case _:
                print(f"Unknown command '{visible(name)}'. Type /? for help")
    except (RunError, StoreError) as error:
        print(f"error: {visible(str(error))}")
    except KeyboardInterrupt:
        print()
    return True


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _help(words: list[str]) -> None:
    topic = words[0].lstrip("/") if words else ""
    texts = {
        "": repl_texts.COMMANDS,
        "set": repl_texts.SET,
        "show": repl_texts.SHOW,
        "shortcut": repl_texts.SHORTCUTS,
        "shortcuts": repl_texts.SHORTCUTS,
    }
    _tell(texts.get(topic, repl_texts.COMMANDS))


def _set(talk: Conversation, history: Switch, words: list[str]) -> None:
    if not words:
        _tell(repl_texts.SET)
        return
    match words[0]:
        case "history" | "nohistory":
            history.enabled = words[0] == "history"
        case "wordwrap" | "nowordwrap":
            talk.wrap = words[0] == "wordwrap"
            print(f"Set '{words[0]}' mode.")
        case "verbose" | "quiet":
            talk.verbose = words[0] == "verbose"
            print(f"Set '{words[0]}' mode.")
        case "think":
            _set_think(talk, words[1:])
        case "nothink":
            talk.think = False
            print("Set 'nothink' mode.")
        case "noformat":
            talk.form = None
            print("Disabled format.")
        case "format" if words[1:] == ["json"]:
            talk.form = "json"
            print("Set format to 'json' mode.")
        case "format":
            print("Invalid or missing format. For 'json' mode use '/set format json'")
        case "parameter":
            _set_parameter(talk, words[1:])
        case "system":
            _tell(repl_texts.SET)
        case _:
            print(f"Unknown command '/set {visible(words[0])}'. Type /? for help")


def _set_think(talk: Conversation, words: list[str]) -> None:
    level = words[0] if words else ""
    if level and level not in THINK_WORDS:
        print("error: the level must be high, medium, low, or max")
        return
    details = talk.session.run(talk.session.client.show(talk.model))
    talk.think = think_of(level or "true", details)
    if talk.think is not None:
        print(f"Set 'think' mode to '{level}'." if level else "Set 'think' mode.")


def _set_parameter(talk: Conversation, words: list[str]) -> None:
    if len(words) < 2:
        _tell(repl_texts.PARAMETERS)
        return
    name, *texts = words
    if name in DEPRECATED:
        print(f"warning: parameter {name} is deprecated")
        return
    if name in OPTIONS and OPTIONS[name].kind in (Kind.TEXT, Kind.WEIGHTS):
        texts = [" ".join(texts)]
    try:
        values = [parse_parameter(name, text) for text in texts]
    except RunError as error:
        print(f"Couldn't set parameter: {json.dumps(visible(str(error)), ensure_ascii=False)}")
        return
    first = values[0]
    stops = [stop for value in values if isinstance(value, tuple) for stop in value]
    talk.options[name] = stops if isinstance(first, tuple) else first
    print(f"Set parameter '{name}' to '{visible(', '.join(texts))}'")


def _show(talk: Conversation, words: list[str]) -> None:
    if not words:
        _tell(repl_texts.SHOW)
        return
    part = words[0]
    if part not in {"info", "license", "modelfile", "parameters", "system", "template"}:
        print(f"Unknown command '/show {visible(part)}'. Type /? for help")
        return
    details = talk.session.run(talk.session.client.show(talk.model))
    match part:
        case "info":
            print(describe(details), end="", file=sys.stderr)
        case "parameters":
            _show_parameters(details, talk.options)
        case "system" if talk.system or details.system:
            print(f"{visible(talk.system or details.system)}\n")
        case _:
            print(visible(part_of(details, part)) or _MISSING[part])


_MISSING = {
    "license": "No license was specified for this model.",
    "modelfile": "",
    "system": "No system message was specified for this model.",
    "template": "No prompt template was specified for this model.",
}


def _show_parameters(details: ModelDetails, chosen: dict[str, Any]) -> None:
    print("Model defined parameters:")
    own = part_of(details, "parameters") or "No additional parameters were specified for this model."
    print("".join(f"  {line}\n" for line in visible(own).split("\n")))
    if chosen:
        print("User defined parameters:")
        print("".join(f"  {name:<30} {visible(_words(value))}\n" for name, value in chosen.items()))


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _load(talk: Conversation, words: list[str]) -> None:
    if len(words) != 1:
        print("Usage:\n  /load <modelname>")
        return
    print(f"Loading model '{visible(words[0])}'")
    try:
        talk.load(words[0])
    except (StoreError, RunError) as error:
        if not isinstance(error, (ModelNotFound, InvalidName)) and "not found" not in str(error):
            raise
        print(f"Couldn't find model '{visible(words[0])}'")


def _save(talk: Conversation, words: list[str]) -> None:
    if len(words) != 1:
        print("Usage:\n  /save <modelname>")
        return
    said = tuple(message for message in talk.messages if message.role != "system")
    request = CreateRequest(
        words[0],
        base=talk.model,
        system=talk.system or None,
        parameters=dict(talk.options),
        messages=(*talk.brought, *said) if said else (),
    )
    try:
        talk.session.run(exhaust(talk.session.client.create(request)))
    except (StoreError, RunError) as error:
        if _INVALID_NAME not in str(error):
            raise
        print(f"error: The model name '{visible(words[0])}' is invalid")
        return
    print(f"Created new model '{visible(words[0])}'")
