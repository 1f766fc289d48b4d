"""What Chat shows in a store without models: an offer, and the fetching of it in place."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from corral.runtime.verbs import Progress
from corral.tui import figures
from corral.tui.chats import new_caller
from corral.tui.link import ServiceLink, StreamHandle
from corral.tui.text import clean_line, fit
from corral.tui.widgets.glyphs import Glyphs, bar

__all__ = ["Welcome"]

_BAR = 40
_OFFER = """There is no model to chat with here yet.

  f ⏎ fetch the starter model SmolLM2 135M (98 MB), then chat with it
  2   go to Models: p there fetches any other
  ?   all keys"""


class Welcome(Vertical, can_focus=True):
    """Offers the starter model and fetches it."""

    class Wanted(Message):
        """Enter was pressed: fetch it."""

    DEFAULT_CSS = """
    Welcome { height: 1fr; align: center middle; }
    Welcome Static { width: auto; max-width: 100%; height: auto; }
    Welcome .welcome-progress { margin-top: 1; min-height: 2; width: 72; }
    """

    def __init__(self) -> None:
        super().__init__(id="welcome", classes="pane")
        self.border_title = "Welcome"
        self._handle: StreamHandle[Progress] | None = None
        self._last = Progress("")

    def compose(self) -> ComposeResult:
        """Yield offer and progress."""
        yield Static(Content(_OFFER))
        yield Static(Content(""), classes="welcome-progress")

    @property
    def is_fetching(self) -> bool:
        """Whether the starter model is on its way."""
        return self._handle is not None

    def key_enter(self, event: events.Key) -> None:
        """Take the offer."""
        event.stop()
        self.post_message(self.Wanted())

    def fetch(self, link: ServiceLink, source: str) -> None:
        """Start fetching `source`, once."""
        if self._handle is None:
            caller = new_caller("/api/pull")
            self._handle = link.stream(lambda client: client.pull(source, caller=caller))
            self._say(f"… asking for {clean_line(source)}")

    def poll(self) -> bool:
        """Draw how far it is; True once it has ended well."""
        handle = self._handle
        if handle is None:
            return False
        is_done = handle.done
        steps = handle.take()
        if steps:
            self._last = next((step for step in reversed(steps) if step.total), steps[-1])
            self._draw(steps[-1])
        if not is_done:
            return False
        self._handle = None
        if handle.error is not None:
            self._say(f"✗ {clean_line(str(handle.error)) or type(handle.error).__name__}\n  f tries again")
            return False
        self._say("✓ fetched")
        return True

    def _draw(self, step: Progress) -> None:
        if not step.total:
            self._say(f"… {fit(step.status, 60)}")
            return
        share = step.completed / step.total
        numbers = f"{share * 100:3.0f}%  {figures.size(step.completed)}/{figures.size(step.total)}"
        self._say(f"{bar(share, _BAR, Glyphs.BLOCK)} {numbers}\n{fit(step.status, 60)}")

    def _say(self, text: str) -> None:
        self.query_one(".welcome-progress", Static).update(Content(text))
