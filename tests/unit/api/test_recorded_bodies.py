"""Bodies of requests are kept in memory for the screen, if it asked for that, and never told over the API."""

from __future__ import annotations

from tests.fakes.served import MODEL, Served


def test_a_body_is_kept_while_somebody_wants_it(served: Served) -> None:
    body = {"model": MODEL, "prompt": "a secret", "stream": False}
    recordings = served.fake.requests.recordings
    served.post("/api/generate", body, **{"X-Request-Id": "before"})
    assert recordings.get("before") is None
    recordings.switch(on=True)
    served.post("/api/generate", body, **{"X-Request-Id": "after"})
    kept = recordings.get("after")
    assert kept is not None
    assert "a secret" in kept.body
    for path in ("/api/queue", "/metrics"):
        assert "a secret" not in served.request("GET", path).text


def test_what_is_no_request_is_kept_too(served: Served) -> None:
    recordings = served.fake.requests.recordings
    recordings.switch(on=True)
    reply = served.post("/api/chat", b"{nonsense", **{"X-Request-Id": "bad"})
    assert reply.status_code == 400
    kept = recordings.get("bad")
    assert kept is not None
    assert kept.body == "{nonsense"
