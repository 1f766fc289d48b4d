"""What strangers send: each gets a refusal in our words, nobody else waits, and no reply tells of paths or traces."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Event, Thread

import pytest

from corral.api.body import WireModel
from corral.api.ollama import schemas
from corral.api.server import Service
from corral.runtime.settings import Settings
from corral.runtime.workbench import Workbench
from tests.fakes.served import MODEL, Serve, Served, ServedFake

HI = [{"role": "user", "content": "hi"}]
POSTS = ("/api/generate", "/api/chat", "/api/show", "/api/create", "/api/pull", "/api/copy", "/v1/chat/completions")
BODIES: dict[str, type[WireModel]] = {
    "/api/generate": schemas.GenerateBody,
    "/api/chat": schemas.ChatBody,
    "/api/show": schemas.ShowBody,
    "/api/pull": schemas.PullBody,
    "/api/push": schemas.PushBody,
    "/api/create": schemas.CreateBody,
    "/api/copy": schemas.CopyBody,
}
_TELLS = re.compile(r"Traceback|File \"|\.py\b|0x[0-9a-f]{6,}|object at|/tmp/|/home/|/root/|/usr/")


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Served]:
    """A service on a real workbench with an empty store."""
    service = Service(
        Settings(models=tmp_path / "store", listen_port=0), workbench=lambda settings: Workbench(settings, warm=False)
    )
    service.start()
    yield Served(ServedFake(), service)
    service.stop(drain_s=0)


class Watch:
    """Asks for the version all the while, and knows the longest that took.

    What counts is how long this process computed meanwhile: somebody else may have the processors. That nothing but
    computing takes long is seen by the clock on the wall.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._over = Event()
        self._computed_s = self._waited_s = 0.0
        self._thread = Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def saw_nobody_wait(self) -> bool:
        """Whether every answer came soon."""
        return self._computed_s < 1 and self._waited_s < 10

    def _look(self) -> None:
        with self._served.connect() as connection:
            while not self._over.wait(0.002):
                began_s, computed_s = time.perf_counter(), time.process_time()
                connection.sendall(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert connection.recv(4096).startswith(b"HTTP/1.1 200")
                self._computed_s = max(self._computed_s, time.process_time() - computed_s)
                self._waited_s = max(self._waited_s, time.perf_counter() - began_s)


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"\\ud800"}',
        b'{"model":"a\\u0000b"}',
        b'\xef\xbb\xbf{"model":"x"}',
        b'{"model":"\xff\xfe"}',
        b'{"model":NaN}',
        b'{"options":{"temperature":-Infinity}}',
        b'{"model":1e400}',
        b'{"options":{"seed":1e400}}',
        b'{"stream":' + b"9" * 100_000 + b"}",
        b'{"model":"x","model":["y"]}',
        b'{"a":' * 100_000,
        b"[" * 100_000,
    ],
    ids=["surrogate", "nul", "bom", "utf-8", "nan", "inf", "1e400", "seed", "digits", "twice", "deep", "deep list"],
)
def test_json_that_is_none_of_ours(served: Served, path: str, body: bytes) -> None:
    response = served.post(path, body)
    assert response.status_code in (400, 404)
    assert not _TELLS.search(response.text)
    assert path == "/api/pull" or served.fake.asked == []


@pytest.mark.parametrize("seed", [b"1e400", b"9" * 100_000, b"-" + b"9" * 5000, b"1.7976931348623157e309"])
def test_numbers_beyond_bounds(served: Served, seed: bytes) -> None:
    body = b'{"model":"' + MODEL.encode() + b'","prompt":"x","stream":false,"options":{"seed":' + seed + b"}}"
    assert served.post("/api/generate", body).status_code in (200, 400)


