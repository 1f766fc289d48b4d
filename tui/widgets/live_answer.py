"""An answer that is coming in. What is sent to the terminal for it is what changed, not what stands there."""

from __future__ import annotations

from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Region
from textual.widgets import Static

from corral.runtime.snapshot import RequestState, RequestView
from corral.runtime.verbs import Stats
from corral.tui import figures
from corral.tui.chats import Turn
from corral.tui.text import clean_line
from corral.tui.widgets.markdown import render, settled_length
from corral.tui.widgets.repaint import PartialRepaint
from corral.tui.widgets.thoughts import thoughts

__all__ = ["LiveAnswer", "heading", "live_line", "stats_so_far", "warning_line"]

_SEPARATOR = " · "


def live_line(request: RequestView | None) -> str:
    """What is known of an answer that is still coming in."""
    if request is None:
        return "… waiting"
    match request.state:
        case RequestState.WAITING:
            return _SEPARATOR.join(part for part in ("… waiting in the queue", request.note) if part)
        case RequestState.LOADING:
            share = f"◐ loading {request.load_fraction * 100:.0f} %" if request.load_fraction else "◐ loading the model"
            return _SEPARATOR.join(part for part in (share, request.note) if part)
        case RequestState.PREFILL:
            return f"◔ reading the prompt {request.prompt_done:,} of {request.prompt_tokens:,}"
        case _:
            pass
    parts = ["⏵ live", f"{figures.rate(request.tokens_per_s)} tok/s", f"{figures.count(request.output_tokens)} tok"]
    if request.first_token_s is not None:
        parts.append(f"ttft {figures.span(request.first_token_s - request.started_s)}")
    parts += [f"prompt {figures.count(request.prompt_tokens)}", f"cached {figures.count(request.cached_tokens)}"]
    return _SEPARATOR.join(parts)


def stats_so_far(request: RequestView) -> Stats:
    """What is known of an answer that is stopped now."""
    output_ns = int(request.output_tokens / request.tokens_per_s * 1e9) if request.tokens_per_s > 0 else 0
    first_s = request.first_token_s
    waited_ns = 0 if first_s is None else int((first_s - request.started_s) * 1e9)
    return Stats(
        total_ns=output_ns + waited_ns,
        prompt_tokens=request.prompt_tokens,
        cached_tokens=request.cached_tokens,
        output_tokens=request.output_tokens,
        output_ns=output_ns,
    )


def warning_line(warning: str) -> str:
    """What was cut or ignored of a request."""
    return f"! {clean_line(warning)}"


def heading(turn: Turn) -> Content:
    """Who said it, and when."""
    name, style = ("you", "bold $primary") if turn.role == "user" else (clean_line(turn.model), "bold $success")
    at = datetime.fromtimestamp(turn.wall_s).strftime("%H:%M")
    return Content.assemble((name, style), (f"  {at}", "dim"))


class LiveTail(PartialRepaint, Static):
    """The block that still grows. Rows that stay as they are are not painted again."""

    def __init__(self, classes: str = "") -> None:
        super().__init__(Content(""), classes=classes)
        self._rows: list[Content] = []
        self._rows_width = 0

    def show(self, content: Content) -> None:
        """Draw `content`; most often its last row alone is new."""
        width = self.content_size.width
        rows = content.wrap(width) if width > 0 else []
        if not rows or width != self._rows_width or len(rows) != len(self._rows):
            self.update(content)
        else:
            pairs = zip(rows, self._rows, strict=True)
            first = next((number for number, (new, old) in enumerate(pairs) if not new.is_same(old)), len(rows) - 1)
            with self.repainting(Region(0, first, width, len(rows) - first)):
                self.update(content, layout=False)
        self._rows, self._rows_width = rows, width


class LiveAnswer(Vertical):
    """An answer that is coming in: whole blocks above, the last block below, figures under both.

    Only the last block is parsed and wrapped again when text comes in.
    """

    DEFAULT_CSS = """
    LiveAnswer { height: auto; margin-bottom: 1; }
    LiveAnswer Static { height: auto; }
    LiveAnswer .live-thoughts { display: none; }
    LiveAnswer .live-warnings { color: $warning; display: none; }
    LiveAnswer .live-figures { height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, turn: Turn, *, opens_thoughts: bool = False) -> None:
        super().__init__()
        self.turn = turn
        self._opens_thoughts = opens_thoughts
        self._thought_shown = Content("")
        self._taken = 0
        self._whole = ""
        self._tail = ""
        self._note = ""
        self._warnings: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        """Yield the parts."""
        yield Static(heading(self.turn))
        yield LiveTail(classes="live-thoughts")
        yield Static(Content(""), classes="live-whole")
        yield LiveTail(classes="live-tail")
        yield Static(Content(""), classes="live-warnings")
        yield Static(Content(live_line(None)), classes="live-figures")

    def on_mount(self) -> None:
        """Show what had come in before."""
        self.query_one(".live-whole").display = False
        self.grow()

    def grow(self) -> None:
        """Draw what has come in since the last time."""
        self._think()
        new = self.turn.text[self._taken :]
        if not new or not self.is_mounted:
            return
        self._taken += len(new)
        self._tail += new.replace("\r", "")
        settled = settled_length(self._tail)
        if settled:
            self._whole += self._tail[:settled]
            self._tail = self._tail[settled:]
            whole = self.query_one(".live-whole", Static)
            whole.display = True
            whole.update(render(self._whole) + "\n")
        self.query_one(".live-tail", LiveTail).show(render(self._tail, is_growing=True))

    def open_thoughts(self, *, is_open: bool) -> None:
        """Show all that is thought, or one line of it."""
        self._opens_thoughts = is_open
        self._think()

    def _think(self) -> None:
        """Draw what is thought; once the answer has begun it stays as it is."""
        if not self.turn.thinking or not self.is_mounted:
            return
        drawn = thoughts(self.turn, self.content_size.width, is_open=self._opens_thoughts)
        if not drawn.is_same(self._thought_shown):
            self._thought_shown = drawn
            tail = self.query_one(".live-thoughts", LiveTail)
            tail.display = True
            tail.show(drawn)

    def note(self, request: RequestView | None) -> None:
        """Show the figures so far."""
        line = live_line(request)
        if line != self._note and self.is_mounted:
            self._note = line
            self.query_one(".live-figures", Static).update(Content(line), layout=False)
        if request is not None and request.warnings != self._warnings and self.is_mounted:
            self._warnings = request.warnings
            warnings = self.query_one(".live-warnings", Static)
            warnings.display = bool(self._warnings)
            warnings.update(Content("\n".join(map(warning_line, self._warnings))))
