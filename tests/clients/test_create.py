"""Models made over the wire by Ollama's own client: uploaded, quantized, with an adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import ollama
import pytest

from tests.conftest import LiveServer
from tests.unit.runtime.tiny_models import WIDTH, Tensor, write_lora, write_tiny


@pytest.fixture
def client(live_server: LiveServer) -> Iterator[ollama.Client]:
    with ollama.Client(host=live_server.base_url, trust_env=False) as client:
        yield client


def ones(*shape: int) -> Tensor:
    return np.ones(shape, np.float32)


def test_a_model_is_uploaded_quantized_and_tuned(client: ollama.Client, tmp_path: Path) -> None:
    weights = client.create_blob(write_tiny(tmp_path / "tiny.gguf", "full"))
    lora = write_lora(tmp_path / "lora.gguf", {"blk.0.attn_v.weight": (ones(2, WIDTH), ones(WIDTH, 2))}, 8)
    adapter = client.create_blob(lora)
    files, adapters = {"tiny.gguf": weights}, {"lora.gguf": adapter}
    steps = list(client.create("made", files=files, adapters=adapters, quantize="q8_0", stream=True))
    quantizing = [step for step in steps if step.status == "quantizing F32 model to Q8_0"]
    assert [step.digest for step in quantizing] == ["0" * 19] * len(quantizing)
    assert quantizing[-1].completed == quantizing[-1].total
    assert steps[-1].status == "success"
    shown = client.show("made")
    assert shown.details is not None
    assert shown.details.quantization_level == "Q8_0"
    assert shown.modelfile is not None
    assert "ADAPTER " in shown.modelfile
    assert adapter.removeprefix("sha256:") in shown.modelfile
    options = {"num_predict": 4, "temperature": 0, "num_ctx": 256}
    assert client.generate("made", "the fox", raw=True, options=options, keep_alive=0).eval_count == 4
    with pytest.raises(ollama.ResponseError, match="quantization is only supported for F16, BF16 and F32 models"):
        client.create("again", from_="made", quantize="q4_0")
    with pytest.raises(ollama.ResponseError, match="only one adapter is currently supported"):
        client.create("again", from_="made", adapters={"a": adapter, "b": weights})
    client.delete("made")
