"""What is said where Ollama's server would turn to its cloud: accounts, searches, names of models that run there."""

from __future__ import annotations

import pytest

from tests.fakes.served import MODEL, Served

OFF = "ollama cloud is disabled: "
HI = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/api/status", 200, {"cloud": {"disabled": True, "source": "config"}}),
        ("POST", "/api/me", 401, {"error": "unauthorized", "signin_url": "https://ollama.com/connect"}),
        ("POST", "/api/signout", 401, {"error": "you are not currently signed in"}),
        ("DELETE", "/api/user/keys/c3NoLWVkMjU1MTk", 401, {"error": "you are not currently signed in"}),
        ("POST", "/api/experimental/web_search", 403, {"error": f"{OFF}web search is unavailable"}),
        ("POST", "/api/experimental/web_fetch", 403, {"error": f"{OFF}web fetch is unavailable"}),
        ("GET", "/api/experimental/model-recommendations", 200, {"recommendations": []}),
    ],
)
def test_there_is_no_account(served: Served, method: str, path: str, status: int, body: object) -> None:
    reply = served.request(method, path)
    assert (reply.status_code, reply.json()) == (status, body)


@pytest.mark.parametrize("model", ["gpt-oss:cloud", "gpt-oss:120b-cloud", "me/x:1B-CLOUD"])
def test_a_model_of_the_cloud_is_told_from_one_that_is_missing(served: Served, model: str) -> None:
    for path, fields in (
        ("/api/generate", {"prompt": "p"}),
        ("/api/generate", {"prompt": "p", "format": "xml"}),
        ("/api/chat", {"messages": HI}),
        ("/api/embed", {"input": "a"}),
    ):
        reply = served.post(path, {"model": model, **fields})
        assert (reply.status_code, reply.json()) == (403, {"error": f"{OFF}remote model is unavailable"})
    shown = served.post("/api/show", {"model": model})
    assert (shown.status_code, shown.json()) == (403, {"error": f"{OFF}remote model details are unavailable"})
    for path in ("/v1/chat/completions", "/v1/messages"):
        reply = served.post(path, {"model": model, "messages": HI, "max_tokens": 1})
        assert (reply.status_code, reply.json()["error"]["type"])[0] == 403
        assert reply.json()["error"]["message"] == f"{OFF}remote model is unavailable"


@pytest.mark.parametrize("model", ["cloud", "my-cloud", "x:cloudy"])
def test_a_name_that_only_sounds_like_the_cloud_is_missing(served: Served, model: str) -> None:
    reply = served.post("/api/generate", {"model": model, "prompt": "p"})
    assert (reply.status_code, reply.json()) == (404, {"error": f"model '{model}' not found"})


@pytest.mark.parametrize("model", ["x:cloud:local", "x:local:cloud"])
def test_here_and_there_at_once_is_refused(served: Served, model: str) -> None:
    for path in ("/api/generate", "/api/chat", "/api/show", "/api/embed"):
        reply = served.post(path, {"model": model, "prompt": "p"})
        assert reply.status_code == 400
        assert reply.json() == {"error": f'use either :local or :cloud, not both: "{model}"'}


def test_local_is_no_part_of_a_missing_models_name(served: Served) -> None:
    reply = served.post("/api/show", {"model": "nope:1b:local"})
    assert (reply.status_code, reply.json()) == (404, {"error": "model 'nope:1b' not found"})
    assert served.post("/api/show", {"model": f"{MODEL}::local"}).status_code == 400
