"""GGUF files of other tools as models."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corral.store.file_names import FileName, take_apart
from corral.store.folders import ANY_FOLDER, HUGGING_FACE, LLAMA_CPP, LM_STUDIO, GgufFolder
from corral.store.gguf import read_header
from corral.store.loose import LooseModels
from corral.store.manifests import MediaType
from tests.unit.store.handmade import Gguf, string_pair

TINY = bytes(Gguf())
PROJECTOR = bytes(Gguf(pairs=(string_pair("general.architecture", "clip"),)))
ADAPTER = bytes(Gguf().with_pair(string_pair("general.type", "adapter")))


def put(path: Path, data: bytes = TINY, age_s: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    changed = 1_700_000_000 - age_s
    os.utime(path, (changed, changed))
    return path


def names(folder: GgufFolder) -> list[str]:
    return [model.name.short for model in LooseModels([folder]).scan()]


def test_hugging_face_shows_each_file_once_under_its_repository(tmp_path: Path) -> None:
    repository = tmp_path / "models--ada--Tiny-GGUF"
    blob = put(repository / "blobs" / "abc")
    for revision in ("1", "2"):
        link = repository / "snapshots" / revision / "tiny-Q4_K_M.gguf"
        link.parent.mkdir(parents=True)
        link.symlink_to(blob)
    put(repository / "snapshots" / "1" / "tiny-Q8_0.gguf", TINY + b"1", age_s=300)
    put(tmp_path / "datasets--ada--words" / "snapshots" / "1" / "x.gguf")
    (tmp_path / "models--ada--gone" / "snapshots" / "1").mkdir(parents=True)
    (tmp_path / "models--ada--gone" / "snapshots" / "1" / "x.gguf").symlink_to(tmp_path / "nowhere")
    assert names(GgufFolder(HUGGING_FACE, tmp_path)) == [
        "hf-cache/ada/Tiny-GGUF:Q4_K_M",
        "hf-cache/ada/Tiny-GGUF:Q8_0",
    ]


def test_each_tool_has_its_own_names(tmp_path: Path) -> None:
    put(tmp_path / "lm" / "ada" / "Tiny-GGUF" / "tiny-Q4_K_M.gguf")
    put(tmp_path / "llama" / "ada_tiny-q8_0.gguf")
    put(tmp_path / "any" / "my models" / "odd näme.gguf")
    assert names(GgufFolder(LM_STUDIO, tmp_path / "lm")) == ["lmstudio/ada/Tiny-GGUF:Q4_K_M"]
    assert names(GgufFolder(LLAMA_CPP, tmp_path / "llama")) == ["llama.cpp/ada/tiny:Q8_0"]
    assert names(GgufFolder(ANY_FOLDER, tmp_path / "any")) == ["gguf/my-models/odd-n-me:Q4_K_M"]
    assert names(GgufFolder(ANY_FOLDER, tmp_path / "nowhere")) == []


def test_what_is_no_model_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path / "a" / "adapter.gguf", ADAPTER)
    put(tmp_path / "a" / "page.gguf", b"<html>")
    put(tmp_path / "a" / "cut.gguf", TINY[:200])
    put(tmp_path / "a" / "vocabulary.gguf", bytes(Gguf(tensors=(), data=b"")))
    put(tmp_path / "a" / ".hidden" / "x.gguf")
    put(tmp_path / "a" / "half-00001-of-00002.gguf")
    os.mkfifo(tmp_path / "a" / "pipe.gguf")
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    assert names(GgufFolder(ANY_FOLDER, tmp_path)) == []


def test_a_split_model_is_one_and_has_its_projector(tmp_path: Path) -> None:
    for number in (1, 2):
        put(tmp_path / "ada" / "big" / "Q8_0" / f"big-Q8_0-0000{number}-of-00002.gguf")
    put(tmp_path / "ada" / "big" / "mmproj-F32.gguf", PROJECTOR)
    put(tmp_path / "ada" / "big" / "mmproj-F16.gguf", PROJECTOR)
    (model,) = LooseModels([GgufFolder(LM_STUDIO, tmp_path)]).scan()
    assert model.name.short == "lmstudio/ada/big:Q8_0"
    assert [model.path(layer).name for layer in model.manifest.layers] == [
        "big-Q8_0-00001-of-00002.gguf",
        "big-Q8_0-00002-of-00002.gguf",
        "mmproj-F16.gguf",
    ]
    assert len(model.layers(MediaType.PROJECTOR)) == 1
    assert model.size == 2 * len(TINY) + len(PROJECTOR)
    assert model.config.model_families == ("llama", "clip")


def test_two_files_of_one_name_are_two_models(tmp_path: Path) -> None:
    put(tmp_path / "a" / "x" / "m-Q4_0.gguf", age_s=1)
    put(tmp_path / "b" / "x" / "m-Q4_0.gguf", TINY + b"1", age_s=2)
    assert names(GgufFolder(ANY_FOLDER, tmp_path)) == ["gguf/x/m:Q4_0", "gguf/x/m:Q4_0-2"]


def test_looking_again_reads_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(path: Path) -> object:
        read.append(path.name)
        return read_header(path)

    monkeypatch.setattr("corral.store.loose.read_header", counted)
    first = put(tmp_path / "x" / "a-Q4_0.gguf")
    models = LooseModels([GgufFolder(ANY_FOLDER, tmp_path)])
    (before,) = models.scan()
    assert models.scan()[0] is before
    assert read == ["a-Q4_0.gguf"]
    put(first, TINY + b"more")
    put(tmp_path / "x" / "b-Q4_0.gguf", age_s=500)
    changed, added = models.scan()
    assert (changed.name, added.name.model) == (before.name, "b")
    assert changed.digest != before.digest
    assert read == ["a-Q4_0.gguf", "a-Q4_0.gguf", "b-Q4_0.gguf"]
    first.unlink()
    assert [model.name.model for model in models.scan()] == ["b"]


@pytest.mark.parametrize(
    ("name", "apart"),
    [
        ("Qwen2.5-7B-Instruct-Q4_K_M.gguf", FileName("Qwen2.5-7B-Instruct", "Q4_K_M")),
        ("m.i1-IQ2_XXS.GGUF", FileName("m.i1", "IQ2_XXS")),
        ("gpt-oss-20b-mxfp4.gguf", FileName("gpt-oss-20b", "MXFP4")),
        ("m-UD-Q4_K_XL-00002-of-00003.gguf", FileName("m", "UD-Q4_K_XL", 2, 3)),
        ("model.gguf", FileName("model", "")),
        ("F16.gguf", FileName("", "F16")),
    ],
)
def test_what_file_names_say(name: str, apart: FileName) -> None:
    assert take_apart(name) == apart
