"""The house stands as it is drawn: links, sizes, directions, and what is not imported where."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("store", "runtime", "api", "tui")
LONGEST = 500


@pytest.mark.parametrize("part", PARTS)
def test_the_import_package_is_made_of_links_to_the_top_level(part: str) -> None:
    link = ROOT / ".src" / "corral" / part
    assert link.is_symlink()
    assert link.resolve() == ROOT / part


@pytest.mark.parametrize("folder", [*PARTS, "tests"])
def test_no_module_is_longer_than_a_reader_can_hold(folder: str) -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert sizes
    assert {str(path.relative_to(ROOT)): lines for path, lines in sizes.items() if lines > LONGEST} == {}


def test_imports_go_one_way() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports")], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout


def test_nothing_is_imported_by_its_bare_name() -> None:
    assert not {name for name in sys.modules if name.split(".")[0] in PARTS}


def _imported(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


DIALOGS = {f"corral.tui.dialogs.{name}" for name in ("options", "sessions")}


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        ("import corral.runtime.workbench", {"textual", "rich", "llama_cpp", "aiohttp", "jinja2", "gotpl"}),
        ("import corral.api.server, corral.api.app", {"textual", "rich", "llama_cpp"}),
        ("import corral.api.client", {"textual", "llama_cpp", "aiohttp", "pydantic"}),
        ("import corral.tui.app", {"llama_cpp"}),
        ("import corral.tui.screens.chat", {"aiohttp", "httpx", "pydantic", *DIALOGS}),
        ("import corral.runtime.settings", {"asyncio", "pydantic", "sqlite3"}),
    ],
)
def test_what_is_not_needed_is_not_imported(code: str, forbidden: set[str]) -> None:
    assert not forbidden & _imported(code)
