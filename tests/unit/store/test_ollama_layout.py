"""The folder is Ollama's: what it wrote is read and left as it is, what we write is what it would (spec h, f)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from corral.runtime.conversation import Message
from corral.runtime.create import Creator
from corral.runtime.library import Library
from corral.runtime.verbs import CreateRequest, Progress
from corral.store.collection import Collection
from corral.store.manifests import ManifestStore, go_json
from corral.store.names import ModelName
from corral.store.plans import execute, plan_delete, plan_prune
from tests.unit.store.handmade import Gguf
from tests.unit.store.stocked import Stocked
from tests.unit.store.survival import check_whole

WEIGHTS = bytes(Gguf())
CONFIG = (
    b'{"model_format":"gguf","model_family":"llama","model_families":["llama"],"model_type":"1K","file_type":"Q4_K_M",'
    b'"architecture":"amd64","os":"linux"}\n'
)
PARAMS = b'{"num_ctx":4096,"stop":["\\u003c|im_start|\\u003e","\\u003c|im_end|\\u003e"],"temperature":0.7,"top_p":1}\n'
SYSTEM = b"You are <b>brief</b> & kind."
MESSAGES = (
    '[{"role":"user","content":"Grüß \\u003cdich\\u003e"},{"role":"assistant","content":"a\\u2028b\\n"}]\n'.encode()
)
TYPE = "application/vnd.ollama.image."


def layer(kind: str, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    return f'{{"mediaType":"{kind}","digest":"sha256:{digest}","size":{len(data)}}}'


MANIFEST = (
    '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":'
    + layer("application/vnd.docker.container.image.v1+json", CONFIG)
    + ',"layers":['
    + ",".join(
        [
            layer(TYPE + "model", WEIGHTS),
            layer(TYPE + "system", SYSTEM),
            layer(TYPE + "params", PARAMS),
            layer(TYPE + "messages", MESSAGES),
        ]
    )
    + "]}\n"
).encode()
BLOBS = (CONFIG, WEIGHTS, SYSTEM, PARAMS, MESSAGES)
REQUEST = CreateRequest(
    "Mine:One",
    files={"m.gguf": f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"},
    system=SYSTEM.decode(),
    parameters={"top_p": 1.0, "temperature": 0.7, "stop": ["<|im_start|>", "<|im_end|>"], "num_ctx": 4096},
    messages=(Message("user", "Grüß <dich>"), Message("assistant", "a\u2028b\n")),
)


def written_by_ollama(root: Path) -> None:
    """A store byte for byte as Ollama leaves it, with a download it gave up."""
    (root / "blobs").mkdir(parents=True)
    for data in BLOBS:
        (root / f"blobs/sha256-{hashlib.sha256(data).hexdigest()}").write_bytes(data)
    part = root / f"blobs/sha256-{'5' * 64}-partial"
    part.write_bytes(bytes(1000))
    part.with_name(f"{part.name}-0").write_text('{"N":0,"Offset":0,"Size":1000,"Completed":10}')
    manifest = root / "manifests/registry.ollama.ai/library/Mine/One"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(MANIFEST)


def everything(root: Path) -> dict[str, tuple[int, float, bytes]]:
    found = {}
    for path in root.rglob("*"):
        info = path.lstat()
        if path.is_file() and path.name != ".corral.lock":
            found[str(path.relative_to(root))] = (info.st_mode, info.st_mtime, path.read_bytes())
    return found


def test_what_ollama_wrote_is_read_and_left_as_it_is(store: Stocked) -> None:
    written_by_ollama(store.paths.root)
    before = everything(store.paths.root)
    check_whole(store)
    model = store.catalog.find(ModelName.parse("mine:one"))
    assert model.digest == hashlib.sha256(MANIFEST).hexdigest()
    assert (model.config.model_family, model.config.file_type) == ("llama", "Q4_K_M")
    assert model.size == sum(len(one) for one in BLOBS)
    store.manifests.copy(model.name, ModelName.parse("copy"))
    assert store.manifests.read_bytes(ModelName.parse("copy")) == MANIFEST
    store.model("ours", WEIGHTS, b"more")
    for name in ("copy", "ours"):
        execute(plan_delete(store.catalog.scan(), [ModelName.parse(name)]))
    execute(plan_prune(store.catalog.scan()))
    weights = f"blobs/sha256-{hashlib.sha256(WEIGHTS).hexdigest()}"
    after = everything(store.paths.root)
    assert {name: one for name, one in after.items() if name != weights} == {
        name: one for name, one in before.items() if name != weights
    }
    assert after[weights][2] == WEIGHTS


def nowhere(model: str) -> AsyncGenerator[Progress, None]:
    raise AssertionError(f"{model} is to be there")


async def created(store: Stocked, request: CreateRequest) -> None:
    store.blobs.put_bytes(WEIGHTS)
    manifests = ManifestStore(store.paths)
    library = Library(Collection(store.catalog))
    creator = Creator(library, store.catalog, store.blobs, manifests, prune=True, pull=nowhere)
    async for _ in creator.create(request):
        pass


class AsOllamaReads:
    """A store read by Ollama's rules, with nothing of ours (spec h.1)."""

    def __init__(self, root: Path) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        for path in (root / "manifests").glob("*/*/*/*"):
            self.models["/".join(path.parts[-4:])] = json.loads(path.read_bytes())
        for folder in (root / "blobs", *(path for path in (root / "manifests").rglob("*") if path.is_dir())):
            assert folder.stat().st_mode & 0o777 == 0o755, folder
        for path in (root / "blobs").iterdir():
            assert re.fullmatch(r"sha256-[0-9a-f]{64}", path.name), path
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name[7:]
            assert path.stat().st_mode & 0o777 == 0o644
        for manifest in self.models.values():
            assert list(manifest) == ["schemaVersion", "mediaType", "config", "layers"]
            for part in (manifest["config"], *manifest["layers"]):
                assert list(part)[:3] == ["mediaType", "digest", "size"]
                assert (root / "blobs" / part["digest"].replace(":", "-")).stat().st_size == part["size"]
        assert not [path for path in (root / "manifests").iterdir() if path.is_file()]
        assert {path.name for path in root.iterdir()} == {"blobs", "manifests", ".corral.lock"}


async def test_what_we_write_is_what_ollama_would(store: Stocked) -> None:
    await created(store, REQUEST)
    assert store.manifests.read_bytes(ModelName.parse("mine:one")) == MANIFEST
    for data in BLOBS:
        assert (store.paths.root / store.blob_file(data)).read_bytes() == data
    assert list(AsOllamaReads(store.paths.root).models) == ["registry.ollama.ai/library/Mine/One"]
    await created(store, CreateRequest("child", base="mine:one", system="Other."))
    child = AsOllamaReads(store.paths.root).models["registry.ollama.ai/library/child/latest"]
    assert {part.get("from") for part in child["layers"]} == {"Mine:One", None}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": 2.0}, b'{"b":1,"a":2}\n'),
        ([0.1, -0.5, 1e20, -3.0, True, None], b"[0.1,-0.5,100000000000000000000,-3,true,null]\n"),
        (
            "<a href='x'>&\u2028\u2029\t\x01ü\x7f",
            "\"\\u003ca href='x'\\u003e\\u0026\\u2028\\u2029\\t\\u0001ü\x7f\"\n".encode(),
        ),
    ],
)
def test_json_is_gos(value: object, text: bytes) -> None:
    assert go_json(value) == text
