"""Where a command's verbs run: in a server that answers, or else in this process.

A session belongs to the main thread. It waits there, so that Ctrl-C always finds somebody at home.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from corral.runtime.errors import ServerUnreachable
from corral.runtime.server_address import is_loopback
from corral.runtime.settings import Settings, load
from corral.tui.cli.interrupts import held_back
from corral.tui.cli.probe import answers

if TYPE_CHECKING:
    from corral.api.client import HttpClient
    from corral.api.server import Service
    from corral.runtime.verbs import Client, ModelSummary

T = TypeVar("T")

_CONNECT_S = {True: 1.0, False: 5.0}
"""How long a server on this machine, or elsewhere, may take to accept a connection."""
_WIND_DOWN_S = 5.0


class Session(Protocol):
    """A client and the loop it lives on. `own` says that the verbs run in this process."""

    own: bool

    @property
    def client(self) -> Client:
        """The verbs."""
        ...

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for `work`; Ctrl-C cancels it, lets it clean up, and raises `KeyboardInterrupt`."""
        ...

    def close(self) -> None:
        """Let go of everything the session holds."""
        ...


class Cli(msgspec.Struct, frozen=True):
    """What every command is given: the settings, and a way to a session."""

    settings: Settings
    environ: Mapping[str, str]
    home: Path
    connect: Callable[[Settings], Session]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], connect: Callable[[Settings], Session] | None = None) -> Cli:
        """Read the settings; `connect` stands in for the way to a server in tests."""
        home = Path(environ.get("HOME") or Path.home())
        return cls(load(environ, home), environ, home, connect or open_session)

    def models(self) -> Sequence[ModelSummary]:
        """List the models: a server's if one answers, else what lies on disk here, without starting anything.

        Raises:
            ServerUnreachable: as `open_session`.
        """
        if self.connect is open_session and _is_here(self.settings) and not _answers(self.settings):
            from corral.runtime.reading import library_of

            return asyncio.run(library_of(self.settings).list())
        with self.session() as session:
            return session.run(session.client.list_models())

    @contextlib.contextmanager
    def session(self) -> Generator[Session, None, None]:
        """Open a session for the body."""
        session = self.connect(self.settings)
        try:
            yield session
        finally:
            session.close()


class RemoteSession:
    """The verbs of a server that runs, over HTTP."""

    own = False

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._runner = asyncio.Runner()
        self._runner.get_loop()  # now: an interrupt while it is made for a verb would leave that verb unawaited

    @property
    def client(self) -> Client:
        """The verbs."""
        return self._client

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for `work` on this thread's own loop."""
        return self._runner.run(work)

    def close(self) -> None:
        """Close the connections and the loop."""
        self._runner.run(self._client.close())
        self._runner.close()


class OwnSession:
    """The verbs of a workbench in this process, on its service thread; nothing listens."""

    own = True

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def client(self) -> Client:
        """The verbs."""
        return self._service.client

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for `work` on the service's loop."""
        loop = self._service.loop
        interrupted, ended = threading.Event(), threading.Event()
        running: list[asyncio.Task[Any]] = []

        async def announce() -> T:
            if interrupted.is_set():
                work.close()
                raise asyncio.CancelledError
            running.extend(task for task in (asyncio.current_task(),) if task is not None)
            try:
                return await work
            finally:
                ended.set()

        def wind_down() -> None:
            for task in running:
                task.cancel()
            if not running:
                ended.set()

        try:
            return asyncio.run_coroutine_threadsafe(announce(), loop).result()
        except KeyboardInterrupt:
            # The future is no help here: Ctrl-C may come when the work runs and the future has not been returned yet.
            interrupted.set()
            loop.call_soon_threadsafe(wind_down)
            ended.wait(_WIND_DOWN_S)
            raise

    def close(self) -> None:
        """Unload what was loaded and end the service thread."""
        self._service.stop()


def open_session(settings: Settings) -> Session:
    """Connect to the server that runs, or start the verbs in this process.

    Raises:
        ServerUnreachable: the settings name another machine and nothing answers there.
    """
    if _answers(settings):
        with held_back():
            from corral.api.client import HttpClient
            from corral.api.plain_http import way_to
        server = way_to(settings.base_url, next(iter(settings.api_keys), ""), settings.trusted)
        return RemoteSession(HttpClient(settings.base_url, server=server))
    if not _is_here(settings):
        raise ServerUnreachable("could not connect to corral server, run 'corral serve' to start it")
    with held_back():
        from corral.api.server import Service
    keep_log_quiet()
    service = Service(settings, serving=False)
    service.start()
    return OwnSession(service)


def _is_here(settings: Settings) -> bool:
    return is_loopback(urlsplit(settings.base_url).hostname or "")


def _answers(settings: Settings) -> bool:
    return answers(settings.base_url, _CONNECT_S[_is_here(settings)])


def keep_log_quiet() -> None:
    """Keep the log of a service in this process off the terminal: a command says itself what went wrong."""
    import logging

    logging.getLogger("corral").addHandler(logging.NullHandler())
