"""The models in memory as rows: where they run, what they take, how busy they are, when they go."""

from __future__ import annotations

import math

from rich.text import Text

from corral.runtime.engine.protocol import LoadPhase
from corral.runtime.snapshot import ModelState, ModelView
from corral.tui.figures import NONE, UNTOLD, clock, context, rate, size, span
from corral.tui.states import model_state
from corral.tui.text import clean_line
from corral.tui.widgets.glyphs import Glyphs, bar
from corral.tui.widgets.graph import spark
from corral.tui.widgets.keyed_table import Column, Row

_WIDE = 100
_NARROW = 70
_LEFT_OUT = frozenset({"where", "ctx", "queue"})  # where it is narrow: the model's panel tells them
_RATE_CELLS = {True: 14, False: 6}
_BAR_CELLS = 6


def columns(width: int) -> tuple[Column, ...]:
    """The columns a table of this width has room for."""
    if width >= _WIDE:
        memory: tuple[Column, ...] = (
            Column("weights", "WEIGHTS", 7, is_right=True),
            Column("kv", "KV", 6, is_right=True),
            Column("compute", "COMP", 6, is_right=True),
        )
    else:
        memory = (Column("memory", "MEM", 6, is_right=True),)
    every = (
        Column("name", "NAME", 0),
        Column("where", "WHERE", 9 if width >= _WIDE else 7),
        *memory,
        Column("ctx", "CTX", 6, is_right=True),
        Column("slots", "SLOTS", 5, is_right=True),
        Column("queue", "QUEUE" if width >= _WIDE else "Q", 5 if width >= _WIDE else 2, is_right=True),
        Column("rate", "TOK/S", _RATE_CELLS[width >= _WIDE], is_right=width < _WIDE),
        Column("until", "UNTIL", 7 if width >= _WIDE else 6, is_right=True),
        Column("state", "STATE", 20 if width >= _WIDE else 12),
    )
    return tuple(column for column in every if width >= _NARROW or column.key not in _LEFT_OUT)


def memory_bytes(model: ModelView) -> int:
    """All a model takes: weights, KV cache and compute buffers."""
    return model.weights_bytes + model.kv_bytes + model.compute_bytes


def where(model: ModelView, *, is_wide: bool = True) -> str:
    """`GPU 24/33` in layers (`G 24/33` or `GPU` where it is narrow), `CPU`, or how much of it lies on the GPU."""
    if model.vram_bytes <= 0 and not model.gpu_layers:
        return "CPU"
    if model.num_layers and not is_wide:
        return "GPU" if model.gpu_layers >= model.num_layers else f"G {model.gpu_layers}/{model.num_layers}"
    if model.num_layers:
        return f"GPU {model.gpu_layers}/{model.num_layers}"
    share = model.vram_bytes / max(memory_bytes(model), model.vram_bytes)
    return "GPU" if share > 0.97 else f"GPU {share * 100:.0f}%"


def load_words(model: ModelView) -> str:
    """How far a load is: `load 41%` while the weights are read, then what else is being done (`cache`, `vision`)."""
    if model.load_phase in ("", LoadPhase.WEIGHTS):
        return f"load {model.load_fraction * 100:.0f}%"
    return model.load_phase


def _state(model: ModelView, bar_cells: int, glyphs: Glyphs) -> Text:
    if model.state is ModelState.LOADING:
        sign, style = model_state(model.state).plain[0], model_state(model.state).style
        if not bar_cells or model.load_phase not in ("", LoadPhase.WEIGHTS):
            return Text(f"{sign} {load_words(model)}", style=style)
        drawn = bar(model.load_fraction, bar_cells, glyphs)
        return Text(f"{sign} weights {drawn} {model.load_fraction * 100:.0f}%", style=style)
    text = model_state(model.state)
    if model.remote:
        text = _elsewhere(model, text)
    elif model.pinned:
        text.append(" pin")
    elif model.leaves == 1:
        if bar_cells:
            text.append(" goes next")
        elif model.state is ModelState.IDLE:
            text = Text(f"{text.plain[0]} goes next", style=text.style)  # the time until it goes says that it is idle
    return text


def _elsewhere(model: ModelView, state: Text) -> Text:
    """Which server it is on, or what is wrong with its servers."""
    ill = [host for host in model.hosts if host.ill]
    if not ill:
        return state.append(f" {clean_line(model.remote.partition(',')[0].partition('://')[2])}")
    if len(ill) < len(model.hosts):
        return state.append(f" {len(ill)} of {len(model.hosts)} ill", style="warning")
    return Text(f"✗ {clean_line(ill[0].ill)}", style="error")


def is_told_in_full(model: ModelView) -> bool:
    """Whether more than the model's sizes is known: a server that is not ours, as Ollama's, tells those alone."""
    return bool(model.pid or model.remote) or model.state is ModelState.LOADING


def _left(seconds: float | None) -> str:
    """A countdown, in hours and minutes where it is long: seconds would leave no gap before it."""
    return span(seconds) if seconds is not None and 3600 <= seconds < math.inf else clock(seconds)


def _slots(model: ModelView) -> str:
    return str(model.slots_used) if model.remote else f"{model.slots_used}/{model.slots_total}"


def _rate(model: ModelView, cells: int, glyphs: Glyphs) -> str:
    """The rate and, in what room is left, how it was of late: `61.2 ⣀⣤⣶`."""
    if cells <= _RATE_CELLS[False]:
        return rate(model.tokens_per_s)
    told = rate(model.tokens_per_s).rjust(5)
    drawn = spark(model.rates, max(0, cells - len(told) - 1), glyphs)
    return f"{told} {drawn}".rstrip()


def row(model: ModelView, *, is_wide: bool, glyphs: Glyphs) -> Row:
    """The cells of one model."""
    is_loading = model.state is ModelState.LOADING
    weights, kv, compute, memory = (
        NONE if model.remote or (is_loading and not part) else size(part)
        for part in (model.weights_bytes, model.kv_bytes, model.compute_bytes, memory_bytes(model))
    )
    is_told = is_told_in_full(model)
    is_placed = not is_loading or bool(memory_bytes(model) or model.num_layers)
    elsewhere = "elsewhere" if is_wide else "away"
    cells = {
        "name": clean_line(model.name),
        "where": elsewhere if model.remote else where(model, is_wide=is_wide) if is_placed else NONE,
        "weights": weights,
        "kv": kv if is_told else UNTOLD,
        "compute": compute if is_told else UNTOLD,
        "memory": memory,
        "ctx": context(model.num_ctx),
        "slots": _slots(model) if is_told else UNTOLD,
        "queue": str(model.waiting) if is_told else "",
        "rate": _rate(model, _RATE_CELLS[is_wide], glyphs) if is_told else UNTOLD,
        "until": NONE if is_loading else _left(model.expires_in_s),
    }
    return {
        **{key: Text(cell) for key, cell in cells.items()},
        "state": _state(model, _BAR_CELLS if is_wide else 0, glyphs) if is_told else Text("in memory"),
    }


def is_wide(width: int) -> bool:
    """Whether a table of this width shows the memory in its parts."""
    return width >= _WIDE
