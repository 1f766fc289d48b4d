"""Images drawn as half blocks: what they look like, where they are drawn, and what strangers' files can do."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from corral.store.sessions import Attached
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.widgets.picture import PictureSize, draw_picture, half_blocks, picture_sizes
from tests.fakes.client import FakeClient
from tests.fakes.screen import SIZES, picture, until, workbench
from tests.unit.tui.test_chat_keys import chat_screen, copied

LOCAL = {"TERM": "xterm-256color"}
SMALL, LARGE, NONE = PictureSize.SMALL, PictureSize.LARGE, PictureSize.NONE


def png(width: int, height: int, colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "PNG")
    return out.getvalue()


def test_a_half_block_is_two_pixels() -> None:
    image = Image.new("RGB", (2, 2), "black")
    image.putpixel((0, 0), (255, 0, 0))
    image.putpixel((1, 1), (0, 0, 255))
    out = io.BytesIO()
    image.save(out, "PNG")
    drawn = half_blocks(out.getvalue(), 10, 10)
    assert drawn.plain == "▀▀"
    colours = [(str(one.style.foreground), str(one.style.background)) for one in drawn.spans]  # type: ignore[union-attr]
    assert colours == [("Color(248, 0, 0)", "Color(0, 0, 0)"), ("Color(0, 0, 0)", "Color(0, 0, 248)")]


@pytest.mark.parametrize(
    ("width", "height", "columns", "rows"),
    [(400, 200, 36, 9), (200, 400, 9, 9), (720, 80, 36, 2), (8, 6, 8, 3), (300, 2, 36, 1)],
)
def test_an_image_keeps_its_shape_within_its_place(width: int, height: int, columns: int, rows: int) -> None:
    lines = half_blocks(png(width, height), *SMALL.value).plain.split("\n")
    assert (len(lines[0]), len(lines)) == (columns, rows)
    assert len(half_blocks(png(width, height), *SMALL.value).spans) == rows  # one colour, one span a row


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\nrubbish", png(40, 40)[:-30], b"GIF89a" + b"\xff" * 40])
async def test_what_is_damaged_is_not_drawn(data: bytes) -> None:
    assert await draw_picture(data, SMALL) is None


async def test_a_bomb_is_judged_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(self: Image.Image) -> None:
        raise AssertionError("it was decoded")

    bomb = png(6000, 6000, "white")
    assert len(bomb) < 300_000
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    assert await draw_picture(bomb, SMALL) is None


@pytest.mark.parametrize(
    ("environ", "wish", "sizes"),
    [
        (LOCAL, None, (SMALL, LARGE)),
        (LOCAL | {"SSH_TTY": "/dev/pts/1"}, None, (NONE, LARGE)),
        (LOCAL | {"SSH_TTY": "/dev/pts/1"}, True, (SMALL, LARGE)),
        (LOCAL, False, (NONE, NONE)),
        (LOCAL | {"NO_COLOR": "1"}, True, (NONE, NONE)),
        ({"TERM": "linux"}, None, (NONE, NONE)),
    ],
)
def test_where_images_are_drawn(
    environ: dict[str, str], wish: bool | None, sizes: tuple[PictureSize, PictureSize]
) -> None:
    assert picture_sizes(environ, wish) == sizes


def shown(app: WorkbenchApp, data: bytes) -> None:
    screen = chat_screen(app)
    screen.chat.ask("what is it?", screen.link, 0.0, (Attached("cat.png", data, is_image=True),))
    screen.asked()


def blocks(app: WorkbenchApp) -> int:
    return picture(app).count("▀")


@pytest.mark.parametrize("size", SIZES)
async def test_an_image_stands_below_its_name_and_opens(size: tuple[int, int]) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        shown(app, png(300, 100))
        await until(pilot, lambda: "⊕ image cat.png" in picture(app) and blocks(app) == 36 * 6)
        await until(pilot, lambda: not chat_screen(app).chats.live)
        texts = copied(app)
        await pilot.press("escape", "V", "g", "y")
        await until(pilot, lambda: bool(texts))
        assert "▀" not in texts[0]
        assert "what is it?" in texts[0]
        await pilot.press("o", "g")
        await until(pilot, lambda: blocks(app) > 36 * 6)
        await pilot.press("o")
        await until(pilot, lambda: blocks(app) == 36 * 6)


async def test_over_ssh_an_image_is_drawn_when_it_is_opened() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, SSH_TTY="/dev/pts/1")
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        shown(app, png(300, 100))
        await until(pilot, lambda: "t0 t1 t2" in picture(app) and not chat_screen(app).chats.live)
        assert blocks(app) == 0
        await pilot.press("escape", "o")
        await until(pilot, lambda: blocks(app) > 0)
        await pilot.press("o")
        await until(pilot, lambda: blocks(app) == 0)
