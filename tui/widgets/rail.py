"""The side of the Chat screen: the chats of this session, the models in memory, the transfers, in short."""

from __future__ import annotations

import time
from collections.abc import Iterator

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from corral.runtime.snapshot import ModelState, Snapshot
from corral.tui import figures
from corral.tui.chat_list import Chats
from corral.tui.chats import Chat
from corral.tui.states import TRANSFER_SIGNS
from corral.tui.text import clean_line, fit
from corral.tui.turns import TurnState
from corral.tui.widgets.glyphs import Glyphs, bar

__all__ = ["Rail"]

_WIDTH = 24
_BAR = 10


def _chat_line(chat: Chat) -> str:
    sign = "●" if chat.is_live else "!" if chat.end.state is TurnState.FAILED else "▫" if chat.is_archived else "○"
    ago = "" if chat.is_empty else figures.ago(time.time() - chat.changed_s)
    return f"{sign} {fit(chat.title, _WIDTH - 8, pad=True)} {ago:>3}"


def _model_lines(snapshot: Snapshot) -> Iterator[str]:
    for model in snapshot.models:
        doing = {
            ModelState.BUSY: f"{figures.rate(model.tokens_per_s)} t/s",
            ModelState.LOADING: f"load {model.load_fraction * 100:.0f}%",
        }.get(model.state, model.state.value)
        yield f"{fit(model.name, _WIDTH - len(doing) - 3, pad=True)} {doing}"
        size = model.weights_bytes + model.kv_bytes + model.compute_bytes
        used = model.cells_used / model.cells_total if model.cells_total else 0.0
        until = figures.clock(model.expires_in_s) if model.state is ModelState.IDLE else ""
        yield f"{bar(used, _BAR, Glyphs.BLOCK)} {figures.size(size) if size else '':>5} {until}"
    slots = sum(model.slots_total for model in snapshot.models)
    if slots:
        yield f"slots {sum(model.slots_used for model in snapshot.models)}/{slots}  queue {snapshot.waiting}"


def _transfer_lines(snapshot: Snapshot) -> Iterator[str]:
    for one in snapshot.transfers:
        share = f"{one.completed / one.total * 100:.0f}%" if one.total else "…"
        yield f"{TRANSFER_SIGNS.get(one.kind, '·')} {fit(one.model, _WIDTH - 9, pad=True)} {share:>4}"
        speed = f" {figures.size(one.bytes_per_s)}B/s".replace("BB", "B") if one.bytes_per_s else ""
        yield (
            f"  {figures.size(one.completed)}/{figures.size(one.total)}{speed}"
            if one.total
            else f"  {fit(one.status, 20)}"
        )


class Rail(Vertical):
    """Three small panes, redrawn only where they changed."""

    DEFAULT_CSS = """
    Rail { width: 26; height: 1fr; display: none; }
    Rail .rail-chats { height: 1fr; min-height: 4; }
    Rail OptionList { height: 1fr; border: none; padding: 0; background: transparent; scrollbar-size-vertical: 1; }
    Rail Static { height: auto; max-height: 10; min-height: 3; }
    """

    def __init__(self) -> None:
        super().__init__(id="rail")
        self._lines: list[str] = []

    def compose(self) -> ComposeResult:
        """Yield the panes."""
        with Vertical(classes="pane rail-chats") as chats:
            chats.border_title = "Chats"
            yield OptionList(markup=False, compact=True)
        models = Static(Content("none"), id="rail-models", classes="pane")
        models.border_title = "Running"
        yield models
        transfers = Static(Content("none"), id="rail-transfers", classes="pane")
        transfers.border_title = "Transfers"
        yield transfers

    def show_chats(self, chats: Chats) -> None:
        """List the chats, the current one highlighted."""
        options = self.query_one(OptionList)
        lines = [_chat_line(chat) for chat in chats.all]
        if len(lines) != len(self._lines):
            entries = zip(chats.all, lines, strict=True)
            options.set_options(Option(Content(line), id=str(chat.number)) for chat, line in entries)
        else:
            for index, line in enumerate(lines):
                if line != self._lines[index]:
                    options.replace_option_prompt_at_index(index, Content(line))
        self._lines = lines
        options.highlighted = chats.all.index(chats.current)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draw models and transfers."""
        self._fill("#rail-models", "\n".join(_model_lines(snapshot)) or "none")
        self._fill("#rail-transfers", "\n".join(_transfer_lines(snapshot)) or "none")

    def _fill(self, selector: str, text: str) -> None:
        pane = self.query_one(selector, Static)
        shown = pane.content
        if isinstance(shown, Content) and shown.plain == text:
            return
        is_same_height = isinstance(shown, Content) and shown.plain.count("\n") == text.count("\n")
        pane.update(Content(clean_line(text) if "\n" not in text else text), layout=not is_same_height)
