"""One model in memory in full: what it takes against what was expected, its cells and caches, when it goes."""

from __future__ import annotations

from rich.cells import cell_len
from textual.app import ComposeResult

from corral.runtime.snapshot import ModelState, ModelView
from corral.tui.figures import NONE, UNTOLD, count, percent, rate, size
from corral.tui.text import clean_line
from corral.tui.widgets.drawn_rows import Lines
from corral.tui.widgets.glyphs import Glyphs, bar
from corral.tui.widgets.graph import spark
from corral.tui.widgets.loaded_table import is_told_in_full, load_words, memory_bytes
from corral.tui.widgets.panel import Panel
from corral.tui.widgets.stacked_bar import fills, shares

_LABEL = 9
_FIGURE = 8
_LEAST_BAR = 6
_LONGEST_BAR = 30
_LATELY_CELLS = 8


def _difference(model: ModelView) -> str:
    """How far the forecast was off, `+4 %` where more was taken than expected."""
    taken, expected = memory_bytes(model), model.expected_bytes
    return f"{(taken - expected) / expected * 100:+.0f} %" if taken and expected else ""


def _row(label: str, figures: tuple[int | None, ...], note: str = "") -> str:
    told = (UNTOLD if one is None else size(one) if one else NONE for one in figures)
    return f"{label:<{_LABEL}}" + "".join(f"{one:>{_FIGURE}}" for one in told) + f"  {note}"


def memory_lines(model: ModelView) -> list[str]:
    """What it takes by part, measured and as forecast."""
    parts = (model.kv_bytes, model.compute_bytes) if is_told_in_full(model) else (None, None)
    measured = (model.weights_bytes, *parts, memory_bytes(model))
    expected = (model.expected_weights, model.expected_kv, model.expected_compute, model.expected_bytes)
    labels = "".join(f"{one:>{_FIGURE}}" for one in ("weights", "KV", "compute", "total"))
    return [
        f"{'':<{_LABEL}}{labels}",
        _row("takes", measured, _difference(model)),
        _row("forecast", expected),
    ]


def place_line(model: ModelView, width: int, glyphs: Glyphs = Glyphs.BRAILLE) -> str:
    """Where it lies, and what its process takes; how that was lately where `width` has room for it."""
    ram = max(0, memory_bytes(model) - model.vram_bytes)
    vram = f" · VRAM {size(model.vram_bytes)}" if model.vram_bytes else ""
    rss, cpu = (size(model.rss_bytes), model.cpu_percent) if is_told_in_full(model) else (UNTOLD, None)
    lately = spark(model.rss_history, _LATELY_CELLS, glyphs).strip()

    def line(lately: str) -> str:
        return f"{'lies in':<{_LABEL}}RAM {size(ram)}{vram} · rss {rss}{lately} · CPU {percent(cpu)}"

    long = line(f" {lately}" if lately else "")
    return long if cell_len(long) <= width else line("")


def cells_line(model: ModelView, width: int, glyphs: Glyphs) -> str:
    """The cells by use: of requests that run, kept as cache, free."""
    total = model.cells_total
    if not total:
        return f"{'cells':<{_LABEL}}{NONE if is_told_in_full(model) else UNTOLD}"
    kept = min(model.kept_cells, model.cells_used)
    amounts = (model.cells_used - kept, kept, max(0, total - model.cells_used))
    used, cache, _, _, free = fills(glyphs)
    words = f"{used} {count(amounts[0])} run  {cache} {count(kept)} cache  {free} {count(amounts[2])} free"
    room = min(width - _LABEL - len(words) - 1, _LONGEST_BAR)
    if room < _LEAST_BAR:
        return f"{'cells':<{_LABEL}}{words}"
    least = [1 if amount else 0 for amount in amounts]  # whatever there is can be seen
    cells = [one + more for one, more in zip(least, shares(amounts, room - sum(least)), strict=True)]
    drawn = "".join(fill * number for fill, number in zip((used, cache, free), cells, strict=True))
    return f"{'cells':<{_LABEL}}{drawn} {words}"


def cache_line(model: ModelView) -> str:
    """How much of the last minute's prompts was there already, and what is kept of sequences that ended."""
    if not is_told_in_full(model):
        return f"{'hits':<{_LABEL}}{UNTOLD}"
    hits = NONE if model.hit_share is None else percent(model.hit_share * 100)
    away = f"parked {model.parked} ({size(model.parked_bytes)}) · disk {model.shelved} ({size(model.shelved_bytes)})"
    return f"{'hits':<{_LABEL}}{hits} · kept {model.kept} · {away}"


