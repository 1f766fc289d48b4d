"""A client that goes away stops the real engine's work on its request."""

from __future__ import annotations

import httpx
import pytest

from corral.runtime.snapshot import RequestState
from tests.conftest import ENDLESS, LiveServer
from tests.waiting import block_until

pytestmark = pytest.mark.model


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages"])
def test_disconnect_stops_the_work(live_server: LiveServer, path: str) -> None:
    requests = live_server.service.client.requests
    body = {
        "model": live_server.model,
        "messages": [{"role": "user", "content": "Write a very long story."}],
        "stream": True,
        "max_tokens": 4000,
        "options": {"num_predict": 4000, **ENDLESS},
    }
    with (
        httpx.Client(base_url=live_server.base_url, trust_env=False, timeout=60) as client,
        client.stream("POST", path, json=body) as response,
    ):
        assert response.status_code == 200
        next(response.iter_lines())
    block_until(lambda: requests.in_flight == 0)
    row = requests.rows()[0]
    assert (row.path, row.state, row.status) == (path, RequestState.CANCELED, 499)
    block_until(lambda: all(model.slots_used == 0 for model in live_server.service.client.latest().models))
