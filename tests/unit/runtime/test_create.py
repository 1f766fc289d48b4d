"""Models made of files: split, quantized, with adapters and projectors. The quantizer and the engine are real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import psutil
import pytest
from msgspec.structs import replace

from corral.runtime.errors import BadRequest, QuantizeFailed
from corral.runtime.recipe import create_from_modelfile
from corral.runtime.settings import Settings
from corral.runtime.verbs import CreateRequest, GenerateRequest
from corral.runtime.workbench import Workbench
from corral.store.blobs import BlobStore
from corral.store.catalog import Catalog, StoredModel
from corral.store.errors import ModelfileError
from corral.store.gguf import read_header
from corral.store.manifests import MediaType
from corral.store.modelfile import parse
from corral.store.names import ModelName
from corral.store.paths import StorePaths
from tests.unit.runtime.tiny_models import WIDTH, Tensor, write_importance, write_lora, write_projector, write_tiny

SMALL = {"temperature": 0, "num_predict": 8, "num_ctx": 256}


@pytest.fixture
def store(tmp_path: Path) -> StorePaths:
    return StorePaths(tmp_path / "models")


@pytest.fixture
async def bench(store: StorePaths) -> AsyncIterator[Workbench]:
    bench = Workbench(Settings(models=store.root, prompt_cache=None), warm=False)
    await bench.start()
    yield bench
    await bench.close()


async def make(bench: Workbench, folder: Path, text: str, name: str = "mine", quantize: str = "") -> list[str]:
    steps = create_from_modelfile(bench, name, parse(text), folder, quantize=quantize)
    return [step.status async for step in steps]


def stored(store: StorePaths, name: str = "mine") -> StoredModel:
    return Catalog(store, BlobStore(store)).find(ModelName.parse(name))


def weights(store: StorePaths, name: str = "mine") -> Path:
    return store.blob(stored(store, name).layers(MediaType.MODEL)[0].digest)


async def says(bench: Workbench, model: str = "mine") -> str:
    request = GenerateRequest(model, "the fox", raw=True, options=SMALL)
    return "".join([chunk.text async for chunk in bench.generate(request)])


@pytest.mark.parametrize("kind", ["q8_0", "Q4_0", "bf16"])
async def test_weights_are_quantized(bench: Workbench, store: StorePaths, tmp_path: Path, kind: str) -> None:
    write_tiny(tmp_path / "tiny.gguf", "full")
    statuses = await make(bench, tmp_path, "FROM tiny.gguf", quantize=kind)
    assert f"quantizing F32 model to {kind.upper()}" in statuses
    assert statuses[-3:] == [statuses[-3], "writing manifest", "success"]
    shown = await bench.show("mine")
    assert shown.details.quantization_level == kind.upper()
    header = read_header(weights(store))
    assert header.quantization == kind.upper()
    assert header.file_size < (tmp_path / "tiny.gguf").stat().st_size
    assert await says(bench)


async def test_a_model_of_the_store_is_quantized_under_another_name(bench: Workbench, tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf", "full")
    await make(bench, tmp_path, "FROM tiny.gguf\nSYSTEM brief\n", "whole")
    await make(bench, tmp_path, "FROM whole", "small", quantize="Q8_0")
    small, whole = await bench.show("small"), await bench.show("whole")
    assert (small.details.quantization_level, small.system) == ("Q8_0", "brief")
    assert whole.details.quantization_level == "F32"
    with pytest.raises(BadRequest, match="quantization is only supported for F16, BF16 and F32 models"):
        await make(bench, tmp_path, "FROM small", "smaller", quantize="q4_0")
    with pytest.raises(BadRequest, match="unsupported quantization type Q9 - supported types are F32, F16, "):
        await make(bench, tmp_path, "FROM whole", "smaller", quantize="q9")


async def test_a_quantizer_that_is_stopped_leaves_nothing(bench: Workbench, store: StorePaths, tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf", "full")
    before = {child.pid for child in psutil.Process().children()}
    steps = create_from_modelfile(bench, "mine", parse("FROM tiny.gguf"), tmp_path, quantize="q8_0")
    async with aclosing(steps):
        async for step in steps:
            if step.status.startswith("quantizing") and step.completed:
                break
    assert {child.pid for child in psutil.Process().children()} == before
    assert [path.name for path in store.blobs.iterdir() if not path.name.startswith("sha256-")] == []
    assert [path.name for path in store.root.iterdir() if "fetch" in path.name] == []


async def test_a_file_the_quantizer_cannot_read_is_told(bench: Workbench, tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "odd.gguf", "no-such-architecture")
    writer.add_tensor("x.weight", np.ones((32, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(QuantizeFailed, match="no-such-architecture"):
        await make(bench, tmp_path, "FROM odd.gguf", quantize="q8_0")


async def test_an_importance_matrix_moves_the_rounding(bench: Workbench, store: StorePaths, tmp_path: Path) -> None:
    tiny = write_tiny(tmp_path / "tiny.gguf", "full")
    await make(bench, tmp_path, "FROM tiny.gguf", "plain", quantize="q4_0")
    names = [one.name for one in read_header(tiny).tensors if one.shape[0] == WIDTH and len(one.shape) == 2]
    sums = {name: np.geomspace(0.001, 1000, WIDTH, dtype=np.float32) for name in names}
    matrix = write_importance(tmp_path / "imatrix.gguf", sums, 4)
    steps = create_from_modelfile(bench, "weighed", parse("FROM tiny.gguf"), tmp_path, quantize="q4_0", imatrix=matrix)
    assert [step.status async for step in steps][-1] == "success"
    plain, weighed = read_header(weights(store, "plain")), read_header(weights(store, "weighed"))
    assert [one.type for one in plain.tensors] == [one.type for one in weighed.tensors]
    assert (
        weights(store, "plain").read_bytes()[plain.data_offset :]
        != (weights(store, "weighed").read_bytes()[weighed.data_offset :])
    )
    request = CreateRequest("x", files={"t.gguf": str(stored(store, "plain").manifest.layers[0].digest)})
    with pytest.raises(BadRequest, match="only where the model is quantized"):
        await anext(bench.create(replace(request, imatrix=request.files)))


async def test_a_split_model_becomes_one(bench: Workbench, store: StorePaths, tmp_path: Path) -> None:
    whole = write_tiny(tmp_path / "whole.gguf", "full")
    plain = read_header(whole)
    (tmp_path / "split").mkdir()
    write_tiny(tmp_path / "split" / "tiny.gguf", "full", split=9)
    parts = sorted((tmp_path / "split").iterdir())
    assert len(parts) == 3
    await make(bench, tmp_path, f"FROM {whole}", "whole")
    for text in ("FROM ./split", f"FROM split/{parts[1].name}", "".join(f"FROM split/{one.name}\n" for one in parts)):
        assert "merging 3 files" in await make(bench, tmp_path, text)
        made = read_header(weights(store))
        assert {(one.name, one.type) for one in made.tensors} == {(one.name, one.type) for one in plain.tensors}
        assert not [key for key in made.metadata if key.startswith("split.")]
    assert await says(bench) == await says(bench, "whole")
    await make(bench, tmp_path, "FROM ./split", "small", quantize="q8_0")
    assert read_header(weights(store, "small")).quantization == "Q8_0"
    parts[2].unlink()
    with pytest.raises(ModelfileError, match=f"{parts[2].name} is missing: the model is split into 3 files"):
        await make(bench, tmp_path, "FROM ./split")


async def test_parts_that_are_not_all_there_are_refused(bench: Workbench, tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf", "full", split=9)
    parts = sorted(tmp_path.glob("tiny-*"))
    parts[1].rename(tmp_path / "other.gguf")
    with pytest.raises(BadRequest, match="the model is split into 3 files: number 1 is missing"):
        await make(bench, tmp_path, "FROM other.gguf")


async def test_projector_and_adapter_are_layers_and_shown(bench: Workbench, store: StorePaths, tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf", "full")
    write_projector(tmp_path / "mmproj.gguf")
    write_lora(tmp_path / "lora.gguf", changes(), 8)
    text = (
        "\ufeff# a comment\r\nfrom tiny.gguf\r\nFROM mmproj.gguf\r\nADAPTER lora.gguf\r\nRENDERER qwen3-coder\r\n"
        'PARSER qwen3-coder\r\nREQUIRES v0.14.0\r\nSYSTEM """two\nlines"""\r\nLICENSE one\r\nLICENSE two\r\n'
        "PARAMETER temperature 0.123456789\r\nPARAMETER stop a b\r\nPARAMETER stop c\r\nMESSAGE user hi\r\n"
    )
    await make(bench, tmp_path, text)
    model = stored(store)
    kinds = [layer.media_type.rpartition(".")[2] for layer in model.manifest.layers]
    assert kinds == ["model", "adapter", "projector", "system", "license", "license", "params", "messages"]
    assert model.config.model_families == ("llama", "clip")
    assert (model.config.renderer, model.config.parser, model.config.requires) == ("qwen3-coder",) * 2 + ("0.14.0",)
    details = await bench.show("mine")
    assert (details.renderer, details.parser) == ("qwen3-coder", "qwen3-coder")
    assert details.projector_info == {"general.architecture": "clip", "general.parameter_count": 4}
    shown = details.modelfile
    await make(bench, tmp_path, shown, "again")
    assert stored(store, "again").digest == model.digest
    assert (await bench.show("again")).modelfile == shown.replace("FROM mine", "FROM again")


async def test_what_is_no_adapter_of_this_model_is_refused(bench: Workbench, tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf", "full")
    write_lora(tmp_path / "lora.gguf", changes(), 8, arch="qwen2")
    with pytest.raises(BadRequest, match="the adapter is made for qwen2 models, this is a llama model"):
        await make(bench, tmp_path, "FROM tiny.gguf\nADAPTER lora.gguf")
    with pytest.raises(ModelfileError, match=r"\(line 2\): tiny.gguf is no LoRA adapter"):
        await make(bench, tmp_path, "FROM tiny.gguf\nADAPTER tiny.gguf")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelfileError, match=r"0 GGUF files in ./folder"):
        await make(bench, tmp_path, "FROM ./folder")


async def test_a_folder_that_points_elsewhere_is_insecure(bench: Workbench, tmp_path: Path) -> None:
    write_tiny(tmp_path / "secret.gguf", "full")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.gguf").symlink_to(tmp_path / "secret.gguf")
    with pytest.raises(ModelfileError, match=r"insecure path: model\.gguf"):
        await make(bench, tmp_path, "FROM ./folder")


async def test_models_with_and_without_an_adapter_share_no_runner(
    bench: Workbench, store: StorePaths, tmp_path: Path
) -> None:
    write_tiny(tmp_path / "tiny.gguf", "full")
    write_lora(tmp_path / "lora.gguf", changes(), 64)
    await make(bench, tmp_path, "FROM tiny.gguf", "base")
    await make(bench, tmp_path, "FROM base\nADAPTER lora.gguf", "tuned")
    assert stored(store, "base").layers(MediaType.MODEL)[0].digest == stored(store, "tuned").manifest.layers[0].digest
    base, tuned = await says(bench, "base"), await says(bench, "tuned")
    assert base != tuned
    assert sorted(one.name for one in await bench.loaded()) == ["base:latest", "tuned:latest"]
    assert await says(bench, "base") == base


def changes() -> dict[str, tuple[Tensor, Tensor]]:
    random = np.random.default_rng(3)
    a = random.normal(0, 0.5, (4, WIDTH)).astype(np.float32)
    b = random.normal(0, 0.5, (WIDTH, 4)).astype(np.float32)
    return {"blk.0.attn_q.weight": (a, b), "blk.1.attn_output.weight": (a[::-1].copy(), b)}
