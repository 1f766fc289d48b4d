"""What the keys of the Models screen do with models: one under the cursor, or all that are marked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from textual import work
from textual.timer import Timer

from corral.runtime.errors import RunError
from corral.runtime.verbs import FOREVER, DeletePlan, ModelSummary
from corral.store.errors import StoreError
from corral.tui.chats import new_caller
from corral.tui.dialogs.ask import AskDialog, check_model_name
from corral.tui.dialogs.cleanup import cleanup_dialog
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.delete import carry_out, delete_dialog
from corral.tui.exhausting import exhaust
from corral.tui.figures import size
from corral.tui.link import ServiceLink
from corral.tui.loading import load
from corral.tui.screens.transfer_verbs import TransferVerbs
from corral.tui.text import clean_line


@dataclass(frozen=True, slots=True)
class Doomed:
    """Models that were deleted and are there still, until `at` (monotonic seconds): so long it can be undone."""

    names: tuple[str, ...]
    at: float
    timer: Timer


def back_words(names: Sequence[str]) -> str:
    """What to tell of models that came out of the trash."""
    return f"{_counted(names)} {'is' if len(names) == 1 else 'are'} back"


def _counted(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} models"


class ModelVerbs(TransferVerbs):
    """Verbs of models. `undo_s` is how long a deletion waits before it is carried out."""

    undo_s = 10.0

    def __init__(self) -> None:
        super().__init__()
        self.doomed: list[Doomed] = []
        self.newer: set[str] = set()
        self._unloaded: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[ModelSummary, ...]:
        """The models on disk."""
        raise NotImplementedError

    @property
    def highlighted(self) -> ModelSummary | None:
        """The model under the cursor."""
        raise NotImplementedError

    @property
    def chosen(self) -> tuple[str, ...]:
        """The marked models, else the one under the cursor."""
        raise NotImplementedError

    @property
    def every_name(self) -> tuple[str, ...]:
        """All models."""
        raise NotImplementedError

    @property
    def pinned(self) -> frozenset[str]:
        """The models that stay in memory for ever."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw the list again."""
        raise NotImplementedError

    @property
    def going(self) -> dict[str, float]:
        """Models that will be deleted, with the seconds until then."""
        now = time.monotonic()
        return {name: max(0.0, one.at - now) for one in self.doomed for name in one.names}

    async def _load(self, model: str, keep_alive_s: float | None = None) -> bool:
        return bool(await self.try_verb(lambda client: load(client, model, keep_alive_s, caller=new_caller)))

    @work(group="load", exit_on_error=False)
    async def action_load(self) -> None:
        """Load the models."""
        names = self.chosen
        if names:
            self.tell(f"loading {_counted(names)}")
        for name in names:
            await self._load(name)

    @work(group="load", exit_on_error=False)
    async def action_unload(self) -> None:
        """Take the models out of memory."""
        names = self.chosen
        for name in names:
            await self.try_verb(lambda client, name=name: client.unload(name))  # type: ignore[misc]
        if names:
            self._unloaded = names
            self.tell(f"unloading {_counted(names)} · U loads again")

    @work(group="load", exit_on_error=False)
    async def action_pin(self) -> None:
        """Keep the models in memory for ever; where they all are, let them go in their time."""
        names = self.chosen
        pins = not set(names) <= self.pinned
        for name in names:
            if await self._load(name, FOREVER if pins else None):
                self.tell(f"{name} stays in memory for ever" if pins else f"{name} goes when it is idle for long")

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_delete(self) -> None:
        """Show what deleting the models frees; on a yes they go, after a while in which it can be undone."""
        names = [name for name in self.chosen if name not in self.going]
        plan = await self.try_verb(lambda client: client.plan_delete(names)) if names else None
        if plan is None or not await self.confirmed(delete_dialog(plan, self.undo_s)):
            return
        timer = self.set_timer(self.undo_s, partial(self._carry_out, plan, self.link))
        self.doomed.append(Doomed(plan.models, time.monotonic() + self.undo_s, timer))
        self.tell(f"deleting {_counted(plan.models)} in {self.undo_s:.0f} s · U undoes it")
        self.redraw()

    @work(group="delete", exit_on_error=False)
    async def _carry_out(self, plan: DeletePlan, link: ServiceLink) -> None:
        if link is not self.link:
            return  # another server is shown, which may have models of these names
        await self.try_verb(partial(carry_out, plan))
        self._unloaded = ()
        self.doomed = [one for one in self.doomed if one.names != plan.models]
        self.reread()

    def forget_server(self) -> None:
        """Another server is shown now: delete nothing that waits for it, and take nothing back there."""
        for one in self.doomed:
            one.timer.stop()
        self.doomed, self._unloaded = [], ()
        self.newer.clear()

    @property
    def has_undo(self) -> bool:
        """Whether a deletion waits, or something was unloaded here; the trash is another matter."""
        return bool(self.doomed or self._unloaded)

    async def action_undo(self) -> None:
        """Keep what was deleted last, else load again what was unloaded last, else take it out of the trash."""
        if self.doomed:
            last = self.doomed.pop()
            last.timer.stop()
            self.tell(f"kept {_counted(last.names)}")
            self.redraw()
        elif self._unloaded:
            names, self._unloaded = self._unloaded, ()
            self.tell(f"loading {_counted(names)} again")
            for name in names:
                await self._load(name)
        elif names := tuple(await self.try_verb(lambda client: client.restore()) or ()):
            self.tell(back_words(names))
            self.reread()
        else:
            self.tell("nothing to undo")

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_copy(self) -> None:
        """Ask for a second name of the model under the cursor."""
        if (model := self.highlighted) is not None:
            await self._named_anew(model.name, "Copy", f"A second name for {model.name}; no bytes are copied.", False)

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_rename(self) -> None:
        """Ask for another name of the model under the cursor."""
        if (model := self.highlighted) is not None:
            await self._named_anew(model.name, "Rename", f"The new name of {model.name}.", True)

    async def _named_anew(self, old: str, title: str, line: str, removes: bool) -> None:
        dialog = AskDialog(title, [line], value=old if removes else "", check=check_model_name)
        answer = await self.app.push_screen_wait(dialog)
        full = f"{answer}:latest" if answer and ":" not in answer.rsplit("/", 1)[-1] else answer
        if not full or full == old:
            return
        if full in self.every_name:
            question = ConfirmDialog("Replace this model?", [f"  {full} exists already."], "Replace", "No, keep it")
            if not await self.app.push_screen_wait(question):
                return
        try:
            await self.link.call(lambda client: client.copy(old, full))
            if removes:
                await self.link.call(lambda client: client.delete(old))
        except (StoreError, RunError) as error:
            self.tell_error(str(error))
        self.reread()

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_push(self) -> None:
        """Ask whether to send the model under the cursor to the registry its name says, and send it."""
        if (model := self.highlighted) is None:
            return
        lines = [f"  {model.name}", "", "It goes to the registry of its name: [host/]namespace/model:tag."]
        if await self.app.push_screen_wait(ConfirmDialog("Push this model?", lines, "Push", "No")):
            self._push(model.name)

    @work(group="push", exit_on_error=False)
    async def _push(self, name: str) -> None:
        caller = new_caller("/api/push")
        if await self.try_verb(lambda client: exhaust(client.push(name, caller=caller))):
            self.tell(f"pushed {name}")

    @work(group="verify", exit_on_error=False)
    async def action_verify(self) -> None:
        """Read every byte of the models again."""
        names = self.chosen
        whole = 0
        for name in names:
            whole += await self._is_whole(name)
        if whole:
            self.tell(f"{whole} of {len(names)} models are whole")

    async def _is_whole(self, name: str) -> bool:
        caller = new_caller("verify")
        return bool(await self.try_verb(lambda client: exhaust(client.verify(name, caller=caller))))

    def action_update(self) -> None:
        """Pull the chosen models again; of parts that are here nothing is fetched."""
        for name in self.chosen:
            self.newer.discard(name)
            self.pull(name)

    @work(group="outdated", exclusive=True, exit_on_error=False)
    async def action_outdated(self) -> None:
        """Ask the registries which of the marked models, else of all, have newer versions."""
        names = self.chosen if len(self.chosen) > 1 else self.every_name
        digests = {model.name: model.digest for model in self.models}
        for name in names:
            try:
                plan = await self.link.call(lambda client, name=name: client.plan_pull(name))  # type: ignore[misc]
            except (StoreError, RunError):
                continue  # made here, or from a registry that cannot be asked: nothing newer is known
            if plan.digest and plan.digest != digests.get(name):
                self.newer.add(name)
            else:
                self.newer.discard(name)
        self.redraw()
        found = [name for name in names if name in self.newer]
        self.tell(f"newer: {', '.join(found)}" if found else "nothing newer is known")

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_clean_up(self) -> None:
        """Show what no model needs and what lies in the trash, and remove it on a yes."""
        plan = await self.try_verb(lambda client: client.plan_cleanup())
        if plan is None:
            return
        if not plan.files and not plan.trash:
            self.tell("every file in the model folder is needed, or younger than an hour")
            return
        if await self.app.push_screen_wait(cleanup_dialog(plan, time.time())):
            freed = await self.try_verb(lambda client: client.clean_up())
            if freed is not None:
                self.tell(f"freed {size(freed)}")

    def action_copy_name(self) -> None:
        """Copy the names of the chosen models to the clipboard."""
        if self.chosen:
            self.app.copy_to_clipboard("\n".join(map(clean_line, self.chosen)))
