"""Several at one store at once: processes of ours, and a writer with Ollama's manners."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import threading
from pathlib import Path

from corral.store.errors import StoreError
from corral.store.manifests import MediaType
from corral.store.names import ModelName
from corral.store.plans import execute, plan_delete, plan_prune
from corral.store.sources.registry import RegistrySource
from tests.fakes.registry import FakeRegistry, digest_of
from tests.store_child import OUTCOMES
from tests.tracing import StoreProcess
from tests.unit.store.handmade import Gguf, u32_pair
from tests.unit.store.pulling import WEIGHTS, pull
from tests.unit.store.stocked import Stocked
from tests.unit.store.survival import check_whole
from tests.waiting import until

ROUNDS = 12


def ranges_of(registry: FakeRegistry, data: bytes) -> list[str]:
    return [one.range for one in registry.blob_requests() if digest_of(data) in one.path]


async def test_two_processes_pull_one_model(registry: FakeRegistry, store: Stocked) -> None:
    gate = asyncio.Event()
    registry.hang = lambda start: gate
    address = f"{registry.base}/library/tiny"
    async with StoreProcess.started() as one, StoreProcess.started() as other:
        for process in (one, other):
            os.kill(await process.begin("pull", store.paths.root, address), signal.SIGUSR1)
        await until(lambda: len([seen for seen in registry.seen if "manifests" in seen.path]) == 2)
        gate.set()
        assert (await one.ended(), await other.ended()) == (0, 0)
    check_whole(store)
    ranges = ranges_of(registry, WEIGHTS)
    assert len(ranges) == len(set(ranges))


async def test_who_waits_for_a_killed_process_takes_over(registry: FakeRegistry, store: Stocked) -> None:
    gate = asyncio.Event()
    registry.hang = lambda start: gate if start else None
    address = f"{registry.base}/library/tiny"
    async with StoreProcess.started() as one, StoreProcess.started() as other:
        first = await one.begin("pull", store.paths.root, address)
        os.kill(first, signal.SIGUSR1)
        await until(lambda: bool(registry.blob_requests()))
        os.kill(await other.begin("pull", store.paths.root, address), signal.SIGUSR1)
        await until(lambda: len([seen for seen in registry.seen if "manifests" in seen.path]) == 2)
        os.kill(first, signal.SIGKILL)
        gate.set()
        assert (await one.ended(), await other.ended()) == (-9, 0)
    check_whole(store)


async def test_a_part_that_goes_meanwhile_is_fetched(
    source: RegistrySource, registry: FakeRegistry, store: Stocked
) -> None:
    """It was there when the pull began; the only model that had it is deleted before the manifest is written."""
    registry.add("library/tiny:latest", b"shared", WEIGHTS)
    store.model("other", b"shared")
    gate = asyncio.Event()
    registry.hang = lambda start: gate
    task = asyncio.create_task(pull(source, registry))
    await until(lambda: bool(registry.blob_requests()))
    await asyncio.to_thread(execute, plan_delete(store.catalog.scan(), [ModelName.parse("other")]))
    assert store.blob_file(b"shared") not in store.files()
    gate.set()
    await task
    check_whole(store)
    assert len(ranges_of(registry, b"shared")) == 1


async def test_one_clears_up_while_others_pull_and_create(
    registry: FakeRegistry, store: Stocked, tmp_path: Path
) -> None:
    """What is only on its way in is young, and what is deleted takes nothing that others have."""
    store.model("kept", b"kept")
    address = f"{registry.base}/library/tiny"
    for number in range(3):
        (tmp_path / f"{number}.gguf").write_bytes(bytes(Gguf().with_pair(u32_pair("x", number))))
    async with StoreProcess.started() as pulling, StoreProcess.started() as creating, StoreProcess.started() as third:
        done = asyncio.Event()

        async def tidy() -> None:
            while not done.is_set():
                assert await third.run("prune", store.paths.root) == 0

        async def pull_often() -> None:
            for number in range(ROUNDS):
                registry.add("library/tiny:latest", WEIGHTS[: 1000 * (number + 1)])
                assert await pulling.run("pull", store.paths.root, address) == 0

        async def create_often() -> None:
            for number in range(ROUNDS):
                file = tmp_path / f"{number % 3}.gguf"
                assert await creating.run("create", store.paths.root, f"{file}|made:{number % 2}") == 0

        tidying = asyncio.create_task(tidy())
        await asyncio.gather(pull_often(), create_often())
        done.set()
        await tidying
    check_whole(store)
    assert len(list(store.manifests.names())) == 4


class OllamaLike(threading.Thread):
    """Makes models over and over as Ollama does: blobs by renaming, manifests written in place."""

    def __init__(self, store: Stocked, count: int) -> None:
        super().__init__()
        self._store = store
        self._count = count
        self.made: set[str] = set()

    def run(self) -> None:
        dice = random.Random(9)
        for number in range(self._count):
            model = f"theirs{number % 5}"
            layers = [self._blob(part, MediaType.MODEL) for part in (b"shared", dice.randbytes(2000))]
            config = self._blob(b'{"model_format":"gguf"}\n', MediaType.CONFIG)
            wire = {"schemaVersion": 2, "mediaType": "m", "config": config, "layers": layers}
            path = self._store.paths.manifests / "registry.ollama.ai" / "library" / model / "latest"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb", buffering=0) as file:
                file.write(json.dumps(wire).encode())
            self.made.add(model)

    def _blob(self, data: bytes, kind: str) -> dict[str, str | int]:
        digest = hashlib.sha256(data).hexdigest()
        path = self._store.paths.blobs / f"sha256-{digest}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temp = path.with_name(f"sha256-{threading.get_ident()}")
            temp.write_bytes(data)
            temp.replace(path)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}


def test_ollama_beside_us_loses_nothing(store: Stocked) -> None:
    store.model("anchor", b"shared", family="")
    store.blobs.put_bytes(b'{"model_format":"gguf"}\n')
    theirs = OllamaLike(store, 300)
    theirs.start()
    rounds = 0
    while theirs.is_alive():
        ours = ModelName.parse(f"ours:{rounds % 3}")
        store.model(ours.short, b"shared", str(rounds).encode() * 100, family=f"f{rounds}")
        execute(plan_prune(store.catalog.scan()))
        execute(plan_delete(store.catalog.scan(), [ours]))
        rounds += 1
    theirs.join()
    assert rounds > 3
    check_whole(store)
    assert {name.model for name in store.manifests.names()} == {"anchor", *theirs.made}


async def test_two_processes_delete_and_copy_what_the_other_changes(store: Stocked) -> None:
    store.model("kept", b"shared", b"only kept")
    async with StoreProcess.started() as one, StoreProcess.started() as other:

        async def copy() -> None:
            for number in range(ROUNDS):
                assert await one.run("copy", store.paths.root, f"kept|copy:{number % 3}") == 0

        async def delete() -> None:
            for number in range(ROUNDS):
                status = await other.run("delete", store.paths.root, f"copy:{number % 3}")
                assert status in {0, OUTCOMES[StoreError]}

        await asyncio.gather(copy(), delete())
    check_whole(store)
    assert store.manifests.locate(ModelName.parse("kept"))
