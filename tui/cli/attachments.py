"""Images in what a person writes: files whose paths stand in the text go along and are cut out of it (spec d.3)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from corral.tui.cli.errors import CommandError
from corral.tui.control_chars import visible

MOST_BYTES: Final = 100 * 1024 * 1024

_ROOT: Final = r"(?:[a-zA-Z]:)?(?:\.{1,2}/|~?/|\\)"
_KIND: Final = r"\.(?:jpe?g|png|webp|gif|bmp)"
_PATH: Final = re.compile(
    rf"(?P<quote>['\"])(?P<quoted>{_ROOT}[^\n]+?{_KIND})(?P=quote)|(?P<bare>{_ROOT}(?:\\.|[^\\\s'\"])+?{_KIND})\b",
    re.IGNORECASE,
)
_ESCAPED: Final = re.compile(r"\\([ ()\[\]{}$&;'\\*?~])")


def take_images(text: str) -> tuple[str, tuple[bytes, ...]]:
    """Return a text without the paths of images in it, and their files; says on stderr what was added.

    A path of nothing that is there stays text. Raises CommandError for a file that cannot be read or is too large.
    """
    images = []
    for found in list(_PATH.finditer(text)):
        named = found["quoted"] or _ESCAPED.sub(r"\1", found["bare"])
        path = Path(named).expanduser()
        try:
            if not path.is_file():
                continue
            if path.stat().st_size > MOST_BYTES:
                raise CommandError(f"'{path}' is larger than {MOST_BYTES // 2**20} MiB")
            images.append(path.read_bytes())
        except OSError as error:
            raise CommandError(f"couldn't read '{path}': {error.strerror}") from None
        text = text.replace(found[0], "", 1)
        print(f"Added image '{visible(str(path))}'", file=sys.stderr)
    return text.strip() if images else text, tuple(images)
