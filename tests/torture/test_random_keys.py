"""Keys and sizes drawn at random: whatever is pressed, the workbench goes on."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from corral.tui.actions import Where
from tests.fakes.scenes import SCENES
from tests.fakes.screen import workbench

WALKS = 60
KEYS = 150
SIZES = ((120, 36), (80, 24), (60, 16), (200, 50), (40, 10), (1, 1))
TYPED = (
    *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPRSTUVWXYZ123456789",
    *("slash", "question_mark", "colon", "full_stop", "comma", "less_than_sign", "greater_than_sign", "at", "space"),
    *("exclamation_mark", "plus", "minus", "equals_sign", "left_square_bracket", "right_square_bracket", "number_sign"),
)
NAMED = (
    *("enter", "escape", "tab", "shift+tab", "up", "down", "left", "right", "home", "end", "pageup", "pagedown"),
    *("f1", "f2", "f3", "f4", "f5", "f6", "backspace", "delete", "alt+left"),
    *(f"ctrl+{letter}" for letter in "defjloprsux"),
)

pytestmark = [pytest.mark.torture, pytest.mark.timeout(300)]


@pytest.mark.parametrize("seed", range(WALKS))
async def test_no_keys_end_the_workbench(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some keys write files
    drawn = random.Random(seed)
    client = SCENES[drawn.choice(list(SCENES))].client()
    client.words = tuple(f"word{number} \n\n" for number in range(drawn.choice((3, 40, 200))))
    app = workbench(client, drawn.choice(list(Where)))
    app.composes_ahead = drawn.random() < 0.5
    async with app.run_test(size=drawn.choice(SIZES[:4])) as pilot:
        for _ in range(KEYS):
            if not app.is_running or app.return_code is not None:
                break  # one of the keys left it
            await app._press_keys([drawn.choice(NAMED if drawn.random() < 0.45 else TYPED)])
            chance = drawn.random()
            if chance < 0.3:
                await asyncio.sleep(drawn.random() * 0.05)
            if chance < 0.05:
                app.refresh_now()
            if chance > 0.98:
                await pilot.resize_terminal(*drawn.choice(SIZES))
