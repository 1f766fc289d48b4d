"""Keeps chats on disk as they grow, without the screen ever waiting for the disk.

The store lives on one thread of its own; the screen hands it frozen records. Where it cannot be used chats go on in
memory, and that is said once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from corral.store.errors import SessionsError
from corral.store.sessions import FoundSession, SavedSession, SavedTurn, SessionStore
from corral.tui.chats import Chat

__all__ = ["SessionKeeper", "sessions_path"]

T = TypeVar("T")

_LAST_WRITES_S = 3.0
_YES = {"1", "true", "yes", "on"}


def sessions_path(environ: Mapping[str, str]) -> Path | None:
    """Where this user's chats are kept; None where they are not: without a home, or with `CORRAL_NOHISTORY`."""
    wishes = (environ.get("CORRAL_NOHISTORY"), environ.get("OLLAMA_NOHISTORY"))
    if any((wish or "").strip().casefold() in _YES for wish in wishes):
        return None
    data, home = environ.get("XDG_DATA_HOME", ""), environ.get("HOME", "")
    if not (data or home):
        return None
    return (Path(data) if data else Path(home) / ".local" / "share") / "corral" / "chats.db"


class SessionKeeper:
    """The way from chats to their file. Owned by Textual's thread; `tell` says what went wrong, there."""

    def __init__(self, path: Path | None, tell: Callable[[str], None]) -> None:
        self._path = path
        self._tell = tell
        self._thread = ThreadPoolExecutor(1, "sessions")
        self._store: SessionStore | None = None
        self._writing: Future[None] | None = None
        self._is_told = False
        self._kept: set[str] = set()
        self.is_keeping = path is not None

    async def sessions(self) -> tuple[SavedSession, ...]:
        """The saved chats, newest first. Says where a broken file went, if there was one."""
        nothing: tuple[tuple[SavedSession, ...], Path | None] = ((), None)
        found, aside = await self._ask(lambda store: (store.sessions(), store.set_aside), nothing)
        self._kept.update(one.id for one in found)
        if aside is not None:
            self._tell(f"the file of saved chats was broken: it lies in {aside} now, and a new one was begun")
        return found

    async def prompts(self, limit: int) -> tuple[str, ...]:
        """What was asked before, newest last."""
        return await self._ask(lambda store: store.prompts(limit), ())

    async def search(self, text: str) -> tuple[FoundSession, ...]:
        """Chats that say `text`."""
        return await self._ask(lambda store: store.search(text), ())

    async def turns(self, session_id: str) -> tuple[SavedTurn, ...] | None:
        """What was said in a saved chat; None where it cannot be read."""
        return await self._ask(lambda store: store.turns(session_id), None)

    def save(self, chats: Sequence[Chat], *, waits: bool = False) -> None:
        """Write what changed in `chats`; skipped while the disk is still busy with the last, unless it `waits`."""
        if not self.is_keeping or (not waits and self._writing is not None and not self._writing.done()):
            return
        for chat in chats:
            if chat.is_changed and not _is_worth(chat) and chat.id in self._kept:  # it was a draft, and that is gone
                chat.take_changes()
                self.delete(chat)
        work = [(chat.saved(), *chat.take_changes()) for chat in chats if chat.is_changed and _is_worth(chat)]
        self._kept.update(head.id for head, _, _ in work)
        if work:
            self._writing = self._submit(lambda store: _save_all(store, work), [one for one in chats if _is_worth(one)])

    def delete(self, chat: Chat) -> None:
        """Take a chat from the disk."""
        session_id = chat.id
        self._kept.discard(session_id)
        if self.is_keeping:
            self._writing = self._submit(lambda store: store.delete(session_id))

    def close(self, chats: Sequence[Chat]) -> None:
        """Write the rest and let go of the file; waits a few seconds at most for a disk that hangs."""
        self.save(chats, waits=True)
        ended = self._thread.submit(self._end)
        self._thread.shutdown(wait=False)
        with contextlib.suppress(TimeoutError, SessionsError):
            ended.result(_LAST_WRITES_S)

    def _end(self) -> None:
        if self._store is not None:
            self._store.close()

    async def _ask(self, work: Callable[[SessionStore], T], otherwise: T) -> T:
        if not self.is_keeping:
            return otherwise
        try:
            return await asyncio.wrap_future(self._thread.submit(self._run, work))
        except SessionsError as error:
            self._give_up(error)
            return otherwise
        except RuntimeError:  # closed while somebody still asked
            return otherwise

    def _submit(self, work: Callable[[SessionStore], None], chats: Sequence[Chat] = ()) -> Future[None]:
        future = self._thread.submit(self._run, work)
        loop = asyncio.get_running_loop()

        def look(done: Future[None]) -> None:
            error = done.exception()
            if isinstance(error, SessionsError):
                with contextlib.suppress(RuntimeError):  # the loop has ended, perhaps this moment
                    loop.call_soon_threadsafe(self._failed, error, chats)

        future.add_done_callback(look)
        return future

    def _failed(self, error: SessionsError, chats: Sequence[Chat]) -> None:
        """Try again with the next save: the disk may be full for a moment only."""
        for chat in chats:
            chat.mark_unsaved()
        self._give_up(error)

    def _run(self, work: Callable[[SessionStore], T]) -> T:
        if self._store is None:
            assert self._path is not None
            self._store = SessionStore(self._path)
        return work(self._store)

    def _give_up(self, error: SessionsError) -> None:
        self.is_keeping = self._store is not None
        if not self._is_told:
            self._is_told = True
            self._tell(str(error))


def _is_worth(chat: Chat) -> bool:
    """A chat in which nothing was ever said or typed is not kept."""
    return bool(chat.root.children or chat.gone or not chat.is_there or chat.unsent)


def _save_all(store: SessionStore, work: Sequence[tuple[SavedSession, tuple[SavedTurn, ...], tuple[str, ...]]]) -> None:
    for session, turns, gone in work:
        store.save(session, turns, gone)
