"""Images over the wire, with the clients people use: a service on a tiny model that sees."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import ollama
import openai
import pytest

from corral.api.server import Service
from corral.runtime.settings import Settings
from corral.store.blobs import BlobStore
from corral.store.manifests import Layer, ManifestStore, MediaType, ModelConfig
from corral.store.names import ModelName
from corral.store.paths import StorePaths
from tests.unit.runtime.tiny_models import write_tiny
from tests.unit.runtime.tiny_vision import IMAGE_TOKENS, encoded, picture, write_projector

SEES, BLIND = "sees", "blind"
OPTIONS = {"temperature": 0, "num_predict": 6}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a model with a projector and the same one without."""
    root = tmp_path_factory.mktemp("sees")
    model = write_tiny(root / "model.gguf", "full")
    write_projector(root / "projector.gguf", "mlp")
    paths = StorePaths(root / "models")
    blobs = BlobStore(paths)
    layers = []
    for kind, file in ((MediaType.MODEL, model), (MediaType.PROJECTOR, root / "projector.gguf")):
        blob = blobs.adopt(file)
        layers.append(Layer(kind, blob.digest, blob.size))
    config = ModelConfig(model_format="gguf", model_family="llama", model_families=("llama",))
    ManifestStore(paths).write(ModelName.parse(SEES), config, layers)
    ManifestStore(paths).write(ModelName.parse(BLIND), config, layers[:1])
    service = Service(Settings(models=paths.root, listen_port=0, base_url=""), warm=False)
    service.start()
    yield service.base_url
    service.stop(drain_s=0)


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def post(url: str, path: str, **fields: Any) -> httpx.Response:
    return httpx.post(url + path, json={"model": SEES, "stream": False, "options": OPTIONS, **fields}, timeout=60)


def test_generate_and_chat_read_images(url: str) -> None:
    message = {"role": "user", "content": "a dog", "images": [picture(1)]}
    with ollama.Client(host=url, trust_env=False) as client:
        plain = client.generate(SEES, "a dog", options=OPTIONS)
        seen = client.generate(SEES, "a dog", images=[picture(1)], options=OPTIONS)
        chat = client.chat(SEES, messages=[message], options=OPTIONS)
        raw = client.generate(SEES, "a dog", raw=True, images=[picture(1)], options=OPTIONS)
    assert (seen.prompt_eval_count or 0) == (plain.prompt_eval_count or 0) + IMAGE_TOKENS["mlp"]
    assert chat.prompt_eval_count == seen.prompt_eval_count
    assert (raw.prompt_eval_count or 0) > IMAGE_TOKENS["mlp"]


def test_the_model_is_said_to_see(url: str) -> None:
    with ollama.Client(host=url, trust_env=False) as client:
        assert "vision" in (client.show(SEES).capabilities or [])
        assert "vision" not in (client.show(BLIND).capabilities or [])


def test_an_image_of_the_last_turn_is_not_computed_again(url: str) -> None:
    first = {"role": "user", "content": "a dog and a cat", "images": [text_of(picture(3))]}
    fields = {"logprobs": True, "top_logprobs": 2}
    answer = post(url, "/api/chat", messages=[first], **fields).json()
    again = post(url, "/api/chat", messages=[first], **fields).json()
    assert again["prompt_eval_cached_count"] > IMAGE_TOKENS["mlp"]
    # What comes after is as unsure as the model is random: rounding may turn it.
    assert again["logprobs"][0]["logprob"] == pytest.approx(answer["logprobs"][0]["logprob"], abs=0.02)


def test_openai_reads_data_urls(url: str) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text_of(picture(1))}"}}
    content: Any = [image, {"type": "text", "text": "a dog"}]
    with openai.OpenAI(base_url=url + "/v1", api_key="none") as client:
        answer = client.chat.completions.create(
            model=SEES, messages=[{"role": "user", "content": content}], max_tokens=4, temperature=0
        )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > IMAGE_TOKENS["mlp"]


@pytest.mark.parametrize("where", ["http://127.0.0.1:1/a.png", "https://x.test/a.png", "file:///etc/passwd"])
def test_no_url_is_fetched(url: str, where: str) -> None:
    part = {"type": "image_url", "image_url": {"url": where}}
    reply = post(url, "/v1/chat/completions", messages=[{"role": "user", "content": [part]}])
    assert reply.status_code == 400
    assert "base64" in reply.json()["error"]["message"]


def test_hostile_images_are_the_clients_fault(url: str) -> None:
    whole = picture(1, 64)
    bomb = bytearray(whole)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    for data in (b"hello", whole[:300], bytes(bomb), encoded(np.zeros((2, 9000, 3), np.uint8))):
        reply = post(url, "/api/generate", prompt="a dog", images=[text_of(whole), text_of(data)])
        assert (reply.status_code, reply.json()["error"][:8]) == (400, "image 2 ")
    assert post(url, "/api/generate", prompt="a dog", images=[text_of(whole)]).status_code == 200


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_what_is_no_base64_is_said_in_the_decoders_words(url: str, path: str) -> None:
    fields = {"prompt": "a", "images": ["aGk*"], "messages": [{"role": "user", "content": "a", "images": ["aGk*"]}]}
    reply = post(url, path, **fields)
    assert (reply.status_code, reply.json()["error"]) == (400, "illegal base64 data at input byte 3")


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_a_model_that_does_not_see_refuses(url: str, path: str) -> None:
    image = text_of(picture(1))
    messages = [{"role": "user", "content": "a", "images": [image]}]
    reply = post(url, path, model=BLIND, prompt="a", images=[image], messages=messages)
    refusal = "registry.ollama.ai/library/blind:latest does not support vision"
    assert (reply.status_code, reply.json()["error"]) == (400, refusal)
