from __future__ import annotations

from dataclasses import replace

import pytest

from corral.tui.dialogs.port import PortAnswer, PortApp, PortProblem
from tests.fakes.screen import left, picture, until

PROBLEM = PortProblem("127.0.0.1", 11434, "ollama [pid 812]", 11435)


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        (["enter"], PortAnswer.OTHER_PORT),
        (["down", "enter"], PortAnswer.NO_API),
        (["down", "down", "enter"], PortAnswer.QUIT),
        (["escape"], PortAnswer.QUIT),
        (["ctrl+c"], PortAnswer.QUIT),
    ],
)
async def test_a_taken_port_is_a_question(keys: list[str], answer: PortAnswer) -> None:
    app = PortApp(PROBLEM)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "127.0.0.1:11434 is taken by ollama [pid 812]." in picture(app))
        assert "Serve on port 11435 instead" in picture(app)
        assert "Show that server" not in picture(app)
        await pilot.press(*keys)
        await left(app)
    assert app.return_value is answer


async def test_a_server_that_can_be_used_is_offered_first() -> None:
    app = PortApp(replace(PROBLEM, answers=True))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Show that server here" in picture(app))
        await pilot.press("enter")
        await left(app)
    assert app.return_value is PortAnswer.ATTACH
