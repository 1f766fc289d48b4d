"""A model sent to a real registry and fetched back: Debian's docker-registry, open and with a password."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
from aiohttp import web

from corral.runtime.settings import Settings
from corral.runtime.verbs import GenerateRequest, Progress
from corral.runtime.workbench import Workbench
from corral.store.errors import SourceError
from corral.store.registries import Identity, Registries
from tests.conftest import STARTER_MODEL
from tests.fakes.registry import FakeRegistry
from tests.programs import CORRAL, environment, free_port
from tests.waiting import block_until, until

REGISTRY = shutil.which("docker-registry")
needs_registry = pytest.mark.skipif(REGISTRY is None, reason="docker-registry is not installed")

USER, PASSWORD = "ada", "lovelace"
HTPASSWD = f"{USER}:$2b$04$oIN/3TeOKUeHp45FbRW45.herPvsGS5YrOCLxcf9T4EeVZas3rlM.\n"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@contextlib.contextmanager
def docker_registry(
    folder: Path, *, password: bool = False, auth: Mapping[str, object] | None = None, relative: bool = False
) -> Iterator[str]:
    """Run the registry on a free port; gives its address without a scheme. `relative`: something stands before it."""
    assert REGISTRY is not None
    port = free_port()
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}", "relativeurls": relative},
    }
    if auth is not None:
        config["auth"] = auth
    if password:
        (folder / "htpasswd").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "here", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(json.dumps(config))
    process = subprocess.Popen(
        [REGISTRY, "serve", str(folder / "config.yml")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        block_until(lambda: _answers(f"http://127.0.0.1:{port}/v2/"))
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


async def statuses(steps: AsyncIterator[Progress]) -> list[str]:
    return list(dict.fromkeys([step.status async for step in steps]))


@contextlib.asynccontextmanager
async def workbench(store: Path, registries: Registries | None = None) -> AsyncIterator[Workbench]:
    bench = Workbench(Settings(models=store, registries=registries or Registries()), warm=False)
    await bench.start()
    try:
        yield bench
    finally:
        await bench.close()


@needs_registry
async def test_a_model_goes_out_and_comes_back(own_store: Path, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    with docker_registry(tmp_path / "registry", password=False) as address:
        name = f"{address}/ada/smol:1"
        async with workbench(own_store) as bench:
            await bench.copy(STARTER_MODEL, name)
            (digest,) = {one.digest for one in await bench.list_models()}
            said = await statuses(bench.push(f"http://{name}", insecure=True))
            assert (said[0], said[-2:]) == ("retrieving manifest", ["pushing manifest", "success"])
        async with workbench(tmp_path / "empty") as bench:
            with pytest.raises(SourceError, match="pull model manifest: file does not exist"):
                await statuses(bench.pull(f"http://{address}/ada/nope", insecure=True))
            said = await statuses(bench.pull(f"http://{name}", insecure=True))
            assert said[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
            (model,) = await bench.list_models()
            assert (model.name, model.digest) == (name, digest)
            assert (await bench.show(name)).details.family == "llama"
            chunks = [chunk async for chunk in bench.generate(GenerateRequest(name, "Hi", options={"num_predict": 3}))]
            assert chunks[-1].stats.output_tokens == 3


@needs_registry
async def test_a_password_is_asked_for_and_found(own_store: Path, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    with docker_registry(tmp_path / "registry", password=True) as address:
        name = f"http://{address}/ada/smol:1"
        async with workbench(own_store) as bench:
            await bench.copy(STARTER_MODEL, name)
            with pytest.raises(SourceError, match=f"log in first: docker login {address}"):
                await statuses(bench.push(name, insecure=True))
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        docker = tmp_path / "config.json"
        docker.write_text(json.dumps({"auths": {address: {"auth": login}}}))
        async with workbench(own_store, Registries(identity=Identity(docker_config=docker))) as bench:
            assert (await statuses(bench.push(name, insecure=True)))[-1] == "success"
            await bench.delete(name)
            assert (await statuses(bench.pull(name, insecure=True)))[-1] == "success"


async def test_a_pull_that_is_killed_goes_on_where_it_was(tmp_path: Path, large: bytes) -> None:
    """Not asked again is what the killed process had noted as being on the disk."""
    async with FakeRegistry().served() as registry:
        registry.add("library/big:latest", large)
        store = tmp_path / "models"
        (tmp_path / "home").mkdir()
        settings = environment(store, free_port(), tmp_path / "home")
        command = [CORRAL, "pull", "--insecure", "--limit-rate", "150MB", f"{registry.base}/library/big"]
        process = await asyncio.create_subprocess_exec(
            *command, env=settings, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await until(lambda: any(path.read_bytes().count(b"\n") > 1 for path in store.glob("blobs/*.journal")))
        finally:
            process.kill()
            await process.wait()
        (journal,) = store.glob("blobs/*.journal")
        noted = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
        registry.seen.clear()
        async with workbench(store) as bench:
            steps = [step async for step in bench.pull(f"{registry.base}/library/big", insecure=True)]
        there = sum(end - start for start, end in noted)
        assert there > 0
        assert next(step.completed for step in steps if step.completed) >= there
        for one in registry.blob_requests():
            first, _, last = one.range.removeprefix("bytes=").partition("-")
            assert not any(start <= int(first) < end for start, end in noted if int(last) > 1000)
    digest = hashlib.sha256(large).hexdigest()
    assert hashlib.sha256((store / f"blobs/sha256-{digest}").read_bytes()).hexdigest() == digest
    assert not list(store.glob("blobs/corral-*"))


@pytest.fixture
def large() -> bytes:
    """So large that a download notes how far it is before it is through."""
    return os.urandom(1 << 20) * 200


class _Site(FakeRegistry):
    """A host with files."""

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        return await self._blob(request, request.path)


async def test_a_file_on_the_web_becomes_a_model(starter_gguf: Path, tmp_path: Path) -> None:
    site = _Site(blobs={"/x/SmolLM2.gguf": starter_gguf.read_bytes()})
    async with site.served(), workbench(tmp_path / "models") as bench:
        address = f"{site.base}/x/SmolLM2.gguf"
        with pytest.raises(SourceError, match=r"^insecure protocol http$"):
            await statuses(bench.pull(address))
        said = await statuses(bench.pull(address, insecure=True))
        (model,) = await bench.list_models()
        assert said[-2:] == [f"stored as {model.name}", "success"]
        assert (await bench.show(model.name)).details.family == "llama"
