"""The page in the browser: where it is said only once somebody listens there."""

from __future__ import annotations

import signal
import socket

import pytest

from corral.tui import web
from tests.programs import free_port


def test_where_the_page_is_can_be_opened_when_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    server = web.WebServer("http://127.0.0.1:9", "127.0.0.1", free_port(), ("secret",))
    told: list[str] = []

    def hear(text: str, flush: bool) -> None:
        with socket.create_connection(("127.0.0.1", server.port)):
            told.append(text)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(web, "print", hear, raising=False)
    server.serve()
    assert told == [f"The workbench is at http://127.0.0.1:{server.port}/?token=secret"]
