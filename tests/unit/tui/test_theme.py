from __future__ import annotations

import asyncio
from itertools import combinations
from math import dist
from pathlib import Path

import pytest
from textual.theme import Theme

from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.link import ServiceLink
from corral.tui.terminal import is_remote
from corral.tui.theme import DEUTER, THEMES, TRIT, initial_theme
from tests.fakes.client import FakeClient
from tests.fakes.moment import model, moment, request
from tests.fakes.screen import overflows, picture, until, workbench


@pytest.mark.parametrize(
    ("environ", "theme"),
    [
        ({"COLORTERM": "truecolor"}, "corral"),
        ({"COLORTERM": "24bit", "NO_COLOR": ""}, "corral"),
        ({"COLORTERM": "truecolor", "NO_COLOR": "1"}, "ansi-dark"),
        ({}, "ansi-dark"),
        ({"COLORFGBG": "0;15"}, "ansi-light"),
        ({"COLORFGBG": "0;15", "COLORTERM": "truecolor"}, "corral-light"),
        ({"COLORFGBG": "15;0", "COLORTERM": "truecolor"}, "corral"),
    ],
)
def test_the_terminal_chooses_the_first_theme(environ: dict[str, str], theme: str) -> None:
    assert initial_theme(environ) == theme


async def test_far_terminals_get_no_motion() -> None:
    link = ServiceLink(FakeClient(), asyncio.get_running_loop())
    assert is_remote({"SSH_TTY": "/dev/pts/1"})
    assert WorkbenchApp(link, environ={"SSH_TTY": "/dev/pts/1"}).animation_level == "none"
    assert WorkbenchApp(link, environ={}).animation_level != "none"


def test_what_is_wanted_wins_but_not_over_no_colours() -> None:
    assert initial_theme({}, "corral-trit") == "corral-trit"
    assert initial_theme({"NO_COLOR": "1", "COLORTERM": "truecolor"}, "corral-trit") == "ansi-dark"


# How eyes without one kind of cone see linear RGB: Machado, Oliveira and Fernandes, 2009, severity 1.0.
EYES = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def linear(colour: str) -> tuple[float, ...]:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return tuple(one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)


def lab(rgb: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = (min(max(one, 0.0), 1.0) for one in rgb)
    white = (0.95047, 1.0, 1.08883)
    xyz = (
        0.4124 * red + 0.3576 * green + 0.1805 * blue,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        0.0193 * red + 0.1192 * green + 0.9505 * blue,
    )
    x, y, z = (one / by for one, by in zip(xyz, white, strict=True))
    fx, fy, fz = (one ** (1 / 3) if one > 0.008856 else 7.787 * one + 16 / 116 for one in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def seen(colour: str, eyes: str) -> tuple[float, float, float]:
    rgb = linear(colour)
    return lab(tuple(sum(weight * one for weight, one in zip(row, rgb, strict=True)) for row in EYES[eyes]))


@pytest.mark.parametrize(("theme", "eyes"), [(DEUTER, "deutan"), (DEUTER, "protan"), (TRIT, "tritan")])
def test_good_warning_and_bad_differ_for_eyes_that_lack_a_colour(theme: Theme, eyes: str) -> None:
    colours = {"success": theme.success, "warning": theme.warning, "error": theme.error}
    for one, other in combinations(colours, 2):
        left, right = (seen(colours[name] or "", eyes) for name in (one, other))
        assert dist(left, right) > 25, f"{one} and {other}"


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_colour_of_a_state_can_be_read_on_its_background(theme: Theme) -> None:
    def light(colour: str) -> float:
        red, green, blue = linear(colour)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    ground = light(theme.background or "")
    for colour in (theme.success, theme.warning, theme.error, theme.accent, theme.foreground):
        high, low = sorted((light(colour or ""), ground), reverse=True)
        assert (high + 0.05) / (low + 0.05) > 4.5, colour  # WCAG 2.2, 1.4.3


async def test_motion_is_as_the_user_says(tmp_path: Path) -> None:
    link = ServiceLink(FakeClient(), asyncio.get_running_loop())
    (tmp_path / "corral").mkdir()
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    (tmp_path / "corral" / "config.toml").write_text("[screen]\nmotion = false\n")
    assert WorkbenchApp(link, environ=environ).animation_level == "none"
    (tmp_path / "corral" / "config.toml").write_text("[screen]\nmotion = true\n")
    assert WorkbenchApp(link, environ=environ | {"SSH_CONNECTION": "x"}).animation_level == "basic"


@pytest.mark.parametrize("mode", [Where.MODELS, Where.RUNNING, Where.SERVER])
async def test_states_are_told_without_any_colour(mode: Where) -> None:
    """Signs and words alone: what is drawn is compared as text, which has no colour to tell anything with."""
    client = FakeClient.with_models("smollm2:135m", "qwen3:8b")
    client.snapshot = moment()
    app = workbench(client, mode)
    async with app.run_test(size=(160, 50)) as pilot:
        told = {
            Where.MODELS: ("● busy", "◐ load", "41%"),
            Where.RUNNING: ("● busy", "◐ weights", "○ idle", "✗", "! "),
            Where.SERVER: ("404", "200"),
        }[mode]
        await until(pilot, lambda: all(one in picture(app) for one in told))


@pytest.mark.parametrize("mode", [Where.CHAT, Where.MODELS, Where.RUNNING, Where.FILE, Where.SERVER])
async def test_no_size_and_no_wide_letter_breaks_a_screen(mode: Where) -> None:
    name = "模型/日本語モデル🦙"
    client = FakeClient.with_models("smollm2:135m")
    client.snapshot = moment(models=(model(name),), requests=(request(1, model=name, client="クライアント"),))
    app = workbench(client, mode)
    async with app.run_test(size=(120, 36)) as pilot:
        for size in ((1, 1), (2, 60), (59, 15), (60, 16), (61, 17), (300, 100), (1, 1), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert overflows(app) == [], size
        assert "Corral needs" not in picture(app)
