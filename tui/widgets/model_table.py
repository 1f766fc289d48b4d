"""The models on disk as rows: what each column shows and how they are sorted and filtered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from rich.text import Text

from corral.runtime.snapshot import ModelState
from corral.runtime.upkeep import Fit
from corral.runtime.verbs import ModelSummary
from corral.tui.figures import NONE, age, context, size
from corral.tui.filtering import matcher
from corral.tui.text import clean_line
from corral.tui.widgets.keyed_table import Column, Row

_EVERY, _MOST = 84, 72
"""Cells of table width from which every column has room, and from which all but one have."""

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
    CAPABILITIES = "caps"
    FITS = "fits"
    MEMORY = "memory"

    @property
    def following(self) -> SortBy:
        """The next column, round and round."""
        every = list(SortBy)
        return every[(every.index(self) + 1) % len(every)]

    @property
    def starts_descending(self) -> bool:
        """Whether a reader expects the largest first."""
        return self not in (SortBy.NAME, SortBy.QUANT, SortBy.CAPABILITIES)


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of models beyond the listing, by name.

    `going` are those that will be deleted, with the seconds until then; `newer` those of which the registry has another
    version; `fits` says at which contexts they fit the memory, `loads` how far those are that are being loaded.
    """

    states: Mapping[str, ModelState] = field(default_factory=dict)
    pinned: Collection[str] = ()
    marked: Collection[str] = ()
    newer: Collection[str] = ()
    going: Mapping[str, float] = field(default_factory=dict)
    fits: Mapping[str, Sequence[Fit]] = field(default_factory=dict)
    loads: Mapping[str, str] = field(default_factory=dict)


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


_SortKey = Callable[[ModelSummary, Sight], tuple[float | str, ...]]
_SORT_KEYS: dict[SortBy, _SortKey] = {
    SortBy.USED: lambda model, _: (model.modified_at.timestamp(), model.name),
    SortBy.NAME: lambda model, _: (model.name.casefold(),),
    SortBy.SIZE: lambda model, _: (model.size, model.name),
    SortBy.PARAMS: lambda model, _: (parameter_count(model.details.parameter_size), model.name),
    SortBy.QUANT: lambda model, _: (model.details.quantization_level, model.name),
    SortBy.CONTEXT: lambda model, _: (model.details.context_length, model.name),
    SortBy.CAPABILITIES: lambda model, _: (capabilities(model.capabilities), model.name),
    SortBy.FITS: lambda model, sight: (
        max((one.num_ctx for one in sight.fits.get(model.name, ()) if one.fits), default=0),
        model.name,
    ),
    SortBy.MEMORY: lambda model, sight: (sight.states.get(model.name, ""), model.name),
}


def arranged(models: Sequence[ModelSummary], listing: Listing, sight: Sight = Sight()) -> list[ModelSummary]:
    """The models that pass the filter, in order."""
    passes = matcher(listing.filter_line)
    kept = [
        model
        for model in models
        if passes(f"{model.name} {model.details.quantization_level} {' '.join(model.capabilities)}")
    ]
    sort_key = _SORT_KEYS[listing.sort_by]
    return sorted(kept, key=lambda model: sort_key(model, sight), reverse=listing.is_descending)


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
        Column("fits", "FITS", 9),
        Column("used", "USED", 5, is_right=True),
        Column("memory", "MEMORY", 10),
    )
    left_out = set() if width >= _EVERY else {"params"} if width >= _MOST else {"params", "caps", "fits"}
    return tuple(column for column in every if column.key not in left_out)


def capabilities(names: Sequence[str]) -> str:
    """Capabilities as letters (`T·R`); plain text completion, which nearly every model does, as `C` alone."""
    letters = [_LETTERS.get(name, name[:1].upper()) for name in names]
    return "·".join(letter for letter in letters if letter) or ("C" if names else NONE)


def fit_sign(fit: Fit) -> str:
    """`✓` for what fits, `◐` where a part of the layers stays off the GPU, `✗` for what does not."""
    if not fit.fits:
        return "✗"
    return "◐" if 0 < fit.on_gpu < fit.layers else "✓"


def fits_text(fits: Sequence[Fit]) -> str:
    """The largest context that fits and the first that does not fit as well: `8k✓ 32k✗`."""
    whole = [fit for fit in fits if fit_sign(fit) == "✓"]
    rest = [fit for fit in fits if fit_sign(fit) != "✓"]
    told = [*whole[-1:], *rest[: 1 if whole else 2]]
    return " ".join(f"{context(fit.num_ctx)}{fit_sign(fit)}" for fit in told) or NONE


_STATE_WORDS = {
    ModelState.LOADING: "◐ loading",
    ModelState.IDLE: "● loaded",
    ModelState.BUSY: "● busy",
    ModelState.STOPPING: "◌ stopping",
}


def row(model: ModelSummary, sight: Sight, now: datetime) -> Row:
    """The cells of one model."""
    details, name = model.details, model.name
    state = sight.states.get(name)
    memory = _STATE_WORDS[state] if state is not None else ""
    if name in sight.loads:
        memory = f"◐ {sight.loads[name]}"
    elif name in sight.pinned:
        memory = f"{memory} ∞"
    if name in sight.going:
        memory = f"✗ in {sight.going[name]:.0f}s"
    cells: dict[str, str] = {
        "state": "✗" if name in sight.going else "✓" if name in sight.marked else "↑" if name in sight.newer else "",
        "name": clean_line(name),
        "params": clean_line(details.parameter_size) or NONE,
        "quant": clean_line(details.quantization_level) or NONE,
        "size": size(model.size),
        "ctx": context(details.context_length),
        "caps": clean_line(capabilities(model.capabilities)),
        "fits": fits_text(sight.fits.get(name, ())),
        "used": age(model.modified_at, now),
        "memory": memory,
    }
    style = "dim strike" if name in sight.going else "bold" if name in sight.marked else ""
    memory_style = "error" if name in sight.going else "success"
    return {key: Text(cell, style=memory_style if key == "memory" else style) for key, cell in cells.items()}


def rows(models: Sequence[ModelSummary], listing: Listing, sight: Sight, now: datetime) -> list[tuple[str, Row]]:
    """The table of a listing, keyed by model name."""
    return [(model.name, row(model, sight, now)) for model in arranged(models, listing, sight)]
