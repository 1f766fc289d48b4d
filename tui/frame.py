"""What stands on the terminal, cell by cell, and the shortest way from there to what shall stand on it.

Textual repaints whole widgets; a line of 100 kbit/s needs half a second for a screenful of that. Most of what is
repainted stands there already, or stands there some rows further down.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import lru_cache
from itertools import pairwise
from operator import ne

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style
from textual.strip import Strip

__all__ = ["Frame", "way"]

_SAME_ENOUGH = 6
"""Cells that stand already and are sent again, because going around them would take as many bytes."""
_WORTH_ERASING = 12
"""Blanks in a row from which on it is shorter to erase them."""
_WORTH_SCROLLING = 80
"""Cells that scrolling has to save."""
_UNKNOWN = "\0"
_LINK = "\0"


class Frame:
    """The cells of a screen: a text and a style each. A wide character has its text in the first of its cells."""

    def __init__(self, width: int, height: int, text: str = " ") -> None:
        self.width = width
        self.height = height
        self.texts = [[text] * width for _ in range(height)]
        self.styles = [[""] * width for _ in range(height)]

    @classmethod
    def unknown(cls, width: int, height: int) -> Frame:
        """A screen of which nothing is known, and which is no screen's equal in any cell."""
        return cls(width, height, _UNKNOWN)

    def put(self, x: int, y: int, strip: Strip, colors: ColorSystem) -> None:
        """Draw a strip. What lies beyond the edges is left out."""
        if not 0 <= y < self.height:
            return
        texts, styles = self.texts[y], self.styles[y]
        for text, style, control in strip:
            if control or not text:
                continue
            cells = [*text] if text.isascii() else _cells(text)
            cells = cells[: max(self.width - x, 0)]
            end = x + len(cells)
            # Half of a wide character is a blank, as on a terminal.
            if x < end and not texts[x]:
                _blank_before(texts, x)
            if end < self.width and not texts[end]:
                _blank_after(texts, end)
            texts[x:end] = cells
            styles[x:end] = [_style_key(style, colors)] * len(cells)
            x = end

    def scroll(self, top: int, bottom: int, rows: int) -> None:
        """Move rows up (down where `rows` is negative), as a terminal does; what appears is unknown."""
        for lines, empty in ((self.texts, _UNKNOWN), (self.styles, "")):
            moved = lines[top : bottom + 1]
            new = [[empty] * self.width for _ in range(abs(rows))]
            lines[top : bottom + 1] = [*moved[rows:], *new] if rows > 0 else [*new, *moved[:rows]]


def _cells(text: str) -> list[str]:
    """A text as cells. Where its characters are no wider together than apart each has its own."""
    widths = [cell_len(character) for character in text]
    whole = cell_len(text)
    pieces = [*text]
    if sum(widths) != whole:
        pieces = _pieces(text, whole)
        widths = [cell_len(piece) for piece in pieces]
    cells: list[str] = []
    for piece, width in zip(pieces, widths, strict=True):
        if width:
            cells += [piece, *[""] * (width - 1)]
        elif cells:
            owner = max(index for index, cell in enumerate(cells) if cell)
            cells[owner] += piece
    return cells


def _pieces(text: str, whole: int) -> list[str]:
    """A text cut wherever what stands left and right of the cut is as wide as both together."""
    cuts = [at for at in range(1, len(text)) if cell_len(text[:at]) + cell_len(text[at:]) == whole]
    pieces = [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]
    return pieces if sum(map(cell_len, pieces)) == whole else [text]


def _blank_before(texts: list[str], x: int) -> None:
    while x > 0 and not texts[x - 1]:
        x -= 1
        texts[x] = " "
    texts[max(x - 1, 0)] = " "


def _blank_after(texts: list[str], x: int) -> None:
    while x < len(texts) and not texts[x]:
        texts[x] = " "
        x += 1


def _style_key(style: Style | None, colors: ColorSystem) -> str:
    """A style as the numbers of SGR (ECMA-48), and its link where it has one."""
    if style is None:
        return ""
    codes = Strip.render_ansi(style, colors) if style._ansi is None else style._ansi
    return f"{codes}{_LINK}{style.link}" if style.link else codes


