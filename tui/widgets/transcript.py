"""A conversation on the screen. A finished message is one widget, whatever is in it; only the live one has more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Region, Size
from textual.widget import Widget
from textual.widgets import Static

from corral.tui.chats import Chat
from corral.tui.turns import Turn, TurnState
from corral.tui.widgets.line_selection import LineSelection
from corral.tui.widgets.live_answer import LiveAnswer
from corral.tui.widgets.picture import PictureSize
from corral.tui.widgets.repaint import LaidOnce, PartialRepaint
from corral.tui.widgets.said import Look, Said

__all__ = ["Transcript"]

W = TypeVar("W", bound=Widget)

_WINDOW = 60
_MORE = 60
_LONGEST_WINDOW = 180  # messages that are widgets at a time; above that each redraw costs what can be felt
_HINT = """Ask something below.

⏎ sends it, ^J starts a new line, Esc stops the answer.
/ lists commands, @ names files.
Esc again leaves the prompt: m model, a new chat, O options, ? all keys."""


class Messages(LaidOnce, Vertical):
    """What was said, one below the other."""


class Transcript(PartialRepaint, VerticalScroll, can_focus=True):
    """The messages of one chat, following the end unless somebody scrolled away from it."""

    DEFAULT_CSS = """
    Transcript { height: 1fr; width: 1fr; scrollbar-size-vertical: 1; }
    Transcript .messages { height: auto; min-height: 100%; }
    Transcript .message { height: auto; margin-bottom: 1; }
    Transcript .earlier { color: $text-muted; }
    Transcript .hint { height: 100%; content-align: center middle; color: $text-muted; display: none; }
    Transcript.-empty .hint { display: block; }
    Transcript.-empty .messages { display: none; }
    """
    BINDINGS = []  # noqa: RUF012 -- the screen's own keys scroll, so that the registry knows them

    def __init__(self, widget_id: str = "transcript") -> None:
        super().__init__(id=widget_id, classes="pane")
        self._chat: Chat | None = None
        self._shown: list[Turn] = []
        self._from = 0
        self._title = Content("")
        self._note = ""
        self._opens_folds = False
        self._code: int | None = None
        self._found = ""
        self._hit: int | None = None
        self._cut: Collection[Turn] = ()
        self.rows_step = 1
        """By how many rows an answer's height grows at a time."""
        self.chosen: Turn | None = None
        """The turn that keys act on, where the reader chose one."""
        self.selection: LineSelection | None = None
        """Lines that the reader selects."""
        self.pictures = (PictureSize.NONE, PictureSize.NONE)
        """How large images are drawn, and with the folds open."""
        self.is_quiet = False
        """Whether nobody wants the figures of answers."""

    def compose(self) -> ComposeResult:
        """Yield what an empty chat says, and the messages.

        The messages fill the view at least: Textual hangs an anchored view's content from its lower edge.
        """
        yield Static(Content(_HINT), classes="hint")
        yield Messages(classes="messages")

    def on_mount(self) -> None:
        """Follow the end."""
        self.anchor()

    def _size_updated(self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True) -> bool:
        """Ask for another layout where the view is another, and not whenever there is more to see."""
        is_other = size != self.outer_size
        return super()._size_updated(size, virtual_size, container_size, layout=layout and is_other)

    @property
    def is_going(self) -> bool:
        """Whether it is being removed: what is within it may have gone already."""
        return self._pruning

    @property
    def messages(self) -> Vertical:
        """What holds the messages."""
        return self.query_one(".messages", Vertical)

    @property
    def live(self) -> LiveAnswer | None:
        """The answer that is coming in, where there is one."""
        return next(iter(self._standing(LiveAnswer)), None)

    def _standing(self, kind: type[W]) -> list[W]:
        """The messages of a kind. One that is being removed stays among the children until all within it has gone."""
        return [one for one in self.messages.children if isinstance(one, kind) and not one._pruning]

    def show(self, chat: Chat) -> None:
        """Show a chat, or what has changed in it."""
        turns = chat.turns
        is_other = chat is not self._chat
        if is_other:
            self._forget_looks()
        if is_other or len(turns) - self._from > _LONGEST_WINDOW or self._from > max(len(turns) - 1, 0):
            self._from = max(len(turns) - _WINDOW, 0)
            is_other = True
        if self.chosen is not None and self.chosen not in turns:
            self.chosen = None
        self._chat = chat
        self._lay(turns[self._from :], anew=is_other)

    def _lay(self, turns: list[Turn], *, anew: bool = False) -> None:
        """Put widgets where there are none yet, and take away those of turns that are no longer read."""
        same = 0
        while not anew and same < min(len(turns), len(self._shown)) and turns[same] is self._shown[same]:
            same += 1
        live = self.live
        if live is not None and (live.turn.state is not TurnState.LIVE) and live.turn in turns[:same]:
            same = turns.index(live.turn)
        elif same and turns[same - 1].state is TurnState.LIVE and live is None:
            same -= 1  # a finished answer is being continued
        messages = self.messages
        if anew or same < max(len(self._shown), len(turns)):
            self.end_selection()
        with self.app.batch_update():
            self.set_class(not turns, "-empty")
            if anew or same < len(self._shown):
                widgets = [one for one in self._standing(Widget) if not one.has_class("earlier")]
                self._remove(widgets[0 if anew else same :])
            if anew:
                self._remove([one for one in self._standing(Widget) if one.has_class("earlier")])
                if self._from:
                    text = f"… {self._from} earlier messages: g at the top shows more"
                    messages.mount(Static(Content(text), classes="message earlier"))
            for turn in turns[same:]:
                messages.mount(self._widget(turn))
            self._redraw()
        is_longer = anew or same < len(turns)
        self._shown = list(turns)
        if is_longer:
            self.anchor()

    @staticmethod
    def _remove(widgets: Sequence[Widget]) -> None:
        for widget in widgets:
            widget.remove()

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

    # How messages look

    def toggle_folds(self) -> None:
        """Open what was thought and what tools were given, or fold it to a line each."""
        self._opens_folds = not self._opens_folds
        self.end_selection()
        with self.app.batch_update():
            self._redraw()
            if self.live is not None:
                self.live.open_thoughts(is_open=self._opens_folds)

    def choose(self, turn: Turn | None, hit: int | None = None) -> None:
        """Mark the turn that keys act on, and bring it into view; of places found in it the one of number `hit`."""
        self.chosen, self._code, self._hit = turn, None, hit
        self._redraw()
        self.bring(turn)
        if hit is not None:
            self.call_after_refresh(self._bring_hit)

    def _bring_hit(self) -> None:
        said = next((one for one in self._standing(Said) if one.turn is self.chosen), None)
        if said is not None and (line := said.hit_line) is not None:
            self._bring_line(said, line)

    def bring(self, turn: Turn | None) -> None:
        """Bring a turn into view."""
        widget = next((one for one in self._standing(Said) if one.turn is turn), None)
        if widget is not None:
            self.release_anchor()
            self.scroll_to_widget(widget, animate=False, top=True, immediate=True)

    def mark_code(self, turn: Turn, number: int) -> None:
        """Show which code block was copied."""
        self.chosen, self._code = turn, number
        self._redraw()

    def mark_found(self, words: str) -> None:
        """Show where words are said."""
        self._found = words
        self._redraw()

    def mark_cut(self, turns: Collection[Turn]) -> None:
        """Show what the next request would leave out."""
        if set(turns) != set(self._cut):
            self._cut = turns
            self._redraw()

    def _forget_looks(self) -> None:
        self.chosen, self._code, self._found, self._hit, self._cut = None, None, "", None, ()

    def _look(self, turn: Turn) -> Look:
        is_chosen = turn is self.chosen
        has_images = any(one.is_image for one in turn.attached)
        return Look(
            self._opens_folds and bool(turn.thinking or turn.tool_calls or turn.role == "tool"),
            is_chosen,
            turn in self._cut,
            self._code if is_chosen else None,
            self._found,
            len(turn.results) if turn.tool_calls else 0,
            self.is_quiet and turn.role == "assistant",
            self.pictures[self._opens_folds] if has_images else PictureSize.NONE,
            self._hit if is_chosen else None,
        )

    def be_quiet(self, *, is_quiet: bool) -> None:
        """Leave out the figures of answers, or draw them again."""
        self.is_quiet = is_quiet
        self._redraw()

    # What is selected

    def begin_selection(self) -> bool:
        """Select a line, of the chosen message or the last one; False where there is none."""
        said = self._standing(Said)
        chosen = next((one for one in said if one.turn is self.chosen), None)
        self.selection = LineSelection.begun(said, chosen=chosen)
        self._bring_selected()
        return self.selection is not None

    def move_selection(self, by: int) -> None:
        """Select up to so many lines further."""
        if self.selection is not None:
            self.selection.move(by)
            self._bring_selected()

    def end_selection(self) -> None:
        """Select nothing any more."""
        selection, self.selection = self.selection, None
        if selection is not None:
            selection.drop()

    def _bring_selected(self) -> None:
        if self.selection is not None:
            self._bring_line(*self.selection.end)

    def _bring_line(self, said: Said, line: int) -> None:
        above = said.rows_before(line)
        row = Region(0, said.virtual_region.y + above, 1, max(said.rows_before(line + 1) - above, 1))
        self.release_anchor()
        self.scroll_to_region(row, animate=False, immediate=True)

    def _redraw(self) -> None:
        for said in self._standing(Said):
            said.draw(self._look(said.turn))

    # The frame

    def entitle(self, title: Content) -> None:
        """Write into the upper edge of the frame."""
        if not self._title.is_same(title):
            self._title = title
            with self.repainting(self.top_edge):
                self.border_title = title

    def note(self, text: str) -> None:
        """Write into the lower edge of the frame."""
        if self._note != text:
            self._note = text
            with self.repainting(self.bottom_edge):
                self.border_subtitle = Content(text)

    # Where it is scrolled to

    def follow(self) -> None:
        """Go to the end and stay there."""
        if self._chat is not None and self._shown and self._shown[-1] is not self._chat.end:
            turns = self._chat.turns
            self._from = max(len(turns) - _WINDOW, 0)
            self._shown = turns[self._from :]
            self._lay(self._shown, anew=True)
        self.anchor()

    def leave_end(self, lines: int) -> None:
        """Scroll by hand, which stops following unless it leads to the end."""
        if self.max_scroll_y > 0:
            self.release_anchor()
            self.scroll_relative(y=lines, animate=False, immediate=True)

    def to_top(self) -> None:
        """Go to the first message that is shown; there, to earlier ones."""
        if self._from and self.scroll_y <= 0 and self._chat is not None:
            self.reach(max(self._from - _MORE, 0))
        if self.max_scroll_y > 0:
            self.release_anchor()
            self.scroll_home(animate=False, immediate=True)

    def reach(self, index: int) -> None:
        """Show messages from number `index` on, so many as can be shown at once."""
        if self._chat is None or index >= self._from:
            return
        self._from = max(index, 0)
        turns = self._chat.turns
        self._lay(turns[self._from : self._from + _LONGEST_WINDOW], anew=True)
        self.release_anchor()

    @property
    def lines_below(self) -> int:
        """How many lines lie below what is in view."""
        return max(round(self.max_scroll_y - self.scroll_y), 0) if self.max_scroll_y > 0 else 0

    def _widget(self, turn: Turn) -> Said | LiveAnswer:
        if turn.state is TurnState.LIVE:
            return LiveAnswer(turn, opens_thoughts=self._opens_folds, rows_step=self.rows_step)
        return Said(turn, self._look(turn), self.messages.content_size.width)
