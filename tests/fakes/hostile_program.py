"""A program for ptys: the workbench on a fake client all of whose texts are hostile, but for one model's name."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator

from msgspec.structs import replace

from corral.runtime.errors import RunnerDied
from corral.runtime.recordings import Recorded
from corral.runtime.snapshot import (
    ClientView,
    EventView,
    ListenerView,
    LogLine,
    QueueView,
    RequestState,
    Snapshot,
    TransferView,
)
from corral.runtime.upkeep import PullPlan, UnfinishedPull
from corral.runtime.verbs import ChatRequest, Chunk, Message, ModelDetails, TensorInfo, ToolCall
from corral.store.errors import SourceError
from corral.tui.app import WorkbenchApp
from corral.tui.link import ServiceLink
from corral.tui.terminal import run_workbench
from tests.fakes.client import DETAILS, FakeClient, summary
from tests.fakes.hostile import SEEDS, texts
from tests.fakes.moment import AT_S, WALL_S, model, moment, request

MODEL = "smollm2:135m"
MANY = 400
TEXTS = list(texts(MANY))


class Hostile(FakeClient):
    """Says hostile things whatever it is asked; from the second question on answers fail."""

    def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        if any(isinstance(one, ChatRequest) for one in self.asked):
            self.fail_with, self.fail_after = RunnerDied("".join(SEEDS)), 10
        return super().chat(request)

    async def show(self, model: str, *, verbose: bool = False) -> ModelDetails:
        text = TEXTS[hash(model) % MANY] + "".join(SEEDS)
        shown = await super().show(MODEL)
        return replace(
            shown,
            details=replace(DETAILS, family=text, parameter_size=text, quantization_level=text, parent_model=text),
            modelfile=f"FROM {MODEL}\n# {text}\nPARAMETER {text}\nSYSTEM {text}\n",
            parameters=((text, text),),
            template=text,
            system=text,
            license=text,
            messages=(Message(text, text),),
            model_info={one: one for one in TEXTS},
            tensors=tuple(TensorInfo(one, one, (1, 2)) for one in TEXTS),
            capabilities=(text,),
            requires=text,
        )

    async def plan_pull(self, model: str, *, insecure: bool = False) -> PullPlan:
        raise SourceError("".join(SEEDS))

    async def recorded(self, request_id: str) -> Recorded | None:
        return Recorded("".join(TEXTS))


def snapshot() -> Snapshot:
    """A moment in which everything that has a name or a note has a hostile one."""
    states = (RequestState.DECODE, RequestState.PREFILL, RequestState.FAILED, RequestState.DONE)
    return moment(
        requests=tuple(
            request(
                number,
                client=text,
                method=text,
                path=text,
                model=text,
                note=text,
                warnings=(text,),
                state=states[number % 4],
                status=500,
            )
            for number, text in enumerate(TEXTS[:80])
        ),
        models=tuple(model(text, aliases=(text,), worth=text, leaves=1) for text in TEXTS[:30]),
        transfers=tuple(TransferView(str(number), text, text, 1, 2, 1.0) for number, text in enumerate(TEXTS[:6])),
        events=tuple(EventView(WALL_S - number, "error", text, text) for number, text in enumerate(TEXTS)),
        log=tuple(LogLine(number, WALL_S, "error", text, text) for number, text in enumerate(TEXTS, 1)),
        clients=tuple(ClientView(text) for text in set(TEXTS[:40])),
        queue=tuple(QueueView(str(number), text, text, AT_S, text) for number, text in enumerate(TEXTS[:20])),
        listeners=tuple(ListenerView(text, WALL_S, origins=(text,)) for text in TEXTS[:3]),
    )


def main() -> None:
    """Run until the user leaves."""
    client = Hostile.with_models(MODEL)
    for text in TEXTS[:60]:
        details = replace(DETAILS, parameter_size=text, quantization_level=text, family=text)
        client.models[text] = replace(summary(MODEL), name=text, details=details, capabilities=("completion",))
    everything = ("completion", "thinking", "tools")
    client.models[MODEL] = replace(client.models[MODEL], capabilities=everything)
    client.snapshot = snapshot()
    client.thoughts = TEXTS[:60]
    client.words = TEXTS
    client.warnings = tuple(SEEDS)
    client.calls = tuple(ToolCall(text, {text: text}, text) for text in TEXTS[:20])
    client.unfinished = [UnfinishedPull(text, 1, 2, WALL_S) for text in TEXTS[:5]]
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    run_workbench(WorkbenchApp(ServiceLink(client, loop), environ=os.environ, start_model=MODEL))


if __name__ == "__main__":
    main()