def eviction_line(model: ModelView) -> str:
    """Whether it makes room before others, and why."""
    if not is_told_in_full(model):
        return f"{'evict':<{_LABEL}}{UNTOLD}"
    if model.pinned:
        return f"{'evict':<{_LABEL}}never: pinned (P)"
    place = {0: "", 1: "next", 2: "2nd", 3: "3rd"}.get(model.leaves, f"{model.leaves}th")
    return f"{'evict':<{_LABEL}}{' · '.join(one for one in (place, clean_line(model.worth)) if one) or NONE}"


def speed_words(model: ModelView, glyphs: Glyphs) -> str:
    """How fast it is, how fast it was in the last minute, and at most: `61.2 tok/s ⣀⣤⣶ peak 80`."""
    if not is_told_in_full(model):
        return ""
    lately = spark(model.rates, 2 * _LATELY_CELLS, glyphs).strip()
    peak = f" peak {rate(max(model.rates))}" if any(model.rates) else ""
    return f"{rate(model.tokens_per_s)} tok/s{f' {lately}' if lately else ''}{peak}"


def load_line(model: ModelView, width: int, glyphs: Glyphs) -> str:
    """How far its load is, with a bar, and which layers GPUs take."""
    split = f" · offload {model.gpu_layers}/{model.num_layers}" if model.gpu_layers else ""
    room = min(max(width - _LABEL - 14 - len(split), _LEAST_BAR), _LONGEST_BAR)
    return f"{'loading':<{_LABEL}}{bar(model.load_fraction, room, glyphs)} {load_words(model)}{split}"


def elsewhere_lines(model: ModelView) -> list[str]:
    """What is known of one whose engine is elsewhere: on which servers, and what it does for this one."""
    hosts = [
        f"{clean_line(host.url)} · {f'passed over: {clean_line(host.ill)}' if host.ill else 'well'}"
        f"{f' · {host.requests} of ours' if host.requests else ''}"
        for host in model.hosts
    ]
    return [
        f"{'engine':<{_LABEL}}elsewhere: it takes no memory here",
        *(f"{'at' if number == 0 else '':<{_LABEL}}{host}" for number, host in enumerate(hosts)),
        f"{'requests':<{_LABEL}}{model.slots_used} under way{f', {model.waiting} waiting' if model.waiting else ''}",
        f"{'context':<{_LABEL}}{count(model.num_ctx) if model.num_ctx else UNTOLD}",
    ]


def model_lines(model: ModelView, width: int, glyphs: Glyphs) -> list[str]:
    """All of it, a line each, the most asked for first."""
    if model.remote:
        return elsewhere_lines(model)
    lines = [
        *memory_lines(model),
        place_line(model, width, glyphs),
        cells_line(model, width, glyphs),
        cache_line(model),
        eviction_line(model),
    ]
    if model.state is ModelState.LOADING:
        lines[3:4] = [load_line(model, width, glyphs)]
    if model.aliases:
        lines.append(f"{'also':<{_LABEL}}{', '.join(map(clean_line, model.aliases))}")
    return lines


class ModelPanel(Panel):
    """The model under the cursor."""

    DEFAULT_CSS = """
    ModelPanel Lines { height: 1fr; }
    """

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__("Model", widget_id="model-panel")
        self._glyphs = glyphs
        self._model: ModelView | None = None

    def compose(self) -> ComposeResult:
        """The lines."""
        yield Lines()

    def show_model(self, model: ModelView | None) -> None:
        """Draw a model, or say that there is none."""
        self._model = model
        self._draw()

    def use(self, glyphs: Glyphs) -> None:
        """Draw with another set of characters."""
        self._glyphs = glyphs
        self._draw()

    def on_resize(self) -> None:
        """Cut the lines anew."""
        self._draw()

    def _draw(self) -> None:
        lines, model = self.query_one(Lines), self._model
        if model is None:
            self.entitle("Model")
            lines.show("nothing is in memory")
            return
        self.entitle(f"Model · {model.name}", speed_words(model, self._glyphs))
        lines.show(*model_lines(model, lines.size.width, self._glyphs))
