"""Models made of what is not there yet, or not yet GGUF: a base to be pulled, adapters in safetensors, drafts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from corral.runtime.errors import BadRequest
from corral.runtime.recipe import create_from_modelfile
from corral.runtime.settings import Settings
from corral.runtime.verbs import CreateRequest, GenerateRequest
from corral.runtime.workbench import Workbench
from corral.store.blobs import BlobStore
from corral.store.catalog import Catalog
from corral.store.errors import ConversionError, ModelfileError, ModelNotFound, SourceError
from corral.store.gguf import read_header
from corral.store.manifests import MediaType
from corral.store.modelfile import parse
from corral.store.names import ModelName
from corral.store.paths import StorePaths
from corral.store.registries import Registries
from tests.checkpoints import write_json, write_safetensors
from tests.fakes.registry import FakeRegistry
from tests.unit.runtime.tiny_models import WIDTH, write_tiny

SMALL = {"temperature": 0, "num_predict": 8, "num_ctx": 256}


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry().served() as registry:
        yield registry


@pytest.fixture
async def bench(registry: FakeRegistry, tmp_path: Path) -> AsyncIterator[Workbench]:
    settings = Settings(models=tmp_path / "models", registries=Registries(default=registry.base), prompt_cache=None)
    bench = Workbench(settings, warm=False)
    await bench.start()
    yield bench
    await bench.close()


async def make(bench: Workbench, folder: Path, text: str, draft_quantize: str = "") -> list[str]:
    steps = create_from_modelfile(bench, "mine", parse(text), folder, draft_quantize=draft_quantize)
    return [step.status async for step in steps]


async def says(bench: Workbench, model: str) -> str:
    request = GenerateRequest(model, "the fox", raw=True, options=SMALL)
    return "".join([chunk.text async for chunk in bench.generate(request)])


def layer(folder: Path, kind: MediaType) -> Path:
    paths = StorePaths(folder / "models")
    model = Catalog(paths, BlobStore(paths)).find(ModelName.parse("mine"))
    return model.path(model.layers(kind)[0])


def write_adapter(folder: Path, width: int = WIDTH) -> None:
    folder.mkdir()
    random = np.random.default_rng(3)
    stem = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {
        f"{stem}.lora_A.weight": random.normal(0, 1, (4, width)).astype(np.float32),
        f"{stem}.lora_B.weight": random.normal(0, 1, (width, 4)).astype(np.float32),
    }
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    write_json(folder / "adapter_config.json", {"peft_type": "LORA", "r": 4, "lora_alpha": 64})


async def test_a_base_that_is_not_here_is_pulled_first(
    bench: Workbench, registry: FakeRegistry, tmp_path: Path
) -> None:
    registry.add("library/tiny:latest", write_tiny(tmp_path / "tiny.gguf", "full").read_bytes())
    statuses = await make(bench, tmp_path, "FROM tiny\nSYSTEM brief")
    assert statuses[0] == "pulling manifest"
    assert statuses.count("success") == 1
    assert statuses[-1] == "success"
    assert any(status.startswith("using existing layer") for status in statuses)
    assert {model.name for model in await bench.list_models()} == {"tiny:latest", "mine:latest"}
    assert (await bench.show("mine")).system == "brief"
    seen = len(registry.seen)
    await make(bench, tmp_path, "FROM tiny")
    assert len(registry.seen) == seen


async def test_a_base_that_is_nowhere_is_told_in_the_words_of_a_pull(bench: Workbench, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="pull model manifest: file does not exist"):
        await make(bench, tmp_path, "FROM nowhere")
    with pytest.raises(ModelNotFound):
        await bench.show("mine")


async def test_an_adapter_in_safetensors_is_converted(bench: Workbench, tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf", "full")
    write_adapter(tmp_path / "lora")
    statuses = await make(bench, tmp_path, "FROM tiny.gguf")
    plain = await says(bench, "mine")
    statuses = await make(bench, tmp_path, "FROM tiny.gguf\nADAPTER ./lora")
    assert "converting adapter" in statuses
    assert read_header(layer(tmp_path, MediaType.ADAPTER)).kind == "adapter"
    assert await says(bench, "mine") != plain


async def test_an_adapter_of_another_model_is_refused(bench: Workbench, tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf", "full")
    write_adapter(tmp_path / "lora", WIDTH * 2)
    with pytest.raises(ConversionError, match="it is for another model"):
        await make(bench, tmp_path, "FROM tiny.gguf\nADAPTER ./lora")
    (tmp_path / "lora" / "adapter_config.json").unlink()
    with pytest.raises(ModelfileError, match=r"\(line 2\): ./lora has no adapter_config.json"):
        await make(bench, tmp_path, "FROM tiny.gguf\nADAPTER ./lora")


async def test_a_draft_is_quantized_by_itself(bench: Workbench, tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf", "full")
    write_tiny(tmp_path / "draft.gguf", "full")
    statuses = await make(bench, tmp_path, "FROM tiny.gguf\nDRAFT draft.gguf", "q8_0")
    assert "quantizing F32 draft model to Q8_0" in statuses
    assert read_header(layer(tmp_path, MediaType.DRAFT)).quantization == "Q8_0"
    assert read_header(layer(tmp_path, MediaType.MODEL)).quantization == "F32"
    with pytest.raises(BadRequest, match="--draft-quantize requires a DRAFT model"):
        await anext(bench.create(CreateRequest("x", base="mine", draft_quantize="q8_0")))
