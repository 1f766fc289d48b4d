"""All conversations there are, and which one is on the screen. Owned by Textual's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from corral.store.sessions import SavedSession
from corral.tui.chats import Chat, is_archived

__all__ = ["Chats"]


class Chats:
    """All conversations and which one is on the screen, the newest first."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self.all: list[Chat] = [Chat(next(self._numbers))]
        self.current = self.all[0]

    @property
    def live(self) -> list[Chat]:
        """The chats with an answer coming in."""
        return [chat for chat in self.all if chat.is_live]

    def open(self, model: str) -> Chat:
        """Make a chat with `model` the current one: the current one where it is still empty, else a new one."""
        if not self.current.is_empty:
            self.add(Chat(self.next_number()))
        self.current.model = model
        return self.current

    def next_number(self) -> int:
        """A number for a chat that is to be added."""
        return next(self._numbers)

    def add(self, chat: Chat) -> None:
        """Put a chat first and make it the current one."""
        self.all.insert(0, chat)
        self.current = chat

    def bring(self, sessions: Sequence[SavedSession]) -> None:
        """List saved chats behind those that are here, but for those that were put away."""
        known = {chat.id for chat in self.all}
        self.all += [
            Chat.restored(self.next_number(), one) for one in sessions if one.id not in known and not is_archived(one)
        ]

    def find(self, session: SavedSession) -> Chat:
        """The chat of a saved one, listed now if it was not."""
        found = next((chat for chat in self.all if chat.id == session.id), None)
        if found is None:
            found = Chat.restored(self.next_number(), session)
            self.all.append(found)
        return found

    def remove(self, chat: Chat) -> int:
        """Take a chat from the list; returns where it was. There is always one left."""
        place = self.all.index(chat)
        self.all.remove(chat)
        if not self.all:
            self.all.append(Chat(self.next_number(), chat.model))
        if self.current is chat:
            self.current = self.all[min(place, len(self.all) - 1)]
        return place

    def step(self, by: int) -> Chat:
        """Make the next or previous chat the current one."""
        self.current = self.all[(self.all.index(self.current) + by) % len(self.all)]
        return self.current

    def select(self, matches: Callable[[Chat], bool]) -> Chat:
        """Make the first chat that matches the current one."""
        self.current = next((chat for chat in self.all if matches(chat)), self.current)
        return self.current
