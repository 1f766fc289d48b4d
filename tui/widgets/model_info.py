"""Everything `show` says of one model, as lines to read."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from corral.runtime.verbs import ModelDetails, ModelSummary
from corral.tui.figures import size
from corral.tui.text import clean, clean_line

_EXCERPT_LINES = 12
_LONGEST_EXCERPT = 1500
_LABEL = 15


def _pair(label: str, value: str) -> Text:
    return Text.assemble((f"{label:<{_LABEL}}", "dim"), clean_line(value) or "—")


def _excerpt(heading: str, text: str) -> list[Text]:
    if not text.strip():
        return []
    lines = clean(text[:_LONGEST_EXCERPT]).strip().split("\n")
    shown = [Text(line) for line in lines[:_EXCERPT_LINES]]
    if len(lines) > _EXCERPT_LINES or len(text) > _LONGEST_EXCERPT:
        shown.append(Text("…", style="dim"))
    return [Text(), Text(heading, style="bold"), *shown]


def _number(details: ModelDetails, ending: str) -> str:
    """The first integer of the metadata whose key ends so, with thousands set apart."""
    for key, value in details.model_info.items():
        if key.endswith(ending) and isinstance(value, int):
            return f"{value:,}"
    return ""


def info_lines(summary: ModelSummary, details: ModelDetails) -> Text:
    """What the pane shows of a model."""
    short = details.details
    context = f"{short.context_length:,}" if short.context_length else _number(details, ".context_length")
    lines = [
        _pair("architecture", short.family),
        _pair("parameters", short.parameter_size),
        _pair("context", context),
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
    if details.parameters:
        lines += [Text(), Text("Parameters", style="bold")]
        lines += [Text(f"  {clean_line(name):<{_LABEL}}{clean_line(value)}") for name, value in details.parameters]
    lines += _excerpt("System", details.system)
    lines += _excerpt("Template", details.template)
    return Text("\n").join(lines)


class ModelInfo(VerticalScroll):
    """The details of the model under the cursor."""

    DEFAULT_CSS = "ModelInfo { height: 1fr; scrollbar-size-vertical: 1; } ModelInfo Static { height: auto; }"

    def compose(self) -> ComposeResult:
        """One block of text."""
        yield Static(markup=False)

    def show(self, summary: ModelSummary, details: ModelDetails) -> None:
        """Show this model."""
        self.query_one(Static).update(info_lines(summary, details))
        self.scroll_home(animate=False)

    def say(self, text: str) -> None:
        """Show a line instead of a model."""
        self.query_one(Static).update(Text(clean(text), style="dim"))
