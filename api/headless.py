"""`corral serve`: the service without a screen, until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Callable, Generator

from corral.api.errors import ApiError, CannotListen, PortTaken
from corral.api.logs import logging_to
from corral.api.server import Service
from corral.api.version import PRODUCT
from corral.runtime.settings import Settings

EXIT_UNAVAILABLE = 69
EXIT_CONFIG = 78


def run_headless(settings: Settings, service: Service | None = None) -> int:
    """Serve until SIGINT or SIGTERM; a second one doesn't wait for answers that are still under way.

    Returns the exit code: 0, 69 where the address is taken, 78 where the settings do not allow it.
    """
    with logging_to(settings):
        return _serve(service or Service(settings))


def _serve(service: Service) -> int:
    try:
        service.start()
    except (PortTaken, CannotListen) as error:
        return _fail(error, EXIT_UNAVAILABLE)
    except ApiError as error:
        return _fail(error, EXIT_CONFIG)
    # Before anybody is told that it listens, and so may end it.
    with _signals() as signals:
        # What a start makes stays: walking these 100,000 objects again would hold all answers up for 50 ms and more.
        gc.freeze()
        print(f"Listening on {service.address} (version {PRODUCT})", file=sys.stderr, flush=True)
        asyncio.run(_until_signalled(service, signals))
    return 0


def _fail(error: ApiError, code: int) -> int:
    print(f"Error: {error}", file=sys.stderr)
    if isinstance(error, PortTaken) and error.answers:
        print("It answers like Ollama: commands such as 'corral run' can use it as it is.", file=sys.stderr)
    return code


class _Signals:
    """Signals that came, for a loop that may not run yet; used by the main thread alone."""

    def __init__(self) -> None:
        self._early = 0
        self._tell: Callable[[], object] | None = None

    def note(self, *_: object) -> None:
        """One has come."""
        if self._tell is None:
            self._early += 1
        else:
            self._tell()

    def tell(self, whom: Callable[[], object]) -> None:
        """Call `whom` for each from now on, and for those that came before."""
        self._tell = whom
        for _ in range(self._early):
            whom()
        self._early = 0


async def _until_signalled(service: Service, signals: _Signals) -> None:
    loop = asyncio.get_running_loop()
    first = asyncio.Event()

    def on_signal() -> None:
        if first.is_set():
            service.stop_now()
        first.set()

    signals.tell(lambda: loop.call_soon_threadsafe(on_signal))
    try:
        await first.wait()
        await asyncio.to_thread(service.stop)
    finally:
        signals.tell(lambda: None)  # the loop is closed next


@contextlib.contextmanager
def _signals() -> Generator[_Signals, None, None]:
    """Note every SIGINT, SIGTERM, and hang-up that nohup has not turned off."""
    signals = _Signals()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, signals.note) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
