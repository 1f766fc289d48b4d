"""`corral` alone: the service on its thread, the workbench on this one."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING

from msgspec.structs import replace

from corral.runtime.server_address import parse_host
from corral.runtime.settings import Settings
from corral.tui.cli.foreground import enter
from corral.tui.cli.interrupts import held_back
from corral.tui.cli.late import bring
from corral.tui.cli.screen_flags import add_screen_flags, demand_terminal
from corral.tui.cli.session import Cli, keep_log_quiet

if TYPE_CHECKING:
    from corral.api.errors import PortTaken
    from corral.api.server import Service
    from corral.tui.app import WorkbenchApp
    from corral.tui.link import LateLink

_TURN_S = 0.001
"""For how long the screen keeps the interpreter where the service asks for it (Python's own: 5 ms).

A token on its way through the service asks up to three times, once behind each call of the system.
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """How the terminal is used, and whose models are shown."""
    add_screen_flags(parser)
    parser.add_argument("--host", metavar="URL", help="Show the server at this address instead of serving here")
    parser.add_argument("--plain", action="store_true", help="A dialogue line by line, for screen readers")


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Open the workbench; after a hang-up or when detached go on serving until told to stop."""
    if flags.plain or flags.host:
        bring()
    if flags.plain:
        from corral.tui.cli.plain import converse

        return converse(cli, flags.host, is_read_only=flags.read_only)
    if flags.host:
        return _show_server(cli, [flags.host], flags)
    demand_terminal()
    # Nothing of what a start makes is ever thrown away, and walking it again and again takes a seventh of the start.
    gc.disable()
    foreground = enter()
    if isinstance(foreground, int):
        return foreground
    keep_log_quiet()
    sys.setswitchinterval(_TURN_S)
    launch = Launch(cli.settings)
    try:
        service = launch.listen()
        if service is None and launch.attaches:
            gc.enable()
            return _show_server(cli, [], flags)
        if service is None:
            return 0
        with held_back():
            from corral.tui.app import WorkbenchApp
            from corral.tui.link import LateLink
            from corral.tui.terminal import ExitReason, forget_terminal, run_workbench

        def drawn() -> None:
            gc.freeze()
            gc.enable()
            launch.begin(link, app, read_only=flags.read_only)

        link = LateLink(service.address)
        app = WorkbenchApp(
            link,
            environ=cli.environ,
            can_detach=foreground.can_detach,
            when_drawn=drawn,
        )
        app.is_read_only = flags.read_only
        reason = run_workbench(app, mouse=not flags.no_mouse)
        launch.settle()
        if reason is ExitReason.DETACH:
            print(_farewell(service), flush=True)
            foreground.detach()
            forget_terminal()
        if reason is not ExitReason.QUIT:
            _wait_for_the_end()
    finally:
        launch.stop()
    return 0


def _show_server(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Do as `corral attach` does."""
    from corral.tui.cli.attach import run as attach

    return attach(cli, arguments, flags)


def _farewell(service: Service) -> str:
    return (
        f"Corral goes on at {service.base_url} (process {os.getpid()}).\n"
        f"The screen comes back with: corral attach {service.base_url}\n"
        f"It ends with: kill {os.getpid()}"
    )


class Launch:
    """The start of the service: its address first, the rest when the screen is drawn. Used by the main thread.

    Imports of the server would take the interpreter away from those of the screen, which somebody waits for.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._serving = True
        self._service: Service | None = None
        self._started: Future[None] | None = None
        self.attaches = False
        """Whether the user wants to see the server that holds the address."""

    def listen(self) -> Service | None:
        """Take the address; where it is taken, do as the user wants instead. None: leave.

        Raises:
            RunError: it cannot serve, for a reason that no other port would mend.
        """
        with held_back():
            from corral.api.errors import PortTaken
            from corral.api.server import Service

        while True:
            self._service = Service(self._settings, serving=self._serving)
            try:
                self._service.listen()
            except PortTaken as problem:
                if not self._ask(problem):
                    return None
            else:
                return self._service

    def begin(self, link: LateLink, app: WorkbenchApp, *, read_only: bool) -> None:
        """Start the service without waiting for it; `link` gets it, and `app` ends where it fails."""
        if self._started is None:
            self._started = Future()
            thread = threading.Thread(target=self._start, args=(self._started, link, app, read_only))
            thread.name = "service-start"
            thread.start()

    def _start(self, started: Future[None], link: LateLink, app: WorkbenchApp, read_only: bool) -> None:
        from corral.tui.read_only import guarded

        bring()
        service = self._service
        assert service is not None, "the address comes first"
        try:
            service.start()
        except BaseException as error:
            link.fail(error)
            started.set_exception(error)
            app.call_later(app.exit)
        else:
            link.arrive(guarded(service.client, read_only=read_only), service.loop)
            started.set_result(None)

    def settle(self) -> None:
        """Wait until the service has started, where it was begun. Raises what kept it from that."""
        if self._started is not None:
            self._started.result()

    def _ask(self, problem: PortTaken) -> bool:
        """Ask what to do about a port that is taken; False: leave."""
        from corral.api.listen import free_port
        from corral.tui.dialogs.port import PortAnswer, PortProblem, ask_about_port

        host, port = self._settings.listen_host, self._settings.listen_port
        other = free_port(host, port)
        answer = ask_about_port(PortProblem(host, port, problem.by, other, answers=problem.answers))
        self.attaches = answer is PortAnswer.ATTACH
        if answer is PortAnswer.OTHER_PORT:
            self._settings = on_port(self._settings, other)
        self._serving = answer is PortAnswer.OTHER_PORT
        return answer not in (PortAnswer.QUIT, PortAnswer.ATTACH)

    def stop(self) -> None:
        """Stop the service, once it has started, and leave no child behind."""
        if self._started is not None:
            self._started.exception()
        if self._service is not None:
            self._service.stop()


def on_port(settings: Settings, port: int) -> Settings:
    """The settings with another port to listen on."""
    host = f"[{settings.listen_host}]" if ":" in settings.listen_host else settings.listen_host
    address = parse_host(f"{host}:{port}", lambda warning: None)
    return replace(settings, listen_port=port, base_url=address.url)


def _wait_for_the_end() -> None:
    """Go on serving without a terminal until SIGTERM or SIGINT."""
    # An event takes a lock to be set, and a second signal in that moment would wait for it for ever.
    told: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: told.put(number))
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    told.get()
