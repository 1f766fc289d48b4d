from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncGenerator

import pyte
import pytest

from corral.store.progress import Progress
from corral.tui.cli.progress import Bar, Display, Spinner, follow, waiting

DIGEST = "sha256:8eeb52dfb3bb" + "0" * 52


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def steps(*progress: Progress, fail: Exception | None = None) -> AsyncGenerator[Progress, None]:
    for one in progress:
        yield one
    if fail is not None:
        raise fail


PULL = (
    Progress("pulling manifest"),
    Progress("pulling 8eeb52dfb3bb", DIGEST, 4_700_000_000, 0),
    Progress("pulling 8eeb52dfb3bb", DIGEST, 4_700_000_000, 4_700_000_000),
    Progress("writing manifest"),
    Progress("success"),
)


def test_a_bar_tells_share_size_speed_and_time_left() -> None:
    bar = Bar("pulling 8eeb52dfb3bb:", 4_700_000_000, 0, now_s=0.0)
    bar.set(1_739_000_000)
    line = bar.line(80, now_s=30.0)
    assert line.startswith("pulling 8eeb52dfb3bb:  37% ▕███")
    assert line.endswith("▏ 1.7 GB/4.7 GB   57 MB/s     51s")
    assert len(line) == 79  # the last column stays free: some terminals wrap there


def test_a_full_bar_tells_the_size_alone() -> None:
    bar = Bar("pulling x:", 4_700_000_000, 0, now_s=0.0)
    bar.set(9_999_999_999)
    assert bar.done
    assert bar.line(80, 5.0).rstrip().endswith("█▏ 4.7 GB")
    assert "100%" in bar.line(80, 5.0)


def test_a_bar_on_a_narrow_terminal_does_not_fail() -> None:
    assert len(Bar("pulling x:", 100, 37, 0.0).line(10, 1.0)) == 9


def test_a_long_name_is_cut_so_that_its_line_does_not_wrap() -> None:
    bar = Bar(f"copying file {DIGEST}:", 98_000_000, 0, 0.0)
    bar.set(49_000_000)
    line = bar.line(100, 1.0)
    assert len(line) == 99
    assert line.startswith("copying file sha256:8eeb52dfb3bb")
    assert "…:  50% ▕" in line
    assert line.endswith("▏  49 MB/ 98 MB   49 MB/s      1s")
    assert len(Spinner("作" * 80, 0.0).line(80, 0.0)) <= 41


def test_a_spinner_turns_until_it_is_done() -> None:
    spinner = Spinner("pulling manifest", 0.0)
    assert spinner.line(80, 0.0) == "pulling manifest ⠋ "
    assert spinner.line(80, 0.1) == "pulling manifest ⠙ "
    spinner.done = True
    assert spinner.line(80, 0.2) == "pulling manifest "


def test_a_terminal_shows_each_line_once() -> None:
    terminal, clock = Terminal(), Clock()
    display = Display(terminal, clock)
    for step in PULL:
        display.show(step)
        display.draw()
        clock.now_s += 1
    display.stop()
    screen = pyte.Screen(80, 20)
    pyte.Stream(screen).feed(terminal.getvalue().replace("\n", "\r\n"))
    lines = [line.rstrip() for line in screen.display if line.strip()]
    assert lines[0] == "pulling manifest"
    assert lines[1].startswith("pulling 8eeb52dfb3bb: 100% ▕███")
    assert lines[2:] == ["writing manifest", "success"]
    assert terminal.getvalue().endswith("\x1b[?25h")


async def test_elsewhere_each_status_is_one_plain_line() -> None:
    out = io.StringIO()
    await follow(steps(*PULL), out)
    assert out.getvalue() == "pulling manifest\npulling 8eeb52dfb3bb: 4.7 GB\nwriting manifest\nsuccess\n"


async def test_a_failed_job_leaves_the_cursor_visible() -> None:
    terminal = Terminal()
    with pytest.raises(RuntimeError, match="broken"):
        await follow(steps(*PULL[:2], fail=RuntimeError("broken")), terminal)
    assert terminal.getvalue().endswith("\n\x1b[?25h")


async def test_a_canceled_job_closes_its_stream() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[Progress, None]:
        try:
            yield PULL[0]
            await asyncio.Event().wait()
        finally:
            closed.set()

    task = asyncio.create_task(follow(endless(), io.StringIO()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert closed.is_set()


async def test_waiting_leaves_no_trace() -> None:
    terminal = Terminal()
    async with waiting(terminal) as display:
        display.draw()
        assert "⠋" in terminal.getvalue()
    screen = pyte.Screen(80, 5)
    pyte.Stream(screen).feed(terminal.getvalue())
    assert not "".join(screen.display).strip()
    assert (screen.cursor.x, screen.cursor.y) == (0, 0)


async def test_a_status_cannot_move_the_cursor() -> None:
    out = io.StringIO()
    await follow(steps(Progress("\x1b[2Jgone\nnow")), out)
    assert out.getvalue() == "␛[2Jgone now\n"
