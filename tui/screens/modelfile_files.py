"""Files of the Modelfile editor: opened, saved, and written in the user's own editor."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual import work

from corral.store.errors import ModelfileError
from corral.store.modelfile import decode
from corral.tui.dialogs.ask import AskDialog
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.external_editor import edit_in_editor
from corral.tui.paths import PathSuggester
from corral.tui.screens.modelfile_preview import PreviewVerbs

_LONGEST_FILE = 1 << 20


def read_modelfile(path: Path) -> str:
    """The text of a file.

    Raises:
        ModelfileError: it is none that can be read, or far too long for a Modelfile.
    """
    try:
        if not path.is_file():
            raise ModelfileError(f"{path} is not a file")
        if path.stat().st_size > _LONGEST_FILE:
            raise ModelfileError(f"{path} is longer than a Modelfile can be")
        return decode(path.read_bytes())
    except OSError as error:
        raise ModelfileError(f"{path}: {error.strerror}") from None


def _version(path: Path) -> tuple[int, int] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_mtime_ns, info.st_size


class FileVerbs(PreviewVerbs):
    """Brings texts in and out. What was typed is never thrown away without asking."""

    def __init__(self) -> None:
        super().__init__()
        self.path: Path | None = None
        self._read_as: tuple[int, int] | None = None

    def put(self, name: str, text: str, path: Path | None) -> None:
        """Edit this text."""
        raise NotImplementedError

    def settled(self) -> None:
        """Take note that nothing typed would be lost now."""
        raise NotImplementedError

    @property
    def is_dirty(self) -> bool:
        """Whether the text differs from what was opened, saved or created."""
        return self.editor.text != self.saved

    async def may_lose_text(self) -> bool:
        """Ask where something would be lost."""
        if not self.is_dirty:
            return True
        lines = ["What you typed is neither saved nor created."]
        dialog = ConfirmDialog("Throw this draft away?", lines, "Throw away", "No, keep it")
        is_sure = await self.app.push_screen_wait(dialog)
        return is_sure

    @work(exclusive=True, group="ask", exit_on_error=False)
    async def action_save(self) -> None:
        """Ask where to, and save the draft; ask again where somebody else wrote the file meanwhile."""
        value = str(self.path) if self.path is not None else "Modelfile"
        dialog = AskDialog("Save the draft", ["The file to write."], value=value, suggester=PathSuggester())
        answer = await self.app.push_screen_wait(dialog)
        if not answer:
            return
        path = Path(answer).expanduser().absolute()
        is_ours = path == self.path and _version(path) == self._read_as
        if path.exists() and not is_ours:
            why = "It was changed since you opened it." if path == self.path else "It exists already."
            question = ConfirmDialog("Overwrite this file?", [f"  {path}", "", why], "Overwrite", "No, keep it")
            if not await self.app.push_screen_wait(question):
                return
        text = self.editor.text
        try:
            await asyncio.to_thread(path.write_text, text, encoding="utf-8")
        except OSError as error:
            self.tell_error(f"{path}: {error.strerror}")
            return
        self.path, self.saved, self._read_as = path, text, _version(path)
        self.tell(f"saved {path}")
        self.settled()

    @work(exclusive=True, group="ask", exit_on_error=False)
    async def action_open_file(self) -> None:
        """Ask which file, and edit it."""
        answer = await self.app.push_screen_wait(
            AskDialog("Open a Modelfile", ["The file to read."], value="Modelfile", suggester=PathSuggester())
        )
        if not answer or not await self.may_lose_text():
            return
        path = Path(answer).expanduser().absolute()
        try:
            text = await asyncio.to_thread(read_modelfile, path)
        except ModelfileError as error:
            self.tell_error(str(error))
            return
        self.put("", text, path)
        self._read_as = _version(path)

    @work(exclusive=True, group="ask", exit_on_error=False)
    async def action_edit_external(self) -> None:
        """Write in the user's own editor; the text comes back as an edit that can be undone."""
        before = self.editor.text
        after = await edit_in_editor(self.app, before, suffix=".Modelfile")
        if after is not None and after != before.removesuffix("\n"):
            document = self.editor.document
            self.editor.replace(after, (0, 0), document.end)
        self.editor.focus()
