"""Slash commands of the prompt, with the names and meanings of Ollama's where it has them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from functools import partial

from corral.runtime.errors import RunError
from corral.runtime.options import DEPRECATED, OPTIONS
from corral.runtime.verbs import CreateRequest, GenerateRequest, ModelDetails
from corral.store.errors import InvalidName, StoreError
from corral.store.names import ModelName
from corral.tui.chat_settings import ChatSettings, parse_format, parse_tools, value_text
from corral.tui.chats import new_caller
from corral.tui.cli.repl_texts import SET, SHOW
from corral.tui.completing import COMMANDS, split_command
from corral.tui.dialogs.details import DetailsDialog
from corral.tui.exhausting import exhaust
from corral.tui.exporting import ExportFormat, export_text, file_name
from corral.tui.screens.chat_sessions import SessionKeys
from corral.tui.screens.chat_turns import TurnKeys

__all__ = ["SlashCommands"]

_NOT_SET = "Couldn't set parameter: {}"
_MISSING = {"system": "system message", "template": "prompt template"}
_QUOTES = ('"""', '"', "'")


class SlashCommands(TurnKeys, SessionKeys):
    """What a line that begins with `/` does. Nothing raises; what is wrong is told."""

    def run_command(self, text: str) -> bool:
        """Do what a command says; False where `text` is none."""
        command = split_command(text)
        if command is None:
            return False
        name, rest = command
        verbs: dict[str, Callable[[str], object]] = {
            "/set": self._set,
            "/show": self._show,
            "/load": self._load,
            "/save": self._save,
            "/list": lambda _: self.start(partial(self.workbench.action_go, "models"), "leave"),
            "/clear": lambda _: self._clear(),
            "/bye": lambda _: self.start(self.workbench.action_quit, "leave"),
            "/help": self._help,
            "/model": self._model,
            "/system": self._system,
            "/options": lambda _: self.action_options(),
            "/regen": self._regenerate,
            "/continue": lambda _: self.action_go_on(),
            "/edit": lambda _: self.action_edit(),
            "/branch": lambda _: self.action_fork(),
            "/compare": self.compare,
            "/result": self._result,
            "/raw": lambda _: self.action_raw(),
            "/search": self.action_sessions,
            "/rename": partial(self.rename, self.chat),
            "/delete": lambda _: self.start(partial(self.delete_chat, self.chat), "delete", exclusive=False),
            "/export": self._export_as,
            "/archive": lambda _: self.action_archive(),
        }
        verb = verbs.get({"/?": "/help", "/exit": "/bye"}.get(name, name))
        if verb is None:
            self.tell_error(f"Unknown command '{name}'. Type /? for help")
            return True
        self.prompt.accept()
        try:
            verb(rest.strip())
        except (ValueError, RunError, StoreError) as error:
            self.tell_error(str(error))
        self.entitle()
        return True

    def compare(self, model: str) -> None:
        """Ask a second model too."""
        raise NotImplementedError

    def use_model(self, model: str) -> None:
        """Go on with another model."""
        raise NotImplementedError

    def _regenerate(self, model: str) -> None:
        if model:
            self.regenerate_with(self._model_called(model) or model)
        else:
            self.action_regenerate()

    def _help(self, topic: str) -> None:
        match topic.lstrip("/"):
            case "set":
                self.app.push_screen(DetailsDialog("/set", SET.splitlines()))
            case "show":
                self.app.push_screen(DetailsDialog("/show", SHOW.splitlines()))
            case "shortcut" | "shortcuts":
                self.workbench.action_help()
            case _:
                self._list_commands()

    def _list_commands(self) -> None:
        width = max(len(f"{one.name} {one.takes}") for one in COMMANDS)
        lines = [f"{f'{one.name} {one.takes}':<{width}}  {one.about}" for one in COMMANDS]
        more = [
            "",
            "/? set, /? show and /? shortcuts say more.",
            'Between two """ a message may have many lines, and begin with / too.',
        ]
        self.app.push_screen(DetailsDialog("Commands", [*lines, *more]))

    def _set(self, rest: str) -> None:
        settings = self.chat.settings
        what, _, value = rest.partition(" ")
        value = _unquoted(value.strip())
        match what:
            case "parameter":
                self._set_parameter(value)
            case "system":
                self._system(value)
            case "think":
                settings.set_think(value or "on")
                self.tell(f"Set 'think' mode to '{value}'." if value else "Set 'think' mode.")
                if self.models and not self.can("thinking"):
                    self.tell(f'warning: model "{self.chat.model}" does not support thinking output')
            case "nothink":
                settings.set_think("off")
                self.tell("Set 'nothink' mode.")
            case "format" if value:
                settings.form = parse_format(value)
                self.tell("Set format to 'json' mode." if settings.form == "json" else "Set the form of answers.")
            case "format":
                raise ValueError("Invalid or missing format. For 'json' mode use '/set format json'")
            case "noformat":
                settings.form = None
                self.tell("Disabled format.")
            case "tools":
                settings.tools = parse_tools(value) if value else ()
                self.tell(f"{len(settings.tools)} tools")
            case "verbose" | "quiet":
                for pane in self.panes:
                    pane.be_quiet(is_quiet=what == "quiet")
                self.tell(f"Set '{what}' mode.")
            case "history" | "nohistory":
                self.prompt.remembers = what == "history"
                forgets = "Prompts are not remembered now. Chats are kept: CORRAL_NOHISTORY=1 ends that"
                self.tell("Prompts are remembered." if self.prompt.remembers else forgets)
            case "wordwrap":
                self.tell("Set 'wordwrap' mode.")
            case "nowordwrap":
                raise ValueError("Lines are always wrapped here")
            case "":
                self._help("set")
            case _ if what in OPTIONS:
                raise ValueError(f"Unknown command '/set {what}'. Did you mean '/set parameter {rest}'?")
            case _:
                raise ValueError(f"Unknown command '/set {what}'. Type /? for help")
        self.chat.is_changed = True

    def _set_parameter(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        if name in DEPRECATED:
            self.tell(f"warning: parameter {name} is deprecated")
        elif not value.strip() or name not in OPTIONS:
            if name and name not in OPTIONS:
                raise ValueError(_NOT_SET.format(json.dumps(f"unknown parameter '{name}'")))
            self.action_options()
        else:
            try:
                if name == "stop":
                    self.chat.settings.options[name] = shlex.split(value)
                else:
                    self.chat.settings.set_option(name, value.strip())
            except ValueError as error:
                raise ValueError(_NOT_SET.format(json.dumps(str(error), ensure_ascii=False))) from None
            self.tell(f"Set parameter '{name}' to '{value_text(self.chat.settings.options[name])}'")

    def _system(self, text: str) -> None:
        self.chat.settings.system = _unquoted(text)
        self.chat.is_changed = True
        self.tell("Set system message." if text else "The model's own system message holds again.")

    def _show(self, part: str) -> None:
        if not part:
            self._help("show")
            return
        if part not in ("info", "license", "modelfile", "parameters", "system", "template"):
            raise ValueError(f"Unknown command '/show {part}'. Type /? for help")
        self.start(partial(self._show_part, part), "show")

    async def _show_part(self, part: str) -> None:
        details = await self.try_verb(lambda client: client.show(self.chat.model))
        if details is not None:
            text = _part(details, part, self.chat.settings)
            lines = text.split("\n") if text else [f"No {_MISSING.get(part, part)} was specified for this model."]
            self.app.push_screen(DetailsDialog(f"{part} · {details.name}", lines))

    def _load(self, name: str) -> None:
        if not name:
            raise ValueError("Usage:\n  /load <modelname>\nor the title of a saved chat")
        model = self._model_called(name)
        if model:
            self.tell(f"Loading model '{name}'")
            self.use_model(model)
            self.start(partial(self._load_model, model), "load")
            if self.chat.root.children:
                self.can_undo("Nothing is said any more", self.chat.clear())
            self.show_chats()
            return
        chat = next((one for one in self.chats.all if one.title.casefold() == name.casefold()), None)
        if chat is None:
            raise ValueError(f"Couldn't find model '{name}'")
        self.visit(chat)

    async def _load_model(self, model: str) -> None:
        request = GenerateRequest(model, caller=new_caller("/api/generate"))
        await self.try_verb(lambda client: exhaust(client.generate(request)))

    def _model_called(self, name: str) -> str:
        """A model's whole name, "" where there is no such model."""
        return next((one.name for one in self.models if one.name in (name, f"{name}:latest")), "")

    def _model(self, name: str) -> None:
        if not name:
            self.start(partial(self.app.run_action, "pick_model", self), "pick")
        elif self._model_called(name):
            self.use_model(self._model_called(name))
        else:
            raise ValueError(f"Couldn't find model '{name}'")

    def _save(self, name: str) -> None:
        if not name or " " in name:
            raise ValueError("Usage:\n  /save <modelname>")
        try:
            ModelName.parse(name)
        except InvalidName:
            raise ValueError(f"error: The model name '{name}' is invalid") from None
        chat = self.chat
        request = CreateRequest(
            name,
            base=chat.model,
            system=chat.settings.system or None,
            parameters=dict(chat.settings.options),
            messages=tuple(turn.message() for turn in chat.turns if turn.text),
        )
        self.start(partial(self._create, request), "create", exclusive=False)

    async def _create(self, request: CreateRequest) -> None:
        if await self.try_verb(lambda client: exhaust(client.create(request))):
            self.tell(f"Created new model '{request.model}'")

    def _clear(self) -> None:
        if self.chat.is_live:
            raise ValueError("An answer is still coming in: Esc stops it")
        if self.chat.root.children:
            undo = self.chat.clear()
            self.show_chats()
            self.can_undo("Cleared session context", undo)

    def _result(self, text: str) -> None:
        if self.chat.give(text, self.link, self.now_s()) is None:
            raise ValueError("No call of the last answer waits for a result")
        self.asked()

    def _export_as(self, rest: str) -> None:
        form, _, name = rest.partition(" ")
        wanted = ExportFormat(form or "md") if form in ("", "md", "json", "jsonl") else None
        if wanted is None:
            raise ValueError("/export takes md, json or jsonl, and a file, or `-` to copy")
        if name.strip() == "-":
            self.workbench.copy_to_clipboard(export_text(self.chat, wanted))
        else:
            self.export(self.chat, name.strip() or file_name(self.chat, wanted))

    # The sheet

    def action_options(self) -> None:
        """Change what this chat asks of its model."""
        self.start(self._open_options, "options")

    async def _open_options(self) -> None:
        from corral.tui.dialogs.options import OptionsDialog  # read in ahead, but not of the first frame

        chat = self.chat
        details = await self.try_verb(lambda client: client.show(chat.model)) if chat.model else None
        defaults = dict(details.parameters) if details is not None else {}

        def done(_: None) -> None:
            chat.is_changed = True
            self.entitle()

        thinks = details is None or "thinking" in details.capabilities
        self.app.push_screen(OptionsDialog(chat.settings, defaults, chat.model, thinks=thinks), done)


def _part(details: ModelDetails, part: str, settings: ChatSettings) -> str:
    from corral.tui.cli.show import describe, part_of  # the first frame need not wait for it

    match part:
        case "info":
            return describe(details)
        case "parameters":
            own = part_of(details, part) or "No additional parameters were specified for this model."
            lines = ["Model defined parameters:", *(f"  {line}" for line in own.split("\n"))]
            if settings.options:
                chosen = (f"  {name:<30} {value_text(value)}" for name, value in settings.options.items())
                lines += ["", "User defined parameters:", *chosen]
            return "\n".join(lines)
        case "system" if settings.system:
            return settings.system
        case _:
            return part_of(details, part)


def _unquoted(text: str) -> str:
    """A text without the quotes around it."""
    for mark in _QUOTES:
        if len(text) >= 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            return text[len(mark) : -len(mark)]
    return text
