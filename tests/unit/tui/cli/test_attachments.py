"""Paths of images in what a person writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.tui.cli import attachments
from corral.tui.cli.attachments import take_images
from corral.tui.cli.errors import CommandError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.png").write_bytes(b"A")
    (tmp_path / "two words.JPG").write_bytes(b"B")
    (tmp_path / "notes.txt").write_bytes(b"C")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "rest", "images"),
    [
        ("describe ./a.png", "describe", (b"A",)),
        ("'./a.png' what is it?", "what is it?", (b"A",)),
        (r"see ./two\ words.JPG and ./a.png", "see  and", (b"B", b"A")),
        ("see './two words.JPG'", "see", (b"B",)),
        ("not ./notes.txt but ./a.png", "not ./notes.txt but", (b"A",)),
        ("describe ./missing.png", "describe ./missing.png", ()),
        ("a.png is a name, ./notes.txt too", "a.png is a name, ./notes.txt too", ()),
        ("", "", ()),
    ],
)
def test_paths_of_images_are_taken(folder: Path, text: str, rest: str, images: tuple[bytes, ...]) -> None:
    assert take_images(text) == (rest, images)


def test_absolute_paths_are_said_on_stderr(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert take_images(f"see {folder}/a.png") == ("see", (b"A",))
    assert capsys.readouterr().err == f"Added image '{folder}/a.png'\n"


def test_a_file_too_large_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MOST_BYTES", 0)
    with pytest.raises(CommandError, match="larger"):
        take_images("./a.png")
