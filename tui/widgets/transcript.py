"""A conversation on the screen. A finished message is one widget, whatever is in it; only the live one has more."""

from __future__ import annotations

from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from corral.runtime.snapshot import RequestState, RequestView
from corral.runtime.verbs import Stats
from corral.tui import figures
from corral.tui.chats import Chat, Turn, TurnState
from corral.tui.text import clean, clean_line
from corral.tui.widgets.markdown import render, settled_length

__all__ = ["LiveAnswer", "Transcript", "figures_line", "stats_so_far"]

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


def live_line(request: RequestView | None) -> str:
    """What is known of an answer that is still coming in."""
    if request is None:
        return "… waiting"
    match request.state:
        case RequestState.WAITING:
            return _SEPARATOR.join(part for part in ("… waiting in the queue", request.note) if part)
        case RequestState.LOADING:
            return _SEPARATOR.join(part for part in ("◐ loading the model", request.note) if part)
        case RequestState.PREFILL:
            return f"◔ reading the prompt {figures.count(request.prompt_done)}/{figures.count(request.prompt_tokens)}"
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


def _heading(turn: Turn) -> Content:
    name, style = ("you", "bold $primary") if turn.role == "user" else (clean_line(turn.model), "bold $success")
    at = datetime.fromtimestamp(turn.wall_s).strftime("%H:%M")
    return Content.assemble((name, style), (f"  {at}", "dim"))


def frozen(turn: Turn) -> Content:
    """Draw a finished turn."""
    body = Content(clean(turn.text)) if turn.role == "user" else render(turn.text)
    lines = [_heading(turn)]
    if body.plain:
        lines.append(body)
    if turn.state is TurnState.STOPPED:
        lines.append(Content.styled("⏹ stopped", "$warning"))
    if turn.state is TurnState.FAILED:
        lines.append(Content.styled(f"✗ {clean_line(turn.problem)}", "$error"))
        lines.append(Content.styled("  r tries again", "dim"))
    elif turn.problem:
        lines.append(Content.styled(f"! {clean_line(turn.problem)}", "$warning"))
    if turn.role != "user" and turn.stats.total_ns:
        lines.append(Content.styled(figures_line(turn.stats), "dim"))
    return Content("\n").join(lines)


class LiveAnswer(Vertical):
    """An answer that is coming in: whole blocks above, the last block below, figures under both.

    Only the last block is parsed and wrapped again when text comes in.
    """

    DEFAULT_CSS = """
    LiveAnswer { height: auto; margin-bottom: 1; }
    LiveAnswer Static { height: auto; }
    LiveAnswer .live-figures { height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn
        self._taken = 0
        self._whole = ""
        self._tail = ""
        self._note = ""

    def compose(self) -> ComposeResult:
        """Yield the parts."""
        yield Static(_heading(self.turn))
        yield Static(Content(""), classes="live-whole")
        yield Static(Content(""), classes="live-tail")
        yield Static(Content(live_line(None)), classes="live-figures")

    def on_mount(self) -> None:
        """Show what had come in before."""
        self.query_one(".live-whole").display = False
        self.grow()

    def grow(self) -> None:
        """Draw what has come in since the last time."""
        new = self.turn.text[self._taken :]
        if not new or not self.is_mounted:
            return
        self._taken += len(new)
        self._tail += new.replace("\r", "")
        settled = settled_length(self._tail)
        if settled:
            self._whole += self._tail[:settled]
            self._tail = self._tail[settled:]
            whole = self.query_one(".live-whole", Static)
            whole.display = True
            whole.update(render(self._whole) + "\n")
        self.query_one(".live-tail", Static).update(render(self._tail, is_growing=True))

    def note(self, request: RequestView | None) -> None:
        """Show the figures so far."""
        line = live_line(request)
        if line != self._note and self.is_mounted:
            self._note = line
            self.query_one(".live-figures", Static).update(Content(line), layout=False)


class Transcript(VerticalScroll, can_focus=True):
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

    @staticmethod
    def _widget(turn: Turn) -> Static | LiveAnswer:
        if turn.state is TurnState.LIVE:
            return LiveAnswer(turn)
        return Static(frozen(turn), classes="message")
