"""Conversations on disk: one SQLite file in WAL mode, with an index of every word that was said.

A conversation is a tree of turns; which branch is read lies in its turns, so two programs may write to one file and to
one conversation. What the texts mean is their writer's matter: settings and figures are JSON that is kept as it came.
A store belongs to one thread.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from corral.store.errors import SessionsError

__all__ = [
    "FOUND_BEGINS",
    "FOUND_ENDS",
    "SCHEMA",
    "Attached",
    "FoundSession",
    "SavedSession",
    "SavedTurn",
    "SessionStore",
]

SCHEMA = 1
"""Counts up with every change of the tables; kept in `PRAGMA user_version`."""
FOUND_BEGINS, FOUND_ENDS = "\x02", "\x03"
"""Stand around each word of an excerpt that was looked for."""
_BUSY_MS = 5_000
_MOST_FOUND = 200
_SNIPPET_WORDS = 12
_TABLES = """
CREATE TABLE sessions(
    id TEXT PRIMARY KEY, title TEXT NOT NULL, model TEXT NOT NULL, settings TEXT NOT NULL,
    created_s REAL NOT NULL, changed_s REAL NOT NULL);
CREATE INDEX sessions_by_change ON sessions(changed_s);
CREATE TABLE turns(
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
    parent TEXT NOT NULL, place INTEGER NOT NULL, is_picked INTEGER NOT NULL,
    role TEXT NOT NULL, text TEXT NOT NULL, thinking TEXT NOT NULL, wall_s REAL NOT NULL, about TEXT NOT NULL);
CREATE INDEX turns_by_session ON turns(session);
CREATE TABLE attachments(
    turn TEXT NOT NULL REFERENCES turns(id) ON DELETE CASCADE, place INTEGER NOT NULL,
    name TEXT NOT NULL, is_image INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY(turn, place));
CREATE VIRTUAL TABLE words USING fts5(text, content='turns', content_rowid='number', tokenize='unicode61');
CREATE TRIGGER words_in AFTER INSERT ON turns BEGIN
    INSERT INTO words(rowid, text) VALUES (new.number, new.text); END;
CREATE TRIGGER words_out AFTER DELETE ON turns BEGIN
    INSERT INTO words(words, rowid, text) VALUES ('delete', old.number, old.text); END;
CREATE TRIGGER words_change AFTER UPDATE OF text ON turns WHEN old.text IS NOT new.text BEGIN
    INSERT INTO words(words, rowid, text) VALUES ('delete', old.number, old.text);
    INSERT INTO words(rowid, text) VALUES (new.number, new.text); END;
