"""Looks settings up, in the environment and then in the file, and reads them by Ollama's rules (spec e).

What cannot be read keeps its default. A slip in the environment is a warning, as with Ollama; one in the file is a
fault, named with its line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from corral.runtime.config_file import ConfigFile
from corral.runtime.durations import parse_setting
from corral.runtime.errors import BadRequest
from corral.runtime.variables import BY_NAME, WITHOUT_EFFECT

_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*((?P<unit>[kmgt])(?P<binary>i)?)?b?")
_LEVEL = re.compile(r"-?[0-9]{1,9}")
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_HIGHEST = 2**64


class Found(NamedTuple):
    """A setting's text and where it is from: a variable's name or a line of the file; "" where nothing says it."""

    text: str
    origin: str = ""
    in_file: bool = False


class Environment:
    """The settings as texts, and as what they mean. `warnings` and `faults` collect what could not be read."""

    def __init__(self, environ: Mapping[str, str], file: ConfigFile) -> None:
        self._environ = environ
        self._file = file
        self.warnings: list[str] = list(file.warnings)
        self.faults: list[str] = list(file.faults)

    def find(self, name: str) -> Found:
        """Look a setting up; blanks and quotes around a value don't count, nor does an empty one."""
        variable = BY_NAME.get(name)
        for prefix in ("CORRAL_",) if variable is not None and variable.ours else ("CORRAL_", "OLLAMA_"):
            value = self._environ.get(prefix + name, "").strip().strip("'\"")
            if value:
                return Found(value, prefix + name)
        if name in self._file.values:
            return Found(self._file.values[name], self._file.place(name.lower()), in_file=True)
        return Found("")

    def text(self, name: str) -> str:
        """Return a setting's text, "" where nothing says it."""
        return self.find(name).text

    def complain(self, name: str, message: str) -> None:
        """Note that a setting cannot be read."""
        found = self.find(name)
        if found.in_file:
            self.faults.append(f"{found.origin}: {message}")
        else:
            self.warnings.append(message)

    def bad(self, name: str, value: str, instead: str) -> None:
        """Note that a setting's value is none, and what is done instead."""
        self.complain(name, f"invalid {name} {value!r}, {instead}")

    def note_what_has_no_effect(self) -> None:
        """Say once which of Ollama's variables that are set mean nothing here."""
        found = [f"OLLAMA_{name}" for name in WITHOUT_EFFECT if self._environ.get(f"OLLAMA_{name}")]
        if found:
            self.warnings.append(f"no effect here: {', '.join(found)}")

    def note_slips(self) -> None:
        """Name the variables that are ours by their prefix and no setting, but look like one."""
        strange = [
            name
            for name in self._environ
            if name.startswith("CORRAL_") and self._environ[name] and name.removeprefix("CORRAL_") not in BY_NAME
        ]
        if strange:
            from difflib import get_close_matches  # 5 ms, for those who made a slip

            for name in strange:
                for near in get_close_matches(name.removeprefix("CORRAL_"), BY_NAME, 1, 0.85):
                    self.warnings.append(f"{name} is no setting; CORRAL_{near} is")

    def flag(self, name: str) -> bool | None:
        """Read true or false as Go's ParseBool does; what is neither counts as true."""
        value = self.text(name)
        return value not in _FALSE if value else None

    def number(self, name: str, default: int) -> int:
        """Read an unsigned decimal number."""
        value = self.text(name)
        if not value:
            return default
        if value.isascii() and value.isdigit() and int(value[:30]) < _HIGHEST:
            return int(value)
        self.bad(name, value, f"using {default}")
        return default

    def level(self, name: str) -> int:
        """Read a whole number, or a flag for one."""
        value = self.text(name)
        return int(value) if _LEVEL.fullmatch(value) else int(bool(self.flag(name)))

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of some words; the first by default."""
        value = self.text(name).lower()
        if value and value not in choices:
            self.bad(name, value, f"using {choices[0]}")
        return value if value in choices else choices[0]

    def size(self, name: str, default: int) -> int:
        """Bytes: a number with or without a unit."""
        value = self.text(name)
        if not value:
            return default
        size = parse_size(value)
        if size is None:
            self.bad(name, value, f"using {default // 10**6}MB" if default else "passing it over")
            return default
        return size

    def seconds(self, name: str, default: float) -> float:
        """Read a duration, or whole seconds; negative is for ever."""
        value = self.text(name)
        if not value:
            return default
        try:
            return parse_setting(value)
        except BadRequest as error:
            self.bad(name, value, f"using {default:g} seconds: {error}")
            return default


def parse_size(text: str) -> int | None:
    """Read a count of bytes: a number with or without a unit (`10MB`, `1.5g`, `4MiB`); None for anything else."""
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None:
        return None
    power = " kmgt".index(found["unit"] or " ")
    return int(float(found["number"]) * (1024 if found["binary"] else 1000) ** power)