def test_the_last_of_two_keys_counts(served: Served) -> None:
    body = f'{{"model":"no-such","model":"{MODEL}"}}'.encode()
    assert served.post("/api/show", body).status_code == 200


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (path, field.alias or name)
        for path, model in BODIES.items()
        for name, field in model.model_fields.items()
        if field.annotation in (str, bool, int) or str(field.annotation).startswith(("dict", "list"))
    ],
)
def test_a_wrong_type_names_its_field(served: Served, path: str, field: str) -> None:
    for wrong in (3.5, {"a": {"b": 1}}, [[1]]):
        response = served.post(path, {field: wrong})
        if field not in response.text:  # a list or an object may be what the field takes
            continue
        assert response.status_code == 400
        break
    else:
        raise AssertionError("no wrong type was refused by the field's name")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../../etc/passwd",
            "a/../../b",
            "%2e%2e",
            "%2e%2e%2fetc%2fpasswd",
            "a\x00b",
            "C:\\x",
            "/etc/passwd",
            "..",
            ".",
        ),
        *("a" * 10_000, "x" * 400 + "/y", "sha256:../../x", "hf.co/../..", "a\nb", "a b", "\u202e", "\\\\host\\share"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/show", lambda name: {"model": name}),
        ("DELETE", "/api/delete", lambda name: {"model": name}),
        ("POST", "/api/copy", lambda name: {"source": name, "destination": "x"}),
        ("POST", "/api/copy", lambda name: {"source": "x", "destination": name}),
        ("POST", "/api/push", lambda name: {"model": name, "stream": False}),
        ("POST", "/api/create", lambda name: {"model": name, "from": "x", "stream": False}),
        ("POST", "/api/generate", lambda name: {"model": name, "prompt": "x"}),
        ("POST", "/v1/chat/completions", lambda name: {"model": name, "messages": HI}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names_that_lead_elsewhere(real: Served, method: str, path: str, body: object, name: str) -> None:
    assert callable(body)
    response = real.request(method, path, body(name))
    assert response.status_code in (400, 404), response.text
    shown = response.text.replace(json.dumps(name)[1:-1], "")
    assert not _TELLS.search(shown)


def test_no_reply_tells_whether_a_file_exists(real: Served, tmp_path: Path) -> None:
    there, nowhere = tmp_path / "there.gguf", tmp_path / "nowhere.gguf"
    there.write_bytes(b"GGUF")

    def refusal(path: Path, body: Mapping[str, object]) -> tuple[int, str]:
        response = real.post("/api/create", {"model": "m", "stream": False, **body})
        return response.status_code, response.text.replace(str(path), "PATH")

    bodies: tuple[Callable[[Path], Mapping[str, object]], ...] = (
        lambda path: {"from": str(path)},
        lambda path: {"files": {"x.gguf": str(path)}},
        lambda path: {"files": {str(path): "sha256:" + "0" * 64}},
        lambda path: {"modelfile": f"FROM {path}"},
        lambda path: {"path": str(path)},
        lambda path: {"modelfile": f"FROM x\nADAPTER {path}"},
    )
    for make in bodies:
        first, second = refusal(there, make(there)), refusal(nowhere, make(nowhere))
        assert first == second
        assert 400 <= first[0] < 500, first


@pytest.mark.parametrize("scheme", ["http", "https", "file", "ftp"])
@pytest.mark.parametrize("stream", [False, True])
def test_no_address_of_an_image_is_fetched(served: Served, scheme: str, stream: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.setblocking(False)
        url = f"{scheme}://127.0.0.1:{stranger.getsockname()[1]}/x.png"
        for image in (url, {"url": url}):
            content = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": image}]
            body = {"model": MODEL, "messages": [{"role": "user", "content": content}], "stream": stream}
            assert served.post("/v1/chat/completions", body).status_code == 400
        native = {"model": MODEL, "messages": [{"role": "user", "content": "x", "images": [url]}]}
        assert served.post("/api/chat", native).status_code == 400
        assert served.post("/api/generate", {"model": MODEL, "prompt": "x", "images": [url]}).status_code == 400
        with pytest.raises(BlockingIOError):
            stranger.accept()


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/api/embed"])
def test_our_own_faults_tell_nothing(serve: Serve, path: str, after: int) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.fail_with, fake.fail_after = OSError("/home/user/.ollama <object at 0x7f0012345678>"), after
    body = {"model": MODEL, "messages": HI, "stream": True, "input": "x"}
    response = serve(fake).post(path, body if path != "/api/embed" else {"model": MODEL, "input": "x"})
    assert "internal error" in response.text
    assert not _TELLS.search(response.text)
    assert response.status_code == (200 if after and path != "/api/embed" else 500)


def test_a_body_of_single_bytes_holds_up_nobody(served: Served) -> None:
    body = json.dumps({"model": MODEL, "verbose": False}).encode().ljust(100_000)
    head = b"POST /api/show HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    with Watch(served) as watch:
        assert b" 200 " in served.raw(head + pieces + b"0\r\n\r\n").split(b"\r\n")[0]
    assert watch.saw_nobody_wait()


def test_ten_thousand_requests_in_one_go_are_answered_in_turn(served: Served) -> None:
    count = 10_000
    with Watch(served) as watch, served.connect() as connection:
        requests = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n" * count
        sender = Thread(target=connection.sendall, args=(requests,))
        sender.start()
        answers = tail = b""
        found = 0
        while found < count:
            piece = connection.recv(2**20)
            assert piece
            answers = tail + piece
            found += answers.count(b"HTTP/1.1 200") - tail.count(b"HTTP/1.1 200")
            tail = answers[-20:]
        sender.join()
    assert watch.saw_nobody_wait()


@pytest.mark.parametrize(
    "head",
    [b"".join(b"X-%d: y\r\n" % number for number in range(100_000)), b"X: " + b"y" * 2**20 + b"\r\n"],
    ids=["many", "long"],
)
def test_floods_of_headers_are_cut(served: Served, head: bytes) -> None:
    with Watch(served) as watch, served.connect() as connection:
        answer = b""
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n")
            answer = connection.recv(65536)
        except ConnectionError:
            pass
    assert not answer or b" 400 " in answer.split(b"\r\n")[0]
    assert watch.saw_nobody_wait()


@pytest.mark.parametrize("field", ["messages", "tools"])
@pytest.mark.parametrize(("count", "status"), [(10_001, 400), (600_000, 400), (1_000_000, 413)])
def test_countless_objects_hold_up_nobody(served: Served, field: str, count: int, status: int) -> None:
    one = b'{"role":"user"}' if field == "messages" else b"{}"
    many = b'{"model":"%s","%s":[' % (MODEL.encode(), field.encode()) + b",".join([one] * count) + b"]}"
    with Watch(served) as watch:
        assert served.post("/api/chat", many).status_code == status
    assert watch.saw_nobody_wait()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
@pytest.mark.parametrize("path", POSTS)
def test_forms_of_other_pages_are_refused(served: Served, path: str, kind: str) -> None:
    headers = {"Origin": "https://evil.example", "Content-Type": kind}
    response = served.post(path, {"model": MODEL}, **headers)
    assert (response.status_code, response.content) == (403, b"")
    assert "Access-Control-Allow-Origin" not in response.headers
    assert served.fake.asked == []
