"""The servers that are known: of config.toml, used before, and the one here; which of them answer, and as what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from corral.tui.dialogs.searched_list import SearchedList, browsing
from corral.tui.hosts import HERE, Host
from corral.tui.text import clean_line, fit

__all__ = ["HostsDialog"]

_NAME_CELLS = 18
_OF_THE_LIST = frozenset("jk/")


class HostsDialog(SearchedList[str]):
    """Gives a host's name or address, `HERE` for the service the screen was opened on, or what was typed."""

    BINDINGS: ClassVar[list[BindingType]] = [*browsing("hosts")]
    DEFAULT_CSS = """
    HostsDialog OptionList { height: auto; max-height: 14; margin-top: 1; padding: 0; border: none; }
    HostsDialog OptionList, HostsDialog OptionList:focus { background: transparent; border: none; }
    """

    def __init__(self, hosts: Sequence[Host], now: str, look: Callable[[str], Awaitable[str]]) -> None:
        """`now` is the address that is shown, "" for the service here; `look` says how a host answers."""
        super().__init__()
        self._hosts = hosts
        self._now = now
        self._look = look
        self._states: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """Draw the box."""
        with Vertical(classes="dialog -broad") as box:
            box.border_title = "Servers"
            box.border_subtitle = "⏎ go there · or type an address · Esc close"
            yield Input(placeholder="host, host:port or https://…", compact=True, select_on_focus=False)
            yield OptionList(markup=False)

    def on_mount(self) -> None:
        """Show them, and ask each how it is."""
        self._fill()
        self.query_one(OptionList).focus()
        self._ask_all()

    def on_key(self, event: events.Key) -> None:
        """Take what is typed over the list for the beginning of an address."""
        line = self.query_one(Input)
        typed = event.character or ""
        if event.is_printable and typed not in _OF_THE_LIST and not line.has_focus:
            event.stop()
            line.focus()
            line.insert_text_at_cursor(typed)

    @work(exclusive=True, exit_on_error=False)
    async def _ask_all(self) -> None:
        async def ask(host: Host) -> None:
            self._states[host.url] = await self._look(host.url)
            self._fill()

        await asyncio.gather(*(ask(host) for host in self._hosts))

    def _fill(self) -> None:
        options = self.query_one(OptionList)
        place = options.highlighted or 0
        rows = [self._row(HERE, "the service this screen was opened on", "", is_now=not self._now)]
        rows += [
            self._row(one.name, one.url, self._states.get(one.url, "… asking"), is_now=one.url == self._now)
            for one in self._hosts
        ]
        options.set_options(Option(row) for row in rows)
        options.highlighted = min(place, len(rows) - 1)

    def _row(self, name: str, url: str, state: str, *, is_now: bool) -> Content:
        head = f"{'▸' if is_now else ' '} {fit(clean_line(name), _NAME_CELLS, pad=True)} "
        where = fit(clean_line(url), self.row_cells - 4)
        return Content.assemble(
            (head, "bold"), fit(clean_line(state), self.row_cells - len(head)), (f"\n    {where}", "dim")
        )

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(HERE if event.option_index == 0 else self._hosts[event.option_index - 1].url)
