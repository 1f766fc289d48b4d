"""The lines that `corral serve` writes: their form, their level, and that nobody waits for who reads them."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from pathlib import Path

import pytest

from corral.api.logs import LineFormatter, level_of, logging_to
from corral.runtime.settings import Settings
from tests.fakes.served import MODEL, Serve, Served, Until

SETTINGS = Settings(models=Path("/nonexistent"))


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("corral", logging.WARNING, "", 0, message, (), None)
    made.fields = fields
    return made


def test_logfmt() -> None:
    line = LineFormatter("logfmt").format(record("it is", path="/x", note='a "b"\n\x1b[2J\x9b', took=0.5, none=""))
    time, rest = line.split(" ", 1)
    assert re.fullmatch(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", time)
    assert rest == 'level=warning msg="it is" path=/x note="a \\"b\\"\\n\\u001b[2J\\u009b" took=0.5 none=""'


def test_json() -> None:
    found = json.loads(LineFormatter("json").format(record("it\nis", status=200)))
    assert (found["msg"], found["level"], found["status"]) == ("it\nis", "warning", 200)


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_a_trace_is_one_line(form: str) -> None:
    made = record("broken")
    try:
        raise ValueError("x")
    except ValueError as error:
        made.exc_info = (ValueError, error, error.__traceback__)
    line = LineFormatter(form).format(made)
    assert "ValueError" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("debug", "level"),
    [(2, 1), (3, 1), (1, logging.DEBUG), (0, logging.INFO), (-1, logging.WARNING), (-2, logging.ERROR)],
)
def test_levels(debug: int, level: int) -> None:
    assert level_of(debug) == level


def test_one_line_for_each_request(served: Served, until: Until) -> None:
    out = io.StringIO()
    with logging_to(SETTINGS, out):
        body = {"model": MODEL, "prompt": "a secret", "nope": 1}
        served.post("/api/generate", body, **{"X-Request-Id": "r1"})
        served.request("GET", "/api/nothing")
        until(lambda: served.fake.requests.in_flight == 0)
    first, second = out.getvalue().splitlines()
    assert re.search(
        r" level=info msg=request request_id=r1 client=python-httpx method=POST path=/api/generate status=200 "
        rf"duration_ms=\S+ model={MODEL} warnings=\"field 'nope' is not known and was ignored\"$",
        first,
    )
    assert "secret" not in first
    assert " status=404 " in second
    assert " note=" in second
    assert not logging.getLogger("corral").handlers


def test_a_reader_that_does_not_read_stops_nobody(serve: Serve) -> None:
    class Stuck(io.StringIO):
        reading = threading.Event()

        def write(self, text: str) -> int:
            self.reading.wait(30)
            return super().write(text)

    out, served = Stuck(), serve()
    try:
        with logging_to(SETTINGS, out):
            for _ in range(3):
                assert served.request("GET", "/api/version").status_code == 200
            assert out.getvalue() == ""
    finally:
        out.reading.set()
