"""Pulling from a registry that fails in every way there is."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from contextlib import aclosing
from pathlib import Path

import pytest
from aiohttp import web

from corral.store.errors import DigestMismatch, SourceError
from corral.store.names import Digest, ModelName
from corral.store.registries import Identity, Mirror, Registries
from corral.store.retry import Patience, RateLimit
from corral.store.sources.registry import RegistrySource
from tests.fakes.registry import FakeRegistry, digest_of
from tests.unit.store.pulling import HASTE, SMALL, WEIGHTS, pull
from tests.unit.store.stocked import Stocked
from tests.waiting import PATIENCE_S, until


def kept(registry: FakeRegistry) -> ModelName:
    return ModelName(registry.base.removeprefix("http://"), "library", "tiny", "latest")


def whole(store: Stocked, registry: FakeRegistry) -> bool:
    """The model is there as the registry has it, and nothing of its way in is left."""
    name = kept(registry)
    model = store.catalog.find(name)
    assert store.manifests.read_bytes(name) == registry.manifests["library/tiny:latest"]
    assert model.size > len(WEIGHTS)
    assert store.blobs.path(Digest.parse(digest_of(WEIGHTS))).read_bytes() == WEIGHTS
    return {path.name[:7] for path in store.paths.blobs.iterdir()} == {"sha256-"}


async def test_a_pull_tells_what_ollama_tells(source: RegistrySource, registry: FakeRegistry, store: Stocked) -> None:
    steps = await pull(source, registry)
    weights = digest_of(WEIGHTS)
    config = next(digest for digest in registry.blobs if digest != weights)
    assert list(dict.fromkeys(step.status for step in steps)) == [
        "pulling manifest",
        f"pulling {weights[7:19]}",
        f"pulling {config[7:19]}",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    bars = [step for step in steps if step.digest == weights]
    assert {step.total for step in bars} == {len(WEIGHTS)}
    assert [step.completed for step in bars] == sorted(step.completed for step in bars)
    assert bars[-1].completed == len(WEIGHTS)
    assert whole(store, registry)
    starts = [one.range for one in registry.blob_requests() if weights in one.path]
    assert len(starts) == len(set(starts)) > 4  # in pieces, and none of them twice


async def test_what_is_there_is_not_fetched(source: RegistrySource, registry: FakeRegistry) -> None:
    await pull(source, registry)
    before = len(registry.blob_requests())
    steps = await pull(source, registry)
    bars = [step for step in steps if step.digest]
    assert [step.completed == step.total for step in bars] == [True, True]
    assert len(registry.blob_requests()) == before


async def test_a_blob_of_the_wrong_size_is_fetched_again(
    source: RegistrySource, registry: FakeRegistry, store: Stocked
) -> None:
    await pull(source, registry)
    store.blobs.path(Digest.parse(digest_of(WEIGHTS))).write_bytes(WEIGHTS[:100])
    await pull(source, registry)
    assert whole(store, registry)


async def test_cut_connections_are_taken_up_where_they_broke(
    source: RegistrySource, registry: FakeRegistry, store: Stocked
) -> None:
    registry.cuts = [1000, 0, 20_000, 3, 50_000]
    await pull(source, registry)
    assert registry.cuts == []
    assert whole(store, registry)


@pytest.mark.parametrize("failures", [[(429, "0"), (429, "0")], [(500, ""), (502, ""), (503, "0")], [(408, "")]])
async def test_passing_failures_pass(
    source: RegistrySource, registry: FakeRegistry, store: Stocked, failures: list[tuple[int, str]]
) -> None:
    registry.failures = failures
    await pull(source, registry)
    assert whole(store, registry)


async def test_a_server_that_asks_for_an_hour_is_not_waited_for(source: RegistrySource, registry: FakeRegistry) -> None:
    registry.failures = [(429, "3600")]
    with pytest.raises(SourceError, match="answers 429; it asks to come back in 3600 seconds"):
        await pull(source, registry)


async def test_a_server_that_never_recovers_ends_the_pull(source: RegistrySource, registry: FakeRegistry) -> None:
    registry.failures = [(503, "")] * 50
    with pytest.raises(SourceError, match="answers 503") as raised:
        await pull(source, registry)
    assert "<h1>" not in str(raised.value)


async def test_a_server_without_ranges(source: RegistrySource, registry: FakeRegistry, store: Stocked) -> None:
    registry.ranges = False
    registry.cuts = [100_000, 300_000]
    await pull(source, registry)
    assert whole(store, registry)


async def test_wrong_bytes_never_get_a_name(source: RegistrySource, registry: FakeRegistry, store: Stocked) -> None:
    digest = digest_of(WEIGHTS)
    registry.blobs[digest] = WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1])
    with pytest.raises(DigestMismatch, match="digest mismatch, file must be downloaded again"):
        await pull(source, registry)
    assert store.files() == set()
    registry.blobs[digest] = WEIGHTS
    await pull(source, registry)
    assert whole(store, registry)


async def test_another_size_than_announced_is_refused(
    source: RegistrySource, registry: FakeRegistry, store: Stocked
) -> None:
    for ranges in (True, False):
        registry.ranges = ranges
        registry.blobs[digest_of(WEIGHTS)] = WEIGHTS + b"more"
        with pytest.raises(SourceError, match="bytes where 600000 were announced"):
            await pull(source, registry)
    assert not any(store.paths.blobs.glob("sha256-*"))


async def test_a_stalled_connection_is_given_up(store: Stocked, registry: FakeRegistry) -> None:
    never = asyncio.Event()
    stalls = [never]
    registry.hang = lambda start: stalls.pop() if start >= 300_000 and stalls else None
    impatient = Patience(tries=20, first_s=0.001, longest_s=0.002, stall_s=0.2)
    source = RegistrySource(store.blobs, Registries(), patience=impatient, pace=SMALL)
    await pull(source, registry)
    await source.close()
    assert stalls == []
    assert whole(store, registry)


async def test_a_slow_end_is_shared_out(source: RegistrySource, registry: FakeRegistry, store: Stocked) -> None:
    """While one connection hangs at its beginning, the others take what it has not begun, down to the least."""
    gate = asyncio.Event()
    hung: list[int] = []

    def hang(start: int) -> asyncio.Event | None:
        if start >= 300_000 and not hung:
            hung.append(start)
            return gate
        return None

    registry.hang = hang
    task = asyncio.create_task(pull(source, registry))
    await until(lambda: bool(hung))
    (partial,) = [store.paths.partial(Digest.parse(digest_of(WEIGHTS)))]
    await until(lambda: partial.exists() and partial.read_bytes().count(b"\0" * 64) < 700)

    def lacking() -> int:
        data = partial.read_bytes()
        return sum(data[at : at + 1000] != WEIGHTS[at : at + 1000] for at in range(0, len(WEIGHTS), 1000)) * 1000

    await until(lambda: lacking() < 2 * SMALL.least_split + 1000)
    gate.set()
    await task
    assert whole(store, registry)


async def test_a_pull_that_is_left_is_taken_up_again(
    source: RegistrySource, registry: FakeRegistry, store: Stocked
) -> None:
    gate = asyncio.Event()
    registry.hang = lambda start: gate if start >= 100_000 else None
    async with aclosing(source.pull(f"{registry.base}/library/tiny", insecure=True)) as steps:
        async for step in steps:
            if step.completed >= 64_000:
                break
    gate.set()
    partial = store.paths.partial(Digest.parse(digest_of(WEIGHTS)))
    assert partial.exists()
    registry.seen.clear()
    steps_again = await pull(source, registry)
    first = next(step for step in steps_again if step.digest and step.completed)
    assert first.completed >= 64_000
    assert whole(store, registry)
    asked = sum(span(one.range) for one in registry.blob_requests() if digest_of(WEIGHTS) in one.path)
    assert asked <= len(WEIGHTS) - 64_000 + 4 * 64_000  # splits may ask for a piece twice, never for what is there


def span(text: str) -> int:
    first, _, last = text.removeprefix("bytes=").partition("-")
    return int(last) + 1 - int(first)


async def test_who_wants_the_same_joins_in(source: RegistrySource, registry: FakeRegistry, store: Stocked) -> None:
    gate = asyncio.Event()
    registry.hang = lambda start: gate
    first = asyncio.create_task(pull(source, registry))
    second = asyncio.create_task(pull(source, registry))
    await until(lambda: bool(registry.blob_requests()))
    await until(lambda: len([one for one in registry.seen if "manifests" in one.path]) == 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    gate.set()
    await second
    ranges = [one.range for one in registry.blob_requests() if digest_of(WEIGHTS) in one.path]
    assert len(ranges) == len(set(ranges))
    assert whole(store, registry)


async def test_two_processes_do_not_get_into_each_others_way(
    source: RegistrySource, registry: FakeRegistry, store: Stocked
) -> None:
    other = RegistrySource(store.blobs, Registries(), patience=HASTE, pace=SMALL)
    await asyncio.gather(pull(source, registry), pull(other, registry))
    await other.close()
    ranges = [one.range for one in registry.blob_requests() if digest_of(WEIGHTS) in one.path]
    assert len(ranges) == len(set(ranges))
    assert whole(store, registry)


async def test_another_host_gets_no_credentials(store: Stocked, registry: FakeRegistry, tmp_path: Path) -> None:
    registry.tokens = ["t1"]
    async with FakeRegistry(blobs=registry.blobs).served("localhost") as storage:
        registry.elsewhere = storage.base
        source = RegistrySource(store.blobs, Registries(), patience=HASTE, pace=SMALL)
        await pull(source, registry)
        await source.close()
        assert {one.authorization for one in storage.seen} == {""}
        assert len(storage.seen) > 4
    weights = [one for one in registry.blob_requests() if digest_of(WEIGHTS) in one.path]
    assert len(weights) == 1  # the registry is asked once where the blob lies
    assert whole(store, registry)


async def test_tokens_that_expire_are_renewed(source: RegistrySource, registry: FakeRegistry, store: Stocked) -> None:
    registry.tokens = ["old"]
    gate = asyncio.Event()
    registry.hang = lambda start: gate
    task = asyncio.create_task(pull(source, registry))
    await until(lambda: bool(registry.blob_requests()))
    registry.tokens = ["new"]
    gate.set()
    await task
    assert {one.authorization for one in registry.blob_requests()} >= {"Bearer old", "Bearer new"}
    assert whole(store, registry)


async def test_the_users_key_signs_and_is_made_once(store: Stocked, registry: FakeRegistry, tmp_path: Path) -> None:
    registry.tokens = ["t1"]
    registry.token_refuses = lambda authorization: not authorization
    source = RegistrySource(
        store.blobs, Registries(identity=Identity(keys=tmp_path / "home")), patience=HASTE, pace=SMALL
    )
    await pull(source, registry)
    await source.close()
    (token,) = [one for one in registry.seen if one.path == "/token"]
    public, _, signature = token.authorization.partition(":")
    assert (tmp_path / "home/id_ed25519.pub").read_text().split()[1] == public
    assert (tmp_path / "home/id_ed25519").stat().st_mode & 0o777 == 0o600
    assert len(signature) == 88


@pytest.mark.parametrize("realm_host", ["localhost", "127.0.0.2"])
async def test_a_token_service_elsewhere_learns_nothing(
    store: Stocked, registry: FakeRegistry, tmp_path: Path, realm_host: str
) -> None:
    registry.tokens = ["t1"]
    async with FakeRegistry(tokens=["t1"]).served("localhost") as other:
        registry.realm = f"{other.base}/token"
        source = RegistrySource(store.blobs, Registries(identity=Identity(keys=tmp_path)), patience=HASTE, pace=SMALL)
        await pull(source, registry)
        await source.close()
        assert [one.authorization for one in other.seen] == [""]
    assert list(tmp_path.glob("id_*")) == []


async def test_what_is_not_there_is_said_in_ollamas_words(
    source: RegistrySource, registry: FakeRegistry, store: Stocked
) -> None:
    with pytest.raises(SourceError, match=r"^pull model manifest: file does not exist$"):
        await pull(source, registry, "library/nope")
    with pytest.raises(SourceError, match=r"^insecure protocol http$"):
        async for _ in source.pull(f"{registry.base}/library/tiny"):
            pass
    assert registry.seen[-1].path.endswith("nope/manifests/latest")
    assert store.files() == set()


async def test_what_a_newer_model_does_not_need_goes(
    source: RegistrySource, registry: FakeRegistry, store: Stocked
) -> None:
    await pull(source, registry)
    registry.add("library/tiny:latest", b"newer weights")
    steps = await pull(source, registry)
    assert [step.status for step in steps][-3:] == ["writing manifest", "removing unused layers", "success"]
    assert store.blob_file(WEIGHTS) not in store.files()
    assert store.blob_file(b"newer weights") in store.files()


async def test_mirrors_come_first_and_need_not_have_it(store: Stocked, registry: FakeRegistry) -> None:
    async with FakeRegistry().served("localhost") as mirror:
        registries = Registries(
            default=registry.base,
            mirrors=(Mirror("registry.ollama.ai", "http://127.0.0.1:9"), Mirror("registry.ollama.ai", mirror.base)),
        )
        source = RegistrySource(store.blobs, registries, patience=HASTE, pace=SMALL)
        assert [step.status async for step in source.pull("tiny")][-1] == "success"
        assert [one.path for one in mirror.seen] == ["/v2/library/tiny/manifests/latest"]
        mirror.add("library/small:latest", b"weights")
        before = len(registry.seen)
        assert [step.status async for step in source.pull("small")][-1] == "success"
        assert len(registry.seen) == before
        await source.close()
    assert (
        store.catalog.find(ModelName.parse("tiny")).digest
        == hashlib.sha256(registry.manifests["library/tiny:latest"]).hexdigest()
    )


async def test_a_rate_limit_slows_down(source: RegistrySource, registry: FakeRegistry) -> None:
    booked: list[int] = []

    class Counting(RateLimit):
        def delay_s(self, size: int) -> float:
            booked.append(size)
            return 0.0

    async for _ in source.pull(f"{registry.base}/library/tiny", insecure=True, limit=Counting(1)):
        pass
    assert sum(booked) >= len(WEIGHTS)


async def test_leaving_at_any_moment_leaves_no_lock(
    source: RegistrySource, registry: FakeRegistry, store: Stocked
) -> None:
    """Also while the file is being opened in a thread, whose work cannot be taken back."""
    for turns in range(12):
        task = asyncio.create_task(pull(source, registry))
        for _ in range(turns * 7):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(PATIENCE_S):
        await pull(source, registry)
    assert whole(store, registry)


async def test_a_crawling_connection_is_given_up_for_a_new_one(store: Stocked) -> None:
    class Crawling(FakeRegistry):
        """Its first answer for the second half comes a byte at a time."""

        crawled = 0

        async def _blob(self, request: web.Request, digest: str) -> web.StreamResponse:
            first = int(request.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
            if first < 300_000 or self.crawled or digest != digest_of(WEIGHTS):
                return await super()._blob(request, digest)
            self.crawled += 1
            response = web.StreamResponse(status=206)
            last = int(request.headers["Range"].rpartition("-")[2])
            response.headers["Content-Range"] = f"bytes {first}-{last}/{len(WEIGHTS)}"
            response.content_length = last + 1 - first
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):
                for at in range(first, last + 1):
                    await response.write(WEIGHTS[at : at + 1])
                    await asyncio.sleep(0.02)
            return response

    quick = Patience(tries=4, first_s=0.001, longest_s=0.002, stall_s=10.0, slow_s=0.3)
    async with Crawling().served() as registry:
        registry.add("library/tiny:latest", WEIGHTS)
        source = RegistrySource(store.blobs, Registries(), patience=quick, pace=SMALL)
        source_pace = source.pull(f"{registry.base}/library/tiny", insecure=True)
        async with asyncio.timeout(PATIENCE_S):
            async for _ in source_pace:
                pass
        await source.close()
        assert registry.crawled == 1
        assert whole(store, registry)
