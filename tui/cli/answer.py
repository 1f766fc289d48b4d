"""How an answer reaches stdout: cleaned and wrapped on a terminal, byte for byte into a pipe (spec d.3)."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from typing import TextIO

from corral.runtime.verbs import Chunk, Stats
from corral.tui.cli.human import go_duration
from corral.tui.cli.progress import terminal_width, waiting
from corral.tui.cli.table import cells, char_cells
from corral.tui.control_chars import visible

_MARGIN = 5
_NARROWEST = 10
_GREY, _BOLD, _PLAIN = "\x1b[38;5;245m", "\x1b[1m", "\x1b[0m"


class Wrapper:
    """Breaks running text at `width` - 5 columns. A word that does not fit is taken back and set on the next line."""

    def __init__(self, width: int) -> None:
        self._limit = width - _MARGIN
        self._column = 0
        self._word = ""

    def feed(self, text: str) -> str:
        """Return what to print for the next piece of text."""
        return "".join(map(self._char, text))

    def _char(self, char: str) -> str:
        if char == "\n":
            self._column, self._word = 0, ""
            return char
        width = 4 if char == "\t" else char_cells(char)
        broken = ""
        if self._column + width > self._limit:
            if char in " \t":
                self._column, self._word = 0, ""
                return "\n"
            broken = self._break()
        self._column += width
        self._word = "" if char in " \t" or width > 1 else self._word + char
        return broken + char

    def _break(self) -> str:
        """Start a new line, with the word so far where there is one and it is shorter than a line."""
        taken = cells(self._word)
        if not 0 < taken < self._limit - 1:
            self._column, self._word = 0, ""
            return "\n"
        self._column = taken
        return f"\x1b[{taken}D\x1b[K\n{self._word}"


class Printer:
    """Prints one answer. Text for a terminal is cleaned first; a pipe gets what the model said."""

    def __init__(self, stream: TextIO, *, wrap: bool) -> None:
        self._stream = stream
        self._tty = stream.isatty()
        width = terminal_width(stream)
        self._wrapper = Wrapper(width) if wrap and self._tty and width >= _NARROWEST else None
        self._held = ""

    def write(self, text: str) -> None:
        """Print a piece. A carriage return at its end waits for what follows: half a line end is none."""
        if self._tty:
            text, self._held = self._held + text, ""
            if text.endswith("\r"):
                text, self._held = text[:-1], "\r"
            text = visible(text)
            if self._wrapper is not None:
                text = self._wrapper.feed(text)
        self._stream.write(text)
        self._stream.flush()


class Thoughts:
    """Prints what a model thinks before it answers, between two lines that say so and in grey (spec d.3)."""

    def __init__(self, stream: TextIO, *, wrap: bool) -> None:
        self._stream = stream
        self._tty = stream.isatty()
        self._printer = Printer(stream, wrap=wrap)
        self._last = ""

    def write(self, text: str) -> None:
        """Print a piece."""
        if not self._last:
            self._mark("Thinking...\n")
            self._stream.write(_GREY if self._tty else "")
        self._last = text[-1]
        self._printer.write(text)

    def close(self) -> None:
        """Say that the thoughts are over, where there were any."""
        if self._last:
            self._stream.write("" if self._last == "\n" else "\n")
            self._mark("...done thinking.\n\n")
            self._last = ""

    def abandon(self) -> None:
        """Take the grey away where the answer ends among its thoughts."""
        if self._last and self._tty:
            self._stream.write(_PLAIN)
            self._stream.flush()

    def _mark(self, text: str) -> None:
        self._stream.write(f"{_GREY}{_BOLD}{text}{_PLAIN}" if self._tty else text)


async def print_answer(
    chunks: AsyncGenerator[Chunk, None],
    *,
    wrap: bool,
    take: Callable[[Chunk], None] | None = None,
    hides_thinking: bool = False,
) -> Stats:
    """Print an answer as it comes, with a spinner on stderr until it does; `take` gets every piece with text."""
    printer, thoughts = Printer(sys.stdout, wrap=wrap), Thoughts(sys.stdout, wrap=wrap)
    stats = Stats()
    async with aclosing(chunks), waiting(sys.stderr) as spinner, AsyncExitStack() as stack:
        stack.callback(thoughts.abandon)
        async for chunk in chunks:
            if take is not None and (chunk.text or chunk.thinking):
                take(chunk)
            if chunk.thinking and not hides_thinking:
                spinner.clear()
                thoughts.write(chunk.thinking)
            if chunk.text:
                spinner.clear()
                thoughts.close()
                printer.write(chunk.text)
            if chunk.done_reason is not None:
                stats = chunk.stats
                spinner.clear()
                for warning in chunk.warnings:
                    print(f"Warning: {visible(warning)}", file=sys.stderr)
    return stats


def summary(stats: Stats) -> str:
    """The eight figures of `--verbose`."""
    prompt_s, output_s = stats.prompt_ns / 1e9, stats.output_ns / 1e9
    rows = (
        ("total duration:", go_duration(stats.total_ns)),
        ("load duration:", go_duration(stats.load_ns)),
        ("prompt eval count:", f"{stats.prompt_tokens} token(s)"),
        ("prompt eval duration:", go_duration(stats.prompt_ns)),
        ("prompt eval rate:", f"{stats.prompt_tokens / prompt_s if prompt_s else 0.0:.2f} tokens/s"),
        ("eval count:", f"{stats.output_tokens} token(s)"),
        ("eval duration:", go_duration(stats.output_ns)),
        ("eval rate:", f"{stats.output_tokens / output_s if output_s else 0.0:.2f} tokens/s"),
    )
    return "".join(f"{label:<22}{value}\n" for label, value in rows)
