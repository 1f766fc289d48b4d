"""The gauges of the Running screen: CPU, memory, throughput; each a panel that takes snapshots."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Horizontal

from corral.runtime.snapshot import HostSample, ModelView, Snapshot
from corral.tui.figures import percent, rate, size
from corral.tui.widgets.core_bars import CoreBars
from corral.tui.widgets.drawn_rows import Lines
from corral.tui.widgets.gauge import Gauge
from corral.tui.widgets.glyphs import Glyphs
from corral.tui.widgets.graph import HistoryGraph
from corral.tui.widgets.loaded_table import memory_bytes
from corral.tui.widgets.panel import Panel
from corral.tui.widgets.stacked_bar import Part, StackedBar


def _ratio(used: float | None, total: float | None) -> float | None:
    return used / total if used is not None and total else None


def percent_of(used: float | None, total: float | None) -> float | None:
    """How much of it is used, 0..100; None where nobody knows."""
    ratio = _ratio(used, total)
    return None if ratio is None else ratio * 100


class CpuPanel(Panel):
    """CPU load over time, and every core."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__("CPU", widget_id="cpu-panel")
        self._load = HistoryGraph(unit="%", glyphs=glyphs, name="CPU")
        self._memory = HistoryGraph(unit="%", glyphs=glyphs, name="RAM", classes="second")
        self._cores = CoreBars(glyphs=glyphs)

    def compose(self) -> ComposeResult:
        """Graphs of load and memory above, cores below."""
        with Horizontal(classes="graphs"):
            yield self._load
            yield self._memory
        yield self._cores

    def show(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        host = snapshot.host
        history = snapshot.history
        self._load.show_newest(lambda most: [one.cpu_percent for one in history[-most:]])
        self._memory.show_newest(
            lambda most: [percent_of(one.memory_used, one.memory_total) for one in history[-most:]]
        )
        self._cores.show(host.cpu_per_core if host is not None else ())
        if host is None:
            self.entitle("CPU · n/a")
            return
        load = f"load {' '.join(f'{one:.1f}' for one in host.load_average)}" if host.load_average else ""
        cores = f"CPU {len(host.cpu_per_core)} cores" if host.cpu_per_core else "CPU"
        self.entitle(f"{cores} · {percent(host.cpu_percent)}", load)


def memory_parts(host: HostSample, models: Sequence[ModelView]) -> list[Part]:
    """What fills the machine's memory; always adds up to all of it.

    Weights are mapped files, so the system counts them as cache and not as used; caches and buffers it counts.
    """
    weights = kv = compute = 0
    for model in models:
        on_cpu = 1 - (_ratio(model.vram_bytes, max(memory_bytes(model), model.vram_bytes)) or 0.0)
        weights += int(model.weights_bytes * on_cpu)
        kv += int(model.kv_bytes * on_cpu)
        compute += int(model.compute_bytes * on_cpu)
    other = max(0, host.memory_used - kv - compute)
    free = max(0, host.memory_total - other - kv - compute - weights)
    return [
        Part("weights", weights, "mapped files"),
        Part("KV", kv, _cells(models)),
        Part("compute", compute, "buffers"),
        Part("other", other, "not models"),
        Part("free", free),
    ]


def _cells(models: Sequence[ModelView]) -> str:
    used, total = sum(model.cells_used for model in models), sum(model.cells_total for model in models)
    return f"{used:,} of {total:,} cells" if total else ""


class MemoryPanel(Panel):
    """The machine's memory in parts, and what this process takes."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__("Memory", widget_id="memory-panel")
        self._glyphs = glyphs

    def compose(self) -> ComposeResult:
        """A bar for all of it, the parts, and our own share."""
        yield Gauge("RAM", glyphs=self._glyphs)
        yield StackedBar(glyphs=self._glyphs)
        yield Lines(classes="panel-note")

    def show(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        host = snapshot.host
        if host is None:
            self.query_one(Gauge).show(None)
            self.query_one(StackedBar).show(())
            return
        used = host.memory_used / host.memory_total if host.memory_total else None
        figures = f"{size(host.memory_used)}/{size(host.memory_total)}"
        self.query_one(Gauge).show(used, figures if used is None else f"{figures}  {percent(used * 100)}")
        self.query_one(StackedBar).show(memory_parts(host, snapshot.models))
        rss = sum(model.rss_bytes for model in snapshot.models)
        cpu = sum(model.cpu_percent for model in snapshot.models)
        line = self.query_one(Lines)
        note = f"workbench {size(host.process_rss)} {percent(host.process_cpu_percent)}"
        if snapshot.models:
            note += f" · runners {size(rss)} {percent(cpu)}"
            if cell_len(note) > line.size.width:
                note = f"workbench {size(host.process_rss)} · runners {size(rss)}"
        line.show(note)


class ThroughputPanel(Panel):
    """Tokens per second of all models together."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__("Throughput", widget_id="throughput-panel")
        self._glyphs = glyphs

    def compose(self) -> ComposeResult:
        """The graph."""
        yield HistoryGraph(unit="tok/s", maximum=None, glyphs=self._glyphs)

    def show(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        self.query_one(HistoryGraph).show(snapshot.throughput)
        self.entitle(throughput_line(snapshot))


def throughput_line(snapshot: Snapshot) -> str:
    """What all models do together, in words."""
    decode, prefill = rate(snapshot.tokens_per_s), rate(snapshot.prompt_tokens_per_s)
    return f"Throughput · decode {decode} · prefill {prefill} tok/s"
