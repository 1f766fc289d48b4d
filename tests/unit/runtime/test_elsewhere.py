"""Models that lie in other folders, and other names for models, as the verbs see them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corral.runtime.settings import Settings
from corral.runtime.verbs import CreateRequest, GenerateRequest
from corral.runtime.workbench import Workbench
from corral.store.blobs import BlobStore
from corral.store.catalog import Catalog
from corral.store.errors import DigestMismatch, ModelElsewhere, ModelNotFound
from corral.store.folders import LM_STUDIO, GgufFolder
from corral.store.names import ModelName
from corral.store.paths import StorePaths
from tests.conftest import add_to_store
from tests.unit.runtime.tiny_models import write_tiny

SMALL = {"temperature": 0, "num_predict": 6, "num_ctx": 256}
FOUND = "lmstudio/ada/tiny-GGUF:F32"


@pytest.fixture
def own(tmp_path: Path) -> StorePaths:
    return StorePaths(tmp_path / "own")


@pytest.fixture
async def bench(own: StorePaths, tmp_path: Path) -> AsyncIterator[Workbench]:
    """An own store with `mine`, another with `mine` too and with `theirs`, and a file of another tool's."""
    (tmp_path / "tools" / "ada" / "tiny-GGUF").mkdir(parents=True)
    file = write_tiny(tmp_path / "tools" / "ada" / "tiny-GGUF" / "tiny-F32.gguf", "full")
    for root, name in (("own", "mine"), ("other", "mine"), ("other", "theirs")):
        add_to_store(file, tmp_path / root, name)
    settings = Settings(
        models=own.root,
        models_extra=(tmp_path / "other", tmp_path / "nowhere"),
        gguf_folders=(GgufFolder(LM_STUDIO, tmp_path / "tools"),),
        aliases={"gpt-4": "theirs", "gpt-5": "nothing", "mine": "theirs"},
    )
    bench = Workbench(settings, warm=False)
    await bench.start()
    yield bench
    await bench.close()


async def says(bench: Workbench, model: str) -> str:
    request = GenerateRequest(model, "the fox", raw=True, options=SMALL)
    return "".join([chunk.text async for chunk in bench.generate(request)])


def tree(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


async def test_all_of_them_are_listed_and_shown(bench: Workbench, tmp_path: Path) -> None:
    listed = {model.name: model for model in await bench.list_models()}
    assert set(listed) == {"mine:latest", "theirs:latest", "gpt-4:latest", FOUND}
    assert listed["gpt-4:latest"].digest == listed["theirs:latest"].digest
    assert listed["gpt-4:latest"].details.parent_model == "theirs:latest"
    assert listed[FOUND].details.format == "gguf"
    assert listed[FOUND].capabilities == ("completion",)
    shown = await bench.show(FOUND.lower())
    assert f"FROM {tmp_path / 'tools'}" in shown.modelfile
    assert (await bench.show("gpt-4")).details.parent_model == "theirs:latest"
    assert (await bench.show("gpt-4")).name == "gpt-4:latest"
    assert (await bench.show("mine")).details.parent_model == ""
    with pytest.raises(ModelNotFound, match="gpt-5"):
        await bench.show("gpt-5")


async def test_they_answer_where_they_lie(bench: Workbench, own: StorePaths) -> None:
    before = tree(own.root)
    assert await says(bench, FOUND) == await says(bench, "gpt-4") == await says(bench, "mine")
    assert sorted(model.name for model in await bench.loaded()) == sorted([FOUND, "theirs:latest"])
    assert tree(own.root) == before


async def test_what_is_not_ours_is_not_deleted(bench: Workbench, tmp_path: Path) -> None:
    before = tree(tmp_path / "other") | tree(tmp_path / "tools")
    with pytest.raises(ModelElsewhere, match=f"'theirs' lies in {tmp_path / 'other'}, which is only read here"):
        await bench.delete("theirs")
    with pytest.raises(ModelElsewhere, match="is only read here"):
        await bench.plan_delete([FOUND])
    with pytest.raises(ModelElsewhere, match="'gpt-4' is an alias of theirs:latest: take it out of the settings"):
        await bench.delete("gpt-4")
    with pytest.raises(ModelNotFound, match="model 'nope' not found"):
        await bench.delete("nope")
    await bench.delete("mine")  # the own store's; the other's of this name shows now
    assert (await bench.show("mine")).name == "mine:latest"
    assert tree(tmp_path / "other") | tree(tmp_path / "tools") == before


@pytest.mark.parametrize("source", ["theirs", FOUND, "gpt-4"])
async def test_copies_and_models_made_from_them_stand_alone(bench: Workbench, own: StorePaths, source: str) -> None:
    await bench.copy(source, "copied")
    statuses = [step.status async for step in bench.create(CreateRequest("made", base=source, system="brief"))]
    assert statuses[-1] == "success"
    catalog = Catalog(own, BlobStore(own))
    for name in ("copied", "made"):
        model = catalog.find(ModelName.parse(name))
        assert all(model.path(layer).is_file() for layer in (*model.manifest.layers, model.manifest.config))
    assert (await bench.show("made")).system == "brief"
    weights = {catalog.find(ModelName.parse(name)).manifest.layers[0].digest for name in ("copied", "made", "mine")}
    assert len(weights) == 1


async def test_a_damaged_part_of_another_store_is_not_taken_over(bench: Workbench, tmp_path: Path) -> None:
    other = StorePaths(tmp_path / "other")
    blob = Catalog(other, BlobStore(other)).find(ModelName.parse("theirs")).manifest.layers[0]
    with other.blob(blob.digest).open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\1\2\3\4")
    with pytest.raises(DigestMismatch):
        await bench.copy("theirs", "copied")
    with pytest.raises(ModelNotFound):
        await bench.show("copied")


async def test_a_split_file_of_another_tool_is_run_and_put_together(bench: Workbench, tmp_path: Path) -> None:
    folder = tmp_path / "tools" / "ada" / "split"
    folder.mkdir()
    write_tiny(folder / "split-F32.gguf", "full", split=9)
    name = "lmstudio/ada/split:F32"
    assert (await bench.show(name)).details.parameter_size == (await bench.show(FOUND)).details.parameter_size
    assert await says(bench, name) == await says(bench, FOUND)
    statuses = [step.status async for step in bench.create(CreateRequest("made", base=name))]
    assert "merging 3 files" in statuses
    assert await says(bench, "made") == await says(bench, FOUND)
