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
    # What a start makes stays: walking these 100,000 objects again would hold all answers up for 50 ms and more.
    gc.freeze()
    asyncio.run(_until_signalled(service))
    return 0


def _fail(error: ApiError, code: int) -> int:
    print(f"Error: {error}", file=sys.stderr)
    if isinstance(error, PortTaken) and error.answers:
        print("It answers like Ollama: commands such as 'corral run' can use it as it is.", file=sys.stderr)
    return code


async def _until_signalled(service: Service) -> None:
    first = asyncio.Event()

    def on_signal() -> None:
        if first.is_set():
            service.stop_now()
        first.set()

    with _signals(on_signal):
        # Not before signals are heard: who waits for this line may send one at once.
        print(f"Listening on {service.address} (version {PRODUCT})", file=sys.stderr, flush=True)
        await first.wait()
        await asyncio.to_thread(service.stop)


@contextlib.contextmanager
def _signals(handle: Callable[[], None]) -> Generator[None, None, None]:
    """Call `handle` on the running loop for every SIGINT, SIGTERM, and hang-up that nohup has not turned off."""
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(handle))
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
