"""What is sent of a change is what a screen drawn anew would show, and what is covered is not asked for it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace
from rich.color import ColorSystem
from textual._compositor import CompositorUpdate
from textual.geometry import Offset
from textual.screen import Screen
from textual.widget import Widget

from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.drawing import Drawing
from corral.tui.widgets.host_panels import CpuPanel
from tests.fakes.client import FakeClient
from tests.fakes.moment import HOST, moment, request
from tests.fakes.screen import picture, until, workbench


def _followed(app: WorkbenchApp, monkeypatch: pytest.MonkeyPatch) -> Drawing:
    """A drawing that is given all of the app's updates."""
    drawing = Drawing(lambda text: None)
    display = app._display

    def followed(screen: Screen[Any], update: Any) -> None:
        if isinstance(update, CompositorUpdate):
            is_taken = drawing.take(update, Offset(0, 0), app.size, ColorSystem.TRUECOLOR)
            assert is_taken or not drawing.size, "what is whole comes first"
        display(screen, update)

    monkeypatch.setattr(app, "_display", followed)
    return drawing


def _seen(drawing: Drawing) -> str:
    return "\n".join("".join(row) for row in drawing._wanted.texts)


@pytest.mark.parametrize("where", [Where.RUNNING, Where.MODELS, Where.SERVER, Where.CHAT])
async def test_changes_add_up_to_the_whole_screen(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)
    client = FakeClient.with_models("smollm2:135m")
    client.snapshot = moment()
    app = workbench(client, where)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.screen.is_mounted)
        drawing = _followed(app, monkeypatch)
        app.screen.refresh(layout=True)
        await until(pilot, lambda: _seen(drawing) == picture(app))
        for number in range(12):
            host = replace(HOST, cpu_percent=chance.random() * 100, memory_used=chance.randrange(8 * 10**9))
            history = (*client.snapshot.history, host)
            running = tuple(request(n, output_tokens=chance.randrange(900)) for n in range(chance.randrange(6)))
            client.snapshot = replace(
                client.snapshot, at_s=client.snapshot.at_s + 1, host=host, history=history, requests=running[::-1]
            )
            if number == 6:
                app.notify("something to stand in front of it")
            app.refresh_now()
            await until(pilot, lambda: _seen(drawing) == picture(app))


async def test_what_is_covered_is_not_asked_for_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.snapshot = moment()
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "CPU" in picture(app))
        await pilot.pause()
        asked: set[Widget] = set()
        render_lines = Widget.render_lines

        def noted(widget: Widget, crop: Any) -> Any:
            asked.add(widget)
            return render_lines(widget, crop)

        monkeypatch.setattr(Widget, "render_lines", noted)
        busy = replace(HOST, cpu_percent=91.0)
        client.snapshot = replace(client.snapshot, at_s=2000.0, host=busy, history=(*client.snapshot.history, busy))
        app.refresh_now()
        await until(pilot, lambda: app.screen.query_one(CpuPanel) in asked)
        assert not asked & {app.screen, *app.screen.query("#body, #host-gauges")}
