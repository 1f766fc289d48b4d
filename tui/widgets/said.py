"""A finished turn of a conversation as one widget, whatever is in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from textual.content import Content
from textual.widgets import Static

from corral.runtime.verbs import Stats
from corral.store.sessions import Attached
from corral.tui import figures
from corral.tui.text import clean, clean_line
from corral.tui.turns import Turn, TurnState
from corral.tui.widgets.markdown import code_blocks, render
from corral.tui.widgets.thoughts import thoughts
from corral.tui.widgets.tool_calls import tool_call_lines

__all__ = ["Look", "Said", "figures_line", "frozen", "heading", "warning_line"]

_SEPARATOR = " · "
_LONGEST = 200_000  # characters of a turn that are laid out: a megabyte would hold up the screen for seconds


@dataclass(frozen=True, slots=True)
class Look:
    """How a turn is drawn: with its folds open, chosen by the reader, `code` the block that was copied, `found` words.

    `is_cut` says that the next request would leave it out.
    """

    is_open: bool = False
    is_chosen: bool = False
    is_cut: bool = False
    code: int | None = None
    found: str = ""


def figures_line(stats: Stats) -> str:
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
    return _SEPARATOR.join(parts)


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


def frozen(turn: Turn, look: Look | None = None) -> Content:
    """Draw a finished turn."""
    look = look or Look()
    text = turn.text[:_LONGEST]
    body = render(text, chosen=look.code) if turn.role == "assistant" else Content(clean(text))
    lines = [heading(turn, look)]
    if turn.thinking:
        lines.append(thoughts(turn, 0, is_open=look.is_open))
    if body.plain:
        lines.append(body)
    if len(turn.text) > _LONGEST:
        lines.append(Content.styled(f"… {len(turn.text) - _LONGEST:,} characters more: E writes the whole chat", "dim"))
    lines += [_file_line(file) for file in turn.attached]
    lines += [tool_call_lines(call, is_open=look.is_open) for call in turn.tool_calls]
    if turn.state is TurnState.STOPPED:
        lines.append(Content.styled("⏹ stopped", "$warning"))
    if turn.state is TurnState.FAILED:
        lines.append(Content.styled(f"✗ {clean_line(turn.problem)}", "$error"))
        lines.append(Content.styled("  r tries again", "dim"))
    if turn.reason == "length":
        lines.append(Content.styled("⏹ cut at its length, + goes on", "$warning"))
    lines += [Content.styled(warning_line(warning), "$warning") for warning in turn.warnings]
    if turn.role == "assistant" and turn.stats.total_ns:
        blocks = len(code_blocks(turn.text)) if "```" in turn.text else 0
        copies = f"{_SEPARATOR}{blocks} code" if blocks > 1 else ""
        lines.append(Content.styled(figures_line(turn.stats) + copies, "dim"))
    drawn = Content("\n").join(lines)
    return drawn.highlight_regex(_pattern(look.found), style="$warning reverse") if look.found else drawn


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(re.escape(words), re.IGNORECASE)


class Said(Static):
    """A finished turn."""

    def __init__(self, turn: Turn, look: Look) -> None:
        super().__init__(frozen(turn, look), classes="message")
        self.turn = turn
        self.look = look
        self._drawn = (turn.variants, turn.place)

    def draw(self, look: Look) -> None:
        """Draw it in another way, where that makes a difference."""
        if look != self.look or self._drawn != (self.turn.variants, self.turn.place):
            is_fold = look.is_open != self.look.is_open and not (self.turn.thinking or self.turn.tool_calls)
            self.look, self._drawn = look, (self.turn.variants, self.turn.place)
            if not is_fold:
                self.update(frozen(self.turn, look))
