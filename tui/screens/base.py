"""What every screen of the workbench shares: header, footer, keys from the registry, snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import Screen

from corral.runtime.snapshot import Snapshot
from corral.tui.actions import Where, bindings_for
from corral.tui.link import ServiceLink
from corral.tui.widgets.chrome import Header, TooSmall
from corral.tui.widgets.key_line import KeyLine

if TYPE_CHECKING:
    from corral.tui.app import WorkbenchApp

__all__ = ["WorkbenchScreen"]


class WorkbenchScreen(Screen[None]):
    """A screen of the workbench. Subclasses set `WHERE`, compose their body and take snapshots."""

    WHERE: ClassVar[Where]
    """The place whose actions are bound here; `BINDINGS` is made from it."""

    def __init_subclass__(cls, *args: object, **kwargs: object) -> None:
        if "WHERE" in cls.__dict__ and "BINDINGS" not in cls.__dict__:
            cls.BINDINGS = bindings_for(cls.WHERE)  # type: ignore[assignment]
        super().__init_subclass__(*args, **kwargs)  # type: ignore[arg-type]

    def compose(self) -> ComposeResult:
        """Put the body between header and footer."""
        yield Header(self.WHERE)
        with Container(id="body"):
            yield from self.compose_body()
        yield KeyLine()
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

    @on(events.ScreenResume)
    def _resumed(self, event: events.ScreenResume) -> None:
        """Keep the styles: nothing here looks otherwise for having been away, and another theme comes by itself."""
        event.refresh_styles = False
        self.was_seen = self.was_seen or self.is_current

    def take_snapshot(self, snapshot: Snapshot) -> None:
        """Hand a snapshot to the header and to `show_snapshot`."""
        self.query_one(Header).show(snapshot)
        self.show_snapshot(snapshot)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draw what changes by itself. Called by the app's one timer while this screen is the visible one."""
