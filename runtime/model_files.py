"""From what a line of a Modelfile names to the GGUF files that means (spec f.3)."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from corral.runtime.components import is_adapter, is_projector
from corral.store.errors import ModelfileError, NotGguf
from corral.store.gguf import GgufHeader, read_header
from corral.store.modelfile import Command

_PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf\Z")


def gguf_files(command: Command, folder: Path) -> tuple[Path, ...]:
    """The files a line means: one, the parts of a split one, or a folder's model with its projectors.

    Nothing where there is no such path. Paths are read relative to `folder`.

    Raises:
        ModelfileError: there is something, but no model that can be read.
    """
    path = (folder / Path(command.value).expanduser()).absolute()
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return ()
    if stat.S_ISDIR(mode):
        return _in_folder(command, path)
    if not stat.S_ISREG(mode):
        raise ModelfileError(f"{command.value} is not a regular file", command.line)
    files = _parts(command, path)
    for file in files:
        _header(command, file, command.value if file == path else file.name)
    return files


def _in_folder(command: Command, folder: Path) -> tuple[Path, ...]:
    found = sorted(folder.glob("*.gguf"))
    inside = folder.resolve()
    for path in found:
        # A folder somebody else packed may point anywhere; what is sent must lie in it.
        if not path.resolve().is_relative_to(inside):
            raise ModelfileError(f"insecure path: {path.name}", command.line)
    headers = {path: _header(command, path, path.name) for path in found}
    beside = [path for path, header in headers.items() if is_projector(header)]
    models = [path for path, header in headers.items() if path not in beside and not is_adapter(header)]
    wholes = {_parts(command, path) for path in models}
    if len(wholes) != 1:
        raise ModelfileError(f"{len(wholes)} GGUF files in {command.value}: name one", command.line)
    return (*wholes.pop(), *beside)


def _parts(command: Command, path: Path) -> tuple[Path, ...]:
    """All parts of the split file that `path` is one of; itself where it is whole."""
    match = _PART.match(path.name)
    if match is None:
        return (path,)
    stem, _, count = match.groups()
    found = {
        one.name: one
        for one in path.parent.glob("*.gguf")
        if (part := _PART.match(one.name)) and part[1] == stem and part[3] == count
    }
    names = [f"{stem}-{number:05}-of-{count}.gguf" for number in range(1, int(count) + 1)]
    missing = next((name for name in names if name not in found), None)
    if missing is not None:
        raise ModelfileError(f"{missing} is missing: the model is split into {int(count)} files", command.line)
    return tuple(found[name] for name in names)


def _header(command: Command, path: Path, shown: str) -> GgufHeader:
    try:
        return read_header(path)
    except (NotGguf, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelfileError(f"{shown}: {reason}", command.line) from None
