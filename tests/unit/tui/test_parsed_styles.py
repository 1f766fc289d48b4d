from __future__ import annotations

from pathlib import Path

import pytest
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

from corral.tui.actions import Where
from corral.tui.parsed_styles import ParsedStyles
from tests.fakes.scenes import SCENES
from tests.fakes.screen import workbench

CSS = "Label { color: $ink; &:focus { border: heavy $ink; layout: grid; } }"
RED, BLUE = {"ink": "#ff0000"}, {"ink": "#0000ff"}
RED_ONE, BLUE_ONE = "Color(255, 0, 0)", "Color(0, 0, 255)"


def parsed(styles: Stylesheet) -> list[str]:
    return [f"{rule.selectors} {rule.styles.get_rules()}" for rule in styles.rules]


def sheet(file: Path, colours: dict[str, str] = RED, css: str = CSS) -> ParsedStyles:
    styles = ParsedStyles(variables=colours, file=file)
    styles.add_source(css)
    return styles


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    return tmp_path / "styles"


@pytest.fixture
def kept(file: Path) -> Path:
    styles = sheet(file)
    assert RED_ONE in parsed(styles)[0]
    styles.keep()
    return file


def refused(*_: object) -> list[RuleSet]:
    raise AssertionError("parsed anew")


def test_what_was_parsed_is_parsed_no_more(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = parsed(sheet(kept))
    monkeypatch.setattr(Stylesheet, "_parse_rules", refused)
    assert parsed(sheet(kept)) == told
    with pytest.raises(AssertionError):
        parsed(sheet(kept, css="Label { color: red }"))


def test_other_colours_are_other_styles(kept: Path) -> None:
    styles = sheet(kept)
    assert RED_ONE in parsed(styles)[0]
    styles.set_variables(BLUE)
    styles.reparse()
    assert BLUE_ONE in parsed(styles)[0]
    assert BLUE_ONE in parsed(sheet(kept, BLUE))[0]


@pytest.mark.parametrize("left", [0, 1, 100, -1])
def test_a_file_that_is_cut_off_is_written_again(kept: Path, left: int) -> None:
    whole = kept.read_bytes()
    kept.write_bytes(whole[:left])
    styles = sheet(kept)
    assert parsed(styles) == parsed(sheet(kept.with_name("none")))
    styles.keep()
    assert len(kept.read_bytes()) == len(whole)


def test_another_textual_parses_by_itself(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.tui.parsed_styles._stamp", list)
    styles = sheet(kept)
    monkeypatch.setattr(Stylesheet, "_parse_rules", lambda *_: [])
    assert parsed(styles) == []


def test_nothing_is_written_where_no_code_is_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    styles = sheet(file)
    assert parsed(styles)
    styles.keep()
    assert not file.exists()


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    styles = sheet(tmp_path / "nowhere" / "styles")
    assert parsed(styles)
    styles.keep()


async def test_a_whole_workbench_has_the_styles_it_would_parse(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    for _ in range(2):
        app = workbench(SCENES["server"].client(), Where.CHAT)
        app.stylesheet = styles = ParsedStyles(variables=app.get_css_variables(), file=file)
        async with app.run_test(size=(120, 36)):
            for mode in app.MODES:
                await app.action_go(mode)
            nodes = [f"{node} {node.styles.base.get_rules()}" for node in app.walk_children()]
            told.append((parsed(styles), nodes))
        styles.keep()
        monkeypatch.setattr(Stylesheet, "_parse_rules", refused)
    first, second = told
    assert len(first[1]) > 20
    assert first == second
