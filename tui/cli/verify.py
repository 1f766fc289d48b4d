"""`corral verify [MODEL...]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

from corral.runtime.errors import RunError
from corral.store.blobs import BlobStore
from corral.store.catalog import Catalog, StoredModel
from corral.store.errors import StoreError
from corral.store.names import Digest, ModelName
from corral.store.paths import StorePaths
from corral.store.verify import Damage, blobs_of, check_blob, set_aside
from corral.tui.cli.local_job import run_job
from corral.tui.cli.progress import follow
from corral.tui.cli.session import Cli


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Whether to mend."""
    parser.add_argument("--repair", action="store_true", help="Pull models again that are damaged")


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Read every byte of the models again, and say which are not what they should be; the code is 1 for any."""
    paths = StorePaths(cli.settings.models)
    catalog = Catalog(paths, BlobStore(paths))
    inventory = catalog.scan()
    models = tuple(catalog.find(ModelName.parse(name)) for name in arguments) or inventory.models
    if not arguments:
        for warning in inventory.warnings:
            print(warning)
    damages = _check(paths, models)
    broken = 0 if arguments else len(inventory.broken)
    for model in models:
        found = [damages[digest] for digest in sorted(model.manifest.digests) if digest in damages]
        for damage in found:
            print(f"{model.name.short}: blob {damage.digest} {damage.reason}")
        if not found:
            print(f"{model.name.short}: ok")
        elif not (flags.repair and _repaired(cli, paths, model, found)):
            print(f"{model.name.short}: get it again with 'corral pull {model.name.short}', or create it again")
            broken += 1
    return 1 if broken else 0


def _check(paths: StorePaths, models: tuple[StoredModel, ...]) -> dict[Digest, Damage]:
    sizes = blobs_of(models)

    def work(tell: Callable[[int], None]) -> dict[Digest, Damage]:
        found: dict[Digest, Damage] = {}
        before = 0
        for digest, size in sizes.items():
            damage = check_blob(paths, digest, size, partial(_tell, tell, before))
            if damage is not None:
                found[digest] = damage
            before += size
        return found

    return run_job("verifying", sum(sizes.values()), work)


def _tell(tell: Callable[[int], None], before: int, done: int) -> None:
    tell(before + done)


def _repaired(cli: Cli, paths: StorePaths, model: StoredModel, damages: list[Damage]) -> bool:
    """Pull a model again; what it lacks then is put back as it was."""
    try:
        with cli.session() as session, set_aside(paths, damages):
            session.run(follow(session.client.pull(model.name.short), sys.stderr))
    except (StoreError, RunError) as error:
        print(f"{model.name.short}: {error}")
        return False
    left = [d for d in damages if check_blob(paths, d.digest, 0, lambda _: None) is not None]
    if not left:
        print(f"{model.name.short}: repaired")
    return not left
