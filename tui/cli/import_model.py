"""`corral import FILE [MODEL]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from corral.store.archive import import_model, name_of, open_archive
from corral.store.blobs import BlobStore
from corral.store.names import ModelName
from corral.store.paths import StorePaths
from corral.tui.cli.local_job import run_job
from corral.tui.cli.session import Cli


def add_flags(parser: argparse.ArgumentParser) -> None:
    """No flags of its own."""


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Put a model from a file of `corral export` into the model folder, under its own name or another."""
    blobs = BlobStore(StorePaths(cli.settings.models))
    archive = open_archive(Path(arguments[0]).expanduser())
    name = ModelName.parse(arguments[1]) if len(arguments) > 1 else name_of(archive)
    run_job("importing", archive.manifest.size, lambda tell: import_model(blobs, archive, name, tell))
    print(f"imported '{name.short}'")
    return 0
