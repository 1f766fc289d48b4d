"""The gauges of GPUs on the Running screen: load, memory, heat; each a panel that takes snapshots."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal

from corral.runtime.snapshot import GpuSample, HostSample, Snapshot
from corral.tui.figures import percent, size
from corral.tui.widgets.gauge import Gauge
from corral.tui.widgets.glyphs import Glyphs
from corral.tui.widgets.graph import HistoryGraph
from corral.tui.widgets.host_panels import percent_of
from corral.tui.widgets.panel import Panel
from corral.tui.widgets.stacked_bar import Part, StackedBar


class GpuPanel(Panel):
    """One GPU's load and memory over time; what the others do stands in the memory panel."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__("GPU", widget_id="gpu-panel")
        self._load = HistoryGraph(unit="%", glyphs=glyphs, name="load")
        self._memory = HistoryGraph(unit="%", glyphs=glyphs, name="VRAM", classes="second")
        self.number = 0

    def compose(self) -> ComposeResult:
        """The graphs."""
        with Horizontal(classes="graphs"):
            yield self._load
            yield self._memory

    def show(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        if snapshot.host is None or not snapshot.host.gpus:
            return
        gpus = snapshot.host.gpus
        self.number %= len(gpus)
        gpu = gpus[self.number]
        number, history = self.number, snapshot.history
        self._load.show_newest(lambda most: [_load_of(one, number) for one in history[-most:]])
        self._memory.show_newest(lambda most: [_memory_of(one, number) for one in history[-most:]])
        more = f" of {len(gpus)} []" if len(gpus) > 1 else ""
        self.entitle(f"GPU {gpu.index}{more} · {gpu.name} · {percent(gpu.load_percent)}", f"{heat(gpu)}{pace(gpu)}")


def _load_of(sample: HostSample, number: int) -> float | None:
    return sample.gpus[number].load_percent if number < len(sample.gpus) else None


def _memory_of(sample: HostSample, number: int) -> float | None:
    if number >= len(sample.gpus):
        return None
    return percent_of(sample.gpus[number].memory_used, sample.gpus[number].memory_total)


def pace(gpu: GpuSample) -> str:
    """The clock, and what holds it back."""
    clock = f" · {gpu.clock_mhz:.0f} MHz" if gpu.clock_mhz is not None else ""
    return clock + (f" · ! {gpu.throttled}" if gpu.throttled else "")


def heat(gpu: GpuSample) -> str:
    """Temperature and power, as far as the driver says."""
    temperature = "n/a" if gpu.temperature_c is None else f"{gpu.temperature_c:.0f}"
    power = "n/a" if gpu.power_w is None else f"{gpu.power_w:.0f}"
    limit = f"/{gpu.power_limit_w:.0f}" if gpu.power_limit_w else ""
    return f"{temperature} °C · {power}{limit} W"


class VramPanel(Panel):
    """GPU memory: ours, others', free; and a line for every GPU."""

    MOST_GPUS = 4

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__("VRAM", widget_id="vram-panel")
        self._glyphs = glyphs

    def compose(self) -> ComposeResult:
        """The parts, then the GPUs."""
        yield StackedBar(glyphs=self._glyphs)
        for _ in range(self.MOST_GPUS):
            yield Gauge("GPU", glyphs=self._glyphs)

    def show(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        gpus = snapshot.host.gpus if snapshot.host is not None else ()
        used = [gpu.memory_used for gpu in gpus if gpu.memory_used is not None]
        total = [gpu.memory_total for gpu in gpus if gpu.memory_total is not None]
        stacked = self.query_one(StackedBar)
        if used and total:
            ours = min(sum(model.vram_bytes for model in snapshot.models), sum(used))
            free = max(sum(total) - sum(used), 0)
            stacked.show([Part("models", ours), Part("other", sum(used) - ours, "not ours"), Part("free", free)])
            self.entitle(f"VRAM {size(sum(used))} of {size(sum(total))}", _host_figures(snapshot.host))
        else:
            stacked.show(())
            self.entitle("VRAM · n/a", _host_figures(snapshot.host))
        for number, gauge in enumerate(self.query(Gauge)):
            gauge.display = number < len(gpus)
            if number < len(gpus):
                gpu = gpus[number]
                # The first GPU's load has a panel of its own, with its heat in the frame.
                load = "" if gpu.load_percent is None else percent(gpu.load_percent)
                figures = f"{load} {heat(gpu)}" if number else load
                gauge.show(
                    None if gpu.load_percent is None else gpu.load_percent / 100, figures.strip(), label=f"GPU{number}"
                )


def _host_figures(host: HostSample | None) -> str:
    if host is None:
        return ""
    return f"CPU {percent(host.cpu_percent)} · RAM {size(host.memory_used)} of {size(host.memory_total)}"
