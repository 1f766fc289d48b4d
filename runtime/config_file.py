"""`config.toml`: the settings of the environment by their names in lower case, and a table for each model.

A mistake is named with file and line. Nothing of TOML is imported where there is no file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from corral.runtime.model_tables import KEYS, ModelTable, read_table
from corral.runtime.variables import BY_NAME, Kind, Variable
from corral.store.errors import InvalidName
from corral.store.names import ModelName

_TABLES = "models"
_OF_THE_SCREEN = frozenset({"keys", "theme", "screen", "hosts", "commands"})
"""Tables that the workbench reads, and says what is wrong with."""
FOLDER = "models_folder"
"""What `OLLAMA_MODELS` is called where there are tables of models."""
_PART = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_PATH = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[\s*({_PATH})\s*\]\s*(?:#.*)?")
_KEY = re.compile(rf"\s*({_PATH})\s*=")
_TOML_LINE = re.compile(r"(.*) \(at line (\d+), column \d+\)", re.DOTALL)
_LARGEST = 1 << 20
_SEPARATORS = {Kind.LIST: ",", Kind.FOLDERS: os.pathsep}


class ConfigFile(msgspec.Struct, frozen=True):
    """What a file says: `values` by the names of variables, as an environment would have them, and `models` by name,
    in lower case as models' names are found in any case.

    `faults` are its mistakes, `warnings` what of it means nothing; each begins with the file and the line.
    """

    path: Path | None = None
    values: Mapping[str, str] = msgspec.field(default_factory=dict)
    models: Mapping[str, ModelTable] = msgspec.field(default_factory=dict)
    lines: Mapping[tuple[str, ...], int] = msgspec.field(default_factory=dict)
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def place(self, *keys: str) -> str:
        """Return `file:line` of a key."""
        return _place(self.path, self.lines, _folder_or(keys, self.lines))


def _folder_or(keys: tuple[str, ...], lines: Mapping[tuple[str, ...], int]) -> tuple[str, ...]:
    return (FOLDER,) if keys == (_TABLES,) and (FOLDER,) in lines else keys


def config_path(environ: Mapping[str, str], home: Path) -> Path:
    """Where the file is or would be: `CORRAL_CONFIG`, else `corral/config.toml` in XDG's folder."""
    named = environ.get("CORRAL_CONFIG", "").strip().strip("'\"")
    if named:
        return Path(named).expanduser()
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "corral" / "config.toml"


def find_config(environ: Mapping[str, str], home: Path) -> ConfigFile:
    """Read the file of this user; where there is none, and none was named, it says nothing."""
    path = config_path(environ, home)
    if not environ.get("CORRAL_CONFIG", "").strip() and not path.is_file():
        return ConfigFile()
    return read_config(path)


def read_config(path: Path) -> ConfigFile:
    """Read a file. Never fails: its mistakes are in `faults`."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            return ConfigFile(path, faults=(f"{path}: larger than 1 MiB",))
        text = data.decode()
    except OSError as error:
        return ConfigFile(path, faults=(f"{path}: {error.strerror or error}",))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return ConfigFile(path, faults=(f"{path}:{line}: no UTF-8",))
    return _Reader(path, text).read()


class _Reader:
    """Reads one file, collecting what is wrong with it."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._lines: Mapping[tuple[str, ...], int] = {}
        self._faults: list[str] = []
        self._warnings: list[str] = []

    def read(self) -> ConfigFile:
        import tomllib  # 20 ms, for those who have such a file

        try:
            document = tomllib.loads(self._text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            found = _TOML_LINE.fullmatch(str(error))
            # At the end of the document tomllib names no line.
            line = int(found[2]) if found else self._text.count("\n") + 1
            return ConfigFile(self._path, faults=(f"{self._path}:{line}: {found[1] if found else error}",))
        self._lines = _lines_of(self._text)
        values: dict[str, str] = {}
        models: dict[str, ModelTable] = {}
        for key, value in document.items():
            if key == _TABLES and isinstance(value, dict):
                models = self._models(value)
                continue
            if key in _OF_THE_SCREEN:
                continue
            variable = BY_NAME.get("MODELS" if key == FOLDER else key.upper())
            if variable is None or key != key.lower() or not variable.in_file:
                self._unknown((key,), [name.lower() for name, one in BY_NAME.items() if one.in_file])
                continue
            text = _text_of(variable, value)
            if text is None:
                self._faults.append(f"{self._at(key)}: {key} must be {variable.kind}")
            elif text:
                values[variable.name] = text
        if "API_KEY" in values and self._path.stat().st_mode & 0o077:
            self._warnings.append(f"{self._at('api_key')}: others can read the file and the key in it; chmod 600 it")
        return ConfigFile(
            self._path, values, models, self._lines, faults=tuple(self._faults), warnings=tuple(self._warnings)
        )

    def _models(self, tables: Mapping[str, object]) -> dict[str, ModelTable]:
        models: dict[str, ModelTable] = {}
        for name, entries in tables.items():
            at = self._at(_TABLES, name)
            if not isinstance(entries, dict):
                self._faults.append(f'{at}: a model has a table: [models."{name}"]; the folder is {FOLDER}')
                continue
            try:
                shown = ModelName.parse(name).short.lower()
            except InvalidName:
                self._faults.append(f"{at}: {name!r} is no name of a model")
                continue
            known = {key: value for key, value in entries.items() if key in KEYS}
            for key in entries:
                if key not in KEYS:
                    self._unknown((_TABLES, name, key), KEYS)
            models[shown], wrong = read_table(known)
            self._faults += [f"{self._at(_TABLES, name, key)}: {message}" for key, message in wrong.items()]
        return models

    def _unknown(self, keys: tuple[str, ...], known: Iterable[str]) -> None:
        from difflib import get_close_matches

        near = get_close_matches(keys[-1].lower(), known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        self._warnings.append(f"{self._at(*keys)}: {keys[-1]} is not known and means nothing{hint}")

    def _at(self, *keys: str) -> str:
        return _place(self._path, self._lines, keys)


def _place(path: Path | None, lines: Mapping[tuple[str, ...], int], keys: tuple[str, ...]) -> str:
    """Return `file:line` of a key, or of the table it is in where it has no line of its own."""
    while keys and keys not in lines:
        keys = keys[:-1]
    return f"{path}:{lines[keys]}" if keys else str(path)


def _text_of(variable: Variable, value: object) -> str | None:
    """Write a value as an environment would have it; None where it is of the wrong type."""
    kind = variable.kind
    if isinstance(value, bool):
        return str(int(value)) if kind in (Kind.FLAG, Kind.LEVEL, Kind.SWITCH) else None
    if isinstance(value, int):
        return str(value) if kind in (Kind.NUMBER, Kind.SIZE, Kind.TIME, Kind.LEVEL) else None
    if isinstance(value, str):
        return value if kind in (Kind.TEXT, Kind.SIZE, Kind.TIME, Kind.LIST, Kind.FOLDERS, Kind.SWITCH) else None
    if isinstance(value, list) and kind in _SEPARATORS and all(isinstance(one, str) for one in value):
        return _SEPARATORS[kind].join(value)
    if isinstance(value, dict) and kind is Kind.MAP and all(isinstance(one, str) for one in value.values()):
        return ",".join(f"{name}={one}" for name, one in value.items())
    return None


def _lines_of(text: str) -> dict[tuple[str, ...], int]:
    """Return on which line each key is; tomllib does not say."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            table = _parts(header[1])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_parts(key[1])), number)
    return lines


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in re.findall(_PART, path))
