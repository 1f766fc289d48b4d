"""Host, Origin, key and smuggling rows, with raw sockets so that no client library tidies the request up."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from corral.api.errors import AnonymousRefused, InvalidOrigin
from corral.api.server import Service
from corral.runtime.settings import Settings
from tests.fakes.served import Serve, Served, ServedFake

HOST = "Host: localhost"


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (["localhost"], 200),
        (["[::1]"], 200),
        (["x.localhost:11434"], 200),
        (["127.0.0.1:1"], 200),
        (["evil.com"], 403),
        (["evil.com:11434"], 403),
        (["127.0.0.1.evil.com"], 403),
        ([""], 403),
        (["localhost", "evil.com"], 400),
        (["localhost", "localhost"], 400),
    ],
)
def test_host_header(served: Served, hosts: list[str], status: int) -> None:
    assert served.status_of(*(f"Host: {host}" for host in hosts)) == status


def test_host_is_checked_on_every_address(serve: Serve) -> None:
    served = serve(listen_host="0.0.0.0", allow_anonymous=True)
    assert served.status_of("Host: evil.com") == 403
    assert served.status_of(HOST) == 200


def test_http_1_0_needs_no_host(served: Served) -> None:
    assert served.status_of(line="GET / HTTP/1.0") == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Origin: https://evil.com"], 403),
        (["Origin: null"], 403),
        (["Origin: http://localhost.evil.com"], 403),
        (["Sec-Fetch-Site: cross-site"], 403),
        (["Sec-Fetch-Site: same-origin"], 200),
        (["Origin: http://localhost:3000", "Sec-Fetch-Site: cross-site"], 200),
        (["Origin: http://localhost:3000"], 200),
    ],
)
def test_origin(served: Served, headers: list[str], status: int) -> None:
    assert served.status_of(HOST, *headers) == status


def test_a_refused_request_never_reaches_its_handler(served: Served) -> None:
    body = b'{"model":"smollm2:135m"}'
    head = f"DELETE /api/delete HTTP/1.1\r\n{HOST}\r\nOrigin: https://evil.com\r\nContent-Type: text/plain\r\n"
    answer = served.raw(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert b" 403 " in answer
    assert answer.endswith(b"\r\n\r\n")
    assert served.fake.asked == []


def test_preflight_reflects_the_origin(served: Served) -> None:
    response = served.request("OPTIONS", "/api/chat", Origin="http://localhost:3000")
    assert response.status_code == 204
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert response.headers["Vary"] == "Origin"
    assert response.headers["Access-Control-Max-Age"] == "43200"
    assert response.headers["Access-Control-Allow-Methods"] == "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
    allowed = response.headers["Access-Control-Allow-Headers"].lower().split(",")
    assert {"authorization", "content-type", "x-stainless-lang", "x-api-key", "anthropic-version"} <= set(allowed)


def test_options_without_an_origin(served: Served) -> None:
    assert served.status_of(HOST, line="OPTIONS /api/chat HTTP/1.1") == 204
    assert served.status_of("Host: 127.0.0.1", line="OPTIONS /api/chat HTTP/1.1") == 405


def test_streams_and_errors_carry_the_cors_header(served: Served) -> None:
    body = {"model": "smollm2:135m", "prompt": "hi"}
    for path in ("/api/generate", "/api/nothing"):
        response = served.post(path, body, Origin="http://localhost:3000")
        assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /api/tags HTTP/1.1\nHost: localhost\n\n",
        b"GET http://evil.com/api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/tags HTTP/1.1\r\n\r\n",
        b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 2**20 + b"\r\n\r\n",
    ],
    ids=["length and chunked", "bare line feeds", "absolute address", "no host", "1 MiB header"],
)
def test_ambiguous_requests_are_refused_and_the_connection_closed(served: Served, request_bytes: bytes) -> None:
    with served.connect() as connection:
        connection.sendall(request_bytes)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))


def test_a_client_that_never_sends_its_headers_is_cut(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    monkeypatch.setattr("corral.api.http.HttpServer.__init__.__kwdefaults__", {"header_timeout_s": 0.05})
    served = serve()
    with served.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: lo")
        assert connection.recv(100) == b""


KEY = {"api_key": "s3cret"}


@pytest.mark.parametrize("path", ["/", "/api/version"])
def test_two_routes_are_open_without_the_key(serve: Serve, path: str) -> None:
    assert serve(**KEY).request("GET", path).status_code == 200


def test_everything_else_asks_for_the_key(serve: Serve) -> None:
    served = serve(**KEY)
    assert served.request("GET", "/api/tags").status_code == 401
    assert served.request("GET", "/api/nothing").status_code == 401
    assert served.request("GET", "/api/tags", Authorization="Bearer wrong").json() == {"error": "unauthorized"}
    assert served.request("GET", "/v1/models").json()["error"]["type"] == "authentication_error"
    assert served.request("GET", "/api/tags", Authorization="Bearer s3cret").status_code == 200
    assert served.request("GET", "/api/tags", **{"X-Api-Key": "s3cret"}).status_code == 200
    assert served.request("OPTIONS", "/api/tags", Origin="http://localhost").status_code == 204
    assert served.status_of(HOST, "Authorization: Bearer s3cr\xe9t") == 401


def test_each_of_several_keys_opens(serve: Serve) -> None:
    served = serve(api_key="one, two,,")
    for key, status in (("one", 200), ("two", 200), ("one, two,,", 401), (",", 401), ("one,two", 401)):
        assert served.request("GET", "/api/tags", Authorization=f"Bearer {key}").status_code == status
        assert served.request("GET", "/api/tags", **{"X-Api-Key": key}).status_code == status


def test_no_open_address_without_a_key(tmp_path: Path, serve: Serve) -> None:
    settings = Settings(models=tmp_path, listen_host="0.0.0.0", listen_port=0)
    for keys in ("", " , "):
        with pytest.raises(AnonymousRefused, match="CORRAL_API_KEY"):
            Service(replace(settings, api_key=keys)).start()
    serve(listen_host="0.0.0.0", api_key="key")
    serve(listen_host="0.0.0.0", allow_anonymous=True)


def test_a_malformed_origin_stops_the_start(tmp_path: Path) -> None:
    fake = ServedFake()
    service = Service(Settings(models=tmp_path, listen_port=0, origins=("nonsense",)), workbench=lambda _: fake)
    with pytest.raises(InvalidOrigin):
        service.start()
    assert fake.ended
