"""A finished turn of a conversation as one widget, whatever is in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from functools import partial

import msgspec
from textual.content import Content
from textual.widgets import Static
from textual.worker import Worker

from corral.runtime.verbs import Stats
from corral.store.sessions import Attached
from corral.tui import figures
from corral.tui.text import clean, clean_line
from corral.tui.turns import Turn, TurnState
from corral.tui.widgets.markdown import code_blocks, render
from corral.tui.widgets.picture import PictureSize, draw_picture
from corral.tui.widgets.repaint import LaidOnce
from corral.tui.widgets.thoughts import thoughts
from corral.tui.widgets.tool_calls import tool_call_lines, tool_result_lines

__all__ = ["Look", "Said", "count_hits", "figures_lines", "frozen", "heading", "warning_line"]

_SEPARATOR = " · "
_LONGEST = 200_000  # characters of a turn that are laid out: a megabyte would hold up the screen for seconds


class Look(msgspec.Struct, frozen=True):
    """How a turn is drawn: with its folds open, chosen by the reader, `code` the block that was copied, `found` words.

    `is_cut` says that the next request would leave it out, `is_quiet` that nobody wants figures. `given` counts the
    results that its calls have. `hit` is the number of the place found in it that the reader is at.
    """

    is_open: bool = False
    is_chosen: bool = False
    is_cut: bool = False
    code: int | None = None
    found: str = ""
    given: int = 0
    is_quiet: bool = False
    picture: PictureSize = PictureSize.NONE
    hit: int | None = None


def figures_parts(stats: Stats) -> list[str]:
    """`61.2 tok/s · ttft 0.24s · prompt 812 @ 2.1k/s · cached 740 · 396 tok`, without what is not known."""
    parts = []
    if stats.output_tokens and stats.output_ns:
        parts.append(f"{figures.rate(stats.output_tokens / stats.output_ns * 1e9)} tok/s")
    if stats.total_ns > stats.output_ns:
        parts.append(f"ttft {figures.span((stats.total_ns - stats.output_ns) / 1e9)}")
    if stats.prompt_tokens:
        fresh = max(stats.prompt_tokens - stats.cached_tokens, 0)
        speed = f" @ {figures.rate(fresh / stats.prompt_ns * 1e9)}/s" if stats.prompt_ns and fresh else ""
        parts.append(f"prompt {figures.count(stats.prompt_tokens)}{speed}")
        parts.append(f"cached {figures.count(stats.cached_tokens)}")
    if stats.output_tokens:
        parts.append(f"{figures.count(stats.output_tokens)} tok")
    if stats.drafted:
        parts.append(f"guessed {figures.count(stats.accepted)}/{figures.count(stats.drafted)}")
    return parts


def figures_lines(turn: Turn, width: int = 0) -> list[str]:
    """The figures of an answer in lines of at most `width` cells, each broken between two of them; 0 is no limit."""
    if not turn.stats.total_ns:
        return []
    parts = figures_parts(turn.stats)
    blocks = len(code_blocks(turn.text)) if "```" in turn.text else 0
    if blocks > 1:
        parts.append(f"{blocks} code")
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{_SEPARATOR}{part}" if lines else part
        if lines and (not width or len(longer) <= width):
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def warning_line(warning: str) -> str:
    """What was cut or ignored of a request."""
    return f"! {clean_line(warning)}"


def heading(turn: Turn, look: Look | None = None) -> Content:
    """Who said it, when, and which of several variants it is."""
    who = {"user": ("you", "bold $primary"), "tool": (f"tool {clean_line(turn.tool_name)}".strip(), "bold $accent")}
    name, style = who.get(turn.role, (clean_line(turn.model) or turn.role, "bold $success"))
    at = datetime.fromtimestamp(turn.wall_s).strftime("%H:%M")
    variant = f"  [{turn.place + 1}/{turn.variants}]" if turn.variants > 1 else ""
    is_chosen, is_cut = (look.is_chosen, look.is_cut) if look is not None else (False, False)
    return Content.assemble(
        ("▶ " if is_chosen else "", "$accent"),
        (name, f"{style} reverse" if is_chosen else style),
        (f"  {at}{variant}", "dim"),
        ("  ✂ will be cut" if is_cut else "", "$warning"),
    )


def _file_line(file: Attached) -> Content:
    kind = "image" if file.is_image else "file"
    return Content.styled(f"⊕ {kind} {clean_line(file.name)}  {figures.size(len(file.data))}", "dim")


def _body(turn: Turn, look: Look) -> Content:
    text = turn.text[:_LONGEST]
    match turn.role:
        case "assistant":
            return render(text, chosen=look.code)
        case "tool":
            return tool_result_lines(text, is_open=look.is_open)
        case _:
            return Content(clean(text))


def _files(turn: Turn, pictures: Sequence[Content | None]) -> list[Content]:
    drawn = list(pictures)
    lines = []
    for file in turn.attached:
        lines.append(_file_line(file))
        picture = drawn.pop(0) if file.is_image and drawn else None
        if picture is not None:
            lines.append(picture)
    return lines


def _head(turn: Turn, look: Look) -> list[Content]:
    """What stands above what was said."""
    lines = [heading(turn, look)]
    if turn.thinking:
        lines.append(thoughts(turn, 0, is_open=look.is_open))
    return lines


def _length(lines: Sequence[Content]) -> int:
    return sum(len(line) + 1 for line in lines)


def frozen(
    turn: Turn, look: Look | None = None, pictures: Sequence[Content | None] = (), told: Sequence[str] | None = None
) -> Content:
    """Draw a finished turn; `pictures` are its images as characters, None for one that cannot be drawn.

    `told` are the lines of its figures, all in one where nothing is said of them.
    """
    look = look or Look()
    body = _body(turn, look)
    lines = _head(turn, look)
    body_at = _length(lines)
    if body.plain:
        lines.append(body)
    if len(turn.text) > _LONGEST:
        lines.append(Content.styled(f"… {len(turn.text) - _LONGEST:,} characters more: E writes the whole chat", "dim"))
    lines += _files(turn, pictures)
    for number, call in enumerate(turn.tool_calls):
        lines.append(tool_call_lines(call, is_open=look.is_open, is_given=number < look.given))
    if turn.state is TurnState.STOPPED:
        lines.append(Content.styled("⏹ stopped", "$warning"))
    if turn.state is TurnState.FAILED:
        lines.append(Content.styled(f"✗ {clean_line(turn.problem)}", "$error"))
        lines.append(Content.styled("  r tries again", "dim"))
    if turn.reason == "length":
        lines.append(Content.styled("⏹ cut at its length, + goes on", "$warning"))
    lines += [Content.styled(warning_line(warning), "$warning") for warning in turn.warnings]
    if turn.role == "assistant" and not look.is_quiet:
        lines += [Content.styled(line, "dim") for line in (figures_lines(turn) if told is None else told)]
    drawn = Content("\n").join(lines)
    if not look.found:
        return drawn
    drawn = drawn.highlight_regex(_pattern(look.found), style="$warning reverse")
    hit = _hit_in(drawn.plain, look, body_at)
    return drawn.stylize("bold underline", *hit) if hit is not None else drawn


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(re.escape(words), re.IGNORECASE)


def count_hits(turn: Turn, words: str) -> int:
    """How often a turn says words, as far as it is drawn."""
    return len(_pattern(words).findall(turn.text[:_LONGEST])) if words else 0


def _hit_in(text: str, look: Look, start: int) -> tuple[int, int] | None:
    """Where the reader is, from `start` on; what is formatted may say it less often than its source."""
    if look.hit is None:
        return None
    spans = [found.span() for found in _pattern(look.found).finditer(text, start)]
    return spans[min(look.hit, len(spans) - 1)] if spans else None


class Said(LaidOnce, Static):
    """A finished turn, at first for a `width` of so many cells, 0 where that is not known.

    Its images are drawn once it stands there, and again in another size when it is opened.
    """

    def __init__(self, turn: Turn, look: Look, width: int = 0) -> None:
        self._width = width
        self._whole = frozen(turn, look, told=figures_lines(turn, width))
        super().__init__(self._whole, classes="message")
        self.turn = turn
        self.look = look
        self._drawn = (turn.variants, turn.place)
        self._images = [one.data for one in turn.attached if one.is_image]
        self._pictures: Sequence[Content | None] = ()
        self._selected: range | None = None

    def on_mount(self) -> None:
        """Draw its images."""
        self._draw_pictures()

    def on_resize(self) -> None:
        """Break the figures elsewhere, where that is called for."""
        before, self._width = self._width, self.content_size.width
        if before != self._width and figures_lines(self.turn, before) != figures_lines(self.turn, self._width):
            self._freeze()

    def _freeze(self) -> None:
        told = figures_lines(self.turn, self._width)
        self._whole = frozen(self.turn, self.look, self._pictures, told)
        self.update(self._shown())

    def draw(self, look: Look) -> None:
        """Draw it in another way, where that makes a difference."""
        if look == self.look and self._drawn == (self.turn.variants, self.turn.place):
            return
        is_other_size = look.picture is not self.look.picture
        self.look, self._drawn = look, (self.turn.variants, self.turn.place)
        if is_other_size:
            self._draw_pictures()
        self._freeze()

    def _draw_pictures(self) -> None:
        if self._images and self.look.picture is not PictureSize.NONE:
            work: Callable[[], Coroutine[None, None, None]] = partial(self._put_pictures, self.look.picture)
            _: Worker[None] = self.run_worker(work, group="pictures", exclusive=True)
        else:
            self._pictures = ()

    async def _put_pictures(self, size: PictureSize) -> None:
        self._pictures = [await draw_picture(data, size) for data in self._images]
        self._freeze()

    # Lines, for who selects some

    @property
    def lines(self) -> list[str]:
        """What stands here, line by line as it was before it was wrapped."""
        return self._whole.plain.split("\n")

    @property
    def hit_line(self) -> int | None:
        """The line of the place found that the reader is at."""
        text = self._whole.plain
        hit = _hit_in(text, self.look, _length(_head(self.turn, self.look)))
        return text.count("\n", 0, hit[0]) if hit is not None else None

    def select(self, lines: range | None) -> None:
        """Show that lines are selected, None for none."""
        if lines != self._selected:
            self._selected = lines
            self.update(self._shown(), layout=False)

    def rows_before(self, line: int) -> int:
        """How many rows stand above a line, at the width there is."""
        above = self._whole.split("\n", allow_blank=True)[:line]
        return len(Content("\n").join(above).wrap(self.content_size.width)) if above and self.content_size.width else 0

    def _shown(self) -> Content:
        if self._selected is None:
            return self._whole
        lines = self._whole.split("\n", allow_blank=True)
        for number in self._selected:
            if number < len(lines):
                lines[number] = lines[number].stylize("reverse") if lines[number].plain else _EMPTY_SELECTED
        return Content("\n").join(lines)


_EMPTY_SELECTED = Content.styled("\u00a0", "reverse")
"""What an empty line is while it is selected: a cell, so that it can be seen."""
