"""An answer that is coming in. What is sent to the terminal for it is what changed, not what stands there."""

from __future__ import annotations

import re

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Region
from textual.widgets import Static

from corral.runtime.snapshot import RequestState, RequestView
from corral.runtime.verbs import Stats
from corral.tui import figures
from corral.tui.text import clean, clean_line
from corral.tui.turns import Turn
from corral.tui.widgets.markdown import CODE_EDGE, render, settled_length
from corral.tui.widgets.repaint import LaidOnce, PartialRepaint
from corral.tui.widgets.said import heading, warning_line
from corral.tui.widgets.thoughts import thoughts
from corral.tui.widgets.tool_calls import tool_call_lines

__all__ = ["LiveAnswer", "live_line", "stats_so_far"]

_SEPARATOR = " · "
_LONGEST_PIECE = 3_000  # characters
_FRAME_ROWS = 2  # heading and figures
_FENCE = re.compile(r"(`{3,}|~{3,})([^`\n]*)\n")


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


class LiveTail(LaidOnce, PartialRepaint, Static):
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


class LivePiece(LaidOnce, Static):
    """What is whole of it."""


class LiveAnswer(LaidOnce, Vertical):
    """An answer that is coming in: whole blocks above, the last block below, figures under both.

    What is whole is drawn once and lies in pieces of some thousand characters; only the last piece and the block that
    grows are laid out again when text comes in. A block of code is drawn line by line, and never parsed again.
    Its height grows by `rows_step` rows at a time: each time it grows the whole view scrolls and is sent.
    """

    DEFAULT_CSS = """
    LiveAnswer { height: auto; margin-bottom: 1; }
    LiveAnswer Static { height: auto; }
    LiveAnswer .live-thoughts, LiveAnswer .live-calls { display: none; }
    LiveAnswer .live-warnings { color: $warning; display: none; }
    LiveAnswer .live-figures { height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, turn: Turn, *, opens_thoughts: bool = False, rows_step: int = 1) -> None:
        super().__init__()
        self.turn = turn
        self._opens_thoughts = opens_thoughts
        self._rows_step = rows_step
        self._high = 0
        self._thought_shown = Content("")
        self._taken = 0
        self._piece = Content("")
        self._piece_rows = 0
        self._whole_rows = 0
        self._tail = ""
        self._fence = ""
        self._note = ""
        self._calls = 0
        self._warnings: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        """Yield the parts."""
        yield Static(heading(self.turn))
        yield LiveTail(classes="live-thoughts")
        yield LivePiece(Content(""), classes="live-whole")
        yield LiveTail(classes="live-tail")
        yield Static(Content(""), classes="live-calls")
        yield Static(Content(""), classes="live-warnings")
        yield Static(Content(live_line(None)), classes="live-figures")

    def on_mount(self) -> None:
        """Show what had come in before."""
        self.query_one(".live-whole").display = False
        self.grow()

    def grow(self) -> None:
        """Draw what has come in since the last time."""
        self._think()
        self._call()
        new = self.turn.text[self._taken :]
        if not new or not self.is_mounted:
            return
        self._taken += len(new)
        self._tail += new.replace("\r", "")
        settled = self._settle()
        tail = self._drawn_tail()
        self._make_room(tail, settled)
        if settled:
            self._put(settled)
        self.query_one(".live-tail", LiveTail).show(tail)

    def _settle(self) -> list[Content]:
        """Take from the tail what nothing that comes can change."""
        settled: list[Content] = []
        while True:
            if self._fence:
                settled += self._take_code()
                if self._fence:
                    return settled
            length = settled_length(self._tail)
            if length:
                settled += [render(self._tail[:length]), Content("")]
                self._tail = self._tail[length:]
            opening = _FENCE.match(self._tail)
            if opening is None:
                return settled
            self._fence = opening[1]
            self._tail = self._tail[opening.end() :]
            if opening[2].strip():
                settled.append(Content.styled(f"╭ {clean_line(opening[2].split()[0])}", "dim"))

    def _take_code(self) -> list[Content]:
        """Take whole lines of the block of code that is open, up to the one that closes it."""
        lines: list[Content] = []
        *whole, rest = self._tail.split("\n")
        for number, line in enumerate(whole):
            mark = line.strip()
            if len(mark) >= len(self._fence) and not mark.strip(self._fence[0]):
                self._fence = ""
                self._tail = "\n".join([*whole[number + 1 :], rest])
                return [*lines, Content("")]
            lines.append(_code_line(line))
        self._tail = rest
        return lines

    def _drawn_tail(self) -> Content:
        if not self._fence:
            return render(self._tail, is_growing=True)
        return _code_line(self._tail) if self._tail else Content("")

    def _put(self, settled: list[Content]) -> None:
        """Add to the last piece, and begin another where it has become long."""
        width = self.content_size.width
        added = Content("\n").join(settled)
        self._piece = Content("\n").join([self._piece, added]) if self._piece.plain else added
        piece = self.query(".live-whole").last(Static)
        piece.display = True
        piece.update(self._piece)
        self._piece_rows = len(self._piece.wrap(width)) if width > 0 else 0
        if len(self._piece.plain) > _LONGEST_PIECE:
            self._whole_rows += self._piece_rows
            self._piece, self._piece_rows = Content(""), 0
            following = LivePiece(Content(""), classes="live-whole")
            following.display = False
            self.mount(following, after=piece)

    def _make_room(self, tail: Content, settled: list[Content]) -> None:
        """Be as high at once as the next few rows will need."""
        width = self.content_size.width
        if self._rows_step < 2 or width <= 0:
            return
        rows = self._whole_rows + self._piece_rows + len(tail.wrap(width)) + _FRAME_ROWS
        rows += sum(len(one.wrap(width)) for one in settled) + len(self._thought_shown.wrap(width))
        high = -(-rows // self._rows_step) * self._rows_step
        if high > self._high:
            self._high = high
            self.styles.min_height = high

    def open_thoughts(self, *, is_open: bool) -> None:
        """Show all that is thought, or one line of it."""
        self._opens_thoughts = is_open
        self._calls = 0
        self._think()
        self._call()

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

    def _call(self) -> None:
        """Draw what it wants called; each call leaves the model whole."""
        calls = self.turn.tool_calls
        if len(calls) != self._calls and self.is_mounted:
            self._calls = len(calls)
            shown = self.query_one(".live-calls", Static)
            shown.display = True
            lines = [tool_call_lines(call, is_open=self._opens_thoughts) for call in calls]
            shown.update(Content("\n").join(lines))

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


def _code_line(line: str) -> Content:
    return Content.styled(CODE_EDGE, "dim") + clean(line)
