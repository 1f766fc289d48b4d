"""Asked before anything starts: the port is taken, what now?

The service listens before the workbench opens, so this is an app of its own that runs and ends first:
`corral` catches that the port is taken, calls `ask_about_port`, and starts the service as answered.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from corral.tui.dialogs.dialog import BOX
from corral.tui.text import clean_line, install_net
from corral.tui.theme import CORRAL, initial_theme, is_monochrome

__all__ = ["PortAnswer", "PortApp", "PortProblem", "ask_about_port"]


@dataclass(frozen=True, slots=True)
class PortProblem:
    """Who holds the port ("" where the system does not say) and which one is free.

    `answers` says that a server of Ollama's API is there, whose screens can be opened.
    """

    host: str
    port: int
    holder: str
    free_port: int
    answers: bool = False


class PortAnswer(StrEnum):
    """What the user wants instead."""

    ATTACH = "attach"
    OTHER_PORT = "other port"
    NO_API = "no api"
    QUIT = "quit"


class PortApp(App[PortAnswer], inherit_bindings=False):
    """One question on an otherwise empty screen."""

    CSS_PATH = "../styles/app.tcss"
    CSS = f"""
    Screen {{ align: center middle; }}
    OptionList {{ height: auto; border: none; background: transparent; }}
    {BOX}
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape,ctrl+q,ctrl+c", "answer('quit')", "Quit", id="port.quit", priority=True),
    ]

    def __init__(self, problem: PortProblem) -> None:
        install_net()
        super().__init__(ansi_color=True if is_monochrome(os.environ) else None)
        self._problem = problem
        self.register_theme(CORRAL)
        self.theme = initial_theme(os.environ)

    def compose(self) -> ComposeResult:
        """Draw the box."""
        problem = self._problem
        by = f" by {clean_line(problem.holder)}" if problem.holder else ""
        with Vertical(classes="dialog") as box:
            box.border_title = "Port taken"
            box.border_subtitle = "↑↓ choose · Enter take it · Esc quit"
            yield Static(Content(f"{problem.host}:{problem.port} is taken{by}."), classes="dialog-text")
            there = [Option(Content("Show that server here"), id=PortAnswer.ATTACH.name)] if problem.answers else []
            yield OptionList(
                *there,
                Option(Content(f"Serve on port {problem.free_port} instead"), id=PortAnswer.OTHER_PORT.name),
                Option(Content("Open the workbench without the API"), id=PortAnswer.NO_API.name),
                Option(Content("Quit"), id=PortAnswer.QUIT.name),
                markup=False,
            )

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.exit(PortAnswer[event.option.id or PortAnswer.QUIT.name])

    def action_answer(self, answer: str) -> None:
        """Give an answer by key."""
        self.exit(PortAnswer(answer))


def ask_about_port(problem: PortProblem) -> PortAnswer:
    """Ask on the terminal and return the answer; a terminal that goes away means quit."""
    from corral.tui.terminal import run_on_terminal

    answer = run_on_terminal(PortApp(problem))
    return answer if isinstance(answer, PortAnswer) else PortAnswer.QUIT
