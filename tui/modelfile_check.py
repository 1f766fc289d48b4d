"""What is to be said of a Modelfile while it is edited: the rules of the store with what the runtime knows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from corral.runtime.capabilities import unknown_name
from corral.runtime.errors import BadRequest, InvalidParameter
from corral.runtime.options import DEPRECATED, OPTIONS, Kind, advice, parse_parameter
from corral.runtime.remote.address import from_urls
from corral.store.errors import InvalidName, ModelfileError
from corral.store.lint import Finding, ParameterRules, Severity, lint, readable
from corral.store.modelfile import Modelfile, parse
from corral.store.names import ModelName


def _wrong(name: str, text: str) -> str | None:
    try:
        parse_parameter(name, text)
    except InvalidParameter as error:
        return str(error)
    return None


_RULES = ParameterRules(known=tuple(OPTIONS), check=_wrong, deprecated=DEPRECATED)


def check(text: str, *, local: Collection[str] | None, folder: Path) -> tuple[Finding, ...]:
    """Everything found, by line. `local` names the models on disk (None: unknown), `folder` is where paths begin."""
    findings = list(lint(text, _RULES))
    modelfile, _ = readable(text)
    if modelfile is not None:
        findings += _remarks(modelfile)
        findings += _missing_base(modelfile, local, folder)
    return tuple(sorted(findings, key=lambda one: (one.line, one.column, one.message)))


def _remarks(modelfile: Modelfile) -> Iterator[Finding]:
    for command in modelfile.all("parameter"):
        if command.key not in OPTIONS or _wrong(command.key, command.value) is not None:
            continue
        remark = advice(command.key, parse_parameter(command.key, command.value))
        if remark is not None:
            yield Finding(Severity.WARNING, command.value_line, command.value_column, f"{command.key}: {remark}")
    for command in (*modelfile.all("renderer"), *modelfile.all("parser")):
        if doubt := unknown_name(command.name, command.value):
            yield Finding(Severity.WARNING, command.value_line, command.value_column, doubt)


def _missing_base(modelfile: Modelfile, local: Collection[str] | None, folder: Path) -> Iterator[Finding]:
    if local is None:
        return
    known = {ModelName.parse(name).key for name in local}
    for command in modelfile.all("from"):
        if not command.value or (folder / Path(command.value).expanduser()).exists():
            continue
        try:
            if from_urls(command.value):
                continue
        except BadRequest as error:
            yield Finding(Severity.ERROR, command.value_line, command.value_column, str(error))
            continue
        try:
            is_known = ModelName.parse(command.value).key in known
        except InvalidName:
            message = f"{command.value} is neither a model's name nor a file"
            yield Finding(Severity.ERROR, command.value_line, command.value_column, message)
            continue
        if not is_known:
            message = f"{command.value} is not on this machine: creating pulls it first"
            yield Finding(Severity.WARNING, command.value_line, command.value_column, message)


def base_of(text: str) -> str:
    """What a Modelfile is made from, "" where it does not say or does not parse."""
    try:
        return parse(text, require_from=False).from_
    except ModelfileError:
        return ""


def parameter_line(name: str) -> str:
    """What is known of a parameter, in one line; "" for none of that name."""
    option = OPTIONS.get(name.lower())
    if option is None:
        return ""
    default = "automatic" if option.default is None else option.default
    limits = f" {option.low:g} to {option.high:g}" if option.kind in (Kind.INT, Kind.FLOAT) else ""
    return f"{option.name}: {option.kind.value}{limits}, default {default}: {option.text}"


def skeleton(base: str) -> str:
    """A Modelfile to begin with, which says what can stand in one."""
    return f'''# A Modelfile says how a model is made. F9 creates it, ^S saves it.
# FROM: a model on this machine, or the path of a GGUF file.
FROM {base}

# PARAMETER name value: how it answers.
PARAMETER temperature 0.7
PARAMETER num_ctx 4096

# SYSTEM: what it is told first. Three quotes let it run over lines.
SYSTEM """You are a terse assistant.
You answer in one sentence."""

# MESSAGE role text: an example of how a conversation goes.
# MESSAGE user What is a corral?
# MESSAGE assistant A fenced place for horses.
'''
