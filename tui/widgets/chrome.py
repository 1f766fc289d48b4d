"""The line at the top of every screen: where we serve, the five tabs, what the machine is doing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from enum import Enum, auto
from functools import partial
from socket import gethostname
from typing import TYPE_CHECKING, ClassVar, cast

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.widgets import Static
from textual.worker import Worker

from corral.runtime.snapshot import HostSample, Snapshot
from corral.tui import figures
from corral.tui.actions import Where
from corral.tui.text import fit
from corral.tui.widgets.drawn_rows import DrawnRow, DrawnRows

if TYPE_CHECKING:
    from corral.tui.app import WorkbenchApp

__all__ = ["TABS", "Header", "TooSmall"]

TABS: tuple[tuple[Where, str, str], ...] = (
    (Where.CHAT, "Chat", "Chat"),
    (Where.MODELS, "Models", "Models"),
    (Where.RUNNING, "Running", "Run"),
    (Where.FILE, "Modelfile", "File"),
    (Where.SERVER, "Server", "Srv"),
)
"""The screens in the order of their number keys: place, name, short name."""


class _Room(Enum):
    """How much of the figures there is room for."""

    LONG = auto()
    SHORT = auto()
    LEAST = auto()
    NONE = auto()


_SPARK = "▁▂▃▄▅▆▇█"
_SPARK_CELLS = 4


def _spark(values: tuple[float, ...]) -> str:
    recent = values[-_SPARK_CELLS:]
    peak = max(values[-60:], default=0.0)
    if peak <= 0:
        return ""
    return "".join(_SPARK[min(int(value / peak * len(_SPARK)), len(_SPARK) - 1)] for value in recent)


def _machine(host: HostSample | None, room: _Room) -> str:
    """GPU load and memory, or CPU and RAM where there is no GPU; what the driver does not say is n/a."""
    if host is None or room is _Room.NONE:
        return ""
    is_long = room is _Room.LONG
    if host.gpus:
        loads = [gpu.load_percent for gpu in host.gpus if gpu.load_percent is not None]
        load = f"{max(loads):.0f}%" if loads else figures.UNTOLD
        used = [gpu.memory_used for gpu in host.gpus if gpu.memory_used is not None]
        total = [gpu.memory_total for gpu in host.gpus if gpu.memory_total is not None]
        memory = f"{figures.size(sum(used))[:-1]}/{figures.size(sum(total))}" if used and total else "n/a"
        if room is _Room.LEAST and used:
            memory = figures.size(sum(used))
        return f"GPU {load} VRAM {memory}" if is_long else f"G{load} V{memory}"
    of = f"/{figures.size(host.memory_total)}" if room is not _Room.LEAST else ""
    memory = f"{figures.size(host.memory_used)}{of}"
    load = figures.UNTOLD if host.cpu_percent is None else f"{host.cpu_percent:.0f}%"
    return f"CPU {load} RAM {memory}" if is_long else f"C{load} R{memory}"


class Header(DrawnRows):
    """One line, redrawn only when what it says has changed."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "header--serving",
        "header--silent",
        "header--here",
        "header--machine",
    }
    DEFAULT_CSS = """
    Header { dock: top; height: 1; background: $footer-background; color: $foreground; }
    Header .header--serving { color: $success; }
    Header .header--silent { color: $warning; }
    Header .header--here { text-style: bold reverse; }
    Header .header--machine { color: $accent; }
    """
    ALLOW_SELECT = False

    def __init__(self, where: Where) -> None:
        super().__init__()
        self._where = where
        self._host = gethostname().split(".")[0]
        self._snapshot: Snapshot | None = None
        self._spots: tuple[tuple[int, int, Where], ...] = ()

    def show(self, snapshot: Snapshot) -> None:
        """Take the newest figures."""
        self._snapshot = snapshot
        self.draw_rows()

    def rows_for(self, width: int, height: int) -> Sequence[DrawnRow]:
        """The longest version that fits."""
        left, tabs, right = self._parts(width)
        start = cell_len(left)
        self._spots = tuple(self._find_spots(tabs, start))
        gap = max(width - start - cell_len(tabs) - cell_len(right), 0)
        snapshot = self._snapshot
        is_serving = snapshot is not None and bool(snapshot.serving) and not snapshot.trouble
        first, last = tabs.index("["), tabs.index("]") + 1
        return [
            (
                (left, "header--serving" if is_serving else "header--silent"),
                (tabs[:first], ""),
                (tabs[first:last], "header--here"),
                (tabs[last:] + " " * gap, ""),
                (right, "header--machine"),
            )
        ]

    def on_click(self, event: events.Click) -> None:
        """Go where the tab says."""
        for first, last, where in self._spots:
            if first <= event.x < last:
                work: Callable[[], Coroutine[None, None, object]] = partial(self.app.run_action, f"app.go('{where}')")
                _: Worker[object] = self.app.run_worker(work, exit_on_error=False)

    def _parts(self, width: int) -> tuple[str, str, str]:
        for left, tabs, right in self._versions():
            if cell_len(left) + cell_len(tabs) + cell_len(right) <= width:
                return left, tabs, right
        return "", self._tabs(False), ""

    def _versions(self) -> Iterator[tuple[str, str, str]]:
        snapshot = self._snapshot
        serving = snapshot.serving.removeprefix("http://") if snapshot else ""
        sign = "●" if serving else "○"
        address = fit(serving, 28) if serving else "not serving" if snapshot else ""
        if snapshot is not None and snapshot.trouble:
            sign, address = "✗", "no answer"
        if self._app.is_read_only:
            sign = f"[RO] {sign}"
        named = self._named()
        host = named if self._app.link.place else f"{fit(self._host, 16)} "
        long, short, least, none = map(self._figures, _Room)
        yield f"corral {host}{sign} {address}  ", self._tabs(True), f" {long}"
        if named and not (snapshot is not None and snapshot.trouble):
            address = ""
        where = f"{named}{sign} {address}".rstrip()
        yield f"{where}  ", self._tabs(True), f" {long}"
        yield f"{where}  ", self._tabs(True), f" {short}"
        yield f"{where} ", self._tabs(False), f" {short}"
        yield f"{where} ", self._tabs(False), f" {least}"
        if self._app.link.place:  # which server it is matters more than how it is
            yield f"{where} ", self._tabs(False), f" {none}"
        yield f"{named}{sign} ", self._tabs(False), f" {short}"
        yield f"{named}{sign} ", self._tabs(False), ""
        yield f"{sign} ", self._tabs(False), ""

    @property
    def _app(self) -> WorkbenchApp:
        return cast("WorkbenchApp", self.app)

    def _named(self) -> str:
        """What config.toml calls the server elsewhere that is shown, and a space; "" for none."""
        place = self._app.link.place
        name = fit(self._app.hosts.name(place), 16) if place else ""
        return f"{name} " if name else ""

    def _tabs(self, is_long: bool) -> str:
        names = []
        for number, (where, name, short) in enumerate(TABS, 1):
            text = f"{number} {name}" if is_long else f"{number}{short}"
            names.append(f"[{text}]" if where is self._where else f" {text} ")
        return "".join(names)

    @staticmethod
    def _find_spots(tabs: str, start: int) -> Iterator[tuple[int, int, Where]]:
        places = [tabs.index(str(number)) for number in range(1, len(TABS) + 1)] + [len(tabs)]
        for number, (where, _, _) in enumerate(TABS):
            yield start + places[number], start + places[number + 1], where

    def _figures(self, room: _Room) -> str:
        snapshot = self._snapshot
        if snapshot is None:
            return ""
        is_long = room is _Room.LONG
        rate = figures.rate(snapshot.tokens_per_s) if snapshot.tokens_per_s else "0"
        queue = f"q{snapshot.waiting}" if is_long or snapshot.waiting else ""
        spark = _spark(snapshot.throughput) if is_long else ""
        unit = " tok/s" if is_long else "t/s"
        pieces = (f"{rate}{unit}", spark, queue, _machine(snapshot.host, room))
        return " ".join(piece for piece in pieces if piece)


class TooSmall(Static):
    """What a terminal below 60 by 16 shows instead of a screen."""

    DEFAULT_CSS = """
    TooSmall { display: none; width: 1fr; height: 1fr; content-align: center middle; }
    """

    def __init__(self) -> None:
        super().__init__(Content("Corral needs 60 x 16 cells"))
