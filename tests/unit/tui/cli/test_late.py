from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from corral.tui.cli.late import LateModule

FRAME = """
import sys
from corral.tui.cli.late import LateModule, bring, put_off
def standing_in(): return [name for name, module in sys.modules.items() if isinstance(module, LateModule)]
put_off()
there = set(standing_in())
import corral.tui.cli.workbench, corral.api.server
import corral.tui.app, corral.tui.link, corral.tui.terminal, corral.tui.screens.chat, textual.drivers.linux_driver
print(*sorted(there - set(standing_in())), "were read in")
bring()
print(*sorted(standing_in()), "are left")
import asyncio.sslproto, platformdirs, ssl, textual.types
from textual.widgets._directory_tree import DirEntry
assert textual.types.DirEntry is DirEntry and ssl.SSLContext and platformdirs.user_cache_dir()
assert asyncio.base_events.sslproto.SSLProtocol is asyncio.sslproto.SSLProtocol
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LateModule:
    (tmp_path / "late_example.py").write_text("import sys\nsize = 7\ndef twice(n): return 2 * n\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = LateModule("late_example", ["twice"], {"join": "os.path"})
    monkeypatch.setitem(sys.modules, "late_example", module)
    return module


def test_what_is_at_hand_reads_nothing_in(stand_in: LateModule) -> None:
    import os.path

    from late_example import join, twice  # type: ignore[import-not-found]

    assert join is os.path.join
    assert sys.modules["late_example"] is stand_in
    assert twice(4) == 8
    assert sys.modules["late_example"] is not stand_in


def test_whatever_else_is_asked_for_is_the_real_modules(stand_in: LateModule) -> None:
    assert stand_in.size == 7
    assert sys.modules["late_example"].twice(2) == 4
    with pytest.raises(AttributeError):
        _ = stand_in.nothing_of_the_kind


def test_a_first_frame_reads_in_nothing_that_was_put_off() -> None:
    done = subprocess.run([sys.executable, "-c", FRAME], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("were read in\nare left\n", "")
