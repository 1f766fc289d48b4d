"""A program for ptys: the workbench on a fake client that talks in many scripts, and has something on every screen."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator

from msgspec.structs import replace

from corral.runtime.verbs import ChatRequest, Chunk
from corral.tui.app import WorkbenchApp
from corral.tui.link import ServiceLink
from corral.tui.terminal import run_workbench
from tests.fakes.client import DETAILS, FakeClient, summary
from tests.fakes.moment import model, moment, request

MODEL = "smollm2:135m"
SAID = (
    "the gulls 漢字テスト over 한국어 a grey sea 👍🏽 know שלום עולם nothing مرحبا of what 🇩🇪 "
    "lies e\u0301 below ❤\ufe0f and ไทย "
    "👨\u200d👩\u200d👧 sing `code 漢` of **wind** and हिन्दी of [salt](https://sea.example/x) all day ─│ ½ € ☎"
)
PACE_S = 0.02


class Speaker(FakeClient):
    """Says paragraphs at a steady pace, and at their end how often it has."""

    told = 0

    async def _talk(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        self.told += 1
        words = [*SAID.split(" ") * 3, f"said {self.told}."]
        for number, word in enumerate(words):
            await asyncio.sleep(PACE_S)
            yield Chunk(text=word + ("\n\n" if number % 40 == 39 else " "))
        async for chunk in super().chat(request):
            if chunk.done_reason is not None:
                yield chunk

    def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        return self._talk(request)


def main() -> None:
    """Run until the user leaves."""
    client = Speaker.with_models(MODEL)
    names = [f"{word}-{number}" for number, word in enumerate(SAID.split(" "))]
    for name in names:
        details = replace(DETAILS, family=name, parameter_size="漢" * 3)
        client.models[name] = replace(summary(MODEL), name=name, details=details)
    client.snapshot = moment(
        requests=tuple(request(number, client=name, model=name) for number, name in enumerate(names)),
        models=tuple(model(name) for name in names[:6]),
    )
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    run_workbench(WorkbenchApp(ServiceLink(client, loop), environ=os.environ, start_model=MODEL))


if __name__ == "__main__":
    main()
