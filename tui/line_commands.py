"""What can be typed after `:`: commands with arguments, and every action of the registry by its id.

A command says what its arguments are, which is all that completion needs to know.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from corral.runtime.upkeep import SettingView
from corral.tui import screen_settings
from corral.tui.actions import ACTIONS, Action, Where, shown_keys
from corral.tui.chats import new_caller
from corral.tui.exhausting import exhaust
from corral.tui.figures import size
from corral.tui.hosts import HERE
from corral.tui.loading import load
from corral.tui.shell_commands import SHELL, run_in_shell
from corral.tui.transfer_rate import parse_rate

if TYPE_CHECKING:
    from corral.tui.app import WorkbenchApp

__all__ = ["COMMANDS", "Candidate", "LineCommand", "Takes", "Words", "candidates", "execute", "find"]


class Takes(StrEnum):
    """What a word after a command's name is."""

    NOTHING = "nothing"
    MODEL = "model"
    THEME = "theme"
    SETTING = "setting"
    PLACE = "place"
    RATE = "rate"
    ANYTHING = "anything"


Run = Callable[["WorkbenchApp", Sequence[str]], Awaitable[str]]
"""Does it; returns what to tell, "" for nothing. Raises what verbs raise."""


@dataclass(frozen=True, slots=True)
class LineCommand:
    """A command: its name, its `usage` as in help, how many words it takes at least and at most (-1: no limit)."""

    name: str
    usage: str
    about: str
    run: Run
    takes: Takes = Takes.NOTHING
    least: int = 0
    most: int = 0
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Words:
    """What names there are to complete with; `values` gives what a setting may be, `own` are the user's commands."""

    models: Sequence[str] = ()
    themes: Sequence[str] = ()
    places: Sequence[str] = ()
    where: Where = Where.APP
    changed: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, SettingView] = field(default_factory=dict)
    values: Callable[[str], Sequence[str]] = lambda name: ()
    own: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A line that the typed one can become, and what is to be known about it."""

    line: str
    about: str = ""


async def _go(mode: Where, app: WorkbenchApp, words: Sequence[str]) -> str:
    await app.action_go(mode)
    return ""


async def _chat(app: WorkbenchApp, words: Sequence[str]) -> str:
    if words:
        await app.open_chat(words[0])
    else:
        await app.action_go(Where.CHAT)
    return ""


async def _pull(app: WorkbenchApp, words: Sequence[str]) -> str:
    app.notify(f"pulling {words[0]}", markup=False, timeout=3)
    await app.link.call(lambda client: exhaust(client.pull(words[0], caller=new_caller("/api/pull"))))
    return f"pulled {words[0]}"


async def _load(app: WorkbenchApp, words: Sequence[str]) -> str:
    await app.link.call(lambda client: load(client, words[0], caller=new_caller))
    return f"loaded {words[0]}"


async def _unload(app: WorkbenchApp, words: Sequence[str]) -> str:
    await app.link.call(lambda client: client.unload(words[0]))
    return f"unloaded {words[0]}"


async def _copy(app: WorkbenchApp, words: Sequence[str]) -> str:
    await app.link.call(lambda client: client.copy(words[0], words[1]))
    return f"{words[1]} is {words[0]}"


async def _remove(app: WorkbenchApp, words: Sequence[str]) -> str:
    from corral.tui.dialogs.delete import carry_out, delete_dialog

    plan = await app.link.call(lambda client: client.plan_delete(words))
    if not await app.push_screen_wait(delete_dialog(plan)):
        return ""
    await app.link.call(partial(carry_out, plan))
    back = " · :undo brings it back" if plan.kept_s else ""
    return f"deleted {', '.join(plan.models)}{back}"


async def _pin(app: WorkbenchApp, words: Sequence[str]) -> str:
    name = words[0]
    loaded = {one for model in app.link.latest().models for one in (model.name, *model.aliases)}
    if name not in loaded:
        await _load(app, words)
    await app.link.call(lambda client: client.pin(name, pinned=True))
    return f"{name} stays in memory whoever wants room · :unpin lets it go again"


async def _unpin(app: WorkbenchApp, words: Sequence[str]) -> str:
    await app.link.call(lambda client: client.pin(words[0], pinned=False))
    return f"{words[0]} is no longer pinned"


async def _limit(app: WorkbenchApp, words: Sequence[str]) -> str:
    rate = parse_rate(words[0])
    if rate is None:
        return "a limit is bytes a second: 5M, 800k, or off"
    await app.link.call(lambda client: client.adjust("limit_rate", str(rate) if rate else "0"))
    return f"models are fetched with {size(rate)}B a second at most" if rate else "models are fetched without limit"


async def _host(app: WorkbenchApp, words: Sequence[str]) -> str:
    place = words[0] if words else await app.ask_host()
    if place is None:
        return ""
    return await app.move_to("" if place == HERE else place)


async def _theme(app: WorkbenchApp, words: Sequence[str]) -> str:
    from corral.tui.dialogs.themes import ThemesDialog

    if words and words[0] not in app.available_themes:
        return f"no such theme: {words[0]}"
    dialog = ThemesDialog(sorted(app.available_themes), app.theme)
    name = words[0] if words else await app.push_screen_wait(dialog)
    return await screen_settings.change(app, "theme", name) if name is not None else ""


async def _set(app: WorkbenchApp, words: Sequence[str]) -> str:
    if not words or words[0] == _ALL:
        from corral.tui.dialogs.settings import SettingsDialog

        chosen = await app.push_screen_wait(SettingsDialog(await screen_settings.all_settings(app)))
        if chosen is not None:
            app.action_command_line(f"set {chosen} ")
        return ""
    name, *value = words
    if value:
        return await screen_settings.change(app, name, " ".join(value))
    found = next((one for one in await screen_settings.all_settings(app) if one.name == name), None)
    if found is None:
        return f"there is no setting {name}: :set all lists them"
    restart = "" if found.live else " · changing it needs a restart"
    return f"{name} is {found.value or 'not set'}, {found.origin}{restart}\n{found.about}"


async def _keep(app: WorkbenchApp, words: Sequence[str]) -> str:
    return await screen_settings.keep(app, words[0], " ".join(words[1:]))


async def _reload(app: WorkbenchApp, words: Sequence[str]) -> str:
    from corral.tui.rereading import reread

    return reread(app)


async def _doctor(app: WorkbenchApp, words: Sequence[str]) -> str:
    from corral.tui.dialogs.details import DetailsDialog
    from corral.tui.doctor import examine

    app.push_screen(DetailsDialog("Doctor", await examine(app)))
    return ""


async def _keys(app: WorkbenchApp, words: Sequence[str]) -> str:
    from corral.tui.dialogs.key_report import KeyReport

    app.push_screen(KeyReport(app.keys))
    return ""


async def _on(mode: Where, action: str, app: WorkbenchApp, words: Sequence[str]) -> str:
    """Do an action of a screen from anywhere: go there first."""
    if app.current_mode != mode:
        await app.action_go(mode)
    await app.run_action(action, app.screen_stack[0])
    return ""


async def _import(app: WorkbenchApp, words: Sequence[str]) -> str:
    from corral.tui.screens.models import ModelsScreen

    await app.action_go(Where.MODELS)
    screen = app.screen_stack[0]
    if not isinstance(screen, ModelsScreen) or (why := screen.refusal("import_file")):
        return why
    screen.action_import_file(" ".join(words))
    return ""


async def _undo(app: WorkbenchApp, words: Sequence[str]) -> str:
    from corral.tui.screens.base import WorkbenchScreen
    from corral.tui.screens.model_verbs import back_words

    for screen in (app.screen_stack[0], app.composed(Where.MODELS)):
        if isinstance(screen, WorkbenchScreen) and screen.has_undo:
            await app.run_action("undo", screen)
            return ""
    if names := await app.link.call(lambda client: client.restore()):
        return back_words(names)
    is_other = bool(app.link.place) and app.link.latest().host is None
    return "nothing to undo: this server keeps nothing of what is deleted" if is_other else "nothing to undo"


async def _action(action: str, app: WorkbenchApp, words: Sequence[str]) -> str:
    await app.run_action(action, app)
    return ""


COMMANDS = (
    LineCommand("chat", "chat [MODEL]", "Chat, with that model", _chat, Takes.MODEL, 0, 1),
    LineCommand("models", "models", "Go to Models", partial(_go, Where.MODELS)),
    LineCommand("running", "running", "Go to Running", partial(_go, Where.RUNNING), aliases=("ps",)),
    LineCommand("file", "file", "Go to Modelfile", partial(_go, Where.FILE)),
    LineCommand("server", "server", "Go to Server", partial(_go, Where.SERVER)),
    LineCommand("pull", "pull MODEL", "Fetch a model", _pull, Takes.ANYTHING, 1, 1),
    LineCommand("rm", "rm MODEL...", "Delete models, after a look at what it frees", _remove, Takes.MODEL, 1, -1),
    LineCommand("cp", "cp MODEL NAME", "Give a model a second name", _copy, Takes.MODEL, 2, 2),
    LineCommand("load", "load MODEL", "Load a model into memory", _load, Takes.MODEL, 1, 1),
    LineCommand("unload", "unload MODEL", "Take a model out of memory", _unload, Takes.MODEL, 1, 1, ("stop",)),
    LineCommand("pin", "pin MODEL", "Keep a model in memory whoever wants room", _pin, Takes.MODEL, 1, 1),
    LineCommand("unpin", "unpin MODEL", "Let a pinned model go in its time", _unpin, Takes.MODEL, 1, 1),
    LineCommand("undo", "undo", "Undo the last delete or unload, out of the trash too", _undo),
    LineCommand(
        "gc",
        "gc",
        "Show what no model needs and the trash, to remove it",
        partial(_on, Where.MODELS, "clean_up"),
    ),
    LineCommand("import", "import [FILE]", "Make a model of a GGUF file here", _import, Takes.NOTHING, 0, -1),
    LineCommand("verify", "verify", "Read every byte of the chosen models", partial(_on, Where.MODELS, "verify")),
    LineCommand("push", "push", "Send the chosen model to its registry", partial(_on, Where.MODELS, "push")),
    LineCommand("outdated", "outdated", "Ask for newer versions", partial(_on, Where.MODELS, "outdated")),
    LineCommand("update", "update", "Pull the chosen models again", partial(_on, Where.MODELS, "update")),
    LineCommand("limit", "limit RATE", "Fetch models with so many bytes a second at most", _limit, Takes.RATE, 1, 1),
    LineCommand("search", "search", "Find chats by what was said in them", partial(_on, Where.CHAT, "sessions")),
    LineCommand("host", "host [NAME]", "Show another server, by name or address", _host, Takes.PLACE, 0, 1),
    LineCommand("theme", "theme [NAME]", "Take other colours, seeing each first", _theme, Takes.THEME, 0, 1),
    LineCommand("set", "set [NAME] [VALUE]", "Set something; alone: list everything", _set, Takes.SETTING, 0, -1),
    LineCommand("set!", "set! NAME VALUE", "Set something and write it into config.toml", _keep, Takes.SETTING, 2, -1),
    LineCommand("reload", "reload", "Read the screen's tables of config.toml again: keys, colours, hosts", _reload),
    LineCommand("doctor", "doctor", "Look whether terminal, service, machine and store are well", _doctor),
    LineCommand("keys", "keys", "Show whose key is whose, and try keys", _keys),
    LineCommand("help", "help", "Show the keys that work here", partial(_action, "help"), aliases=("h",)),
    LineCommand("detach", "detach", "Give the terminal back and go on serving", partial(_action, "detach")),
    LineCommand("q", "q", "Leave the workbench", partial(_action, "quit"), aliases=("quit", "exit")),
)
"""The commands that take words, in the order of completion."""

_ALL = "all"
_RATES = ("off", "1M", "5M", "50M")
_ALIASED = {"w": "file.save", "try": "file.try"}
"""Short names of actions."""


def find(name: str) -> LineCommand | None:
    """The command of that name or alias."""
    return next((one for one in COMMANDS if name == one.name or name in one.aliases), None)


def find_action(name: str, where: Where) -> Action | None:
    """The action of that id, where it can be done from `where`."""
    wanted = _ALIASED.get(name, name)
    return next((one for one in actions_of(where) if one.id == wanted or one.id == f"{where}.{wanted}"), None)


def actions_of(where: Where) -> Iterator[Action]:
    """The actions that a line may name: those of the app and of the screen below, without the twins of other keys."""
    for action in ACTIONS:
        is_twin = action.id.endswith(".always") or action.id.startswith(("nav.", "command"))
        if action.where in (Where.APP, where) and not is_twin:
            yield action


def candidates(line: str, words: Words) -> list[Candidate]:
    """What a line can become: names that begin as the last word does, then names that have it inside."""
    *before, last = line.split(" ")
    if not before:
        return _named(last, words)
    command = find(before[0])
    if command is None or (command.most >= 0 and len(before) > command.most):
        return []
    head = " ".join(before)
    if command.takes is Takes.SETTING and len(before) == 1:
        names = [_ALL, *(one.name for one in words.settings.values() if one.live), *words.settings]
        return [
            Candidate(f"{head} {name}", _about_setting(name, words)) for name in _best(last, list(dict.fromkeys(names)))
        ]
    return [Candidate(f"{head} {word}", command.usage) for word in _best(last, _choices(command, before, words))]


def _named(typed: str, words: Words) -> list[Candidate]:
    about = {one.name: f"{one.usage}  {one.about}" for one in COMMANDS}
    about |= {name: f"{line}  your command" for name, line in words.own.items()}
    for action in actions_of(words.where):
        about.setdefault(action.id, f"{action.description}  {shown_keys(action, words.changed)}".rstrip())
    return [Candidate(name, about[name]) for name in _best(typed, list(about))]


def _about_setting(name: str, words: Words) -> str:
    one = words.settings.get(name)
    if one is None:
        return "every setting with its value and where it comes from"
    restart = "" if one.live else " · needs a restart"
    return f"{one.value or '—'} · {one.origin}{restart} · {one.about}"


def _choices(command: LineCommand, before: Sequence[str], words: Words) -> Sequence[str]:
    match command.takes:
        case Takes.MODEL if len(before) == 1 or command.most < 0:
            return words.models
        case Takes.ANYTHING:
            return words.models
        case Takes.THEME:
            return words.themes
        case Takes.PLACE:
            return (HERE, *words.places)
        case Takes.SETTING:
            return words.values(before[1]) if len(before) == 2 else ()
        case Takes.RATE:
            return _RATES
        case _:
            return ()


def _best(typed: str, names: Sequence[str]) -> list[str]:
    low = typed.lower()
    begins = [name for name in names if name.lower().startswith(low)]
    return begins + [name for name in names if low in name.lower() and name not in begins]


async def execute(app: WorkbenchApp, line: str, where: Where) -> str:
    """Do what a line says on the screen `where`; returns what to tell. Raises what verbs raise."""
    name, *words = line.split()
    command = find(name)
    if command is None and (own := app.preferences.commands.get(name)):
        if own.startswith(SHELL):
            return await run_in_shell(app, name, own.removeprefix(SHELL), words)
        name, *words = [*own.split(), *words]
        command = find(name)
    if command is None:
        action = find_action(name, where)
        if action is None:
            return f"no such command: {name} (:help lists the keys, Tab completes)"
        screen = app.screen_stack[0]
        done = await app.run_action(action.action, app if action.where is Where.APP else screen)
        return "" if done else f"{action.id} cannot be done now"
    if len(words) < command.least or 0 <= command.most < len(words):
        return f"this is how it goes: :{command.usage}"
    return await command.run(app, words)
