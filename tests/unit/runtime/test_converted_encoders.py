"""Embedders converted from safetensors, loaded in a runner, against what numpy computes from the weights themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from corral.runtime.engine.protocol import Embed, Embedded, Loaded
from corral.runtime.vectors import unpack
from corral.store.convert import convert
from corral.store.convert.safetensors import read_tensors
from tests.bench.minilm import minilm_folder
from tests.encoder_forward import embedding
from tests.tiny_checkpoints import VOCAB, write_encoder
from tests.unit.runtime.runner_process import RunnerProcess


@pytest.fixture
def runner() -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        yield child


def vectors(runner: RunnerProcess, path: Path, texts: list[str]) -> tuple[list[np.ndarray], int]:
    loaded = runner.load(path, embedding=True)
    assert isinstance(loaded, Loaded), loaded
    runner.send(Embed(1, texts, truncate=True))
    runner.read_until(lambda: any(isinstance(one, Embedded) for one in runner.others))
    (answer,) = (one for one in runner.others if isinstance(one, Embedded))
    return [np.array(unpack(vector)) for vector in answer.vectors], answer.prompt_tokens


@pytest.mark.parametrize("family", ["bert", "nomic-bert"])
def test_a_converted_encoder_embeds_as_its_weights_do(runner: RunnerProcess, tmp_path: Path, family: str) -> None:
    config, weights = write_encoder(tmp_path / "published", family)
    convert(tmp_path / "published", tmp_path / "model.gguf")
    texts = {"the fox ran": "the fox ran", "a ran fox": "a ran fox", "ran ans": "ran a ##n ##s"}
    found, tokens = vectors(runner, tmp_path / "model.gguf", list(texts))
    assert tokens == sum(len(words.split()) + 2 for words in texts.values())
    for words, vector in zip(texts.values(), found, strict=True):
        numbers = [VOCAB.index(word) for word in ("[CLS]", *words.split(), "[SEP]")]
        assert float(vector @ embedding(config, weights, numbers)) > 0.999


@pytest.mark.model
def test_a_real_encoder_embeds_as_its_weights_do(runner: RunnerProcess, tmp_path: Path) -> None:
    folder = minilm_folder()
    convert(folder, tmp_path / "model.gguf")
    words = (folder / "vocab.txt").read_text().splitlines()
    config = json.loads((folder / "config.json").read_text())
    weights = {one.name: one.whole() for one in read_tensors(folder / "model.safetensors", "") if one.kind == "F32"}
    texts = ["the cat sat on the mat", "a fast car drove down the road", "rain fell all day long in the city"]
    found, _ = vectors(runner, tmp_path / "model.gguf", texts)
    for text, vector in zip(texts, found, strict=True):
        numbers = [words.index(word) for word in ("[CLS]", *text.split(), "[SEP]")]
        assert float(vector @ embedding(config, weights, numbers)) > 0.999
