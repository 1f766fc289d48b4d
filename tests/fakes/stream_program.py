"""A program for ptys: the workbench on a fake client that says words at a steady pace.

Arguments: tokens/s, tokens; and where wanted in how many chats it says them when something is asked in the first, how
many messages that one begins with, and a file for the number of widgets on the screen.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from corral.runtime.verbs import ChatRequest, Chunk
from corral.tui import app as app_module
from corral.tui.app import WorkbenchApp
from corral.tui.link import ServiceLink
from corral.tui.screens.chat import ChatScreen
from corral.tui.terminal import run_workbench
from corral.tui.turns import Turn
from tests.fakes.client import FakeClient

SAID = "the gulls over a grey sea know nothing of what lies below them and sing of wind and of salt all day"
WORDS = SAID.split()
LINE_TOKENS = 90


class Talker(FakeClient):
    """Says prose, in paragraphs, at the pace it was told."""

    def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        return self._talk(request)

    async def _talk(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        pace, count = float(sys.argv[1]), int(sys.argv[2])
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number in range(count):
            await asyncio.sleep(began_s + number / pace - loop.time())
            ending = "\n\n" if number % LINE_TOKENS == LINE_TOKENS - 1 else " "
            yield Chunk(text=WORDS[number % len(WORDS)] + ending)
        async for chunk in super().chat(request):
            if chunk.done_reason is not None:
                yield chunk


class Crowded(WorkbenchApp):
    """Begins with a long chat and others that stream."""

    CSS_PATH = str(Path(app_module.__file__).parent / "styles" / "app.tcss")

    def on_ready(self) -> None:
        super().on_ready()
        streams, messages, count = int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5])
        screen = self.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        chats, now_s = screen.chats, time.time()
        first = chats.current
        end = first.root
        for number in range(messages):
            role = "assistant" if number % 2 else "user"
            turn = Turn(role, now_s, f"{number}: {SAID}", parent=end)
            end.children.append(turn)
            end.picked = len(end.children) - 1
            end = turn
        for _ in range(streams - 1):
            chats.current.is_changed = True
            other = chats.open("smollm2:135m")
            other.ask("go on", self.link, now_s)
        chats.current = first
        first.model = "smollm2:135m"
        screen.show_chats()
        screen.watch_closely()
        self.set_interval(1, lambda: count.write_text(str(len([*self.screen.walk_children()]))))


def main() -> None:
    """Run until the user leaves."""
    client = Talker.with_models("smollm2:135m")
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    made = WorkbenchApp if len(sys.argv) < 4 else Crowded
    run_workbench(made(ServiceLink(client, loop), environ=os.environ))


if __name__ == "__main__":
    main()
