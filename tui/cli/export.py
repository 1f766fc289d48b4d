"""`corral export MODEL FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from corral.store.archive import export_model
from corral.store.blobs import BlobStore
from corral.store.catalog import Catalog
from corral.store.names import ModelName
from corral.store.paths import StorePaths
from corral.tui.cli.errors import CommandError
from corral.tui.cli.human import human_bytes
from corral.tui.cli.local_job import run_job
from corral.tui.cli.session import Cli


def add_flags(parser: argparse.ArgumentParser) -> None:
    """No flags of its own."""


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Write a model with all its parts to one file, to be read by `corral import` elsewhere."""
    blobs = BlobStore(StorePaths(cli.settings.models))
    model = Catalog(blobs.paths, blobs).find(ModelName.parse(arguments[0]))
    target = Path(arguments[1]).expanduser().absolute()
    if target.is_dir() or not target.parent.is_dir():
        raise CommandError(f"{arguments[1]} cannot be written: name a file in a folder that is there")
    size = run_job("exporting", model.size, lambda tell: export_model(blobs, model.name, target, tell))
    print(f"exported '{model.name.short}' to {arguments[1]} ({human_bytes(size)})")
    return 0
