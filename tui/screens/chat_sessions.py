"""Keys of the Chat screen that act on whole chats: found, opened again, named, exported, deleted."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from corral.store.sessions import SavedSession
from corral.tui.chats import Chat
from corral.tui.dialogs.ask import AskDialog
from corral.tui.exporting import ExportFormat, export_text, file_name, write_export
from corral.tui.screens.chat_base import ChatBase
from corral.tui.session_keeper import SessionKeeper, sessions_path
from corral.tui.turns import Turn
from corral.tui.widgets.prompt_box import HISTORY

if TYPE_CHECKING:
    from corral.tui.dialogs.sessions import SessionChoice

__all__ = ["SessionKeys"]

_SAVE_S = 1.0


class SessionKeys(ChatBase):
    """Keeps chats on disk while they grow, and brings them back."""

    def __init__(self) -> None:
        super().__init__()
        self._keeper: SessionKeeper | None = None
        self._known: dict[str, SavedSession] = {}

    @property
    def keeper(self) -> SessionKeeper:
        """The way to the disk."""
        if self._keeper is None:
            self._keeper = SessionKeeper(sessions_path(self.workbench.environ), self.tell_error)
        return self._keeper

    @property
    def usual_model(self) -> str:
        """What a new chat begins with: the model of the last one, if it is still here; "" where there is none."""
        here = [one.name for one in self.models]
        last = sorted(self._known.values(), key=lambda one: one.changed_s, reverse=True)
        return next((one.model for one in last if one.model in here), here[0] if here else "")

    def begin_keeping(self) -> None:
        """List the saved chats, remember their prompts, and write what is said from now on."""
        if self.keeper.is_keeping:
            self.start(self._bring, "sessions", exclusive=False)
            self.set_interval(_SAVE_S, self.save)

    def save(self) -> None:
        """Write what has changed; an answer that is coming in too."""
        self.keeper.save(self.chats.all)

    def on_unmount(self) -> None:
        """Write the rest."""
        for chat in self.chats.all:
            chat.poll()
        self.keeper.close(self.chats.all)

    async def _bring(self) -> None:
        saved = await self.keeper.sessions()
        untouched = self.chat.is_empty and self.chat.model == self.usual_model != self.workbench.start_model
        self._known.update({one.id: one for one in saved})
        self.chats.bring(saved)
        if untouched:
            self.chat.model = self.usual_model
        self.prompt.remember(await self.keeper.prompts(HISTORY))
        self.show_chats()

    async def read(self, chat: Chat) -> bool:
        """Read what was said in a saved chat, if that has not been done; False where it cannot be."""
        if not chat.is_there:
            turns = await self.keeper.turns(chat.id)
            if turns is None:
                return False
            chat.fill(self._known.get(chat.id, chat.saved()), turns)
        return True

    def visit(self, chat: Chat, turn_id: str = "", words: str = "") -> None:
        """Show a chat; `turn_id` names the message to look at, for `words` in it."""
        self.chats.select(lambda one: one is chat)
        self.show_chats()
        if turn_id:
            self.fetch(chat, turn_id, words)

    def fetch(self, chat: Chat, turn_id: str = "", words: str = "") -> None:
        """Read what was said in a chat, and show it then."""
        self.start(partial(self._visit, chat, turn_id, words), "visit")

    async def _visit(self, chat: Chat, turn_id: str, words: str) -> None:
        if await self.read(chat) and self.chat is chat:
            turn = next((one for one in chat.root.walk() if one.id == turn_id), None)
            if turn is not None:
                _pick(turn)
            self.show_chats()
            if turn is not None:
                self.transcript.reach(chat.turns.index(turn))
                self.transcript.choose(turn)
                self.look_for(_said(words, turn))
                self.transcript.focus()

    def look_for(self, words: str) -> None:
        """Mark words wherever they are said in this chat, for keys to go from one place to the next."""
        raise NotImplementedError

    def action_sessions(self, words: str = "") -> None:
        """Find chats."""
        if not self.keeper.is_keeping:
            self.tell("Chats are not kept here, so there are none to find")
            return
        from corral.tui.dialogs.sessions import SessionsDialog  # read in ahead, but not of the first frame

        self.save()
        self.app.push_screen(SessionsDialog(self.keeper.search, words=words), self._do)

    def _do(self, choice: SessionChoice | None) -> None:
        if choice is None:
            return
        from corral.tui.dialogs.sessions import SessionVerb

        session = choice.found.session
        self._known.setdefault(session.id, session)
        chat = self.chats.find(session)
        match choice.verb:
            case SessionVerb.OPEN:
                self.visit(chat, choice.found.turn, choice.words)
                if not choice.found.turn:
                    self.prompt.focus()
            case SessionVerb.RENAME:
                self._ask_name(chat)
            case SessionVerb.DELETE:
                self.start(partial(self.delete_chat, chat), "delete", exclusive=False)
            case SessionVerb.EXPORT:
                self._ask_export(chat)
            case SessionVerb.ARCHIVE:
                self.start(partial(self.archive_chat, chat), "archive", exclusive=False)

    def action_rename(self) -> None:
        """Name this chat."""
        self._ask_name(self.chat)

    def _ask_name(self, chat: Chat) -> None:
        dialog = AskDialog("Name of the chat", [], value=chat.title, placeholder="a few words")
        self.app.push_screen(dialog, partial(self.rename, chat))

    def rename(self, chat: Chat, name: str | None) -> None:
        """Give a chat another name."""
        if name:
            self.start(partial(self._rename, chat, name), "rename", exclusive=False)

    async def _rename(self, chat: Chat, name: str) -> None:
        if await self.read(chat):
            chat.name = name
            chat.is_changed = True
            self.show_chats()

    def action_archive(self) -> None:
        """Put this chat away, or have it listed again."""
        self.start(partial(self.archive_chat, self.chat), "archive", exclusive=False)

    async def archive_chat(self, chat: Chat) -> None:
        """Put a chat away: it stays on disk, where search finds it. One that was is listed again."""
        if not await self._is_at_rest(chat):
            return
        if not self.keeper.is_keeping:
            self.tell("Chats are not kept here, so none can be put away")
            return
        chat.is_archived, chat.is_changed = not chat.is_archived, True
        self.keeper.save([chat], waits=True)
        self._known[chat.id] = chat.saved()
        if not chat.is_archived:
            self.show_chats()
            self.tell("The chat is listed again")
            return
        place = self._unlist(chat)

        def undo() -> None:
            chat.is_archived, chat.is_changed = False, True
            self._list_again(chat, place)

        self.can_undo("The chat is archived: h, then A lists such chats", undo)

    async def _is_at_rest(self, chat: Chat) -> bool:
        """Read a chat that is to leave the list; False where there is nothing of it yet, or an answer is to come."""
        if chat.is_live:
            self.tell("An answer is still coming in: Esc stops it")
            return False
        return not chat.is_empty and await self.read(chat)

    def _unlist(self, chat: Chat) -> int:
        place = self.chats.remove(chat)
        if not self.chat.model:
            self.chat.model = chat.model
        self.visit(self.chat)
        return place

    def _list_again(self, chat: Chat, place: int) -> None:
        self.chats.all.insert(min(place, len(self.chats.all)), chat)
        self.chats.current = chat

    async def delete_chat(self, chat: Chat) -> None:
        """Delete a chat, also on disk. It is read first, so that it can be brought back."""
        if not await self._is_at_rest(chat):
            return
        self.keeper.delete(chat)
        place = self._unlist(chat)

        def undo() -> None:
            chat.mark_unsaved()
            self._list_again(chat, place)

        self.can_undo("The chat is deleted", undo)

    # Files

    def action_export(self) -> None:
        """Write this chat to a file."""
        self._ask_export(self.chat)

    def _ask_export(self, chat: Chat) -> None:
        lines = [
            f"Written below {self.folder}.",
            "The ending says how: .md to read, .json with all branches, .jsonl for OpenAI.",
        ]
        dialog = AskDialog("Export", lines, value=file_name(chat, ExportFormat.MARKDOWN), check=_export_problem)
        self.app.push_screen(dialog, partial(self.export, chat))

    def export(self, chat: Chat, name: str | None) -> None:
        """Write a chat to the file of that name."""
        if name:
            self.start(partial(self._export, chat, name), "export", exclusive=False)

    async def _export(self, chat: Chat, name: str) -> None:
        if not await self.read(chat):
            return
        path = self.folder / Path(name).expanduser()
        try:
            write_export(export_text(chat, ExportFormat(path.suffix[1:])), path)
        except FileExistsError:
            self.tell_error(f"{path} is there already")
        except OSError as error:
            self.tell_error(f"{path}: {error.strerror}")
        else:
            self.tell(f"Written to {path}")


def _export_problem(name: str) -> str:
    endings = [form.value for form in ExportFormat]
    return "" if Path(name).suffix[1:] in endings else f"the name must end with .{', .'.join(endings)}"


def _said(words: str, turn: Turn) -> str:
    """Of what was looked for, what a turn says as it was typed: all of it, else one of its words."""
    text = turn.text.casefold()
    return next((one for one in (words.strip(), *words.split()) if one.casefold() in text), "")


def _pick(turn: Turn) -> None:
    """Read the branch that a turn is on."""
    while turn.parent is not None:
        turn.parent.picked = turn.place
        turn = turn.parent
