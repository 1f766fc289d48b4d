"""Markdown as one `Content`: a finished answer is one widget, and a growing one only redraws its last block.

Textual's own Markdown widget makes a widget of every paragraph; a long chat then takes seconds to mount. Only what a
terminal shows well is drawn, links with their address in full, and nothing can be clicked.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content

from corral.tui.text import clean

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

__all__ = ["CODE_EDGE", "CODE_EDGES", "code_blocks", "render", "settled_length"]

CODE_EDGE = "▏ "
"""What stands before each line of code."""
_CHOSEN_EDGE = "▌ "
CODE_EDGES = (CODE_EDGE, _CHOSEN_EDGE)
"""What is no part of the code that it stands before."""
_QUOTE_EDGE = "┃ "
_BULLETS = "•◦▪"
_INLINE_OPEN = {"strong_open": "bold", "em_open": "italic", "s_open": "strike"}
_LONGEST_GROWING = 20_000  # characters; above that a frame would take as long as ten
_LONGEST_HIGHLIGHTED = 20_000  # characters; above that a lexer costs more than its colours are worth


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # 20 ms that the first frame need not wait for

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def settled_length(source: str) -> int:
    """Return how many characters of a growing text are whole blocks that nothing appended can change."""
    tokens = _parser().parse(source)
    starts = [token.map[0] for token in tokens if token.level == 0 and token.nesting >= 0 and token.map]
    if len(starts) < 2:
        return 0
    return sum(len(line) + 1 for line in source.split("\n")[: starts[-1]])


def render(source: str, *, is_growing: bool = False, chosen: int | None = None) -> Content:
    """Draw Markdown, the code block numbered `chosen` marked.

    Code in a growing text is not highlighted: its end is not there yet, and it is drawn often. Of one that grows
    without a paragraph's end, its own end is drawn as it came.
    """
    if is_growing and len(source) > _LONGEST_GROWING:
        return Content(f"… {clean(source[-_LONGEST_GROWING:])}")
    tokens = _parser().parse(clean(source))
    return Content("\n").join(_Blocks(tokens, is_growing, chosen).draw())


def code_blocks(source: str) -> tuple[tuple[str, str], ...]:
    """The language and the text of each code block."""
    tokens = (token for token in _parser().parse(source) if token.type in ("fence", "code_block"))
    return tuple((token.info.strip().split(" ")[0], token.content) for token in tokens)


class _Blocks:
    """One walk over the tokens of one text."""

    def __init__(self, tokens: Sequence[Token], is_growing: bool, chosen: int | None) -> None:
        self._tokens = tokens
        self._is_growing = is_growing
        self._chosen = chosen
        self._code_number = 0
        self._lines: list[Content] = []
        self._lists: list[int | None] = []  # the next number of each open list, None for bullets
        self._marker = ""
        self._quotes = 0
        self._style = ""
        self._rows: list[list[Content]] = []

    def draw(self) -> list[Content]:
        """Return the lines."""
        for token in self._tokens:
            handler = getattr(self, f"_on_{token.type}", None)
            if handler is not None:
                handler(token)
        while self._lines and not self._lines[-1].plain:
            self._lines.pop()
        return self._lines

    def _put(self, text: Content) -> None:
        indent = "  " * max(len(self._lists) - 1, 0)
        for line in text.split("\n", allow_blank=True):
            first = self._marker or ("  " if self._lists else "")
            self._marker = ""
            lead = Content.assemble((_QUOTE_EDGE * self._quotes, "dim"), indent, (first, "$accent"))
            self._lines.append(lead + line)

    def _gap(self) -> None:
        if not self._lists and not self._quotes:
            self._lines.append(Content(""))

    def _on_heading_open(self, token: Token) -> None:
        self._style = "bold underline" if token.tag == "h1" else "bold"

    def _on_heading_close(self, token: Token) -> None:
        self._style = ""
        self._gap()

    def _on_paragraph_close(self, token: Token) -> None:
        self._gap()

    def _on_inline(self, token: Token) -> None:
        text = _inline(token.children or ())
        if self._style:
            text = text.stylize(self._style)
        if self._rows:
            self._rows[-1].append(text)
        else:
            self._put(text)

    def _on_bullet_list_open(self, token: Token) -> None:
        self._lists.append(None)

    def _on_ordered_list_open(self, token: Token) -> None:
        self._lists.append(int(token.attrs.get("start", 1)))

    def _on_list_item_open(self, token: Token) -> None:
        number = self._lists[-1]
        if number is None:
            self._marker = _BULLETS[(len(self._lists) - 1) % len(_BULLETS)] + " "
        else:
            self._marker = f"{number}. "
            self._lists[-1] = number + 1

    def _on_list_item_close(self, token: Token) -> None:
        if self._marker:
            self._put(Content(""))

    def _on_bullet_list_close(self, token: Token) -> None:
        self._lists.pop()
        self._gap()

    _on_ordered_list_close = _on_bullet_list_close

    def _on_blockquote_open(self, token: Token) -> None:
        self._quotes += 1

    def _on_blockquote_close(self, token: Token) -> None:
        self._quotes -= 1
        self._gap()

    def _on_fence(self, token: Token) -> None:
        language = clean(token.info.strip().split(" ")[0]) if token.info else ""
        is_chosen = self._code_number == self._chosen
        self._code_number += 1
        if language or is_chosen:
            self._put(Content.styled(f"╭ {language}{' · copied' if is_chosen else ''}", "bold" if is_chosen else "dim"))
        edge = Content.styled(_CHOSEN_EDGE, "$accent bold") if is_chosen else Content.styled(CODE_EDGE, "dim")
        for line in self._code(token.content.rstrip("\n"), language).split("\n", allow_blank=True):
            self._put(edge + line)
        self._gap()

    def _on_code_block(self, token: Token) -> None:
        self._on_fence(token)

    def _code(self, code: str, language: str) -> Content:
        if self._is_growing or not language or len(code) > _LONGEST_HIGHLIGHTED:
            return Content(code)
        from textual.highlight import highlight

        return highlight(code, language=language)

    def _on_hr(self, token: Token) -> None:
        self._put(Content.styled("─" * 24, "dim"))
        self._gap()

    def _on_html_block(self, token: Token) -> None:
        self._put(Content(token.content.rstrip("\n")))
        self._gap()

    def _on_tr_open(self, token: Token) -> None:
        self._rows.append([])

    def _on_table_close(self, token: Token) -> None:
        rows, self._rows = self._rows, []
        widths = [max(cell_len(cell.plain) for cell in column) for column in zip(*rows, strict=False)]
        for number, row in enumerate(rows):
            cells = [cell.pad_right(width - cell_len(cell.plain)) for cell, width in zip(row, widths, strict=False)]
            self._put(Content("  ").join(cells).stylize("bold" if number == 0 else ""))
            if number == 0:
                self._put(Content.styled("  ".join("─" * width for width in widths), "dim"))
        self._gap()


def _inline(children: Sequence[Token]) -> Content:
    """Draw what stands within a line."""
    parts: list[Content] = []
    styles: list[str] = []
    hrefs: list[str] = []
    for token in children:
        style = " ".join(styles)
        said = clean(token.content)  # once more: the parser makes characters of entities such as &#x202e;
        if token.type == "text":
            parts.append(Content.styled(said, style))
        elif token.type == "code_inline":
            parts.append(Content.styled(said, f"{style} $accent".strip()))
        elif token.type in ("softbreak", "hardbreak"):
            parts.append(Content("\n"))  # a model that breaks a line means it
        elif token.type in _INLINE_OPEN:
            styles.append(_INLINE_OPEN[token.type])
        elif token.type in ("strong_close", "em_close", "s_close"):
            styles.pop()
        elif token.type == "link_open":
            hrefs.append(str(token.attrs.get("href", "")))
            styles.append("underline")
        elif token.type == "link_close":
            styles.pop()
            parts.append(Content.styled(f" ({clean(hrefs.pop())})", "dim"))
        elif token.type == "image":
            parts.append(Content.styled(f"[image: {said}]", "dim"))
        else:
            parts.append(Content(said))
    return Content("").join(parts)
