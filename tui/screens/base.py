"""What every screen of the workbench shares: header, footer, keys from the registry, snapshots."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import Screen

from corral.runtime.snapshot import Snapshot
from corral.tui.actions import Where, actions_for, bindings_for
from corral.tui.compositing import ChangedRows
from corral.tui.frame_timing import SoonDrawn
from corral.tui.link import ServiceLink
from corral.tui.widgets.chrome import Header, TooSmall
from corral.tui.widgets.key_line import KeyLine

if TYPE_CHECKING:
    from corral.tui.app import WorkbenchApp

__all__ = ["WorkbenchScreen"]


@cache
def _names(where: Where) -> frozenset[str]:
    places = (where, Where.TRANSFERS) if where is Where.MODELS else (where,)
    actions = [action.action for place in places for action in actions_for(place)]
    return frozenset(action.removeprefix("screen.").partition("(")[0] for action in actions)


class WorkbenchScreen(SoonDrawn, Screen[None]):
    """A screen of the workbench. Subclasses set `WHERE`, compose their body and take snapshots."""

    WHERE: ClassVar[Where]
    """The place whose actions are bound here; `BINDINGS` is made from it."""
    CHANGING: ClassVar[frozenset[str]] = frozenset()
    """Actions that a screen opened with --read-only refuses."""

    def __init__(self) -> None:
        super().__init__()
        self._compositor = ChangedRows()

    def __init_subclass__(cls, *args: object, **kwargs: object) -> None:
        if "WHERE" in cls.__dict__ and "BINDINGS" not in cls.__dict__:
            cls.BINDINGS = bindings_for(cls.WHERE)  # type: ignore[assignment]
        super().__init_subclass__(*args, **kwargs)  # type: ignore[arg-type]

    def compose(self) -> ComposeResult:
        """Put the body between header and footer."""
        yield Header(self.WHERE)
        with Container(id="body"):
            yield from self.compose_body()
        yield KeyLine(self.refused, self.word_of)
        yield TooSmall()

    def compose_body(self) -> ComposeResult:
        """Yield the widgets of this screen."""
        yield from ()

    @property
    def workbench(self) -> WorkbenchApp:
        """The app, as what it is."""
        return cast("WorkbenchApp", self.app)

    @property
    def link(self) -> ServiceLink:
        """The way to the service."""
        return self.workbench.link

    was_seen: bool = False
    """Whether it has been the visible one, as one that was composed ahead has not."""

    @property
    def is_in_view(self) -> bool:
        """Whether it is the one that is seen, if only behind a dialog."""
        return self.app.screen_stack[:1] == [self]

    @on(events.ScreenResume)
    def _resumed(self, event: events.ScreenResume) -> None:
        """Keep the styles: nothing here looks otherwise for having been away, and another theme comes by itself."""
        event.refresh_styles = False
        self.was_seen = self.was_seen or self.is_current

    @property
    def has_undo(self) -> bool:
        """Whether `action_undo` would take something back that was done on this screen."""
        return False

    @property
    def models_meant(self) -> tuple[str, ...]:
        """The models that keys would act on, or that it is about here."""
        return ()

    def refusal(self, action: str) -> str:
        """Why an action would come to nothing now, for who presses its key all the same; "" where it would not."""
        is_change = self.workbench.is_read_only and action in self.CHANGING
        return "this screen is read-only: it was opened with --read-only" if is_change else ""

    def refused(self) -> frozenset[str]:
        """The actions of this place that would come to nothing now."""
        if not self.is_mounted:
            return frozenset()
        return frozenset(name for name in _names(self.WHERE) if self.refusal(name))

    def word_of(self, action: str, word: str) -> str:
        """What the footer says that an action does now, which is `word` unless a screen knows better."""
        return word

    def draw_keys(self) -> None:
        """Show in the footer which keys come to nothing, if that has changed."""
        if self.is_mounted:
            self.query_one(KeyLine).look_again()

    def _compositor_refresh(self) -> None:
        """Draw what has changed; all of it later while screens change, when Textual draws it and throws it away."""
        if self.app._batch_count:
            self._repaint_required = True
        else:
            super()._compositor_refresh()

    def draw_unseen(self) -> None:
        """Work out rows that nobody sees yet: they stay known until they change."""
        if not self.is_current:
            self._compositor.render_strips()

    def take_snapshot(self, snapshot: Snapshot) -> None:
        """Hand a snapshot to the header and to `show_snapshot`."""
        self.query_one(Header).show(snapshot)
        self.show_snapshot(snapshot)
        self.draw_keys()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draw what changes by itself. Called by the app's one timer while this screen is the visible one."""
