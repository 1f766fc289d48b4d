from __future__ import annotations

import asyncio

import pytest

from corral.tui.app import WorkbenchApp
from corral.tui.link import ServiceLink
from corral.tui.terminal import is_remote
from corral.tui.theme import initial_theme
from tests.fakes.client import FakeClient


@pytest.mark.parametrize(
    ("environ", "theme"),
    [
        ({"COLORTERM": "truecolor"}, "corral"),
        ({"COLORTERM": "24bit", "NO_COLOR": ""}, "corral"),
        ({"COLORTERM": "truecolor", "NO_COLOR": "1"}, "ansi-dark"),
        ({}, "ansi-dark"),
    ],
)
def test_the_terminal_chooses_the_first_theme(environ: dict[str, str], theme: str) -> None:
    assert initial_theme(environ) == theme


async def test_far_terminals_get_no_motion() -> None:
    link = ServiceLink(FakeClient(), asyncio.get_running_loop())
    assert is_remote({"SSH_TTY": "/dev/pts/1"})
    assert WorkbenchApp(link, environ={"SSH_TTY": "/dev/pts/1"}).animation_level == "none"
    assert WorkbenchApp(link, environ={}).animation_level != "none"
