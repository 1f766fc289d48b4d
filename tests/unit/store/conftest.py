from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.store.stocked import Stocked


@pytest.fixture
def store(tmp_path: Path) -> Stocked:
    """An empty store that does not even have its folder yet."""
    return Stocked(tmp_path / "models")
