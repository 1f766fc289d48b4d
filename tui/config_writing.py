"""Writes a choice into `config.toml` and leaves all else of the file as it stands: comments, order, blank lines."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from corral.runtime.errors import RunError
from corral.runtime.variables import BY_NAME, Kind
from corral.store.disk import make_folder, open_temp

__all__ = ["CannotWrite", "Choice", "service_choice", "write_choice"]

Choice = bool | int | float | str | list[str] | None
"""A value as TOML has it; None takes the line away."""

_FLAGS = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}


class CannotWrite(RunError):
    """The file cannot be changed: it is broken, or the disk does not take it."""


def service_choice(name: str, value: str) -> Choice:
    """A setting of the service, typed as text, as the file says it.

    Raises:
        CannotWrite: the file cannot say it, or must be written by hand because it is secret.
    """
    variable = BY_NAME.get(name.upper())
    if variable is None or not variable.in_file:
        raise CannotWrite(f"config.toml has no {name}")
    if variable.secret:
        raise CannotWrite(f"{name} is secret: write it into config.toml yourself, this line would be remembered")
    if variable.kind in (Kind.FLAG, Kind.SWITCH, Kind.LEVEL) and value.lower() in _FLAGS:
        return _FLAGS[value.lower()]
    if variable.kind in (Kind.NUMBER, Kind.LEVEL, Kind.SIZE, Kind.TIME):
        try:
            return int(value)
        except ValueError:
            return value
    if variable.kind is Kind.MAP:
        raise CannotWrite(f"{name} is a table: write it into config.toml yourself")
    return value


def write_choice(path: Path, table: str, key: str, value: Choice) -> None:
    """Write `key` into `table` ("" is the top of the file), making both where there are none.

    A file that is a link stays one, and keeps its permissions: it may hold keys. After a crash the old or the new one
    is there.

    Raises:
        CannotWrite: the file is broken, or the disk does not take it.
    """
    import tomlkit  # 70 ms, for those who write
    from tomlkit.exceptions import TOMLKitError

    try:
        target = path.resolve()
        text = target.read_text("utf-8") if target.exists() else ""
        document = tomlkit.parse(text)
        if table and table not in document and value is not None:
            document[table] = tomlkit.table()
        place = document.get(table, {}) if table else document
        if not isinstance(place, MutableMapping):
            raise CannotWrite(f"{path}: {table} is no table")
        if value is None:
            place.pop(key, None)
        else:
            place[key] = value
        _replace(target, tomlkit.dumps(document))
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise CannotWrite(f"{path} is broken, so nothing is written: {error}") from error
    except OSError as error:
        raise CannotWrite(f"{path}: {error.strerror or error}") from error


def _replace(path: Path, text: str) -> None:
    make_folder(path.parent)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    handle, temp = open_temp(path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temp.chmod(mode)
        temp.replace(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
