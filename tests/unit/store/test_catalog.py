from __future__ import annotations

import os
from datetime import timedelta

import pytest

from corral.store.errors import BrokenManifest, ModelNotFound
from corral.store.manifests import MediaType
from corral.store.names import ModelName
from tests.unit.store.stocked import Stocked


def test_an_absent_store_is_an_empty_one(store: Stocked) -> None:
    inventory = store.catalog.scan()
    assert (inventory.models, inventory.warnings, inventory.broken) == ((), (), ())
    assert not store.paths.root.exists()


def test_models_come_newest_first(store: Stocked) -> None:
    for age, name in enumerate(["new", "old", "older"]):
        store.model(name, name.encode())
        os.utime(store.paths.manifest(ModelName.parse(name)), (1e9 - age, 1e9 - age))
    inventory = store.catalog.scan()
    assert [model.name.model for model in inventory.models] == ["new", "old", "older"]
    model = inventory.models[0]
    assert model.modified_at.timestamp() == 1e9
    assert model.modified_at.utcoffset() is not None
    assert model.modified_at - inventory.models[1].modified_at == timedelta(seconds=1)
    assert model.config.model_family == "llama"
    assert model.size == 3 + model.manifest.config.size
    assert [layer.size for layer in model.layers(MediaType.MODEL)] == [3]
    assert model.layers(MediaType.SYSTEM) == ()


def test_a_model_is_found_in_any_spelling(store: Stocked) -> None:
    digest = store.model("Tiny:Q4", b"x")
    found = store.catalog.find(ModelName.parse("tiny:q4"))
    assert (found.digest, found.name.short) == (digest, "Tiny:Q4")
    with pytest.raises(ModelNotFound):
        store.catalog.find(ModelName.parse("tiny"))


def test_what_is_broken_never_hides_the_rest(store: Stocked) -> None:
    store.model("good", b"x")
    for name in ("empty", "nojson", "noconfig", "folder", "pipe"):
        store.model(name, name.encode(), family=name)
    folder = store.paths.manifests / "registry.ollama.ai/library"
    (folder / "empty/latest").write_bytes(b"")
    (folder / "nojson/latest").write_bytes(b"{{{")
    store.paths.blob(store.manifests.read(ModelName.parse("noconfig")).config.digest).unlink()
    (folder / "folder/latest").unlink()
    (folder / "folder/latest").mkdir()
    (folder / "pipe/latest").unlink()
    os.mkfifo(folder / "pipe/latest")
    (folder / "good/.DS_Store").write_bytes(b"")
    (folder / "dangling").mkdir()
    (folder / "dangling/latest").symlink_to("nowhere")
    (store.paths.manifests / "stray").write_bytes(b"")
    (folder / "stray").write_bytes(b"")

    inventory = store.catalog.scan()
    assert [model.name.short for model in inventory.models] == ["good:latest"]
    assert [name.model for name in inventory.broken] == ["empty", "folder", "noconfig", "nojson", "pipe"]
    assert len(inventory.warnings) == 6
    assert any("registry.ollama.ai/library/good/.DS_Store: not a model name" in w for w in inventory.warnings)
    assert any(w.startswith("noconfig:latest: its config sha256:") for w in inventory.warnings)
    for name in ("empty", "nojson", "noconfig"):
        with pytest.raises(BrokenManifest):
            store.catalog.find(ModelName.parse(name))


def test_a_config_of_a_wrong_shape_is_a_warning(store: Stocked) -> None:
    store.model("odd", b"x")
    path = store.paths.blob(store.manifests.read(ModelName.parse("odd")).config.digest)
    path.write_bytes(b'{"model_family": 5}')
    assert [name.model for name in store.catalog.scan().broken] == ["odd"]


def test_a_model_that_goes_during_the_scan_is_no_warning(store: Stocked, monkeypatch: pytest.MonkeyPatch) -> None:
    store.model("here", b"x")
    gone = store.paths.manifests / "a/b/c/d"
    entries = [*store.manifests.entries(), (ModelName("a", "b", "c", "d"), gone)]
    monkeypatch.setattr(store.catalog._manifests, "entries", lambda: entries)
    inventory = store.catalog.scan()
    assert [model.name.model for model in inventory.models] == ["here"]
    assert inventory.warnings == ()
