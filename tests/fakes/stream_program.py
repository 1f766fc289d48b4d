"""A program for ptys: the workbench on a fake client that says words at a steady pace. Arguments: tokens/s, tokens."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator

from corral.runtime.verbs import ChatRequest, Chunk
from corral.tui.app import WorkbenchApp
from corral.tui.link import ServiceLink
from corral.tui.terminal import run_workbench
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


def main() -> None:
    """Run until the user leaves."""
    client = Talker.with_models("smollm2:135m")
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    run_workbench(WorkbenchApp(ServiceLink(client, loop), environ=os.environ))


if __name__ == "__main__":
    main()
