"""What screens share that call verbs: an error becomes a line for the reader, never the end of the app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from textual.widgets import Static
from textual.worker import Worker, WorkerState

from corral.runtime.errors import RunError
from corral.runtime.verbs import Client
from corral.store.errors import StoreError
from corral.tui.dialogs.dialog import Dialog
from corral.tui.screens.base import WorkbenchScreen
from corral.tui.text import clean

T = TypeVar("T")


class CallingScreen(WorkbenchScreen):
    """A screen whose keys call verbs."""

    async def try_verb(self, verb: Callable[[Client], Awaitable[T]]) -> T | None:
        """The answer of a verb, or None after telling why there is none."""
        try:
            return await self.link.call(verb)
        except (StoreError, RunError) as error:
            self.tell_error(str(error))
            return None

    async def confirmed(self, dialog: Dialog[Any]) -> bool:
        """Whether the user says yes, or types what is asked for; that goes without saying where `:set confirm off`.

        Only for what can be undone or begun again; the rest asks always.
        """
        if not self.workbench.confirms:
            return True
        return bool(await self.app.push_screen_wait(dialog))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Tell what nobody expected, too: work that ends so must not end unseen."""
        if event.state is WorkerState.ERROR and event.worker.node is self:
            error = event.worker.error
            self.tell_error(f"{type(error).__name__}: {error}")

    def tell(self, text: str) -> None:
        """Say something in passing."""
        self.notify(clean(text), markup=False, timeout=4)

    def tell_error(self, text: str) -> None:
        """Say what went wrong; not of a screen nobody has asked for yet, which asks again when it is shown."""
        if self.was_seen:
            self.notify(clean(text), severity="error", markup=False)

    def write(self, selector: str, text: str) -> None:
        """Put a text of ours into a `Static` of fixed size, if it says something else."""
        static = self.query_one(selector, Static)
        if static.content != text:
            static.update(text, layout=False)
