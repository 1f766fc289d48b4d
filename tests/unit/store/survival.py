"""What must be true of a store whatever happened while it was being changed, and the operations that change it."""

from __future__ import annotations

import os
import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from corral.store.archive import export_model
from corral.store.disk import TEMP_PREFIX, TEMP_SUFFIX
from corral.store.names import ModelName
from corral.store.plans import empty_trash, execute, plan_prune
from corral.store.trash import deletions, move_in
from corral.store.verify import blobs_of, check_blob
from tests.fakes.registry import FakeRegistry
from tests.store_child import OUTCOMES
from tests.tracing import KILL, Point, StoreProcess
from tests.unit.store.handmade import Gguf, u32_pair
from tests.unit.store.stocked import Stocked

OLD, NEW = random.Random(3).randbytes(50_000), random.Random(4).randbytes(100_000)
DAY_S = 24 * 3600.0


@dataclass(frozen=True)
class Scenario:
    """An operation on a store. `subject` is what it is about; `gone` says that this is to be away afterwards."""

    operation: str
    argument: str = ""
    subject: ModelName | None = None
    gone: bool = False


@dataclass
class Proving:
    """A store to begin with, and copies of it in which an operation is disturbed."""

    folder: Path
    process: StoreProcess
    registry: FakeRegistry
    scenarios: dict[str, Scenario] = field(default_factory=dict)
    _runs: int = 0

    def __post_init__(self) -> None:
        store = self.template
        host = self.registry.base.removeprefix("http://")
        store.model("kept:1", b"shared", b"only kept")
        store.model("kept:2", b"shared", b"also kept", family="gemma")
        store.model("doomed", b"shared", b"only doomed", family="phi")
        store.model(f"{host}/library/tiny", OLD, b"shared", family="old")
        store.model("made", b"made before", family="before")
        (self.folder / "m.gguf").write_bytes(bytes(Gguf()))
        other = Stocked(self.folder / "other")
        other.model("sent", bytes(Gguf()), bytes(Gguf().with_pair(u32_pair("x", 1))))
        export_model(other.blobs, ModelName.parse("sent"), self.folder / "sent.tar", lambda _: None)
        store.model("thrown", b"shared", b"only thrown", family="bert")
        move_in(store.paths, [ModelName.parse("thrown")])
        self._litter(store)
        self.registry.add("library/tiny:latest", NEW, b"shared")
        address = f"{self.registry.base}/library/tiny"
        name = ModelName.parse
        self.scenarios = {
            "pull": Scenario("pull", address, name(f"{host}/library/tiny")),
            "create": Scenario("create", f"{self.folder / 'm.gguf'}|made", name("made")),
            "copy": Scenario("copy", "kept:1|Made", name("made")),
            "delete": Scenario("delete", "doomed", name("doomed"), gone=True),
            "trash": Scenario("trash", "doomed", name("doomed"), gone=True),
            "restore": Scenario("restore", "", name("thrown")),
            "empty": Scenario("empty"),
            "prune": Scenario("prune"),
            "import": Scenario("import", str(self.folder / "sent.tar"), name("imported")),
        }

    def _litter(self, store: Stocked) -> None:
        """What killed processes leave: a blob nobody names, a file half written, a download given up, a folder."""
        store.blobs.put_bytes(b"nobody's")
        blobs = store.paths.blobs
        for litter in ("corral-x.tmp", f"sha256-{'0' * 64}-partial", f"corral-{'1' * 64}.partial"):
            (blobs / litter).write_bytes(b"left")
        (store.paths.root / ".corral-fetch-x").mkdir()
        (store.paths.root / ".corral-fetch-x/lock").touch()
        (store.paths.root / ".corral-fetch-x/a.whl").write_bytes(b"left")
        _age(store, 8 * DAY_S)

    @property
    def template(self) -> Stocked:
        """The store that the copies are made of."""
        return Stocked(self.folder / "template")

    def fresh(self) -> Stocked:
        """A copy of the template, the one before thrown away."""
        shutil.rmtree(self.folder / f"run-{self._runs}", ignore_errors=True)
        self._runs += 1
        root = self.folder / f"run-{self._runs}"
        shutil.copytree(self.template.paths.root, root)
        return Stocked(root)

    async def points(self, name: str) -> list[Point]:
        """Every place where the operation can be disturbed."""
        one, store = self.scenarios[name], self.fresh()
        points = await self.process.points(self.folder / "log", one.operation, store.paths.root, one.argument)
        self._is_done(one, store)
        return points

    async def prove(self, name: str, point: Point) -> None:
        """Disturb the operation there: nothing is broken, nothing is lost, and it can be done again."""
        one, store = self.scenarios[name], self.fresh()
        status = await self.process.faulted(point, one.operation, store.paths.root, one.argument)
        where = f"{name}, {point}: status {status}"
        if point.fault == KILL:
            assert status == -9, where
        else:
            assert status in {0, *OUTCOMES.values()}, where
        self._nothing_is_lost(one, store, where)
        if point.fault != KILL and "unlink" not in point.call:
            left = {path.name for path in store.paths.root.rglob(f"{TEMP_PREFIX}*{TEMP_SUFFIX}")}
            assert left <= {"corral-x.tmp"}, f"{where} left {left}"
        if not one.gone or store.manifests.locate(ModelName.parse(one.argument)):
            assert await self.process.run(one.operation, store.paths.root, one.argument) == 0, where
        self._is_done(one, store, where)
        self._can_be_tidied(store, where)

    def _nothing_is_lost(self, one: Scenario, store: Stocked, where: str) -> None:
        check_whole(store, where)
        before = {name.key: self.template.manifests.read_bytes(name) for name in self.template.manifests.names()}
        after = {name.key: store.manifests.read_bytes(name) for name in store.manifests.names()}
        subject = one.subject.key if one.subject else None
        assert {k: v for k, v in after.items() if k != subject} == {k: v for k, v in before.items() if k != subject}, (
            where
        )
        if subject in before and not one.gone:
            assert subject in after, f"{where}: lost {subject}"
        if one.operation != "empty":
            here = {*after, *(name.key for deletion in deletions(store.paths) for name in deletion.names)}
            doomed = {ModelName.parse("doomed").key} if one.operation == "delete" else set()
            assert set(before) - doomed | {ModelName.parse("thrown").key} <= here, where

    def _is_done(self, one: Scenario, store: Stocked, where: str = "untroubled") -> None:
        check_whole(store, where)
        self._nothing_is_lost(one, store, where)
        if one.subject is not None:
            there = store.manifests.locate(one.subject) is not None
            assert there is not one.gone, where
            if there:
                old = self.template.manifests.locate(one.subject)
                new = store.manifests.read_bytes(one.subject)
                assert old is None or new != self.template.manifests.read_bytes(old), f"{where}: nothing happened"
        if one.operation == "pull":
            assert one.subject is not None
            assert store.manifests.read_bytes(one.subject) == self.registry.manifests["library/tiny:latest"], where

    def _can_be_tidied(self, store: Stocked, where: str) -> None:
        """What a fault left over goes when its time has come, and only that."""
        empty_trash(store.paths)
        _age(store, 8 * DAY_S)
        execute(plan_prune(store.catalog.scan()))
        check_whole(store, where)
        wanted = {store.paths.blob(digest).name for digest in blobs_of(store.catalog.scan().models)}
        assert {path.name for path in store.paths.blobs.iterdir()} == wanted, where
        assert not [path for path in store.paths.manifests.iterdir() if path.is_file()], where


def _age(store: Stocked, by_s: float) -> None:
    then = time.time() - by_s
    for path in (*store.paths.blobs.iterdir(), *store.paths.manifests.iterdir()):
        os.utime(path, (then, then))


def check_whole(store: Stocked, where: str = "") -> None:
    """Every model that is there can be read, and every byte of it is what its digest says."""
    inventory = store.catalog.scan()
    assert inventory.warnings == (), where
    damages = [
        damage
        for digest, size in blobs_of(inventory.models).items()
        if (damage := check_blob(store.paths, digest, size, lambda _: None))
    ]
    assert damages == [], where


def sampled(points: list[Point], count: int) -> list[Point]:
    """So many of the points, the same ones every time."""
    if count >= len(points):
        return points
    return sorted(random.Random(1).sample(points, count), key=points.index)