"""


class Attached(msgspec.Struct, frozen=True):
    """A file that went along with a turn."""

    name: str
    data: bytes
    is_image: bool = False


class SavedTurn(msgspec.Struct, frozen=True):
    """A turn of a conversation. `parent` is "" for the first ones, `place` its number among its siblings.

    `about` holds whatever else its writer wants back, as JSON values. `wall_s` is seconds since the epoch.
    """

    id: str
    parent: str
    place: int
    is_picked: bool
    role: str
    text: str
    thinking: str = ""
    wall_s: float = 0.0
    about: Mapping[str, object] = msgspec.field(default_factory=dict)
    attached: tuple[Attached, ...] = ()


class SavedSession(msgspec.Struct, frozen=True):
    """A conversation without its turns; times in seconds since the epoch."""

    id: str
    title: str
    model: str
    created_s: float
    changed_s: float
    settings: Mapping[str, object] = msgspec.field(default_factory=dict)


class FoundSession(msgspec.Struct, frozen=True):
    """A conversation that has what was looked for: `turn` is the one that says it ("" for the title), `excerpt` how."""

    session: SavedSession
    turn: str = ""
    excerpt: str = ""


class SessionStore:
    """The file of conversations. Every method raises `SessionsError` where the file cannot be used.

    A file that is no database any more is set aside under another name and a new one begun; `set_aside` is its path.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self.set_aside: Path | None = None
        self._database = self._open()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def save(self, session: SavedSession, turns: Sequence[SavedTurn] = (), gone: Sequence[str] = ()) -> None:
        """Write a conversation's head and those of its turns that changed; `gone` are ids of turns that were deleted.

        Attachments are written with a turn that is new, and stay as they are after that.
        """

        def write(database: sqlite3.Connection) -> None:
            database.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET title = excluded.title,"
                " model = excluded.model, settings = excluded.settings, changed_s = excluded.changed_s",
                (
                    *(session.id, _plain(session.title), _plain(session.model), json.dumps(dict(session.settings))),
                    *(session.created_s, session.changed_s),
                ),
            )
            for turn in turns:
                self._write_turn(database, session.id, turn)
            database.executemany("DELETE FROM turns WHERE id = ?", [(turn_id,) for turn_id in gone])

        self._write(write)

    @staticmethod
    def _write_turn(database: sqlite3.Connection, session_id: str, turn: SavedTurn) -> None:
        place = (turn.parent, turn.place, turn.is_picked)
        said = (_plain(turn.text), _plain(turn.thinking), turn.wall_s, json.dumps(dict(turn.about)))
        found = database.execute("SELECT 1 FROM turns WHERE id = ?", (turn.id,)).fetchone()
        if found is not None:
            database.execute(
                "UPDATE turns SET parent = ?, place = ?, is_picked = ?, text = ?, thinking = ?, wall_s = ?, about = ?"
                " WHERE id = ?",
                (*place, *said, turn.id),
            )
            return
        database.execute(
            "INSERT INTO turns(id, session, parent, place, is_picked, role, text, thinking, wall_s, about)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (turn.id, session_id, *place, turn.role, *said),
        )
        database.executemany(
            "INSERT INTO attachments VALUES (?, ?, ?, ?, ?)",
            [(turn.id, number, _plain(one.name), one.is_image, one.data) for number, one in enumerate(turn.attached)],
        )

    def sessions(self, limit: int = _MOST_FOUND) -> tuple[SavedSession, ...]:
        """The conversations, newest first."""
        rows = self._read("SELECT * FROM sessions ORDER BY changed_s DESC, id LIMIT ?", (limit,))
        return tuple(_session(row) for row in rows)

    def turns(self, session_id: str) -> tuple[SavedTurn, ...]:
        """All turns of a conversation, in the order they were written."""
        files: dict[str, list[Attached]] = {}
        for row in self._read(
            "SELECT a.* FROM attachments a JOIN turns t ON t.id = a.turn WHERE t.session = ? ORDER BY a.turn, a.place",
            (session_id,),
        ):
            files.setdefault(row["turn"], []).append(Attached(row["name"], row["data"], bool(row["is_image"])))
        rows = self._read("SELECT * FROM turns WHERE session = ? ORDER BY number", (session_id,))
        return tuple(
            SavedTurn(
                *(row["id"], row["parent"], row["place"], bool(row["is_picked"]), row["role"], row["text"]),
                *(row["thinking"], row["wall_s"], _mapping(row["about"]), tuple(files.get(row["id"], ()))),
            )
            for row in rows
        )

    def delete(self, session_id: str) -> None:
        """Delete a conversation with all its turns; one that is not there is no error."""

        def write(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM sessions WHERE id = ?", (session_id,))

        self._write(write)

    def prompts(self, limit: int) -> tuple[str, ...]:
        """What users said, the newest last, each text once."""
        rows = self._read(
            "SELECT text, max(wall_s) AS at_s FROM turns WHERE role = 'user' AND text != ''"
            " GROUP BY text ORDER BY at_s DESC, text LIMIT ?",
            (limit,),
        )
        return tuple(row["text"] for row in reversed(rows))

    def search(self, text: str, limit: int = _MOST_FOUND) -> tuple[FoundSession, ...]:
        """Find conversations by words of their title or of what was said, each once, the newest first.

        All words must be there, in one turn or in the title; the last may be a beginning. Without words: all.
        """
        query = _query(text)
        if not query:
            return tuple(FoundSession(session) for session in self.sessions(limit))
        said = self._hits(query, limit)
        found = {row["id"]: FoundSession(_session(row), row["turn"], row["excerpt"]) for row in said}
        words = [word.casefold() for word in text.split()]
        for session in self.sessions(limit):
            if session.id not in found and all(word in session.title.casefold() for word in words):
                found[session.id] = FoundSession(session)
        return tuple(sorted(found.values(), key=lambda one: -one.session.changed_s)[:limit])

    def _hits(self, query: str, limit: int) -> list[sqlite3.Row]:
        """The turns that match, the newest of each conversation; `snippet` goes with no GROUP BY."""
        rows = self._read(
            "SELECT s.*, t.id AS turn, snippet(words, 0, ?, ?, '…', ?) AS excerpt"
            " FROM words JOIN turns t ON t.number = words.rowid JOIN sessions s ON s.id = t.session"
            " WHERE words MATCH ? ORDER BY t.wall_s LIMIT ?",
            (FOUND_BEGINS, FOUND_ENDS, _SNIPPET_WORDS, query, limit * 20),
        )
        return list({row["id"]: row for row in rows}.values())

    def _open(self) -> sqlite3.Connection:
        with _told(self._path):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                return self._connect()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # locked, full, not readable: the file may be whole
                    raise
            self.set_aside = self._put_aside()
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        is_new = not self._path.exists()
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            if is_new:
                self._path.chmod(0o600)
            database.row_factory = sqlite3.Row
            database.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("PRAGMA foreign_keys = ON")
            problem = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise sqlite3.DatabaseError(problem)
            self._prepare(database)
        except BaseException:
            database.close()
            raise
        return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        """Make the tables of a new file, and refuse those of a later version."""
        with _transaction(database):
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA:
                raise SessionsError(f"{self._path} was written by a newer version; chats are not saved")
            if version == 0:
                for statement in _statements(_TABLES):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {SCHEMA}")

    def _put_aside(self) -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(self._now()))
        aside = self._path.with_name(f"{self._path.name}.broken-{stamp}")
        number = 1
        while aside.exists():
            number += 1
            aside = self._path.with_name(f"{self._path.name}.broken-{stamp}-{number}")
        self._path.rename(aside)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).rename(aside.with_name(aside.name + suffix))
        return aside

    def _write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        with _told(self._path), _transaction(self._database):
            work(self._database)

    def _read(self, query: str, values: tuple[object, ...]) -> list[sqlite3.Row]:
        with _told(self._path):
            return self._database.execute(query, values).fetchall()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Make what SQLite and the file system raise an error of ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise SessionsError(f"chats cannot be kept in {path}: {error}") from error


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _statements(script: str) -> Iterator[str]:
    """Cut a script into statements; `executescript` would end the transaction it stands in."""
    statement = ""
    for line in script.strip().splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _query(text: str) -> str:
    """Words as FTS5 wants them: each in quotes, so that nothing in them is an operator; the last as a beginning."""
    words = [word.replace('"', '""').replace("\0", "") for word in text.split()]
    words = [word for word in words if any(char.isalnum() for char in word)]
    return " ".join(f'"{word}"' for word in words) + "*" if words else ""


def _plain(text: str) -> str:
    """Half a surrogate pair, which a model's escape may make, cannot be stored."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _mapping(text: str) -> Mapping[str, object]:
    value = json.loads(text)
    return value if isinstance(value, dict) else {}


def _session(row: sqlite3.Row) -> SavedSession:
    return SavedSession(
        row["id"], row["title"], row["model"], row["created_s"], row["changed_s"], _mapping(row["settings"])
    )
