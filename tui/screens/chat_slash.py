"""Slash commands of the prompt, with the names and meanings of Ollama's where it has them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial

from corral.runtime.errors import RunError
from corral.runtime.options import DEPRECATED, OPTIONS
from corral.runtime.verbs import CreateRequest, ModelDetails
from corral.store.errors import StoreError
from corral.tui.chat_settings import parse_format, parse_tools, value_text
from corral.tui.completing import COMMANDS, split_command
from corral.tui.dialogs.details import DetailsDialog
from corral.tui.dialogs.options import OptionsDialog
from corral.tui.exporting import ExportFormat, export_text, file_name
from corral.tui.screens.calling import exhaust
from corral.tui.screens.chat_sessions import SessionKeys
from corral.tui.screens.chat_turns import TurnKeys

__all__ = ["SlashCommands"]

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
            "/help": lambda _: self._help(),
            "/model": self._model,
            "/system": self._system,
            "/options": lambda _: self.action_options(),
            "/regen": lambda _: self.action_regenerate(),
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

    def _help(self) -> None:
        width = max(len(f"{one.name} {one.takes}") for one in COMMANDS)
        lines = [f"{f'{one.name} {one.takes}':<{width}}  {one.about}" for one in COMMANDS]
        more = [
            "",
            "/set takes: parameter NAME VALUE · system TEXT · think [LEVEL] · nothink ·",
            "  format json or a schema · noformat · tools JSON",
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
                self.tell(f"Set 'think' mode to '{settings.think_level}'.")
            case "nothink":
                settings.set_think("off")
                self.tell("Set 'nothink' mode.")
            case "format":
                settings.form = parse_format(value)
                self.tell("Set the form of answers.")
            case "noformat":
                settings.form = None
                self.tell("Disabled format.")
            case "tools":
                settings.tools = parse_tools(value) if value else ()
                self.tell(f"{len(settings.tools)} tools")
            case "verbose" | "quiet" | "history" | "nohistory" | "wordwrap" | "nowordwrap":
                self.tell("Figures are always shown here, and lines always wrapped")
            case _:
                raise ValueError("/set takes: parameter, system, think, nothink, format, noformat, tools")
        self.chat.is_changed = True

    def _set_parameter(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        if name in DEPRECATED:
            self.tell(f"parameter {name} is deprecated")
        elif not value.strip() or name not in OPTIONS:
            if name and name not in OPTIONS:
                raise ValueError(f"unknown parameter '{name}'")
            self.action_options()
        else:
            if name == "stop":
                self.chat.settings.options[name] = shlex.split(value)
            else:
                self.chat.settings.set_option(name, value.strip())
            self.tell(f"Set parameter '{name}' to '{value_text(self.chat.settings.options[name])}'")

    def _system(self, text: str) -> None:
        self.chat.settings.system = _unquoted(text)
        self.chat.is_changed = True
        self.tell("Set system message." if text else "The model's own system message holds again.")

    def _show(self, part: str) -> None:
        if part not in ("info", "license", "modelfile", "parameters", "system", "template"):
            raise ValueError("/show takes: info, license, modelfile, parameters, system, template")
        self.start(partial(self._show_part, part), "show")

    async def _show_part(self, part: str) -> None:
        details = await self.try_verb(lambda client: client.show(self.chat.model))
        if details is not None:
            text = _part(details, part)
            if part == "system" and self.chat.settings.system:
                text = self.chat.settings.system
            lines = text.split("\n") if text else [f"No {part} was specified for this model."]
            self.app.push_screen(DetailsDialog(f"{part} · {details.name}", lines))

    def _load(self, name: str) -> None:
        if not name:
            raise ValueError("/load takes a model, or the title of a saved chat")
        if any(model.name == name for model in self.models):
            self.use_model(name)
            if self.chat.root.children:
                self.can_undo("Nothing is said any more", self.chat.clear())
            self.show_chats()
            return
        chat = next((one for one in self.chats.all if one.title.casefold() == name.casefold()), None)
        if chat is None:
            raise ValueError(f"Couldn't find model '{name}'")
        self.visit(chat)

    def _model(self, name: str) -> None:
        if not name:
            self.start(partial(self.app.run_action, "pick_model", self), "pick")
        elif any(model.name == name for model in self.models):
            self.use_model(name)
        else:
            raise ValueError(f"Couldn't find model '{name}'")

    def _save(self, name: str) -> None:
        if not name or " " in name:
            raise ValueError("Usage: /save <modelname>")
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
        calls = self.chat.end.tool_calls
        if not calls or self.chat.is_live:
            raise ValueError("The last answer called no tool")
        self.chat.ask(text, self.link, self.now_s(), tool=calls[0].name)
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
        chat = self.chat
        details = await self.try_verb(lambda client: client.show(chat.model)) if chat.model else None
        defaults = dict(details.parameters) if details is not None else {}

        def done(_: None) -> None:
            chat.is_changed = True
            self.entitle()

        thinks = details is None or "thinking" in details.capabilities
        self.app.push_screen(OptionsDialog(chat.settings, defaults, chat.model, thinks=thinks), done)


def _part(details: ModelDetails, part: str) -> str:
    match part:
        case "info":
            shown = {"family": details.details.family, "parameters": details.details.parameter_size}
            shown |= {"quantization": details.details.quantization_level, "can": ", ".join(details.capabilities)}
            return "\n".join(f"{name:<16}{value}" for name, value in shown.items())
        case "parameters":
            return "\n".join(f"{name:<24}{value}" for name, value in details.parameters)
        case _:
            return str(getattr(details, part))


def _unquoted(text: str) -> str:
    """A text without the quotes around it."""
    for mark in _QUOTES:
        if len(text) >= 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            return text[len(mark) : -len(mark)]
    return text
