"""Everything `show` says of one model, part by part."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from itertools import pairwise

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Static

from corral.runtime.upkeep import Fit, LoadPlan
from corral.runtime.verbs import ModelDetails, ModelSummary, TensorInfo
from corral.store.gguf_types import TENSOR_TYPES
from corral.tui.figures import context, size
from corral.tui.text import clean, clean_line
from corral.tui.widgets.keyed_table import Column
from corral.tui.widgets.model_table import fit_sign
from corral.tui.widgets.searchable_table import Line, SearchableTable
from corral.tui.widgets.tab_line import TabLine

_LONGEST = 60_000
"""Characters of a text that are shown; licenses and templates of honest models are shorter."""
_LONGEST_VALUE = 400
_LABEL = 15
_BLOCKS = {name: (elements, num_bytes) for name, elements, num_bytes in TENSOR_TYPES.values()}


class Tab(StrEnum):
    """The parts, in their order, with the labels of their tabs."""

    INFO = "Info"
    FILE = "File"
    TEMPLATE = "Tmpl"
    SYSTEM = "Sys"
    LICENSE = "Lic"
    TENSORS = "Tens"
    METADATA = "Meta"


_TABLES = (Tab.TENSORS, Tab.METADATA)


def _pair(label: str, value: str) -> Text:
    return Text.assemble((f"{label:<{_LABEL}}", "dim"), clean_line(value) or "—")


def _number(details: ModelDetails, ending: str) -> str:
    """The first integer of the metadata whose key ends so, with thousands set apart."""
    for key, value in details.model_info.items():
        if key.endswith(ending) and isinstance(value, int):
            return f"{value:,}"
    return ""


def _fit_words(fit: Fit) -> str:
    if not fit.fits:
        return "✗ more than there is"
    if fit.on_gpu >= fit.layers > 0:
        return "✓ fits the GPU"
    return f"◐ {fit.on_gpu}/{fit.layers} layers on the GPU" if fit.on_gpu else "✓ fits"


def load_plan_words(plan: LoadPlan | None) -> str:
    """What a load would put out, in a line; "" where it puts out nothing."""
    if plan is None or plan.in_memory:
        return ""
    if not plan.has_room:
        return "✗ no room for it, even with all others out"
    names = ", ".join(clean_line(one.model) for one in plan.evicts[:2])
    more = f" and {len(plan.evicts) - 2} more" if len(plan.evicts) > 2 else ""
    return f"loading it puts out {names}{more}" if names else ""


def load_plan_lines(plan: LoadPlan) -> list[Text]:
    """What a load would put out, model by model with the reasons."""
    if plan.in_memory:
        return []
    lines = [Text(), Text(f"Loading it now takes {size(plan.needs)}", style="bold")]
    if not plan.evicts and plan.has_room:
        lines.append(Text("  ✓ and puts out nothing"))
    for one in plan.evicts:
        busy = ", once its requests are done" if one.busy else ""
        lines.append(Text(f"  puts out {clean_line(one.model)}  −{size(one.frees)}{busy}"))
        lines.append(Text(f"    {clean_line(one.why)}; {clean_line(one.reason)}", style="dim"))
    if not plan.has_room:
        lines.append(Text("  ✗ there is no room for it even so"))
    if plan.stays:
        lines.append(Text(f"  stays: {', '.join(map(clean_line, plan.stays))} (pinned)"))
    return lines


def info_lines(
    summary: ModelSummary, details: ModelDetails, fits: Sequence[Fit] = (), plan: LoadPlan | None = None
) -> Text:
    """What the first tab shows of a model."""
    short = details.details
    length = f"{short.context_length:,}" if short.context_length else _number(details, ".context_length")
    lines = [
        _pair("architecture", short.family),
        _pair("parameters", short.parameter_size),
        _pair("context", length),
        _pair("embedding", f"{short.embedding_length:,}" if short.embedding_length else ""),
        _pair("layers", _number(details, ".block_count")),
        _pair("quantization", short.quantization_level),
        _pair("capabilities", ", ".join(details.capabilities or summary.capabilities)),
        _pair("size", size(summary.size)),
        _pair("digest", summary.digest[:12]),
        _pair("modified", summary.modified_at.astimezone().strftime("%Y-%m-%d %H:%M")),
    ]
    license_line = next((line for line in details.license.splitlines() if line.strip()), "")
    if license_line:
        lines.append(_pair("license", license_line.strip()))
    if short.parent_model:
        lines.append(_pair("made from", short.parent_model))
    if details.requires:
        lines.append(_pair("requires", details.requires))
    if fits:
        lines += [Text(), Text("Memory by context, alone in memory", style="bold")]
        lines += [
            Text(f"  {context(fit.num_ctx):>5} {fit_sign(fit)} {size(fit.needs):>6}  {_fit_words(fit)[2:]}")
            for fit in fits
        ]
        if any(longer.needs < fit.needs for fit, longer in pairwise(fits)):
            lines.append(Text("  less: a sliding window is kept\n  whole only where that is cheap", style="dim"))
    if plan is not None:
        lines += load_plan_lines(plan)
    if details.parameters:
        lines += [Text(), Text("Parameters", style="bold")]
        lines += [Text(f"  {clean_line(name):<{_LABEL}}{clean_line(value)}") for name, value in details.parameters]
    return Text("\n").join(lines)


def whole_text(text: str, none: str) -> Text:
    """A text of the model to be read, cut where it is far too long."""
    if not text.strip():
        return Text(none, style="dim")
    shown = Text(clean(text[:_LONGEST]))
    return Text.assemble(shown, ("\n… cut here", "dim")) if len(text) > _LONGEST else shown


def tensor_bytes(tensor: TensorInfo) -> int:
    """Bytes of a tensor, 0 for a type nobody knows."""
    elements, num_bytes = _BLOCKS.get(tensor.type.upper(), (1, 0))
    return math.prod(tensor.shape) // elements * num_bytes


TENSOR_COLUMNS = (
    Column("name", "NAME", 0),
    Column("type", "TYPE", 6),
    Column("shape", "SHAPE", 12, is_right=True),
    Column("size", "SIZE", 6, is_right=True),
)
METADATA_COLUMNS = (Column("key", "KEY", 0), Column("value", "VALUE", 18))


def tensor_lines(details: ModelDetails) -> list[Line]:
    """The tensors as rows."""
    return [
        Line(
            str(number),
            {
                "name": one.name,
                "type": one.type,
                "shape": "×".join(map(str, one.shape)),
                "size": size(tensor_bytes(one)) if tensor_bytes(one) else "—",
            },
            {"size": tensor_bytes(one), "shape": math.prod(one.shape)},
        )
        for number, one in enumerate(details.tensors)
    ]


def metadata_lines(details: ModelDetails) -> list[Line]:
    """The key-values of the header as rows."""

    def shown(value: object) -> str:
        if isinstance(value, list | tuple):
            return ", ".join(map(str, value[:8])) if value else "an array"
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)

    return [
        Line(str(number), {"key": key, "value": shown(value)[:_LONGEST_VALUE]})
        for number, (key, value) in enumerate(sorted(details.model_info.items()))
    ]


_TEXTS: dict[Tab, Callable[[ModelDetails], Text]] = {
    Tab.FILE: lambda details: whole_text(details.modelfile, "no Modelfile"),
    Tab.TEMPLATE: lambda details: whole_text(details.template, "no template"),
    Tab.SYSTEM: lambda details: whole_text(details.system, "no system message"),
    Tab.LICENSE: lambda details: whole_text(details.license, "no license is told"),
}


class ModelInfo(Vertical):
    """The details of the model under the cursor, one part at a time."""

    DEFAULT_CSS = """
    ModelInfo { height: 1fr; }
    ModelInfo VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    ModelInfo VerticalScroll Static { height: auto; }
    ModelInfo SearchableTable { display: none; }
    ModelInfo.-table SearchableTable { display: block; }
    ModelInfo.-table VerticalScroll { display: none; }
    """

    class Turned(Message):
        """Another part is shown; a table wants more width than a text."""

        def __init__(self, is_table: bool) -> None:
            super().__init__()
            self.is_table = is_table

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[ModelSummary, ModelDetails, tuple[Fit, ...], LoadPlan | None] | None = None
        self.tab = Tab.INFO

    def compose(self) -> ComposeResult:
        """Tabs, a text and a table, of which one is shown."""
        yield TabLine(list(Tab))
        with VerticalScroll():
            yield Static(markup=False)
        yield SearchableTable()

    def show(
        self,
        summary: ModelSummary,
        details: ModelDetails,
        fits: Sequence[Fit] = (),
        plan: LoadPlan | None = None,
    ) -> None:
        """Show this model; `plan` is what loading it would do."""
        is_other = self._shown is None or self._shown[0].name != summary.name
        self._shown = (summary, details, tuple(fits), plan)
        self._draw()
        if is_other:
            self.query_one(VerticalScroll).scroll_home(animate=False)

    def say(self, text: str) -> None:
        """Show a line instead of a model."""
        self._shown = None
        self.remove_class("-table")
        self._text.update(Text(clean(text), style="dim"))

    def turn(self, step: int) -> None:
        """Show another part."""
        every = list(Tab)
        self._choose(every.index(self.tab) + step)

    def _choose(self, index: int) -> None:
        every = list(Tab)
        self.tab = every[index % len(every)]
        self.query_one(TabLine).choose(index)
        self.post_message(self.Turned(self.tab in _TABLES))
        self._draw()
        self.query_one(VerticalScroll).scroll_home(animate=False)

    @property
    def _text(self) -> Static:
        return self.query_one("VerticalScroll Static", Static)

    def _draw(self) -> None:
        if self._shown is None:
            return
        summary, details, fits, plan = self._shown
        self.set_class(self.tab in _TABLES, "-table")
        table = self.query_one(SearchableTable)
        if self.tab is Tab.TENSORS:
            table.fill(TENSOR_COLUMNS, tensor_lines(details))
        elif self.tab is Tab.METADATA:
            table.fill(METADATA_COLUMNS, metadata_lines(details))
        elif self.tab is Tab.INFO:
            self._text.update(info_lines(summary, details, fits, plan))
        else:
            self._text.update(_TEXTS[self.tab](details))

    @on(TabLine.Chosen)
    def _chosen(self, event: TabLine.Chosen) -> None:
        event.stop()
        self._choose(event.index)
