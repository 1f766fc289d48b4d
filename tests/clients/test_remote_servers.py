"""Real servers as engines: llama-cpp-python's own and another Corral, behind a Corral, asked over its HTTP API."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import pytest

from corral.api.server import Service
from corral.runtime.settings import Settings
from tests.conftest import LiveServer
from tests.elsewhere import PythonServer, python_server
from tests.programs import CORRAL

pytestmark = pytest.mark.model
ASK = [{"role": "user", "content": "Write one sentence about the sea."}]
GREEDY = {"temperature": 0, "num_predict": 8, "num_ctx": 1024}
SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}


@dataclass(frozen=True)
class Front:
    """A Corral that has no model of its own."""

    service: Service
    http: httpx.Client

    def stub(self, name: str, *urls: str, model: str = "smollm2:135m", **more: object) -> None:
        body = {"model": name, "from": model, "remote_host": ",".join(urls), "stream": False, **more}
        assert self.http.post("/api/create", json=body).json() == {"status": "success"}

    def chat(self, model: str, **more: Any) -> httpx.Response:
        options = {**GREEDY, **more.pop("options", {})}
        body = {"model": model, "messages": ASK, "stream": False, "options": options, **more}
        return self.http.post("/api/chat", json=body)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    settings = Settings(models=tmp_path / "front", listen_port=0, base_url="", remotes=("127.0.0.1",))
    service = Service(settings, warm=False)
    service.start()
    with httpx.Client(base_url=service.base_url, timeout=60, trust_env=False) as http:
        yield Front(service, http)
    service.stop(drain_s=0)


@pytest.fixture(scope="module")
def python_llama(starter_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PythonServer]:
    with python_server(starter_gguf, tmp_path_factory.mktemp("elsewhere") / "log") as server:
        yield server


def test_llama_cpp_pythons_server_answers_through_ours(front: Front, python_llama: PythonServer) -> None:
    front.stub("far", python_llama.url)
    reply = front.chat("far").json()
    direct = httpx.post(
        f"{python_llama.url}/v1/chat/completions",
        json={"model": "m", "messages": ASK, "temperature": 0, "max_tokens": 8},
        timeout=60,
    ).json()
    assert reply["message"]["content"] == direct["choices"][0]["message"]["content"]
    assert (reply["remote_host"], reply["remote_model"]) == (python_llama.url, "smollm2:135m")
    assert reply["done_reason"] == "length"
    assert reply["eval_count"] > 0

    lines = front.http.post("/api/generate", json={"model": "far", "prompt": "2+2=", "raw": True, "options": GREEDY})
    said = [json.loads(line) for line in lines.text.splitlines()]
    assert said[-1]["done"]
    assert len(said) > 3

    with openai.OpenAI(base_url=f"{front.service.base_url}/v1", api_key="none") as client:
        answer = client.chat.completions.create(model="far", messages=ASK, temperature=0, max_tokens=8)  # type: ignore[arg-type]
    assert answer.choices[0].message.content == reply["message"]["content"]


def test_a_server_that_is_killed_and_started_again(front: Front, python_llama: PythonServer) -> None:
    front.stub("far", python_llama.url)
    with front.http.stream("POST", "/api/chat", json={"model": "far", "messages": ASK}) as reply:
        lines = reply.iter_lines()
        assert not json.loads(next(lines))["done"]
        python_llama.kill()
        last = [json.loads(line) for line in lines][-1]
    assert last["error"] == f"{python_llama.url} ended in the middle of its answer"
    down = front.chat("far")
    assert (down.status_code, down.json()) == (502, {"error": f"{python_llama.url}: does not answer"})
    python_llama.start()
    assert front.chat("far").json()["message"]["content"]


def test_another_corral_gets_all_of_a_request(front: Front, live_server: LiveServer) -> None:
    front.stub("far", live_server.base_url, system="You answer in JSON.")
    reply = front.chat("far", format=SCHEMA, options={"num_predict": 40}, logprobs=True, top_logprobs=2).json()
    assert json.loads(reply["message"]["content"])["city"] in ("Oslo", "Rome")
    assert len(reply["logprobs"][0]["top_logprobs"]) == 2
    assert reply["prompt_eval_count"] > 20
    assert reply["prompt_eval_duration"] > 0
    assert reply["model"] == "far"
    refused = front.chat("far", think=True)
    assert refused.status_code == 400
    assert "does not support thinking" in refused.json()["error"]
    body = {"model": "far", "prompt": "One two", "raw": True, "options": GREEDY, "stream": False}
    assert front.http.post("/api/generate", json=body).json()["response"]
    front.stub("missing", live_server.base_url, model="nothing")
    assert front.chat("missing").status_code == 502


def test_two_kinds_of_servers_behind_one_name(
    front: Front, live_server: LiveServer, python_llama: PythonServer
) -> None:
    front.stub("both", python_llama.url, live_server.base_url)
    assert front.chat("both").json()["message"]["content"]
    python_llama.kill()
    try:
        for _ in range(3):
            assert front.chat("both").json()["message"]["content"]
    finally:
        python_llama.start()


def test_ollamas_package_sees_a_stub_as_one(front: Front, live_server: LiveServer) -> None:
    front.stub("far", live_server.base_url, info={"capabilities": ["completion"], "model_family": "llama"})
    with ollama.Client(host=front.service.base_url, trust_env=False) as client:
        (listed,) = client.list().models
        shown = client.show("far")
        last = list(client.chat("far", messages=ASK, options=GREEDY, stream=True))[-1]
    assert (listed.model, listed.size) == ("far:latest", 0)
    assert shown.modelinfo == {"general.architecture": "llama"}
    assert last.done
    raw = front.http.get("/api/tags").json()["models"][0]
    assert (raw["remote_host"], raw["remote_model"]) == (live_server.base_url, "smollm2:135m")


def test_what_may_not_be_asked_is_refused_in_ollamas_words(front: Front) -> None:
    front.stub("far", "http://192.0.2.7:80")
    refused = front.chat("far")
    assert (refused.status_code, refused.json()) == (400, {"error": "this server cannot run this remote model"})
    cloud = front.chat("gpt-oss:120b-cloud")
    assert cloud.status_code == 403
    assert cloud.json() == {"error": "ollama cloud is disabled: remote model is unavailable"}
    tokens = front.http.post("/api/tokenize", json={"model": "far", "content": "x"})
    assert tokens.status_code == 400


def test_two_corrals_that_name_each_other_end(front: Front) -> None:
    front.stub("loop", front.service.base_url, model="loop")
    refused = front.chat("loop")
    assert refused.status_code == 400
    assert "has its engine elsewhere" in refused.json()["error"]


def test_another_corral_tells_of_tokens_and_prompts(front: Front, live_server: LiveServer) -> None:
    front.stub("far", live_server.base_url)
    there = httpx.Client(base_url=live_server.base_url, timeout=60, trust_env=False)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/api/tokenize", {"content": "Grüße, world"}),
        ("/api/tokenize", {"messages": ASK, "options": {"num_ctx": 1024}}),
        ("/api/detokenize", {"tokens": [504, 1343, 216]}),
        ("/api/chat", {"messages": ASK, "_debug_render_only": True}),
        ("/api/generate", {"prompt": "One two", "_debug_render_only": True}),
        ("/v1/messages/count_tokens", {"messages": ASK}),
    ]
    with there:
        for path, body in asked:
            through = front.http.post(path, json={"model": "far", **body})
            direct = there.post(path, json={"model": live_server.model, **body})
            assert (through.status_code, direct.status_code) == (200, 200), through.text
            differs = {"model", "created_at", "total_duration", "load_duration"}
            assert {key: value for key, value in through.json().items() if key not in differs} == {
                key: value for key, value in direct.json().items() if key not in differs
            }


def test_llama_cpp_pythons_server_has_no_such_routes(front: Front, python_llama: PythonServer) -> None:
    front.stub("far", python_llama.url)
    refused = front.http.post("/api/tokenize", json={"model": "far", "content": "x"})
    assert refused.status_code == 501
    assert refused.json()["error"].startswith(f"{python_llama.url}: cannot be asked for the tokens of a text")


def test_ps_lists_a_model_elsewhere_with_its_servers(front: Front, live_server: LiveServer) -> None:
    front.stub("far", live_server.base_url)
    front.chat("far")
    (listed,) = front.http.get("/api/ps").json()["models"]
    assert (listed["name"], listed["size"], listed["size_vram"]) == ("far:latest", 0, 0)
    assert (listed["remote_host"], listed["remote_model"], listed["requests"]) == (
        live_server.base_url,
        "smollm2:135m",
        0,
    )
    assert listed["hosts"] == [{"host": live_server.base_url, "healthy": True, "requests": 0}]
    with ollama.Client(host=front.service.base_url, trust_env=False) as client:
        (seen,) = client.ps().models
    assert (seen.model, seen.size) == ("far:latest", 0)
    argv = [CORRAL, "ps"]
    environ = {**os.environ, "CORRAL_HOST": front.service.base_url}
    said = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True, timeout=60).stdout
    assert f"{live_server.base_url} (0 requests)" in said
