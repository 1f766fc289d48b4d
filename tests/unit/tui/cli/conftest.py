from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.tui.cli.driving import Driver


@pytest.fixture
def corral(tmp_path: Path) -> Driver:
    return Driver(tmp_path)
