"""`make screenshots`: the pictures of the README, drawn by the running app on the real model while clients ask it.

Every screen at 120x36 and at 80x24; the service, its port, the requests and the figures are real.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx
from msgspec.structs import replace
from textual.pilot import Pilot

from corral.api.server import Service
from corral.runtime.settings import Settings
from corral.tui.app import WorkbenchApp
from corral.tui.link import ServiceLink
from corral.tui.screens.modelfile import ModelfileScreen
from corral.tui.terminal import ExitReason
from tests.conftest import STARTER_MODEL, fetched_starter, store_with_starter
from tests.fakes.screen import picture
from tests.waiting import until

ROOT = Path(__file__).parent.parent / "screenshots"
SIZE = (120, 36)
SMALL = (80, 24)
QUESTION = "Show a Python function that adds two numbers, in a code block, and explain it in two sentences."
MODELFILE = '''# a terse assistant
FROM smollm2:135m

PARAMETER temperature 0.2
PARAMETER num_ctx 4096
PARAMETER top_p 1.4
PARAMETER stop <|im_end|>

SYSTEM """You are a terse senior engineer.
Answer with a diff when code is asked for."""

MESSAGE user What is your name?
MESSAGE assistant Terse.
'''


class Asking:
    """Clients that ask over HTTP until they are told to stop, as editors and scripts do."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, count: int) -> None:
        for number in range(count):
            self._tasks.append(asyncio.create_task(self._ask(number)))

    async def _ask(self, number: int) -> None:
        agents = ["ollama-python/0.6", "curl/8.5", "openai-python/3.5", "continue/1.3"]
        headers = {"User-Agent": agents[number % len(agents)]}
        body = {
            "model": STARTER_MODEL,
            "messages": [{"role": "user", "content": f"Tell a story about a ship called {number}. " * 12}],
            "options": {"num_predict": 400},
        }
        async with httpx.AsyncClient(timeout=120, headers=headers) as client:
            while True:
                async with client.stream("POST", f"{self._base_url}/api/chat", json=body) as reply:
                    async for line in reply.aiter_lines():
                        json.loads(line)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _save(pilot: Pilot[ExitReason], app: WorkbenchApp, name: str) -> None:
    """Write the pictures of a screen; ids that Textual makes up each time are replaced, so that pictures compare."""
    for (columns, lines), file in ((SIZE, name), (SMALL, f"{name}-80x24"), (SIZE, "")):
        await pilot.resize_terminal(columns, lines)
        await until(lambda columns=columns: app.screen.size.width == columns)  # type: ignore[misc]
        await pilot.pause()
        if file:
            svg = re.sub(r"terminal-\d+", f"corral-{file}", app.export_screenshot(title=f"corral · {name}"))
            (ROOT / f"{file}.svg").write_text(svg)
            print(f"screenshots/{file}.svg")


async def _draw(pilot: Pilot[ExitReason], app: WorkbenchApp, service: Service) -> None:
    def drawn(*texts: str) -> Callable[[], bool]:
        return lambda: all(text in picture(app) for text in texts)

    asking = Asking(service.base_url)
    await until(drawn("Prompt"), 60)
    for character in QUESTION:
        await pilot.press({" ": "space", ",": "comma", ".": "full_stop"}.get(character, character))
    await pilot.press("enter")
    await until(drawn("tok/s · ttft"), 120)
    await until(lambda: not service.client.latest().models or service.client.latest().models[0].slots_used == 0, 120)
    asking.begin(3)
    await until(lambda: bool(service.client.latest().models) and service.client.latest().models[0].slots_used == 3, 60)
    await until(drawn("tok/s · ttft", "slots 3/4"))
    await _save(pilot, app, "chat")
    await pilot.press("f3")
    await until(drawn("Q4_1"))
    await pilot.press("f4")
    await until(lambda: len(service.client.latest().history) > 45, 120)
    await until(drawn("decode", "Slots"), 60)
    await _save(pilot, app, "running")
    await pilot.press("f6")
    await until(drawn("curl", "tui"), 60)
    await _save(pilot, app, "server")
    await pilot.press("f5")
    screen = app.screen_stack[0]
    assert isinstance(screen, ModelfileScreen)
    screen.open_text("terse", MODELFILE)
    await until(drawn("no effect"))
    await _save(pilot, app, "modelfile")
    await pilot.press("f3")
    await until(drawn("architecture"))
    await _save(pilot, app, "models")
    await asking.end()


def main() -> int:
    """Serve, open the workbench without a terminal, and take a picture of each screen."""
    ROOT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        store = store_with_starter(fetched_starter(), Path(scratch) / "models")
        settings = replace(Settings(models=store), listen_port=0)
        service = Service(settings, warm=False)
        service.start()
        try:
            asyncio.run(_run(service))
        finally:
            service.stop(drain_s=0)
    return 0


async def _run(service: Service) -> None:
    app = WorkbenchApp(ServiceLink(service.client, service.loop), environ={"COLORTERM": "truecolor"})
    async with app.run_test(size=SIZE) as pilot:
        await _draw(pilot, app, service)


if __name__ == "__main__":
    sys.exit(main())