# -- the way from one to the other -----------------------------------------------------------------------------------


def way(shown: Frame, wanted: Frame, *, can_erase: bool) -> str:
    """What to send so that a terminal that shows `shown` shows `wanted`; "" for nothing. `shown` becomes `wanted`.

    `can_erase` says that erased cells take the background's colour (terminfo: bce).
    """
    parts = []
    if (moved := _scrolled(shown, wanted)) is not None:
        top, bottom, rows = moved
        shown.scroll(top, bottom, rows)
        step = f"\x1b[{rows}M" if rows > 0 else f"\x1b[{-rows}L"
        parts.append(f"\x1b[0m\x1b[{top + 1};{bottom + 1}r\x1b[{top + 1};1H{step}\x1b[r")
    pen = _Pen(can_erase)
    for y in range(wanted.height):
        texts, styles = wanted.texts[y], wanted.styles[y]
        if texts == shown.texts[y] and styles == shown.styles[y]:
            continue
        for first, last in _runs(shown, wanted, y):
            pen.write(y, first, texts[first:last], styles[first:last])
        shown.texts[y], shown.styles[y] = list(texts), list(styles)
    return "".join([*parts, pen.done()])


def _runs(shown: Frame, wanted: Frame, y: int) -> Iterator[tuple[int, int]]:
    """The stretches of a row that have changed, from whole character to whole character."""
    old, new = shown.texts[y], wanted.texts[y]
    cells = zip(new, old, shown.styles[y], wanted.styles[y], strict=True)
    changed = [x for x, (text, was, style, styled) in enumerate(cells) if text != was or style != styled]
    end = -1
    first = -1
    for x in changed:
        if first >= 0 and x - end > _SAME_ENOUGH:
            yield first, end
            first = -1
        if first < 0:
            first = x
            while first > 0 and not (new[first] and old[first]):
                first -= 1
        at = max(first, end)
        end = max(end, x + 1)
        while at < end or (end < len(new) and not (new[end] and old[end])):
            end = max(end, at + 1)
            if len(new[at]) > 1:  # a terminal may take each part of it for a wide character, and lose what stood there
                end = max(end, min(at + 2 * len(new[at]), len(new)))
            at += 1
    if first >= 0:
        yield first, end


