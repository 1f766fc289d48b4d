"""`corral` alone: the service on its thread, the workbench on this one."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

from corral.runtime.server_address import parse_host
from corral.runtime.settings import Settings
from corral.tui.cli.errors import CommandError
from corral.tui.cli.interrupts import held_back
from corral.tui.cli.session import Cli, keep_log_quiet

if TYPE_CHECKING:
    from corral.api.errors import PortTaken
    from corral.api.server import Service


def add_flags(parser: argparse.ArgumentParser) -> None:
    """How the terminal is used."""
    parser.add_argument("--no-mouse", action="store_true", help="Leave the mouse to the terminal")


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Open the workbench; after a hang-up go on serving until told to stop."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError("the workbench needs a terminal", hint="Without one: corral serve, or corral --help")
    keep_log_quiet()
    launch = Launch(cli.settings)
    launch.begin()
    try:
        # Imported here, while the service starts on its own thread.
        with held_back():
            from corral.tui.app import WorkbenchApp
            from corral.tui.link import ServiceLink
            from corral.tui.terminal import ExitReason, run_workbench

        service = launch.settle()
        if service is None:
            return 0
        app = WorkbenchApp(ServiceLink(service.client, service.loop), environ=cli.environ)
        if run_workbench(app, mouse=not flags.no_mouse) is ExitReason.HANGUP:
            _wait_for_the_end()
    finally:
        launch.stop()
    return 0


class Launch:
    """The start of the service, which takes as long as the imports of the screen. Used by the main thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._serving = True
        self._starting: Future[Service] = Future()

    def begin(self) -> None:
        """Start the service without waiting for it."""
        future: Future[Service] = Future()
        self._starting = future
        threading.Thread(target=self._start, args=(future,), name="service-start").start()

    def _start(self, future: Future[Service]) -> None:
        try:
            from corral.api.server import Service

            service = Service(self._settings, serving=self._serving)
            service.start()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(service)

    def settle(self) -> Service | None:
        """Wait for the service; where its port is taken, start it as the user wants it instead. None: leave.

        Raises:
            RunError: it cannot serve, for a reason that no other port would mend.
        """
        from corral.api.errors import PortTaken

        while True:
            try:
                return self._starting.result()
            except PortTaken as problem:
                if not self._ask(problem):
                    return None
                self.begin()

    def _ask(self, problem: PortTaken) -> bool:
        """Ask what to do about a port that is taken; False: leave."""
        from corral.api.listen import free_port
        from corral.tui.dialogs.port import PortAnswer, PortProblem, ask_about_port

        host, port = self._settings.listen_host, self._settings.listen_port
        other = free_port(host, port)
        answer = ask_about_port(PortProblem(host, port, problem.by, other))
        if answer is PortAnswer.OTHER_PORT:
            self._settings = on_port(self._settings, other)
        self._serving = answer is PortAnswer.OTHER_PORT
        return answer is not PortAnswer.QUIT

    def stop(self) -> None:
        """Stop the service, once it has started, and leave no child behind."""
        if self._starting.exception() is None:
            self._starting.result().stop()


def on_port(settings: Settings, port: int) -> Settings:
    """The settings with another port to listen on."""
    host = f"[{settings.listen_host}]" if ":" in settings.listen_host else settings.listen_host
    address = parse_host(f"{host}:{port}", lambda warning: None)
    return replace(settings, listen_port=port, base_url=address.url)


def _wait_for_the_end() -> None:
    """Go on serving without a terminal until SIGTERM or SIGINT."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ended.wait()
