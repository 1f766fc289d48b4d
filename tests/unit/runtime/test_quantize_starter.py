"""A real model quantized: it is smaller than it was and still knows what it knew."""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp.llama_cpp as c
import pytest

from corral.runtime.recipe import create_from_modelfile
from corral.runtime.settings import Settings
from corral.runtime.verbs import ChatRequest, Message
from corral.runtime.workbench import Workbench
from corral.store.modelfile import parse


@pytest.fixture(scope="module")
def starter_f16(starter_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter model as if it had never been quantized."""
    path = tmp_path_factory.mktemp("whole") / "starter-f16.gguf"
    params = c.llama_model_quantize_default_params()
    params.ftype = c.LLAMA_FTYPE_MOSTLY_F16
    params.allow_requantize = True
    assert c.llama_model_quantize(bytes(starter_gguf), bytes(path), ctypes.byref(params)) == 0
    return path


async def test_a_quantized_model_loads_and_answers(starter_f16: Path, tmp_path: Path) -> None:
    bench = Workbench(Settings(models=tmp_path / "models", prompt_cache=None), warm=False)
    await bench.start()
    try:
        steps = [
            step
            async for step in create_from_modelfile(
                bench, "small", parse(f"FROM {starter_f16}"), tmp_path, quantize="q8_0"
            )
        ]
        done = [step.completed for step in steps if step.status == "quantizing F16 model to Q8_0"]
        assert len(done) > 100
        assert done == sorted(done)
        small = (await bench.list_models())[0]
        assert small.details.quantization_level == "Q8_0"
        assert small.size < 0.6 * starter_f16.stat().st_size
        question = (Message("user", "What is the capital of France? Answer in one word."),)
        request = ChatRequest("small", question, {"temperature": 0, "num_predict": 16})
        assert "Paris" in "".join([chunk.text async for chunk in bench.chat(request)])
    finally:
        await bench.close()
