from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.served import MODEL, Served

GENERATE = "/api/generate"
WRONG_FIELD = "json: cannot unmarshal {} into Go struct field GenerateRequest.{} of type {}"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "missing request body"),
        (b"  \n", "missing request body"),
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b"\n\n  'a'", 'invalid character "\'" looking for beginning of value'),
        (b'{"model":', "unexpected EOF"),
        (b'{"model":"x', "unexpected EOF"),
        (b'{"model" 1}', "invalid character '1' after object key"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of value"),
        (b"{'a':1}", 'invalid character "\'" looking for beginning of object key string'),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b'{"a":NaN}', "invalid character 'N' looking for beginning of value"),
        (b"\xff{}", "invalid character '\\xff' looking for beginning of value"),
        (b"[]", "json: cannot unmarshal array into Go value of type api.GenerateRequest"),
        (b'"x"', "json: cannot unmarshal string into Go value of type api.GenerateRequest"),
        (b'{"stream":"x"}', WRONG_FIELD.format("string", "stream", "bool")),
        (b'{"model":1}', WRONG_FIELD.format("number", "model", "string")),
        (b'{"context":[1.5]}', WRONG_FIELD.format("number", "context", "int")),
        (b'{"options":[]}', WRONG_FIELD.format("array", "options", "map[string]interface {}")),
    ],
)
def test_bodies_that_are_none(served: Served, body: bytes, text: str) -> None:
    response = served.post(GENERATE, body)
    assert response.status_code == 400
    assert response.json()["error"] == text


def test_a_list_of_parts_is_no_content_here(served: Served) -> None:
    response = served.post("/api/chat", {"model": MODEL, "messages": [{"role": "user", "content": [{}]}]})
    assert response.json() == {
        "error": "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string"
    }


def test_null_is_as_good_as_absent(served: Served) -> None:
    body = {"model": MODEL, "prompt": "x", "stream": False, "options": None, "system": None, "keep_alive": None}
    assert served.post(GENERATE, body).status_code == 200


@pytest.mark.parametrize("sign", [b"[", b'{"a":'])
def test_deep_nesting_is_refused_at_once(served: Served, sign: bytes) -> None:
    started_s = time.process_time()
    response = served.post(GENERATE, sign * 100_000)
    assert (response.status_code, response.json()["error"]) == (400, "exceeded max depth")
    assert time.process_time() - started_s < 2


def test_a_large_body_is_refused_before_it_is_read(served: Served) -> None:
    head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n"
    assert b" 413 " in served.raw(head)


def test_a_large_body_of_unknown_length_is_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.api.body.MAX_BYTES", 1000)
    head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b" 413 " in served.raw(head + b"800\r\n" + b" " * 0x800 + b"\r\n0\r\n\r\n")


def test_a_body_of_countless_values_is_refused(served: Served) -> None:
    assert served.post(GENERATE, b'{"a":[' + b"[]," * 2_000_001 + b"1]}").status_code == 413


def test_a_gzip_bomb_is_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    monkeypatch.setattr("corral.api.body.MAX_BYTES", 2**20)
    bomb = gzip.compress(b" " * 2**24)
    assert served.post(GENERATE, bomb, **{"Content-Encoding": "gzip"}).status_code == 413


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /api/show HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /api/show HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"POST /api/show HTTP/1.1\r\nHost: localhost\r\nContent-Length: abc\r\n\r\n{}",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["gzip", "chunk", "length", "header", "host", "tls"],
)
def test_what_is_no_http_is_refused_and_fills_no_log(
    served: Served, caplog: pytest.LogCaptureFixture, request_bytes: bytes
) -> None:
    with caplog.at_level("DEBUG", logger="corral"):
        assert b" 400 " in served.raw(request_bytes).split(b"\r\n")[0]
        assert served.status_of("Host: localhost") == 200
        served.service.stop(drain_s=0)
    assert [record.levelname for record in caplog.records if record.name == "corral.http"] == ["DEBUG"]
    assert not [record for record in caplog.records if record.exc_info or "\n" in record.getMessage()]


def test_a_body_that_does_not_come_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.api.body.READ_TIMEOUT_S", 0.05)
    head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{"
    assert b" 408 " in served.raw(head)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    (
        *("model", "prompt", "messages", "stream", "options", "keep_alive", "think", "format", "context", "images"),
        *("raw", "tools", "from", "files", "license", "parameters", "source", "n", "stop", "max_tokens", "content"),
    )
)
paths = st.sampled_from(
    ("/api/generate", "/api/chat", "/api/show", "/api/create", "/api/pull", "/api/copy", "/v1/chat/completions")
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=paths, body=st.dictionaries(fields, values, max_size=5), named=st.booleans())
def test_no_body_is_a_fault_of_ours(served: Served, path: str, body: dict[str, object], named: bool) -> None:
    response = served.post(path, ({"model": MODEL} if named else {}) | body)
    assert "internal error" not in response.text
    assert response.status_code < 500 or "invalid format" in response.text


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=paths, body=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: f'{{"model":"{text}"}}'.encode())
)
def test_no_bytes_are_a_fault_of_ours(served: Served, path: str, body: bytes) -> None:
    response = served.post(path, body)
    assert response.status_code < 500
