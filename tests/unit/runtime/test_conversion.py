"""A folder of safetensors made into a model of the store, by the verbs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from corral.runtime.conversion import Conversion
from corral.runtime.recipe import create_from_modelfile, request_from_modelfile
from corral.runtime.settings import Settings
from corral.runtime.verbs import ChatRequest, CreateRequest, GenerateRequest, Message
from corral.runtime.workbench import Workbench
from corral.store.blobs import BlobStore
from corral.store.errors import BlobNotFound, ConversionError, ModelfileError, ModelNotFound
from corral.store.modelfile import parse
from corral.store.paths import StorePaths
from tests.checkpoints import write_json
from tests.tiny_checkpoints import TEMPLATE, write_family


@pytest.fixture
async def workbench(tmp_path: Path) -> AsyncIterator[Workbench]:
    bench = Workbench(Settings(models=tmp_path / "models"), warm=False)
    await bench.start()
    yield bench
    await bench.close()


async def test_a_folder_becomes_a_model_that_answers(workbench: Workbench, tmp_path: Path) -> None:
    write_family(tmp_path / "published", "mixtral")
    steps = create_from_modelfile(workbench, "mine", parse("FROM ./published\nSYSTEM Be brief.\n"), tmp_path)
    statuses = [step.status async for step in steps]
    assert statuses[0] == "gathering model components"
    assert [status for status in dict.fromkeys(statuses) if "layer" not in status and "copying" not in status][1:] == [
        "converting model",
        "verifying conversion",
        "writing manifest",
        "success",
    ]
    shown = await workbench.show("mine")
    assert (shown.details.family, shown.details.quantization_level, shown.system) == ("llama", "F16", "Be brief.")
    assert TEMPLATE in shown.template
    chunks = [one async for one in workbench.generate(GenerateRequest("mine", "the fox", options={"num_predict": 3}))]
    assert chunks[-1].stats.output_tokens == 3


async def test_what_cannot_be_converted_leaves_nothing(workbench: Workbench, tmp_path: Path) -> None:
    digests = {}
    blobs = BlobStore(StorePaths(tmp_path / "models"))
    write_family(tmp_path / "published", "llama")
    for path in (tmp_path / "published").iterdir():
        if path.name != "config.json":
            digests[path.name] = str(blobs.adopt(path).digest)
    before = set((tmp_path / "models" / "blobs").iterdir())
    with pytest.raises(ConversionError, match=r"config\.json is missing"):
        async for _ in workbench.create(CreateRequest("mine", files=digests)):
            pass
    with pytest.raises(BlobNotFound):
        async for _ in workbench.create(CreateRequest("mine", files={**digests, "config.json": "sha256:" + "0" * 64})):
            pass
    with pytest.raises(ModelNotFound):
        await workbench.show("mine")
    assert set((tmp_path / "models" / "blobs").iterdir()) == before


async def test_a_conversion_nobody_waits_for_ends(tmp_path: Path) -> None:
    blobs = BlobStore(StorePaths(tmp_path / "models"))
    write_family(tmp_path / "published", "llama")
    files = {path.name: blobs.adopt(path).digest for path in (tmp_path / "published").iterdir()}
    before = set(blobs.paths.blobs.iterdir())
    conversion = Conversion(blobs, files, "mine")
    async with aclosing(conversion.steps()) as steps:
        assert (await anext(steps)).status == "converting model"
        going_on = asyncio.ensure_future(anext(steps))
        await asyncio.sleep(0)
        going_on.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going_on
    assert conversion.made is None
    assert set(blobs.paths.blobs.iterdir()) == before


def test_a_folder_is_looked_at_before_it_is_sent(tmp_path: Path) -> None:
    folder = tmp_path / "published"
    write_family(folder, "llama")
    recipe = request_from_modelfile("mine", parse("FROM ./published"), tmp_path)
    assert {"model.safetensors", "config.json", "tokenizer.model", "chat_template.jinja"} <= recipe.files.keys()
    write_json(folder / "config.json", {"architectures": ["MambaForCausalLM"]})
    with pytest.raises(ModelfileError, match=r'\(line 1\): \./published: unsupported architecture "MambaForCausalLM"'):
        request_from_modelfile("mine", parse("FROM ./published"), tmp_path)
    (tmp_path / "secret.json").write_text("{}")
    (folder / "extra.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(ModelfileError, match=r"insecure path: extra\.json"):
        request_from_modelfile("mine", parse("FROM ./published"), tmp_path)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
async def test_a_converted_chat_model_takes_chats(workbench: Workbench, tmp_path: Path, family: str) -> None:
    write_family(tmp_path / "published", family, "BF16")
    async for _ in create_from_modelfile(workbench, "mine", parse("FROM published"), tmp_path):
        pass
    request = ChatRequest("mine", (Message("user", "the fox"),), {"num_predict": 2})
    chunks = [one async for one in workbench.chat(request)]
    assert chunks[-1].stats.prompt_tokens > 3
