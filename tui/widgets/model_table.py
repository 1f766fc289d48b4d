"""The models on disk as rows: what each column shows and how they are sorted and filtered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rich.text import Text

from corral.runtime.snapshot import ModelState
from corral.runtime.verbs import ModelSummary
from corral.tui.figures import NONE, age, context, size
from corral.tui.filtering import matcher
from corral.tui.text import clean_line
from corral.tui.widgets.keyed_table import Column, Row

_WIDE = 72
"""Cells of table width from which every column has room."""

_LETTERS = {
    "completion": "",
    "tools": "T",
    "insert": "I",
    "vision": "V",
    "embedding": "E",
    "rerank": "K",
    "thinking": "R",
    "audio": "A",
}
CAPABILITY_LEGEND = "T tools R reason V vision E embed K rank I insert C chat"

_QUANTITIES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


class SortBy(StrEnum):
    """The columns a listing can be sorted by, in the order `s` goes through them."""

    USED = "used"
    NAME = "name"
    SIZE = "size"
    PARAMS = "params"
    QUANT = "quant"
    CONTEXT = "ctx"

    @property
    def following(self) -> SortBy:
        """The next column, round and round."""
        every = list(SortBy)
        return every[(every.index(self) + 1) % len(every)]

    @property
    def starts_descending(self) -> bool:
        """Whether a reader expects the largest first."""
        return self not in (SortBy.NAME, SortBy.QUANT)


@dataclass(frozen=True, slots=True)
class Listing:
    """How the table is to be shown."""

    sort_by: SortBy = SortBy.USED
    is_descending: bool = True
    filter_line: str = ""


def parameter_count(text: str) -> float:
    """`134.52M` as a number, 0 where it is none."""
    number, unit = text[:-1], text[-1:].upper()
    try:
        return float(number) * _QUANTITIES[unit] if unit in _QUANTITIES else float(text or 0)
    except ValueError:
        return 0.0


_SORT_KEYS: dict[SortBy, Callable[[ModelSummary], tuple[float | str, ...]]] = {
    SortBy.USED: lambda model: (model.modified_at.timestamp(), model.name),
    SortBy.NAME: lambda model: (model.name.casefold(),),
    SortBy.SIZE: lambda model: (model.size, model.name),
    SortBy.PARAMS: lambda model: (parameter_count(model.details.parameter_size), model.name),
    SortBy.QUANT: lambda model: (model.details.quantization_level, model.name),
    SortBy.CONTEXT: lambda model: (model.details.context_length, model.name),
}


def arranged(models: Sequence[ModelSummary], listing: Listing) -> list[ModelSummary]:
    """The models that pass the filter, in order."""
    passes = matcher(listing.filter_line)
    kept = [model for model in models if passes(f"{model.name} {model.details.quantization_level}")]
    return sorted(kept, key=_SORT_KEYS[listing.sort_by], reverse=listing.is_descending)


def columns(width: int) -> tuple[Column, ...]:
    """The columns a table of this width has room for."""
    every = (
        Column("state", "", 1),
        Column("name", "NAME", 0),
        Column("params", "PARAMS", 7, is_right=True),
        Column("quant", "QUANT", 7),
        Column("size", "SIZE", 6, is_right=True),
        Column("ctx", "CTX", 5, is_right=True),
        Column("caps", "CAPS", 5),
        Column("used", "USED", 5, is_right=True),
        Column("memory", "MEMORY", 10),
    )
    return every if width >= _WIDE else tuple(column for column in every if column.key not in {"params", "caps"})


def capabilities(names: Sequence[str]) -> str:
    """Capabilities as letters (`T·R`); plain text completion, which nearly every model does, as `C` alone."""
    letters = [_LETTERS.get(name, name[:1].upper()) for name in names]
    return "·".join(letter for letter in letters if letter) or ("C" if names else NONE)


_STATE_WORDS = {
    ModelState.LOADING: "◐ loading",
    ModelState.IDLE: "● loaded",
    ModelState.BUSY: "● busy",
    ModelState.STOPPING: "◌ stopping",
}


def row(model: ModelSummary, *, state: ModelState | None, is_marked: bool, now: datetime) -> Row:
    """The cells of one model."""
    details = model.details
    cells: dict[str, str] = {
        "state": "✓" if is_marked else "",
        "name": clean_line(model.name),
        "params": clean_line(details.parameter_size) or NONE,
        "quant": clean_line(details.quantization_level) or NONE,
        "size": size(model.size),
        "ctx": context(details.context_length),
        "caps": clean_line(capabilities(model.capabilities)),
        "used": age(model.modified_at, now),
        "memory": _STATE_WORDS[state] if state is not None else "",
    }
    style = "bold" if is_marked else ""
    return {key: Text(cell, style="success" if key == "memory" else style) for key, cell in cells.items()}


def rows(
    models: Sequence[ModelSummary],
    listing: Listing,
    *,
    states: Mapping[str, ModelState],
    marked: Collection[str],
    now: datetime,
) -> list[tuple[str, Row]]:
    """The table of a listing, keyed by model name."""
    return [
        (model.name, row(model, state=states.get(model.name), is_marked=model.name in marked, now=now))
        for model in arranged(models, listing)
    ]
