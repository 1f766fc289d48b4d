from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.store.errors import BlobNotFound, BrokenManifest, ModelNotFound, StoreError
from corral.store.manifests import (
    Layer,
    Manifest,
    MediaType,
    ModelConfig,
    decode_config,
    decode_manifest,
    encode_config,
    encode_manifest,
)
from corral.store.names import Digest, ModelName
from tests.unit.store.stocked import Stocked

A, B = "a" * 64, "b" * 64
NAME = ModelName.parse("smollm2:135m")

#: As Ollama writes it for a created model.
OLLAMAS = (
    '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":'
    f'"application/vnd.docker.container.image.v1+json","digest":"sha256:{A}","size":5}},"layers":[{{"mediaType":'
    f'"application/vnd.ollama.image.model","digest":"sha256:{B}","size":7,"from":"llama3:latest"}},{{"mediaType":'
    f'"application/vnd.ollama.image.tensor","digest":"sha256:{B}","size":7,"name":"blk.0"}}]}}\n'
).encode()


def test_manifests_are_ollamas_byte_for_byte() -> None:
    manifest = decode_manifest(OLLAMAS)
    assert encode_manifest(manifest) == OLLAMAS
    assert manifest.size == 19
    assert manifest.digests == {Digest(A), Digest(B)}


def test_configs_are_ollamas_byte_for_byte() -> None:
    text = (
        b'{"model_format":"gguf","model_family":"llama","model_families":["llama"],"model_type":"134.52M",'
        b'"file_type":"Q4_1","renderer":"r","architecture":"amd64","os":"linux"}\n'
    )
    assert encode_config(decode_config(text)) == text
    empty = b'{"model_format":"","model_family":"","model_families":null,"model_type":"","file_type":"",'
    assert encode_config(ModelConfig()) == empty + b'"architecture":"amd64","os":"linux"}\n'


def test_older_and_newer_configs_are_read() -> None:
    config = decode_config(
        b'{"model_family":"x","rootfs":{"type":"layers","diff_ids":[]},"new":[1],"capabilities":null}'
    )
    assert config.model_family == "x"


def layer(**changes: Any) -> dict[str, Any]:
    return {"mediaType": "x", "digest": f"sha256:{A}", "size": 1} | changes


LAYERS: list[Any] = [
    {},
    [None],
    *(
        [layer(**changes)]
        for changes in (
            {"size": -1},
            {"size": 2**63},
            {"size": "5"},
            {"size": 1.5},
            {"digest": ""},
            {"digest": "../../../../tmp/pwn"},
            {"digest": f"sha256:{A}\n"},
            {"digest": f"sha256:{A[1:]}"},
        )
    ),
]

BROKEN = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xef\xbb\xbf" + OLLAMAS,
    b"\xff",
    b"[" * 100_000,
    b'{"x":' * 100_000,
    json.dumps({"layers": []}).encode(),
    json.dumps({"config": None, "layers": []}).encode(),
    *(json.dumps({"config": layer(), "layers": layers}).encode() for layers in LAYERS),
]


@pytest.mark.parametrize("data", BROKEN)
def test_a_broken_manifest_is_told(data: bytes) -> None:
    with pytest.raises(BrokenManifest):
        decode_manifest(data)


@given(
    st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_any_bytes_are_a_manifest_or_broken(data: bytes) -> None:
    for decode in (decode_manifest, decode_config):
        with pytest.raises(BrokenManifest):
            decode(data)


def test_layers_may_be_null_as_go_writes_them() -> None:
    assert decode_manifest(json.dumps({"config": layer(), "layers": None}).encode()).layers == ()


def test_a_model_is_written_and_read(store: Stocked) -> None:
    weights = store.layer(b"weights")
    digest = store.manifests.write(NAME, ModelConfig(model_family="llama"), [weights])
    path = store.paths.manifest(NAME)
    assert path == store.paths.root / "manifests/registry.ollama.ai/library/smollm2/135m"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert path.stat().st_mode & 0o777 == 0o644
    manifest = store.manifests.read(NAME)
    assert manifest.layers == (weights,)
    assert manifest.config.media_type == MediaType.CONFIG
    assert list(store.manifests.names()) == [NAME]


def test_the_first_spelling_is_kept(store: Stocked) -> None:
    store.model("Smollm2:135M", b"a")
    store.model("smollm2:135m", b"b")
    (name,) = store.manifests.names()
    assert name.short == "Smollm2:135M"
    assert store.manifests.locate(NAME) == name
    store.manifests.remove(ModelName.parse("SMOLLM2:135m"))
    assert list(store.manifests.names()) == []
    assert list(store.paths.manifests.iterdir()) == []


def test_where_two_spellings_lie_the_one_asked_for_wins(store: Stocked) -> None:
    store.model("smollm2:135m", b"a")
    other = ModelName.parse("Smollm2:135M")
    path = store.paths.manifest(other)
    path.parent.mkdir()
    path.write_bytes(store.paths.manifest(NAME).read_bytes())
    assert store.manifests.locate(other) == other
    assert store.manifests.locate(NAME) == NAME


def test_a_manifest_is_never_written_before_its_parts(store: Stocked) -> None:
    with pytest.raises(BlobNotFound):
        store.manifests.write(NAME, ModelConfig(), [Layer(MediaType.MODEL, Digest(A), 1)])
    with pytest.raises(BrokenManifest):
        store.manifests.write_bytes(NAME, b"{}")
    assert list(store.manifests.names()) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_manifest(store: Stocked, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    store.model("smollm2:135m", b"old")
    before, bytes_before = store.files(), store.paths.manifest(NAME).read_bytes()
    manifest = Manifest(store.manifests.read(NAME).config, ())

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(Path if call == "replace" else os, call, fail)
        with pytest.raises(StoreError):
            store.manifests.write_bytes(NAME, encode_manifest(manifest))
    assert store.files() == before
    assert store.paths.manifest(NAME).read_bytes() == bytes_before


def test_a_copy_is_the_same_model(store: Stocked) -> None:
    digest = store.model("a", b"weights")
    store.manifests.copy(ModelName.parse("a"), ModelName.parse("b"))
    data = store.manifests.read_bytes(ModelName.parse("b"))
    assert hashlib.sha256(data).hexdigest() == digest
    with pytest.raises(ModelNotFound):
        store.manifests.copy(ModelName.parse("c"), ModelName.parse("d"))


def test_what_is_not_there_is_not_found(store: Stocked) -> None:
    for call in (store.manifests.read, store.manifests.read_bytes, store.manifests.remove):
        with pytest.raises(ModelNotFound, match="model 'smollm2:135m' not found"):
            call(NAME)


def test_a_manifest_of_absurd_length_is_not_read(store: Stocked) -> None:
    path = store.paths.manifest(NAME)
    path.parent.mkdir(parents=True)
    path.write_bytes(b" " * (5 << 20))
    with pytest.raises(BrokenManifest, match="too long"):
        store.manifests.read(NAME)
