from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.store.errors import SessionsError
from corral.store.sessions import SCHEMA, Attached, SavedSession, SavedTurn, SessionStore
from tests.waiting import block_until

CHAT = SavedSession("c1", "The sea", "smollm2:135m", 1.0, 2.0, {"system": "terse", "options": {"seed": 7}})


def turn(name: str, text: str, parent: str = "", **changes: object) -> SavedTurn:
    known: dict[str, object] = {"place": 0, "is_picked": True, "role": "user", "wall_s": 5.0}
    return SavedTurn(id=name, parent=parent, text=text, **(known | changes))  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "corral" / "chats.db"


@pytest.fixture
def store(path: Path) -> Iterator[SessionStore]:
    opened = SessionStore(path)
    yield opened
    opened.close()


def test_what_is_saved_comes_back(store: SessionStore, path: Path) -> None:
    photo = Attached("a b.png", b"\x89PNG\0", is_image=True)
    said = (
        turn("t1", "What is it?", attached=(Attached("notes.txt", b"salt"), photo)),
        turn("t2", "Water.", "t1", role="assistant", thinking="hm", about={"state": "done", "stats": {"total_ns": 4}}),
    )
    store.save(CHAT, said)
    store.close()
    again = SessionStore(path)
    assert again.sessions() == (CHAT,)
    assert again.turns("c1") == said
    again.close()


def test_a_turn_that_grows_is_one_turn(store: SessionStore) -> None:
    store.save(CHAT, [turn("t1", "once")])
    store.save(CHAT, [turn("t1", "once upon a time", place=1, is_picked=False)])
    (saved,) = store.turns("c1")
    assert (saved.text, saved.place, saved.is_picked) == ("once upon a time", 1, False)
    assert [found.turn for found in store.search("upon")] == ["t1"]
    store.save(CHAT, [turn("t1", "twice")])
    assert store.search("upon") == ()


def test_chats_are_found_by_what_was_said_and_by_their_title(store: SessionStore) -> None:
    store.save(CHAT, [turn("t1", "Wie heißt die Möwe?"), turn("t2", "Emma the gull, it is said.", "t1")])
    store.save(SavedSession("c2", "Land", "m", 1.0, 9.0), [turn("t3", "sand and gullies")])
    assert [(found.session.id, found.turn) for found in store.search("gull")] == [("c2", "t3"), ("c1", "t2")]
    assert [found.session.id for found in store.search("the emma gul")] == ["c1"]
    assert [found.turn for found in store.search("mowe")] == ["t1"]
    assert "Emma" in store.search("emma")[0].excerpt
    assert [(found.session.id, found.turn) for found in store.search("sea")] == [("c1", "")]
    assert [found.session.id for found in store.search("  ")] == ["c2", "c1"]
    assert store.search("whale") == ()


def test_deleting_takes_turns_files_and_words(store: SessionStore, path: Path) -> None:
    store.save(CHAT, [turn("t1", "gulls", attached=(Attached("a", b"x"),)), turn("t2", "terns", "t1")])
    store.save(CHAT, [], gone=["t2", "never"])
    assert [one.id for one in store.turns("c1")] == ["t1"]
    assert store.search("terns") == ()
    store.delete("c1")
    store.delete("c1")
    assert store.sessions() == ()
    assert store.search("gulls") == ()
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM attachments").fetchone() == (0,)
        database.execute("INSERT INTO words(words) VALUES ('integrity-check')")
    database.close()


def test_prompts_are_what_users_said_newest_last_each_once(store: SessionStore) -> None:
    texts = ["a", "b", "a", "c"]
    store.save(CHAT, [turn(f"t{number}", text, wall_s=float(number)) for number, text in enumerate(texts)])
    store.save(CHAT, [turn("t9", "not a prompt", role="assistant", wall_s=9.0)])
    assert store.prompts(10) == ("b", "a", "c")
    assert store.prompts(2) == ("a", "c")


def test_nobody_else_may_read_the_file(store: SessionStore, path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "damage", [b"this is no database at all, and never was one" * 40, b"SQLite format 3\0" + b"\xff" * 8192]
)
def test_a_broken_file_is_set_aside_and_a_new_one_begun(path: Path, damage: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(damage)
    store = SessionStore(path, now=lambda: 0.0)
    assert store.set_aside is not None
    assert store.set_aside.read_bytes() == damage
    store.save(CHAT, [turn("t1", "anew")])
    assert [one.text for one in store.turns("c1")] == ["anew"]
    store.close()


def test_a_page_that_rotted_is_found_when_the_file_is_opened(path: Path) -> None:
    store = SessionStore(path)
    store.save(CHAT, [turn(f"t{number}", f"word{number} " * 200) for number in range(200)])
    store.close()
    data = bytearray(path.read_bytes())
    for page in range(5, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    path.write_bytes(data)
    again = SessionStore(path)
    assert again.set_aside is not None
    assert again.sessions() == ()
    again.close()


def test_a_file_of_a_later_version_is_left_alone(path: Path) -> None:
    SessionStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    database.close()
    before = path.read_bytes()
    with pytest.raises(SessionsError, match="newer version"):
        SessionStore(path)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SessionsError, match="chats cannot be kept in"):
        SessionStore(tmp_path / "file" / "chats.db")


def test_two_programs_write_to_one_chat(store: SessionStore, path: Path) -> None:
    other = SessionStore(path)
    store.save(CHAT, [turn("t1", "from here")])
    other.save(CHAT, [turn("t2", "from there", "t1")])
    assert [one.text for one in store.turns("c1")] == ["from here", "from there"]
    other.close()


def _write_on(path: Path, ready: Path) -> None:
    store = SessionStore(path)
    for number in range(100_000):
        store.save(CHAT, [turn("t1", "growing " * (number + 1))])
        if number == 20:
            ready.touch()


def test_what_was_saved_before_a_kill_is_there_after_it(path: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    writer = multiprocessing.get_context("spawn").Process(target=_write_on, args=(path, ready))
    writer.start()
    block_until(ready.exists)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    store = SessionStore(path)
    assert store.set_aside is None
    (saved,) = store.turns("c1")
    assert saved.text.count("growing ") >= 20
    assert [found.turn for found in store.search("growing")] == ["t1"]
    store.close()


@settings(max_examples=60, deadline=None)
@given(text=st.text(), words=st.text(max_size=40))
def test_any_text_is_kept_and_any_words_looked_for(
    tmp_path_factory: pytest.TempPathFactory, text: str, words: str
) -> None:
    store = SessionStore(tmp_path_factory.mktemp("any") / "chats.db")
    store.save(CHAT, [turn("t1", text)])
    (saved,) = store.turns("c1")
    assert saved.text == text
    store.search(words)
    store.search(text[:100])
    plain = [word for word in text.split() if word.isascii() and word.isalnum()]
    if plain:
        assert [found.turn for found in store.search(plain[0])] == ["t1"]
    store.close()


def test_half_a_character_is_kept_as_a_question_mark(store: SessionStore) -> None:
    store.save(CHAT, [turn("t1", "half \ud83d of it")])
    assert store.turns("c1")[0].text == "half ? of it"
