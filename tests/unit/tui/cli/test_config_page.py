"""`docs/configuration.md` says what there is."""

from __future__ import annotations

from pathlib import Path

from corral.runtime.options import OPTIONS
from corral.runtime.settings import load
from corral.runtime.variables import VARIABLES, WITHOUT_EFFECT
from corral.tui.cli.config_page import page

PAGE = Path(__file__).parents[4] / "docs" / "configuration.md"


def test_the_page_is_what_the_registry_says() -> None:
    assert PAGE.read_text() == page(), "write it again: corral config docs > docs/configuration.md"


def test_every_variable_is_on_the_page() -> None:
    text = PAGE.read_text()
    told = [f"| `{variable.name}` |" for variable in VARIABLES] + [f"`OLLAMA_{name}`" for name in WITHOUT_EFFECT]
    assert [one for one in told if one not in text] == []
    assert [name for name in OPTIONS if f"| `{name}` |" not in text] == []


def test_the_file_on_the_page_has_no_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(PAGE.read_text().partition("```toml\n")[2].partition("```")[0])
    found = load({"CORRAL_CONFIG": str(file)}, tmp_path)
    assert (found.faults, found.warnings) == ((), ())
    assert found.aliases == {"gpt-4": "qwen3:8b"}
    assert found.model_tables.keys() == {"qwen3:8b", "all-minilm:latest"}
