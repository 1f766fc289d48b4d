"""The keys that bring models into memory, keep them there and take them out, for a screen that has one highlighted."""

from __future__ import annotations

from functools import partial

from textual import work

from corral.runtime.snapshot import ModelView
from corral.tui.chats import new_caller
from corral.tui.figures import clock
from corral.tui.link import ServiceLink
from corral.tui.loading import load
from corral.tui.screens.calling import CallingScreen
from corral.tui.text import clean_line

__all__ = ["MemoryKeys"]

_MORE_S = 300.0


class MemoryKeys(CallingScreen):
    """Load, unload, pin and extend. Subclasses say which model is meant."""

    def __init__(self) -> None:
        super().__init__()
        self._last_unloaded: tuple[ServiceLink, str] | None = None

    @property
    def highlighted_model(self) -> ModelView | None:
        """The model under the cursor."""
        raise NotImplementedError

    @property
    def models_meant(self) -> tuple[str, ...]:
        """The model under the cursor."""
        model = self.highlighted_model
        return (model.name,) if model is not None else ()

    @work(group="unload", exit_on_error=False)
    async def action_unload(self) -> None:
        """Take the model under the cursor out of memory."""
        model = self.highlighted_model
        if model is None:
            return
        await self.try_verb(lambda client: client.unload(model.name))
        self._last_unloaded = self.link, model.name
        later = " once its requests are done" if model.slots_used else ""
        self.tell(f"{model.name} goes{later} · U loads it again")

    @property
    def has_undo(self) -> bool:
        """Whether a model was unloaded here, of the server that is shown."""
        return self._last_unloaded is not None and self._last_unloaded[0] is self.link

    def action_undo(self) -> None:
        """Load the model that was unloaded last."""
        last, self._last_unloaded = self._last_unloaded, None
        if last is not None and last[0] is self.link:
            self._load(last[1])
        else:
            self.tell("nothing was unloaded here · :undo brings deleted models back")

    @work(group="load", exit_on_error=False)
    async def action_load(self) -> None:
        """Choose a model on disk to be loaded."""
        models = await self.try_verb(lambda client: client.list_models())
        if models:
            choices = [(clean_line(one.name), partial(self._load, one.name), "") for one in models]
            self.app.search_commands(choices, placeholder="Load which model?")
        elif models is not None:
            self.tell("there is no model on disk")

    @work(group="load", exit_on_error=False)
    async def _load(self, model: str, keep_alive_s: float | None = None) -> None:
        if keep_alive_s is None:
            self.tell(f"loading {model}")
        await self.try_verb(lambda client: load(client, model, keep_alive_s, caller=new_caller))

    @work(group="pin", exit_on_error=False)
    async def action_pin(self) -> None:
        """Keep the model under the cursor for ever, or no longer."""
        model = self.highlighted_model
        if model is not None:
            await self.try_verb(lambda client: client.pin(model.name, pinned=not model.pinned))
            self.tell(f"{model.name} {'is no longer pinned' if model.pinned else 'stays: P lets it go again'}")

    def action_extend(self) -> None:
        """Let the model under the cursor stay five minutes longer."""
        model = self.highlighted_model
        if model is None:
            return
        left = model.expires_in_s if model.expires_in_s is not None else model.keep_alive_s
        if model.pinned or left == float("inf"):
            self.tell(f"{model.name} stays for ever already")
            return
        self._load(model.name, left + _MORE_S)
        self.tell(f"{model.name} stays {clock(left + _MORE_S)} after its last request")
