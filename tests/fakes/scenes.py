"""What there is to see of the workbench, each reached by keys, on a fake client whose figures never change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msgspec.structs import replace
from textual.pilot import Pilot
from textual.widgets import OptionList

from corral.runtime.snapshot import EMPTY, ModelState
from corral.runtime.upkeep import PullPlan
from corral.runtime.verbs import ToolCall
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.screens.chat import ChatScreen
from corral.tui.screens.modelfile import ModelfileScreen
from corral.tui.terminal import ExitReason
from tests.fakes.client import FakeClient, summary
from tests.fakes.moment import BARE_GPU, GPU, HOST, WALL_S, model, moment
from tests.fakes.screen import asked, picture, until

NAMES = ("smollm2:135m", "qwen3:8b", "llama3.2:3b")
ANSWER = """# Sums

Two **ways** to add, see [the guide](https://example.org/sums):

1. by hand, which is *slow*
2. with a program, which takes a moment to write and then no time at all

```python
def add(a: int, b: int) -> int:
    return a + b
```

| way | seconds |
|---|---|
| hand | 12 |
| program | 0.1 |

> Count twice.
"""
MODELFILE = '''# a terse assistant
FROM smollm2:135m

PARAMETER temprature 0.2
PARAMETER num_ctx 4096
PARAMETER top_k many
PARAMETER top_p 1.4

SYSTEM """You are a terse senior engineer.
Answer with a diff when code is asked for."""
'''


@dataclass(frozen=True)
class Scene:
    """What is on the machine, where the app opens, and what is done until there is something to look at."""

    mode: Where
    client: Callable[[], FakeClient]
    reach: Callable[[Pilot[ExitReason], WorkbenchApp, FakeClient], Awaitable[None]]


def stocked() -> FakeClient:
    client = FakeClient.with_models(*NAMES)
    client.models["qwen3:8b"] = replace(summary("qwen3:8b", 5_200_000_000), capabilities=("completion", "thinking"))
    return client


def busy() -> FakeClient:
    client = stocked()
    host = replace(HOST, gpus=(GPU, BARE_GPU))
    client.snapshot = moment(host=host, history=tuple(replace(one, gpus=host.gpus) for one in moment().history))
    return client


def idle() -> FakeClient:
    client = stocked()
    client.snapshot = moment(
        models=(model("llama3.2:3b", state=ModelState.IDLE, expires_in_s=252.0, slots_used=0, tokens_per_s=0.0),),
        requests=(),
        transfers=(),
        tokens_per_s=0.0,
        prompt_tokens_per_s=0.0,
        throughput=(0.0,) * 90,
    )
    return client


def talking() -> FakeClient:
    client = FakeClient.with_models("qwen3:8b")
    client.models["qwen3:8b"] = replace(summary("qwen3:8b"), capabilities=("completion", "thinking", "tools"))
    client.snapshot = replace(
        EMPTY,
        serving="http://127.0.0.1:11434",
        host=HOST,
        wall_s=WALL_S,
        models=(model("qwen3:8b", state=ModelState.IDLE, expires_in_s=252.0, slots_used=0),),
    )
    client.thoughts = ("The user wants a sum.\n", "Two ways come to mind.")
    client.words = (ANSWER,)
    return client


async def empty_chat(pilot: Pilot[ExitReason], app: WorkbenchApp, client: FakeClient) -> None:
    await until(pilot, lambda: "Prompt to smollm2:135m" in picture(app))


async def no_models(pilot: Pilot[ExitReason], app: WorkbenchApp, client: FakeClient) -> None:
    await until(pilot, lambda: "There is no model" in picture(app))


async def conversation(pilot: Pilot[ExitReason], app: WorkbenchApp, client: FakeClient) -> None:
    await until(pilot, lambda: "Prompt to qwen3:8b" in picture(app))
    screen = app.screen_stack[0]
    assert isinstance(screen, ChatScreen)
    chat = screen.chat
    chat.settings.tools = ({"type": "function", "function": {"name": "add"}},)
    for question in ("How do I add?", "Again."):
        screen.prompt.text = question
        await pilot.press("enter")
        await until(pilot, lambda: bool(chat.turns) and not chat.is_live and chat.turns[-1].text.startswith("# Sums"))
        client.calls = (ToolCall("add", {"a": 2, "b": 3}, "call_1"),)
    await until(pilot, lambda: "tok/s · ttft" in picture(app) and "wants add" in picture(app))


async def conversation_from_its_beginning(pilot: Pilot[ExitReason], app: WorkbenchApp, client: FakeClient) -> None:
    await conversation(pilot, app, client)
    await pilot.press("escape", "o", "g")
    await until(pilot, lambda: "Two ways come to mind." in picture(app))


async def models(pilot: Pilot[ExitReason], app: WorkbenchApp, client: FakeClient) -> None:
    await until(pilot, lambda: "llama3.2:3b" in picture(app) and "gemma3:27b" in picture(app))
    await until(pilot, lambda: app.size.width < 80 or "8k✓" in picture(app))
    await until(pilot, lambda: app.size.width < 120 or "temperature" in picture(app))


async def details(pilot: Pilot[ExitReason], app: WorkbenchApp, client: FakeClient) -> None:
    await models(pilot, app, client)
    await pilot.press("space", "i")
    if app.size.width < 120:
        await until(pilot, lambda: "quantization" in picture(app))


async def running(pilot: Pilot[ExitReason], app: WorkbenchApp, client: FakeClient) -> None:
    await until(pilot, lambda: "TOK/S" in picture(app) and (app.size.width < 80 or "CPU" in picture(app)))


async def problems(pilot: Pilot[ExitReason], app: WorkbenchApp, client: FakeClient) -> None:
    screen = app.screen_stack[0]
    assert isinstance(screen, ModelfileScreen)
    await until(pilot, lambda: bool(screen.editor.text))
    screen.open_text("terse", MODELFILE)
    await until(pilot, lambda: len(screen.findings) == 3 and "✗ 2  ! 1" in picture(app))
    await until(pilot, lambda: app.size.width < 120 or "against smollm2:135m" in picture(app))
    await pilot.press("f8")


async def server(pilot: Pilot[ExitReason], app: WorkbenchApp, client: FakeClient) -> None:
    await until(pilot, lambda: "10.0.0.7" in picture(app) and (app.size.width < 80 or "line 39" in picture(app)))


async def keys(pilot: Pilot[ExitReason], app: WorkbenchApp, client: FakeClient) -> None:
    await models(pilot, app, client)
    await pilot.press("question_mark")
    await until(pilot, lambda: "type to search" in picture(app))


async def pull(pilot: Pilot[ExitReason], app: WorkbenchApp, client: FakeClient) -> None:
    await models(pilot, app, client)
    plan = PullPlan("qwen3:70b", "", 42_500_000_000, 41_200_000_000, 12, 1, 42_400_000_000, 41_000_000_000)
    client.plans["qwen3:70b"] = plan
    await pilot.press("p")
    await asked(pilot)
    await pilot.press(*"qwen3:70b")
    await until(pilot, lambda: "free" in picture(app) and "weights" in picture(app))


async def options(pilot: Pilot[ExitReason], app: WorkbenchApp, client: FakeClient) -> None:
    await empty_chat(pilot, app, client)
    screen = app.screen_stack[0]
    assert isinstance(screen, ChatScreen)
    screen.chat.settings.options["temperature"] = 0.2
    await pilot.press("escape", "O", "down", "down")
    await until(pilot, lambda: app.screen.query_one(OptionList).has_focus)


SCENES = {
    "chat without a model": Scene(Where.CHAT, FakeClient, no_models),
    "chat empty": Scene(Where.CHAT, idle, empty_chat),
    "chat": Scene(Where.CHAT, talking, conversation),
    "chat from its beginning": Scene(Where.CHAT, talking, conversation_from_its_beginning),
    "models": Scene(Where.MODELS, busy, models),
    "models details": Scene(Where.MODELS, busy, details),
    "running busy": Scene(Where.RUNNING, busy, running),
    "running idle": Scene(Where.RUNNING, idle, running),
    "modelfile": Scene(Where.FILE, idle, problems),
    "server": Scene(Where.SERVER, busy, server),
    "help": Scene(Where.MODELS, busy, keys),
    "pull": Scene(Where.MODELS, busy, pull),
    "options": Scene(Where.CHAT, idle, options),
}
