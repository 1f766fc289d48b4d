"""The models in memory as rows: where they run, what they take, how busy they are, when they go."""

from __future__ import annotations

from rich.text import Text

from corral.runtime.snapshot import ModelState, ModelView
from corral.tui.figures import NONE, UNTOLD, clock, context, rate, size
from corral.tui.states import model_state
from corral.tui.text import clean_line
from corral.tui.widgets.glyphs import Glyphs, bar
from corral.tui.widgets.keyed_table import Column, Row

_WIDE = 100
_NARROW = 70
_LEFT_OUT = frozenset({"where", "ctx", "queue"})  # where it is narrow: the model's panel tells them


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
        Column("rate", "TOK/S", 6, is_right=True),
        Column("until", "UNTIL", 7 if width >= _WIDE else 6, is_right=True),
        Column("state", "STATE", 20 if width >= _WIDE else 12),
    )
    return tuple(column for column in every if width >= _NARROW or column.key not in _LEFT_OUT)


def memory_bytes(model: ModelView) -> int:
    """All a model takes: weights, KV cache and compute buffers."""
    return model.weights_bytes + model.kv_bytes + model.compute_bytes


def where(model: ModelView) -> str:
    """`GPU 24/33` in layers, `CPU`, or how much of it lies on the GPU."""
    if model.vram_bytes <= 0 and not model.gpu_layers:
        return "CPU"
    if model.num_layers:
        return f"GPU {model.gpu_layers}/{model.num_layers}"
    share = model.vram_bytes / max(memory_bytes(model), model.vram_bytes)
    return "GPU" if share > 0.97 else f"GPU {share * 100:.0f}%"


def _state(model: ModelView, bar_cells: int, glyphs: Glyphs) -> Text:
    text = model_state(model.state)
    if model.state is ModelState.LOADING:
        drawn = f" {bar(model.load_fraction, bar_cells, glyphs)}" if bar_cells else ""
        text.append(f"{drawn} {model.load_fraction * 100:.0f}%")
    elif model.pinned:
        text.append(" pin")
    elif model.leaves == 1:
        text.append(" goes next" if bar_cells else " ↓1")
    return text


def is_told_in_full(model: ModelView) -> bool:
    """Whether more than the model's sizes is known: a server that is not ours, as Ollama's, tells those alone."""
    return bool(model.pid or model.remote) or model.state is ModelState.LOADING


def _slots(model: ModelView) -> str:
    return str(model.slots_used) if model.remote else f"{model.slots_used}/{model.slots_total}"


def row(model: ModelView, *, is_wide: bool, glyphs: Glyphs) -> Row:
    """The cells of one model."""
    is_loading = model.state is ModelState.LOADING
    weights, kv, compute, memory = (
        NONE if is_loading and not part else size(part)
        for part in (model.weights_bytes, model.kv_bytes, model.compute_bytes, memory_bytes(model))
    )
    is_told = is_told_in_full(model)
    cells = {
        "name": clean_line(model.name),
        "where": "remote" if model.remote else NONE if is_loading and not memory_bytes(model) else where(model),
        "weights": weights,
        "kv": kv if is_told else UNTOLD,
        "compute": compute if is_told else UNTOLD,
        "memory": memory,
        "ctx": context(model.num_ctx),
        "slots": _slots(model) if is_told else UNTOLD,
        "queue": str(model.waiting) if is_told else "",
        "rate": rate(model.tokens_per_s) if is_told else UNTOLD,
        "until": NONE if is_loading else clock(model.expires_in_s),
    }
    return {
        **{key: Text(cell) for key, cell in cells.items()},
        "state": _state(model, 8 if is_wide else 0, glyphs) if model.pid or is_loading else Text("in memory"),
    }


def is_wide(width: int) -> bool:
    """Whether a table of this width shows the memory in its parts."""
    return width >= _WIDE
