"""Fetching models from a screen: the dialog, pulls with their rate, pause, resume, what was left."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from textual import work

from corral.runtime.errors import RequestCanceled, RunError
from corral.runtime.recipe import create_from_modelfile
from corral.runtime.snapshot import EMPTY, Snapshot, TransferView
from corral.runtime.upkeep import UnfinishedPull
from corral.store.errors import ModelfileError, StoreError
from corral.store.modelfile import Command, Modelfile
from corral.tui.chats import new_caller
from corral.tui.dialogs.ask import AskDialog, check_model_name
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.pull import PullDialog, PullWanted, explained
from corral.tui.exhausting import exhaust
from corral.tui.figures import size
from corral.tui.paths import PathSuggester, is_path
from corral.tui.screens.calling import CallingScreen
from corral.tui.widgets.panel import Panel
from corral.tui.widgets.transfers import Transfers


class TransferVerbs(CallingScreen):
    """What the keys of the transfers do. A paused pull is one that was stopped: going on pulls it again."""

    snapshot: Snapshot = EMPTY
    unfinished: tuple[UnfinishedPull, ...] = ()
    _is_asking = False

    def reread(self) -> None:
        """Read the listing of models again."""
        raise NotImplementedError

    def focus_list(self) -> None:
        """Give the keys back to the list of models."""
        raise NotImplementedError

    @property
    def transfers(self) -> Transfers:
        """The list of transfers."""
        return self.query_one(Transfers)

    def draw_transfers(self) -> None:
        """Show what is under way and what was left."""
        under_way = self.snapshot.transfers
        busy = {transfer.model for transfer in under_way}
        left = [pull for pull in self.unfinished if pull.model not in busy]
        panel = self.query_one("#transfers-panel", Panel)
        # A pull that was paused is no transfer any more and not yet known as left: its place stays, with the focus.
        is_shown = bool(under_way or left) or (self._is_asking and panel.has_class("-some"))
        if not is_shown and self.transfers.has_focus:
            self.focus_list()
        panel.set_class(is_shown, "-some")
        title = f"Transfers {len(under_way)}" + (f" · {len(left)} partial" if left else "")
        panel.entitle(title, "Tab here: ␣ pause · r resume · x cancel · d drop")
        self.transfers.show(under_way, left, datetime.now(UTC))

    @work(exclusive=True, group="unfinished", exit_on_error=False)
    async def read_unfinished(self) -> None:
        """Ask which pulls were left."""
        self._is_asking = True
        found = await self.try_verb(lambda client: client.unfinished_pulls())
        self._is_asking = False
        if found is not None:
            self.unfinished = tuple(found)
        self.draw_transfers()

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_pull(self) -> None:
        """Ask what to fetch, and fetch it."""
        wanted = await self.app.push_screen_wait(PullDialog(self.link, starter=self.workbench.starter))
        if wanted is not None:
            self.fetch(wanted)

    def fetch(self, wanted: PullWanted) -> None:
        """Fetch a model, or take in the file that a path means."""
        if is_path(wanted.what):
            self._import(wanted.what)
        else:
            self.pull(wanted.what, wanted.limit_rate)

    @work(group="pull", exit_on_error=False)
    async def pull(self, what: str, limit_rate: int = 0, *, insecure: bool = False) -> None:
        """Fetch a model; the screen may be left meanwhile."""
        caller = new_caller("/api/pull")
        try:
            await self.link.call(
                lambda client: exhaust(client.pull(what, insecure=insecure, limit_rate=limit_rate, caller=caller))
            )
            self.tell(f"pulled {what}")
        except RequestCanceled:
            self.tell(f"stopped pulling {what}; what came is kept")
        except (StoreError, RunError) as error:
            self.tell_error(explained(error))
        self.read_unfinished()
        self.reread()

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_import_file(self, path: str | None = None) -> None:
        """Make a model of a GGUF file, which is asked for unless it is said."""
        dialog = AskDialog(
            "Import a GGUF file",
            ["The path of a file on this machine. → takes the completion."],
            placeholder="~/models/",
            check=lambda text: "" if is_path(text) else "a path begins with /, ./ or ~",
            suggester=PathSuggester(".gguf"),
        )
        if path := path or await self.app.push_screen_wait(dialog):
            self._import(path)

    @work(group="import", exit_on_error=False)
    async def _import(self, text: str) -> None:
        path = Path(text).expanduser().absolute()
        if not path.is_file():
            self.tell_error(f"{path} is not a file")
            return
        name = path.name.removesuffix(".gguf").lower()
        dialog = AskDialog(
            "Import a GGUF file", [f"{path}, {size(path.stat().st_size)}.", "What shall it be called?"],
            value=name, check=check_model_name,
        )  # fmt: skip
        answer = await self.app.push_screen_wait(dialog)
        if not answer:
            return
        recipe = Modelfile((Command("from", (str(path),)),))
        caller = new_caller("/api/create")
        self.tell(f"importing {path.name}")
        try:
            await self.link.call(
                lambda client: exhaust(create_from_modelfile(client, answer, recipe, path.parent, caller=caller))
            )
            self.tell(f"imported {answer}")
        except (StoreError, RunError, ModelfileError) as error:
            self.tell_error(str(error))
        self.reread()

    def _transfer(self) -> TransferView | None:
        """The transfer under the cursor, else the only one."""
        under_way = {one.id: one for one in self.snapshot.transfers}
        key = self.transfers.transfer_id if self.transfers.has_focus or len(under_way) == 1 else None
        return under_way.get(key or "")

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_cancel(self) -> None:
        """Ask whether to stop a transfer."""
        transfer = self._transfer()
        if transfer is None:
            if self.snapshot.transfers:
                self.transfers.focus()
            else:
                self.tell("nothing is being fetched or sent")
            return
        lines = [f"  {transfer.model}", "", "What came of a pull is kept: it can be resumed."]
        if await self.confirmed(ConfirmDialog("Cancel this transfer?", lines, "Cancel it", "No, go on")):
            await self.try_verb(lambda client: client.cancel(transfer.id))

    async def action_pause(self) -> None:
        """Stop the pull under the cursor, or go on with it where it was left."""
        if self.transfers.unfinished_model is not None:
            self.action_resume()
        elif (transfer := self._transfer()) is not None:
            await self.try_verb(lambda client: client.cancel(transfer.id))

    def action_resume(self) -> None:
        """Go on with the pull under the cursor that was left."""
        model = self.transfers.unfinished_model
        pull = next((one for one in self.unfinished if one.model == model), None)
        if pull is not None:
            self.pull(pull.model, pull.limit_rate, insecure=pull.insecure)

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_drop(self) -> None:
        """Ask whether to remove what came of a pull that was left."""
        model = self.transfers.unfinished_model
        pull = next((one for one in self.unfinished if one.model == model), None)
        if pull is None:
            self.tell("only what was left can be dropped: ␣ pauses the pull, then d drops it")
            return
        lines = [f"  {pull.model}", "", f"{size(pull.completed)} that came are removed from the disk."]
        if await self.app.push_screen_wait(ConfirmDialog("Drop this pull?", lines, "Drop it", "No, keep")):
            await self.try_verb(lambda client: client.drop_unfinished(pull.model))
            self.read_unfinished()

    def action_leave_transfers(self) -> None:
        """Go back to the models."""
        self.focus_list()
