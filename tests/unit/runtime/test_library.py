"""What `show` says of a model's header (spec a.12)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

from corral.runtime.capabilities import capabilities
from corral.runtime.library import SHOWN_ARRAY, model_info
from corral.runtime.reading import library_of
from corral.runtime.settings import Settings
from corral.store.errors import BlobNotFound, ModelNotFound
from corral.store.gguf import read_header
from corral.store.names import ModelName
from corral.store.paths import StorePaths
from tests.conftest import add_to_store
from tests.unit.store.handmade import Gguf


@pytest.mark.parametrize(("verbose", "long"), [(False, []), (True, list(range(6)))])
def test_short_arrays_are_shown_and_long_ones_on_demand(tmp_path: Path, verbose: bool, long: list[int]) -> None:
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_array("five", [1, 2, 3, 4, 5])
    writer.add_array("words", ["a", "b"])
    writer.add_array("six", list(range(6)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    info = model_info(read_header(path, arrays=verbose, short_arrays=SHOWN_ARRAY))
    assert info["five"] == [1, 2, 3, 4, 5]
    assert info["words"] == ["a", "b"]
    assert info["six"] == long


@pytest.mark.parametrize(
    ("template", "parser", "wanted"),
    [
        (None, "", ("completion", "tools")),
        ("{{ .Prompt }}", "", ("completion",)),
        ("{{ .Prompt }}", "qwen3-coder", ("completion", "tools")),
        ("{{ .Prompt }}", "olmo3-think", ("completion", "tools", "thinking")),
        ("{{ .Prompt }}", "nobody", ("completion",)),
        ("{{ if .Tools }}{{ end }}{{ range .Messages }}<think>{{ .Thinking }}</think>{{ end }}", "", None),
        ("{{ range .Messages }}tools{{ end }}", "", ("completion",)),
    ],
)
def test_what_a_model_can_do(tmp_path: Path, template: str | None, parser: str, wanted: tuple[str, ...] | None) -> None:
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_chat_template("{% if tools %}{{ tools }}{% endif %}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert capabilities(read_header(path), template, parser=parser) == (wanted or ("completion", "tools", "thinking"))


async def test_a_model_is_opened_once_and_seen_to_change(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(bytes(Gguf()))
    store = StorePaths(tmp_path / "models")
    add_to_store(file, store.root, "Mine:latest")
    manifest = store.manifest(ModelName.parse("Mine:latest"))
    os.utime(manifest, (1, 1))  # what is young is read again each time
    library = library_of(Settings(models=store.root))
    first = await library.open("Mine")
    assert await library.open("Mine") is first
    assert (await library.open("mine")).name == first.name
    store.blob(first.weights).unlink()
    with pytest.raises(BlobNotFound):
        await library.open("Mine")
    manifest.unlink()
    with pytest.raises(ModelNotFound):
        await library.open("Mine")


async def test_a_change_by_anybody_is_seen_without_a_thread_for_what_is_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = 0
    to_thread = asyncio.to_thread

    async def counted(work: Callable[[str], object], text: str) -> object:
        nonlocal threads
        threads += 1
        return await to_thread(work, text)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    (tmp_path / "one.gguf").write_bytes(bytes(Gguf()))
    (tmp_path / "two.gguf").write_bytes(bytes(Gguf()) + b"\0")
    store = StorePaths(tmp_path / "models")
    add_to_store(tmp_path / "two.gguf", store.root, "other:latest")
    add_to_store(tmp_path / "one.gguf", store.root, "mine:latest")
    manifest, other = (store.manifest(ModelName.parse(name)) for name in ("mine:latest", "other:latest"))
    os.utime(manifest, (1, 1))
    library = library_of(Settings(models=store.root))
    first = await library.open("mine")
    assert await library.open("mine:latest") is first
    assert threads == 1
    # As another program does it: in place, with the same length and time of change.
    assert len(other.read_bytes()) == len(manifest.read_bytes())
    manifest.write_bytes(other.read_bytes())
    os.utime(manifest, (1, 1))
    second = await library.open("mine")
    assert second.weights == (await library.open("other")).weights != first.weights
    manifest.unlink()
    with pytest.raises(ModelNotFound):
        await library.open("mine")
