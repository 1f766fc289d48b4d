"""One operation on a store in a process of its own, which tests kill, starve and stop.

`python -m tests.store_child` reads lines of JSON, `[operation, root, argument, user]`, and forks for each, so that
importing is paid for once. It says the child's process id; the child begins when it gets SIGUSR1, and everything it
does to the disk it does on its one thread, so that the n-th call is the same one every time. At last its status is
said: 0, a number of `OUTCOMES`, or below 0 the signal that ended it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx  # noqa: F401  # imported by need in what runs here, which must not happen under a tracer

from corral.runtime.create import Creator
from corral.runtime.library import Library
from corral.runtime.verbs import CreateRequest, Progress
from corral.store import trash
from corral.store.archive import import_model, open_archive
from corral.store.blobs import BlobStore
from corral.store.catalog import Catalog
from corral.store.collection import Collection
from corral.store.disk import locked
from corral.store.errors import BlobNotFound, NoSpace, StoreError, StoreReadOnly
from corral.store.manifests import ManifestStore
from corral.store.names import ModelName
from corral.store.paths import StorePaths
from corral.store.plans import empty_trash, execute, plan_delete, plan_prune
from corral.store.registries import Registries
from corral.store.scratch import sweep
from corral.store.sources.registry import RegistrySource
from tests.unit.store.pulling import HASTE, SMALL

#: How an operation ends that says why; anything else is a defect.
OUTCOMES: dict[type[StoreError], int] = {NoSpace: 10, StoreReadOnly: 11, BlobNotFound: 12, StoreError: 13}
DEFECT = 99
#: Nobody: may read what everybody may, and own nothing.
NOBODY = 65534


class _Inline(ThreadPoolExecutor):
    """Does at once what asyncio would give to a thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


async def _pull(paths: StorePaths, address: str) -> None:
    asyncio.get_running_loop().set_default_executor(_Inline(1))
    source = RegistrySource(BlobStore(paths), Registries(), patience=HASTE, pace=SMALL)
    try:
        async for _ in source.pull(address, insecure=True):
            pass
    finally:
        await source.close()


def _creator(paths: StorePaths) -> Creator:
    blobs = BlobStore(paths)
    catalog = Catalog(paths, blobs)
    library = Library(Collection(catalog))
    return Creator(library, catalog, blobs, ManifestStore(paths), prune=True, pull=_nowhere)


def _nowhere(model: str) -> AsyncGenerator[Progress, None]:
    raise AssertionError(f"{model} is to be there")


async def _create(paths: StorePaths, file_and_name: str) -> None:
    """Take a file in, and make a model of it with a system text and parameters."""
    asyncio.get_running_loop().set_default_executor(_Inline(1))
    file, _, name = file_and_name.partition("|")
    blob = BlobStore(paths).adopt(Path(file))
    request = CreateRequest(
        name, files={"m.gguf": str(blob.digest)}, system="Be brief.", parameters={"top_k": 3, "stop": ["<|end|>"]}
    )
    async for _ in _creator(paths).create(request):
        pass


def _copy(paths: StorePaths, names: str) -> None:
    source, _, target = names.partition("|")
    stored = Catalog(paths, BlobStore(paths)).find(ModelName.parse(source))
    _creator(paths).copy(stored, True, ModelName.parse(target))


def _delete(paths: StorePaths, name: str) -> None:
    execute(plan_delete(Catalog(paths, BlobStore(paths)).scan(), [ModelName.parse(name)]))


def _trash(paths: StorePaths, name: str) -> None:
    trash.move_in(paths, [ModelName.parse(name)])


def _restore(paths: StorePaths, _: str) -> None:
    trash.restore(paths)


def _empty(paths: StorePaths, _: str) -> None:
    empty_trash(paths)


def _prune(paths: StorePaths, _: str) -> None:
    sweep(paths.root)
    execute(plan_prune(Catalog(paths, BlobStore(paths)).scan()))


def _import(paths: StorePaths, file: str) -> None:
    import_model(BlobStore(paths), open_archive(Path(file)), ModelName.parse("imported"), lambda _: None)


def _hold(paths: StorePaths, ready: str) -> None:
    """Hold the store's lock until killed."""
    with locked(paths.lock):
        Path(ready).touch()
        while True:
            time.sleep(60)


_OPERATIONS: dict[str, Callable[[StorePaths, str], None]] = {
    "pull": lambda paths, argument: asyncio.run(_pull(paths, argument)),
    "create": lambda paths, argument: asyncio.run(_create(paths, argument)),
    "copy": _copy,
    "delete": _delete,
    "trash": _trash,
    "restore": _restore,
    "empty": _empty,
    "prune": _prune,
    "import": _import,
    "hold": _hold,
}


def _run(operation: str, root: str, argument: str, user: int) -> int:
    signal.sigwait({signal.SIGUSR1})
    if user and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    try:
        _OPERATIONS[operation](StorePaths(Path(root)), argument)
    except StoreError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return next(code for kind, code in OUTCOMES.items() if isinstance(error, kind))
    except BaseException:
        traceback.print_exc()
        return DEFECT
    return 0


def main() -> None:
    """Serve operations until the input ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    print("ready", flush=True)
    for line in sys.stdin:
        operation, root, argument, user = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(_run(operation, root, argument, user))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