def _scrolled(shown: Frame, wanted: Frame) -> tuple[int, int, int] | None:
    """The first and the last of the rows that are best moved, and by how many; None where none are.

    What scrolls here stands at the right of what does not, so rows are told by that part of them.
    """
    left, right = wanted.width * 2 // 5, wanted.width - 3
    changed = [y for y in range(wanted.height) if wanted.texts[y] != shown.texts[y]]
    if len(changed) < 3:
        return None
    between = range(changed[0], changed[-1] + 1)
    new = {y: "".join(wanted.texts[y][left:right]) for y in between}
    old = {y: "".join(shown.texts[y][left:right]) for y in between}
    differing = [y for y in changed if new[y] != old[y]]
    if len(differing) < 3:
        return None
    top, bottom = differing[0], differing[-1]
    height = bottom + 1 - top
    best, matches = 0, 2
    stood = set(old.values())
    if sum(new[y] in stood and not new[y].isspace() for y in range(top, bottom + 1)) <= matches:
        return None
    for rows in range(-height // 2, height // 2 + 1):
        pairs = range(max(top, top - rows), min(bottom, bottom - rows) + 1)
        found = sum(new[y] == old[y + rows] and not new[y].isspace() for y in pairs)
        if rows and found > matches:
            best, matches = rows, found
    if not best:
        return None
    trial = copy(shown)
    trial.texts, trial.styles = list(shown.texts), list(shown.styles)
    trial.scroll(top, bottom, best)
    saved = _distance(shown, wanted, top, bottom) - _distance(trial, wanted, top, bottom)
    return (top, bottom, best) if saved > _WORTH_SCROLLING else None


def _distance(shown: Frame, wanted: Frame, top: int, bottom: int) -> int:
    """How many cells differ."""
    return sum(sum(map(ne, shown.texts[y], wanted.texts[y])) for y in range(top, bottom + 1))


class _Pen:
    """Writes runs of cells, with as few changes of style and place as it can."""

    def __init__(self, can_erase: bool) -> None:
        self._can_erase = can_erase
        self._out: list[str] = []
        self._style: str | None = None
        self._row = -1

    def write(self, y: int, x: int, texts: list[str], styles: list[str]) -> None:
        """Write cells of one style after another."""
        self._go(x, y)
        start = 0
        while start < len(texts):
            style = styles[start]
            end = start + 1
            while end < len(texts) and styles[end] == style:
                end += 1
            self._dress(style)
            self._say(x + start, texts[start:end], style)
            start = end

    def done(self) -> str:
        """All of it, with the style put back."""
        return "".join([*self._out, "\x1b[0m"]) if self._out else ""

    def _go(self, x: int, y: int) -> None:
        self._out.append(f"\x1b[{x + 1}G" if y == self._row else f"\x1b[{y + 1};{x + 1}H")
        self._row = y

    def _say(self, x: int, texts: list[str], style: str) -> None:
        codes, _, link = style.partition(_LINK)
        if link:
            self._out.append(f"\x1b]8;;{link}\x1b\\")
        blank = self._can_erase and not link and not _parts(codes)[0]
        start = 0
        is_unsure = False
        while start < len(texts):
            text, end = texts[start], start + 1
            if blank and text == " ":
                while end < len(texts) and texts[end] == " ":
                    end += 1
            else:
                while end < len(texts) and not texts[end]:
                    end += 1
            is_joined = len(text) > 1
            is_wide = is_joined or (text != " " and end - start > 1)
            if is_unsure and (is_joined or not is_wide):
                # Terminals disagree on how wide some characters are; what follows stands where it should.
                self._out.append(f"\x1b[{x + start + 1}G")
            if is_joined and end - start > 1:  # where it is taken for narrower, what stood there would show
                self._out.append(f"{' ' * (end - start)}\x1b[{x + start + 1}G")
            is_unsure = is_wide
            if text == " " and end - start >= _WORTH_ERASING:
                self._out.append(f"\x1b[{end - start}X\x1b[{x + end + 1}G")
            else:
                self._out.append(text if text != " " else " " * (end - start))
            start = end
        if is_unsure:
            self._out.append(f"\x1b[{x + start + 1}G")
        if link:
            self._out.append("\x1b]8;;\x1b\\")

    def _dress(self, style: str) -> None:
        codes = style.partition(_LINK)[0]
        if codes == self._style:
            return
        self._out.append(_change(self._style, codes))
        self._style = codes


@lru_cache(maxsize=1024)
def _change(before: str | None, after: str) -> str:
    """The shortest SGR from one style to another; `before` is None where nothing is known."""
    if before is not None:
        attributes, ink, paper = _parts(before)
        new_attributes, new_ink, new_paper = _parts(after)
        if attributes == new_attributes:
            changes = [new_ink or "39"] if ink != new_ink else []
            changes += [new_paper or "49"] if paper != new_paper else []
            return f"\x1b[{';'.join(changes)}m"
    return f"\x1b[0;{after}m" if after else "\x1b[0m"


@lru_cache(maxsize=1024)
def _parts(codes: str) -> tuple[str, str, str]:
    """The numbers of attributes, of the foreground and of the background."""
    found: dict[str, list[str]] = {"": [], "3": [], "4": []}
    numbers = iter(codes.split(";") if codes else ())
    for number in numbers:
        kind = _kind(int(number))
        found[kind].append(number)
        if number in ("38", "48"):
            found[kind].append(mode := next(numbers))
            found[kind] += [next(numbers) for _ in range(3 if mode == "2" else 1)]
    return ";".join(found[""]), ";".join(found["3"]), ";".join(found["4"])


def _kind(number: int) -> str:
    """Whether a number of SGR tells the foreground ("3"), the background ("4") or something else."""
    if 30 <= number <= 39 or 90 <= number <= 97:
        return "3"
    if 40 <= number <= 49 or 100 <= number <= 107:
        return "4"
    return ""
