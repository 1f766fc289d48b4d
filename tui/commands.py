"""What the palette finds: actions with their keys, models to chat with, themes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from corral.runtime.errors import RunError
from corral.runtime.verbs import ModelSummary
from corral.store.errors import StoreError
from corral.tui.actions import ACTIONS, Action, Where, shown_keys
from corral.tui.screens.base import WorkbenchScreen
from corral.tui.text import clean_line

if TYPE_CHECKING:
    from corral.tui.app import WorkbenchApp

__all__ = ["WorkbenchCommands"]


@dataclass(frozen=True, slots=True)
class _Command:
    text: str
    about: str
    run: Callable[[], Any]


class WorkbenchCommands(Provider):
    """Commands of the app, of the screen below the palette, of every model and theme."""

    _models: tuple[ModelSummary, ...] = ()

    @property
    def _workbench(self) -> WorkbenchApp:
        return cast("WorkbenchApp", self.app)

    async def startup(self) -> None:
        """Ask for the models once; without an answer the palette has the rest."""
        try:
            self._models = tuple(await self._workbench.link.call(lambda client: client.list_models()))
        except (StoreError, RunError) as error:
            self.app.notify(clean_line(str(error)), severity="error", markup=False)

    def _commands(self) -> Iterator[_Command]:
        where = self.screen.WHERE if isinstance(self.screen, WorkbenchScreen) else None
        for action in ACTIONS:
            if action.where in (Where.APP, where) and self._is_offered(action):
                namespace = self.app if action.where is Where.APP else self.screen
                run = partial(self.app.run_action, action.action, namespace)
                yield _Command(action.description, shown_keys(action, self._workbench.keys.changed), run)
        for model in filter(lambda model: model.chats, self._models):
            name = clean_line(model.name)
            yield _Command(f"Chat with {name}", "", partial(self._workbench.open_chat, model.name))
        for name in sorted(self.app.available_themes):
            yield _Command(f"Theme {name}", "", partial(self._use_theme, name))

    def _is_offered(self, action: Action) -> bool:
        """Leave out what has a twin, what cannot be done now, and this palette itself."""
        if action.id.endswith(".always") or action.id.startswith(("command", "nav.")):
            return False
        if action.where is Where.APP:
            return True
        name = action.action.partition("(")[0]
        return self.screen.check_action(name, ()) is not False

    def _use_theme(self, name: str) -> None:
        self.app.theme = name

    async def discover(self) -> Hits:
        """List what can be done before anything is typed."""
        for command in self._commands():
            display = Content.assemble(command.text, (f"  {command.about}", "dim"))
            yield DiscoveryHit(display, command.run, text=command.text)

    async def search(self, query: str) -> Hits:
        """Find commands by their letters."""
        matcher = self.matcher(query)
        for command in self._commands():
            score = matcher.match(command.text)
            if score > 0:
                display = Content.assemble(matcher.highlight(command.text), (f"  {command.about}", "dim"))
                yield Hit(score, display, command.run, text=command.text)
