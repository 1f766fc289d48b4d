"""Models of Hugging Face by its file API, from a hub on this machine to a model in the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from corral.runtime.settings import Settings
from corral.runtime.verbs import Progress
from corral.runtime.workbench import Workbench
from corral.store.errors import InvalidName, SourceError
from corral.store.names import Digest
from corral.store.registries import Hub, Registries
from corral.store.sources.huggingface import HubFile, HubSpec, choose_projector, choose_weights, parse_hub
from tests.fakes.hub import FakeHub
from tests.fakes.registry import FakeRegistry, digest_of
from tests.unit.runtime.tiny_models import write_projector, write_tiny

TOKEN = "hf_secret"


@pytest.fixture
async def store_host() -> AsyncIterator[FakeRegistry]:
    """The host that has the bytes, which must never learn the token."""
    async with FakeRegistry().served("localhost") as host:
        yield host


@pytest.fixture
async def hub(store_host: FakeRegistry) -> AsyncIterator[FakeHub]:
    async with FakeHub(elsewhere=store_host.base).served() as hub:
        yield hub


class Pulling:
    """A workbench that knows one hub, and its store."""

    def __init__(self, hub: FakeHub, root: Path, store_host: FakeRegistry) -> None:
        self._hub = hub
        self._store_host = store_host
        self.root = root
        self.token = ""
        self.token_file: Path | None = None

    def has(self, *files: Path) -> None:
        for path in files:
            data = path.read_bytes()
            self._hub.files[path.name] = data
            self._store_host.blobs[digest_of(data)] = data

    async def pull(self, model: str) -> tuple[list[Progress], Workbench]:
        registries = Registries(hub=Hub(self._hub.base, self.token, self.token_file))
        bench = Workbench(Settings(models=self.root, registries=registries, prompt_cache=None), warm=False)
        await bench.start()
        try:
            return [step async for step in bench.pull(model)], bench
        finally:
            await bench.close()


@pytest.fixture
def pulling(hub: FakeHub, store_host: FakeRegistry, tmp_path: Path) -> Pulling:
    return Pulling(hub, tmp_path / "models", store_host)


async def test_a_split_model_comes_whole_with_its_projector(
    pulling: Pulling, hub: FakeHub, store_host: FakeRegistry, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    write_tiny(tmp_path / "files" / "tiny-F32.gguf", "full", split=9)
    parts = sorted((tmp_path / "files").iterdir())
    assert len(parts) == 3
    write_projector(tmp_path / "files" / "mmproj-F16.gguf")
    pulling.has(*(tmp_path / "files").iterdir())
    pulling.token, hub.secret = TOKEN, TOKEN
    steps, bench = await pulling.pull("hf.co/ada/tiny:f32")
    statuses = [step.status for step in steps]
    assert statuses[0] == "pulling manifest"
    assert statuses[-1] == "success"
    assert "merging 3 files" in statuses
    sizes = [file.stat().st_size for file in (tmp_path / "files").iterdir()]
    files = [step for step in steps if step.status.startswith("pulling ") and step.digest]
    assert {step.total for step in files} == set(sizes)
    assert {(step.whole, step.parts) for step in files} == {(sum(sizes), 4)}
    (model,) = await bench.list_models()
    assert (model.name, model.details.families) == ("hf.co/ada/tiny:f32", ("llama", "clip"))
    # The merged file, the projector, the config; the parts are gone.
    assert len([one for one in (pulling.root / "blobs").iterdir() if one.name.startswith("sha256-")]) == 3
    assert {one.authorization for one in hub.seen if not one.path.startswith("/v2/")} == {f"Bearer {TOKEN}"}
    assert {one.authorization for one in store_host.seen} == {""}


async def test_a_revision_is_part_of_the_name(pulling: Pulling, hub: FakeHub, tmp_path: Path) -> None:
    pulling.has(write_tiny(tmp_path / "tiny-F32.gguf", "full"))
    hub.revision = "v1.0"
    _, bench = await pulling.pull("hf.co/ada/tiny@v1.0")
    (model,) = await bench.list_models()
    assert model.name == "hf.co/ada/tiny:F32-v1.0"
    with pytest.raises(SourceError, match=r"hf\.co/ada/tiny: no such repository, revision or file"):
        await pulling.pull("hf.co/ada/tiny@v2.0")


async def test_who_may_not_read_is_told_what_to_do(pulling: Pulling, hub: FakeHub, tmp_path: Path) -> None:
    pulling.has(write_tiny(tmp_path / "tiny-F32.gguf", "full"))
    hub.secret = TOKEN
    with pytest.raises(SourceError, match="private or gated: set HF_TOKEN"):
        await pulling.pull("hf.co/ada/tiny")
    pulling.token = "other"
    with pytest.raises(SourceError, match="the token in HF_TOKEN may not read it"):
        await pulling.pull("hf.co/ada/tiny")
    pulling.token, hub.gated = "", True
    pulling.token_file = tmp_path / "token"
    pulling.token_file.write_text(f"{TOKEN}\n")
    with pytest.raises(SourceError, match="is gated: accept its terms"):
        await pulling.pull("hf.co/ada/tiny")
    assert not (pulling.root / "manifests").exists()


async def test_bytes_that_are_not_what_the_hub_says_are_not_kept(
    pulling: Pulling, store_host: FakeRegistry, tmp_path: Path
) -> None:
    path = write_tiny(tmp_path / "tiny-F32.gguf", "full")
    pulling.has(path)
    data = path.read_bytes()
    store_host.blobs[digest_of(data)] = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(Exception, match="digest mismatch"):
        await pulling.pull("hf.co/ada/tiny")
    assert not (pulling.root / "manifests").exists()


def files(*paths: str) -> tuple[HubFile, ...]:
    return tuple(HubFile(path, 100 + number, Digest(f"{number:064x}")) for number, path in enumerate(paths))


@pytest.mark.parametrize(
    ("quant", "paths", "chosen"),
    [
        ("latest", ["m.Q8_0.gguf", "m.Q4_K_M.gguf", "m.F16.gguf"], ["m.Q4_K_M.gguf"]),
        ("latest", ["m-Q8_0.gguf", "m-IQ4_XS.gguf", "m-Q2_K.gguf"], ["m-IQ4_XS.gguf"]),
        ("latest", ["m.gguf", "mmproj-m-F16.gguf", "m.imatrix.gguf"], ["m.gguf"]),
        ("q8_0", ["m-Q8_0.gguf", "m-Q4_K_M.gguf"], ["m-Q8_0.gguf"]),
        ("UD-Q4_K_XL", ["m-Q4_K_M.gguf", "m-UD-Q4_K_XL.gguf"], ["m-UD-Q4_K_XL.gguf"]),
        (
            "BF16",
            ["BF16/m-BF16-00002-of-00002.gguf", "BF16/m-BF16-00001-of-00002.gguf", "m-Q4_0.gguf"],
            ["BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf"],
        ),
        ("big-Q4_0", ["big-Q4_0.gguf", "small-Q4_0.gguf"], ["big-Q4_0.gguf"]),
    ],
)
def test_which_weights_are_taken(quant: str, paths: Sequence[str], chosen: Sequence[str]) -> None:
    found = choose_weights(HubSpec("ada", "m", quant), files(*paths))
    assert [file.path for file in found] == list(chosen)


def test_what_is_not_there_is_told_with_what_is() -> None:
    with pytest.raises(SourceError, match=r"hf\.co/ada/m has no Q7: it has Q4_0, Q8_0"):
        choose_weights(HubSpec("ada", "m", "Q7"), files("m-Q8_0.gguf", "m-Q4_0.gguf"))
    with pytest.raises(SourceError, match="has no GGUF files"):
        choose_weights(HubSpec("ada", "m", "latest"), files("mmproj.gguf"))
    with pytest.raises(SourceError, match="1 of 3 are there"):
        choose_weights(HubSpec("ada", "m", "latest"), files("m-00002-of-00003.gguf"))


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [("", ["mmproj-F16.gguf"]), ("none", []), ("bf16", ["mmproj-BF16.gguf"]), ("mmproj-f32.gguf", ["mmproj-F32.gguf"])],
)
def test_which_projector_is_taken(asked: str, chosen: Sequence[str]) -> None:
    there = files("m-Q4_0.gguf", "mmproj-F32.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf")
    found = choose_projector(HubSpec("ada", "m", "latest", projector=asked), there)
    assert [file.path for file in found] == list(chosen)
    assert choose_projector(HubSpec("ada", "m", "latest"), files("m.gguf")) == ()


def test_a_projector_that_is_not_there() -> None:
    with pytest.raises(SourceError, match=r"has no projector q9: it has mmproj-F16\.gguf"):
        choose_projector(HubSpec("ada", "m", "latest", projector="q9"), files("mmproj-F16.gguf"))


def test_what_names_of_hugging_face_say() -> None:
    assert parse_hub("hf.co/ada/m") == HubSpec("ada", "m", "latest")
    assert parse_hub("https://HF.co/ada/m:Q4_0@refs/pr/1#mmproj=none") == HubSpec(
        "ada", "m", "Q4_0", "refs/pr/1", "none"
    )
    assert parse_hub("ollama.com/ada/m") is None
    for text in ("hf.co/ada/m@", "hf.co/ada/m@../x", "hf.co/ada/m#x=y", "hf.co/ada/m#mmproj", "hf.co/m"):
        with pytest.raises(InvalidName):
            parse_hub(text)
