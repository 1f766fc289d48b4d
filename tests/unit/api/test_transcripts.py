"""Every route answers as its transcripts say: these fields and no others, of these types, with these texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from corral.api.app import build
from corral.runtime.errors import RunnerDied
from corral.runtime.settings import Settings
from corral.runtime.verbs import ToolCall
from tests.conftest import LiveServer
from tests.fakes.client import loaded
from tests.fakes.served import MODEL, Serve, ServedFake
from tests.unit.api.transcripts import compatible, native
from tests.unit.api.transcripts.shapes import EVENTS, NDJSON, UTC_TIME, Many, Transcript, differences, loosened

ALL = [*native.NATIVE, *compatible.COMPATIBLE]


def answer_of(response: httpx.Response) -> Any:
    """The body as a transcript has it; a stream as the list of its lines or events."""
    kind = response.headers.get("Content-Type", "")
    if not response.content:
        return None
    if kind == NDJSON:
        return [json.loads(line) for line in response.text.splitlines()]
    if kind != EVENTS:
        return response.json() if kind.startswith("application/json") else response.text
    told = []
    for event in response.text.removesuffix("\n\n").split("\n\n"):
        *name, data = event.split("\n")
        text = data.removeprefix("data: ")
        one: Any = text if text == "[DONE]" else json.loads(text)
        told.append(one)
        assert name == ([f"event: {one['type']}"] if name else [])
    return told


def workbench_for(transcript: Transcript) -> ServedFake:
    fake = ServedFake.with_models(MODEL)
    fake.memory[MODEL] = loaded(MODEL)
    if transcript.thinks:
        fake.can_think(MODEL)
        fake.thoughts = ("a ", "b")
    if transcript.calls:
        fake.can_call(MODEL)
        fake.calls = (ToolCall("weather", {"place": "Rome"}, "call_abcd1234"),)
    if transcript.fails:
        fake.fail_with, fake.fail_after = RunnerDied(), 1
    return fake


@pytest.mark.parametrize("transcript", ALL, ids=str)
def test_answer(serve: Serve, transcript: Transcript) -> None:
    served = serve(workbench_for(transcript))
    response = served.request(transcript.method, transcript.target, transcript.body, **transcript.headers)
    told = (response.status_code, response.headers.get("Content-Type", ""))
    assert told == (transcript.status, transcript.kind), response.text
    assert list(differences(answer_of(response), transcript.answer)) == []


def test_every_route_has_a_transcript_of_what_it_answers() -> None:
    app = build(Settings(models=Path("/nonexistent")), ServedFake())
    served = {f"{one.method} {one.resource.canonical}" for one in app.router.routes() if one.resource is not None}
    assert {transcript.route for transcript in ALL} == served


def test_every_stream_has_a_transcript_and_every_route_with_a_body_one_of_a_refusal() -> None:
    streams = {one.route for one in ALL if one.kind in (NDJSON, EVENTS)}
    assert streams == {
        *(f"POST /api/{verb}" for verb in ("generate", "chat", "pull", "push", "create", "verify")),
        *(f"POST /v1/{verb}" for verb in ("chat/completions", "completions", "responses", "messages")),
    }
    refused = {one.route for one in ALL if one.status >= 400}
    assert {one.route for one in ALL if isinstance(one.body, dict)} <= refused


REAL = [
    *(native.GENERATED, native.CHATTED, native.EMBEDDED),
    *(compatible.COMPLETED_CHAT, compatible.COMPLETED, compatible.EMBEDDED, compatible.ANSWERED, compatible.LISTED),
]


@pytest.mark.model
@pytest.mark.parametrize("transcript", REAL, ids=str)
def test_a_real_model_answers_with_the_same_fields(live_server: LiveServer, transcript: Transcript) -> None:
    with httpx.Client(base_url=live_server.base_url, trust_env=False, timeout=120) as client:
        # The second time something of the prompt is found again, which is told.
        for _ in range(2):
            response = client.request(transcript.method, transcript.target, json=transcript.body)
    assert (response.status_code, response.headers["Content-Type"]) == (200, transcript.kind), response.text
    assert list(differences(response.json(), loosened(transcript.answer))) == []


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": 1}),
        ([1], [1, 2]),
        ([], Many(int)),
        ([True], Many(int)),
        ({"a": 1}, {"a": 1.0}),
        ("x", int),
        (None, dict),
        ([], {}),
        ("12:30", UTC_TIME),
    ],
)
def test_what_is_of_another_shape_is_told(value: object, shape: object) -> None:
    assert list(differences(value, shape))
