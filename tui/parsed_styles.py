"""Styles that an earlier start has parsed: parsing those of the first frame takes a twentieth of the start.

They lie beside this module's compiled code, for the same reason and with the same trust: who could write there could
change the code too. Where nothing may be written there, they are parsed each time.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from textual import color, geometry
from textual.css import _style_properties, _styles_builder, model, parse, scalar, styles, tokenize, tokenizer
from textual.css.stylesheet import Stylesheet
from textual.css.types import CSSLocation

__all__ = ["ParsedStyles"]

_Rules = dict[tuple[object, ...], list[model.RuleSet]]
_PARSERS = (_style_properties, _styles_builder, color, geometry, model, parse, scalar, styles, tokenize, tokenizer)
FILE = Path(cache_from_source(__file__)).with_suffix(".styles")


def _stamp() -> list[tuple[str, int, int]]:
    """What tells one version of Textual from another without its metadata, which take 5 ms to read."""
    found = [(module.__name__, os.stat(module.__file__ or "")) for module in _PARSERS]
    return [(name, stat.st_mtime_ns, stat.st_size) for name, stat in found]


class ParsedStyles(Stylesheet):
    """A stylesheet that takes from `file` what an earlier start has parsed of the same texts with the same colours."""

    def __init__(self, *, variables: dict[str, str] | None = None, file: Path = FILE) -> None:
        super().__init__(variables=variables)
        self._file = file
        self._of: dict[str, str] = {}
        """The colours with which the rules that are there were made."""
        self._there: _Rules = {}
        self._used: _Rules = {}
        self._is_new = False
        # Any error: what was cut off or written by another version may fail in any way, and is parsed again.
        with contextlib.suppress(Exception):
            stamp, of, there = pickle.loads(file.read_bytes())
            if stamp == _stamp():
                self._of, self._there = of, there

    def _parse_rules(
        self,
        css: str,
        read_from: CSSLocation,
        is_default_rules: bool = False,
        tie_breaker: int = 0,
        scope: str = "",
    ) -> list[model.RuleSet]:
        key = (css, read_from, is_default_rules, tie_breaker, scope)
        found = self._used.get(key)
        if found is None and self._of == self._variables:
            found = self._there.get(key)
        if found is None:
            found = super()._parse_rules(css, read_from, is_default_rules, tie_breaker, scope)
            self._is_new = True
        self._used[key] = found
        return found

    def set_variables(self, variables: dict[str, str]) -> None:
        """Take other colours, for which all is parsed anew."""
        if variables != self._variables:
            self._used = {}
        super().set_variables(variables)

    def reparse(self) -> None:
        """Parse all that has changed. Textual's own takes a sheet for that which knows nothing of what was parsed."""
        self.parse()

    def keep(self) -> None:
        """Write what was parsed for starts to come, where this one had to parse and compiled code is kept at all."""
        if not self._is_new or sys.dont_write_bytecode:
            return
        self._is_new = False
        data: Any = (_stamp(), self._variables, self._used)
        part = self._file.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            part.write_bytes(pickle.dumps(data, pickle.HIGHEST_PROTOCOL))
            part.replace(self._file)
