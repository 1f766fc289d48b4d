from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator

import pytest

from corral.store.errors import ModelNotFound
from corral.tui.cli.session import OwnSession
from tests.fakes.client import FakeClient


class FakeService:
    """A loop on a thread of its own, with a workbench from memory."""

    def __init__(self) -> None:
        self.client = FakeClient.with_models("smollm2:135m")
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def own() -> Iterator[OwnSession]:
    session = OwnSession(FakeService())  # type: ignore[arg-type]
    yield session
    session.close()


def test_a_verb_runs_on_the_service_thread(own: OwnSession) -> None:
    async def where() -> threading.Thread:
        await own.client.list_models()
        return threading.current_thread()

    assert own.run(where()) is not threading.current_thread()


def test_an_error_of_the_verb_is_raised_here(own: OwnSession) -> None:
    with pytest.raises(ModelNotFound, match="model 'nope' not found"):
        own.run(own.client.show("nope"))


def test_ctrl_c_cancels_the_verb_and_lets_it_clean_up(own: OwnSession) -> None:
    cleaned = threading.Event()

    async def work() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    with pytest.raises(KeyboardInterrupt):
        own.run(work())
    assert cleaned.is_set()
    assert own.run(own.client.version()) == "0.33.0"
