"""`POST /v1/audio/transcriptions` (spec b.7), which nothing here can do: the request is checked and the reason told."""

from __future__ import annotations

import httpx
import pytest
from msgspec.structs import replace

from corral.api.openai import audio
from tests.fakes.served import MODEL, Served

SOUND = {"file": ("a.wav", b"RIFF")}


def ask(served: Served, data: dict[str, str], files: dict[str, tuple[str, bytes]]) -> tuple[int, str]:
    # A form with a file field of no name is what makes httpx send one in parts.
    parts = [(name, (None, value.encode())) for name, value in data.items()]
    parts += [(name, (file, content)) for name, (file, content) in files.items()]  # type: ignore[misc]
    reply = httpx.post(f"{served.service.base_url}/v1/audio/transcriptions", files=parts, trust_env=False, timeout=20)
    return reply.status_code, reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("data", "files", "status", "message"),
    [
        ({"language": "en"}, SOUND, 400, "model is required"),
        ({"model": MODEL}, {}, 400, "file is required: http: no such file"),
        ({"model": MODEL}, {"file": ("a.wav", b"")}, 400, "audio file is empty"),
        ({"model": "nope"}, SOUND, 404, "model 'nope' not found"),
        ({"model": MODEL}, SOUND, 400, f"registry.ollama.ai/library/{MODEL} does not support audio"),
    ],
)
def test_refusals(
    served: Served, data: dict[str, str], files: dict[str, tuple[str, bytes]], status: int, message: str
) -> None:
    assert ask(served, data, files) == (status, message)


def test_a_model_that_could_hear(served: Served) -> None:
    served.fake.models[MODEL] = replace(served.fake.models[MODEL], capabilities=("completion", "audio"))
    assert ask(served, {"model": MODEL}, SOUND) == (400, "audio input is not supported by this server yet")


def test_too_large(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_BYTES", 3)
    assert ask(served, {}, SOUND) == (413, "request body too large")


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "multipart/form-data; boundary=x", ""])
def test_what_is_no_form(served: Served, kind: str) -> None:
    for body in (b"", b"{}", b"--y\r\n"):
        reply = served.post("/v1/audio/transcriptions", body, **{"Content-Type": kind})
        assert reply.status_code == 400, reply.text
        assert reply.json()["error"]["type"] == "invalid_request_error"


def test_a_form_in_a_form_is_none(served: Served) -> None:
    body = b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y--\r\n--x--\r\n"
    reply = served.post("/v1/audio/transcriptions", body, **{"Content-Type": "multipart/form-data; boundary=x"})
    assert (reply.status_code, reply.json()["error"]["message"]) == (400, "the request is no multipart form")
