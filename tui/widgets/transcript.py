"""A conversation on the screen. A finished message is one widget, whatever is in it; only the live one has more."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Region
from textual.widgets import Static

from corral.runtime.verbs import Stats
from corral.tui import figures
from corral.tui.chats import Chat, Turn, TurnState
from corral.tui.text import clean, clean_line
from corral.tui.widgets.live_answer import LiveAnswer, heading, warning_line
from corral.tui.widgets.markdown import render
from corral.tui.widgets.repaint import PartialRepaint
from corral.tui.widgets.thoughts import thoughts

__all__ = ["Transcript", "figures_line"]

_WINDOW = 60
_SEPARATOR = " · "
_HINT = """Ask something below.

⏎ sends it, ^J starts a new line, Esc stops the answer.
Esc again leaves the prompt: m other model, a other chat, ? all keys."""


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
    return _SEPARATOR.join(parts)


def frozen(turn: Turn, *, opens_thoughts: bool = False) -> Content:
    """Draw a finished turn."""
    body = Content(clean(turn.text)) if turn.role == "user" else render(turn.text)
    lines = [heading(turn)]
    if turn.thinking:
        lines.append(thoughts(turn, 0, is_open=opens_thoughts))
    if body.plain:
        lines.append(body)
    if turn.state is TurnState.STOPPED:
        lines.append(Content.styled("⏹ stopped", "$warning"))
    if turn.state is TurnState.FAILED:
        lines.append(Content.styled(f"✗ {clean_line(turn.problem)}", "$error"))
        lines.append(Content.styled("  r tries again", "dim"))
    lines += [Content.styled(warning_line(warning), "$warning") for warning in turn.warnings]
    if turn.role != "user" and turn.stats.total_ns:
        lines.append(Content.styled(figures_line(turn.stats), "dim"))
    return Content("\n").join(lines)


class Said(Static):
    """A finished turn."""

    def __init__(self, turn: Turn, *, opens_thoughts: bool) -> None:
        super().__init__(frozen(turn, opens_thoughts=opens_thoughts), classes="message")
        self._turn = turn

    def open_thoughts(self, *, is_open: bool) -> None:
        """Show all that was thought, or one line of it."""
        if self._turn.thinking:
            self.update(frozen(self._turn, opens_thoughts=is_open))


class Transcript(PartialRepaint, VerticalScroll, can_focus=True):
    """The messages of one chat, following the end unless somebody scrolled away from it."""

    DEFAULT_CSS = """
    Transcript { height: 1fr; scrollbar-size-vertical: 1; }
    Transcript .messages { height: auto; min-height: 100%; }
    Transcript .message { height: auto; margin-bottom: 1; }
    Transcript .earlier { color: $text-muted; }
    Transcript .hint { height: 100%; content-align: center middle; color: $text-muted; display: none; }
    Transcript.-empty .hint { display: block; }
    Transcript.-empty .messages { display: none; }
    """
    BINDINGS = []  # noqa: RUF012 -- the screen's own keys scroll, so that the registry knows them

    def __init__(self) -> None:
        super().__init__(id="transcript", classes="pane")
        self._chat: Chat | None = None
        self._shown: list[Turn] = []
        self._title = Content("")
        self._note = ""
        self._opens_thoughts = False

    def compose(self) -> ComposeResult:
        """Yield what an empty chat says, and the messages.

        The messages fill the view at least: Textual hangs an anchored view's content from its lower edge.
        """
        yield Static(Content(_HINT), classes="hint")
        yield Vertical(classes="messages")

    def on_mount(self) -> None:
        """Follow the end."""
        self.anchor()

    @property
    def messages(self) -> Vertical:
        """What holds the messages."""
        return self.query_one(".messages", Vertical)

    @property
    def live(self) -> LiveAnswer | None:
        """The answer that is coming in, where there is one."""
        return next(iter(self.messages.query_children(LiveAnswer)), None)

    def show(self, chat: Chat) -> None:
        """Show a chat, or what has changed in it."""
        turns = chat.turns[-_WINDOW:]
        same = 0
        if chat is self._chat:
            while same < min(len(turns), len(self._shown)) and turns[same] is self._shown[same]:
                same += 1
        is_append = chat is self._chat and same == len(self._shown)
        messages = self.messages
        with self.app.batch_update():
            self.set_class(not turns, "-empty")
            if not is_append:
                messages.remove_children()
                same = 0
                hidden = len(chat.turns) - len(turns)
                if hidden:
                    messages.mount(Static(Content(f"… {hidden} earlier messages"), classes="message earlier"))
            for turn in turns[same:]:
                messages.mount(self._widget(turn))
        if chat is not self._chat or same < len(turns):
            self.follow()
        self._chat, self._shown = chat, list(turns)

    def grow(self) -> None:
        """Draw new text of the live answer; freeze it once it has ended."""
        live = self.live
        if live is None:
            return
        if live.turn.state is TurnState.LIVE:
            live.grow()
            return
        with self.app.batch_update():
            self.messages.mount(self._widget(live.turn), after=live)
            live.remove()

    def toggle_thoughts(self) -> None:
        """Open what was thought before every answer, or fold it to a line each."""
        self._opens_thoughts = not self._opens_thoughts
        with self.app.batch_update():
            for said in self.messages.query_children(Said):
                said.open_thoughts(is_open=self._opens_thoughts)
            if self.live is not None:
                self.live.open_thoughts(is_open=self._opens_thoughts)

    def entitle(self, title: Content) -> None:
        """Write into the upper edge of the frame."""
        if not self._title.is_same(title):
            self._title = title
            with self.repainting(self._edge(0)):
                self.border_title = title

    def note(self, text: str) -> None:
        """Write into the lower edge of the frame."""
        if self._note != text:
            self._note = text
            with self.repainting(self._edge(self.outer_size.height - 1)):
                self.border_subtitle = Content(text)

    def _edge(self, row: int) -> Region:
        """A row of the whole widget, counted from where its content begins."""
        left, top = self.content_offset
        return Region(-left, row - top, self.outer_size.width, 1)

    def follow(self) -> None:
        """Go to the end and stay there."""
        self.anchor()

    def leave_end(self, lines: int) -> None:
        """Scroll by hand, which stops following unless it leads to the end."""
        if self.max_scroll_y > 0:
            self.release_anchor()
            self.scroll_relative(y=lines, animate=False, immediate=True)

    def to_top(self) -> None:
        """Go to the first message."""
        if self.max_scroll_y > 0:
            self.release_anchor()
            self.scroll_home(animate=False, immediate=True)

    @property
    def lines_below(self) -> int:
        """How many lines lie below what is in view."""
        return max(round(self.max_scroll_y - self.scroll_y), 0) if self.max_scroll_y > 0 else 0

    def _widget(self, turn: Turn) -> Said | LiveAnswer:
        if turn.state is TurnState.LIVE:
            return LiveAnswer(turn, opens_thoughts=self._opens_thoughts)
        return Said(turn, opens_thoughts=self._opens_thoughts)
