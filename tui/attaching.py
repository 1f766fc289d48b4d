"""Files that go along with a question: named in it with `@`, or an image by its bare path, as in Ollama."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from corral.store.sessions import Attached

__all__ = ["CannotAttach", "attached_in", "files_below", "matching_files"]

_MENTION = re.compile(r'(?:(?<=\s)|^)@(?:"([^"\n]+)"|(\S+))')
_IMAGE_PATH = re.compile(r"(?:(?<=\s)|^)(?:'([^'\n]+)'|((?:~|\.{1,2})?/(?:\\ |\S)+))", re.MULTILINE)
_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
_LONGEST_TEXT = 1 << 20
_LONGEST_IMAGE = 20 << 20
_MOST_FILES = 5_000
_DEEPEST = 6
_SKIPPED = {"node_modules", "__pycache__", "venv", "target", "dist", "build"}
_MOST_MATCHES = 50


class CannotAttach(Exception):
    """A file that was named cannot go along; the message says why."""


def attached_in(text: str, folder: Path, *, sees: bool) -> tuple[Attached, ...]:
    """Read the files that `text` names; `sees` tells whether the model takes images. A name of no file is only text.

    Raises:
        CannotAttach: one cannot be read, is too long, is neither text nor image, or an image for a model that is blind.
    """
    names = [(quoted or bare, True) for quoted, bare in _MENTION.findall(text)]
    names += [(one, False) for one in _image_paths(text)] if sees else []
    found: dict[Path, Attached] = {}
    for name, is_mention in names:
        for candidate in dict.fromkeys((name, name.rstrip(".,;:!?)"))):
            path = _resolved(candidate, folder)
            if path is not None and path not in found:
                found[path] = _read(path, candidate, sees=sees)
            if path is not None or not is_mention:
                break
    return tuple(found.values())


def _image_paths(text: str) -> Iterator[str]:
    for quoted, bare in _IMAGE_PATH.findall(text):
        name = (quoted or bare).replace("\\ ", " ")
        if name.casefold().endswith(_IMAGE_ENDINGS):
            yield name


def _resolved(name: str, folder: Path) -> Path | None:
    try:
        path = folder / Path(name).expanduser()
        return path if path.is_file() else None
    except (OSError, ValueError, RuntimeError):
        return None


def _read(path: Path, name: str, *, sees: bool) -> Attached:
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_IMAGE + 1)
    except OSError as error:
        raise CannotAttach(f"{name}: {error.strerror}") from None
    if is_image(data):
        if not sees:
            raise CannotAttach(f"{name} is an image, and this model sees none")
        if len(data) > _LONGEST_IMAGE:
            raise CannotAttach(f"{name} has more than {_LONGEST_IMAGE >> 20} MB")
        return Attached(name, data, is_image=True)
    if len(data) > _LONGEST_TEXT:
        raise CannotAttach(f"{name} is longer than {_LONGEST_TEXT >> 20} MB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise CannotAttach(f"{name} is neither text nor an image") from None
    if "\0" in text:
        raise CannotAttach(f"{name} is neither text nor an image")
    return Attached(name, data)


def is_image(data: bytes) -> bool:
    """Whether a file begins as a PNG, JPEG, GIF, BMP or WebP does."""
    return data.startswith((b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM")) or (
        data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    )


def files_below(folder: Path) -> tuple[str, ...]:
    """Paths of the files below a folder, nearest first, without what is hidden or made by tools."""
    found: list[str] = []
    waiting = [(folder, 0)]
    while waiting and len(found) < _MOST_FILES:
        here, depth = waiting.pop(0)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _SKIPPED:
                continue
            if entry.is_dir(follow_symlinks=False):
                if depth < _DEEPEST:
                    waiting.append((Path(entry.path), depth + 1))
            elif entry.is_file():
                found.append(os.path.relpath(entry.path, folder))
    return tuple(found[:_MOST_FILES])


def matching_files(wanted: str, files: tuple[str, ...], folder: Path) -> list[str]:
    """Files for what was typed behind `@`: a path's own folder where it is one, else letters in order."""
    if wanted.startswith(("/", "~", "./", "../")):
        above, _, beginning = wanted.rpartition("/")
        try:
            entries = sorted(os.scandir(folder / Path(above + "/").expanduser()), key=lambda entry: entry.name)
        except (OSError, RuntimeError, ValueError):
            return []
        names = [
            f"{above}/{one.name}{'/' if one.is_dir() else ''}" for one in entries if one.name.startswith(beginning)
        ]
        return names[:_MOST_MATCHES]
    letters = wanted.casefold()
    ranked = [(score, len(name), name) for name in files if (score := _score(letters, name.casefold())) is not None]
    return [name for _, _, name in sorted(ranked)[:_MOST_MATCHES]]


def _score(letters: str, name: str) -> int | None:
    """How well a name fits, less is better; None where its letters are not there in order."""
    base = name.rpartition("/")[2]
    if base.startswith(letters):
        return 0
    if letters in base:
        return 1
    if letters in name:
        return 2
    rest = iter(name)
    return 3 if all(letter in rest for letter in letters) else None
