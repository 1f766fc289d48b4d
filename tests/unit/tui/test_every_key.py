"""Every key of the registry on its screen in the smallest usual terminal: something comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot
from textual.widgets import Input

from corral.runtime.upkeep import UnfinishedPull
from corral.tui.actions import ACTIONS, Where
from corral.tui.app import WorkbenchApp
from corral.tui.screens.chat import ChatScreen
from corral.tui.terminal import ExitReason
from corral.tui.widgets.prompt_box import PromptBox
from corral.tui.widgets.transfers import Transfers
from tests.fakes.client import FakeClient, summary
from tests.fakes.moment import WALL_S
from tests.fakes.scenes import SCENES
from tests.fakes.screen import picture, until, workbench

SIZE = (80, 24)
PLACES = {
    Where.APP: "running busy",
    Where.CHAT: "chat",
    Where.PROMPT: "chat",
    Where.MODELS: "models",
    Where.TRANSFERS: "models",
    Where.RUNNING: "running busy",
    Where.FILE: "modelfile",
    Where.SERVER: "server",
}
ELSEWHERE = {"fetch", "models.fetch", "redraw"}
"""Keys that need another beginning, or a terminal; they have tests of their own."""
BEFORE: dict[str, tuple[str, ...]] = {
    "go.running": ("2",),
    "go.running.always": ("2",),
    "stop": ("i", "x", "enter"),
    "turn.after": ("K", "K"),
    "undo": ("d",),
    "variant.prev": ("r",),
    "variant.next": ("left_square_bracket",),
    "find.next": ("slash", "a", "d", "d", "enter"),
    "find.prev": ("slash", "a", "d", "d", "enter"),
    "chat.next": ("F",),
    "chat.previous": ("F",),
    "nav.end": ("g",),
    "nav.home": ("G",),
    "nav.down": ("g",),
    "nav.up": ("G",),
    "nav.page_down": ("g",),
    "nav.page_up": ("G",),
    "prompt.send": ("x",),
    "prompt.older": (),
    "prompt.newer": ("up",),
    "prompt.complete": ("slash", "s"),
    "mark.range": ("escape", "home", "space", "end"),
    "transfer.resume": ("down", "down"),
    "transfer.cancel": ("home",),
    "gpu.next": ("i",),
    "rate.down": ("space",),
    "models.back": ("space",),
    "running.back": ("K",),
    "server.back": ("slash", "x", "enter"),
}
"""Keys that bring about what the key is for."""


@dataclass
class Watched:
    """All that a key can have an effect on."""

    pilot: Pilot[ExitReason]
    app: WorkbenchApp
    client: FakeClient
    copied: list[str] = field(default_factory=list)

    def state(self) -> tuple[object, ...]:
        """Compares equal as long as nothing has come of anything."""
        app = self.app
        selection = getattr(app.focused, "selection", None)
        toasts = tuple(one.identity for one in app._notifications)  # one may take the place of another that said so
        deeds = (len(self.client.asked), len(self.client.canceled), self.client.snapshot.recording, len(self.copied))
        shown = (picture(app), str(app.current_mode), len(app.screen_stack), app.focused, selection)
        return *shown, toasts, *deeds, app.has_mouse, app.return_value

    async def press(self, *keys: str) -> None:
        """Press keys and let what comes of them settle."""
        for key in keys:
            await self.pilot.press(key)

    async def has_effect(self, key: str) -> bool:
        """Whether anything changes after `key`."""
        before = self.state()
        await self.pilot.press(key)
        try:
            await until(self.pilot, lambda: self.state() != before, within_s=20)
        except AssertionError:
            return False
        return True

    async def back(self, where: Where) -> None:
        """To where the keys of a place work: no dialog, no filter, its own focus."""
        app = self.app
        while len(app.screen_stack) > 1:
            app.pop_screen()
        app.clear_notifications()
        if where is not Where.APP and app.current_mode != Where(SCENES[PLACES[where]].mode):
            await app.action_go(SCENES[PLACES[where]].mode)
        await self.pilot.pause()
        if isinstance(app.focused, Input):  # a filter, which would take the keys as text
            await self.press("escape")
        match where:
            case Where.CHAT:
                screen = app.screen
                assert isinstance(screen, ChatScreen)
                screen.visit(next(one for one in screen.chats.all if one.root.children))
                await self.press("escape")
                if isinstance(app.focused, PromptBox):
                    await self.press("escape")
            case Where.PROMPT:
                box = app.screen.query_one(PromptBox)
                box.focus()
                box.text = ""
            case Where.TRANSFERS:
                app.screen.query_one(Transfers).focus()
            case _:
                pass
        await self.pilot.pause()


@pytest.mark.parametrize("where", Where)
async def test_something_comes_of_every_key(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = SCENES[PLACES[where]]
    client = scene.client()
    log = tuple(replace(line, text=line.text * 40) for line in client.snapshot.log)
    client.snapshot = replace(client.snapshot, log=log)
    client.unfinished = [UnfinishedPull("phi4:14b", 1, 2, WALL_S)]
    app = workbench(client, scene.mode)
    copied: list[str] = []
    monkeypatch.setattr(WorkbenchApp, "copy_to_clipboard", lambda app, text: copied.append(text))
    monkeypatch.setattr(app, "exit", lambda *given, **named: copied.append("left"))
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: app.screen.is_mounted)
        await scene.reach(pilot, app, client)
        watched = Watched(pilot, app, client, copied)
        without = []
        for action in ACTIONS:
            if action.where is not where or not action.keys or action.id in ELSEWHERE:
                continue
            for key in action.keys.split(","):
                if action.id == "models.again":
                    client.models[f"new:{key}"] = summary(f"new:{key}")
                await watched.back(where)
                await watched.press(*BEFORE.get(action.id, ()))
                if not await watched.has_effect(key):
                    without.append((action.id, key))
        assert without == [], picture(app)


@pytest.mark.parametrize(("where", "told"), [(Where.CHAT, "There is no model"), (Where.MODELS, "No models yet")])
async def test_the_starter_is_fetched_by_its_key(where: Where, told: str) -> None:
    client = FakeClient()
    app = workbench(client, where)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: told in picture(app))
        await pilot.press("f")
        await until(pilot, lambda: ("pull", app.starter) in client.asked)
