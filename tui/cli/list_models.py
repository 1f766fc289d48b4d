"""`corral list [PREFIX]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from corral.tui.cli.human import human_bytes, human_time
from corral.tui.cli.session import Cli
from corral.tui.cli.table import table

if TYPE_CHECKING:
    from corral.runtime.verbs import ModelSummary


def add_flags(parser: argparse.ArgumentParser) -> None:
    """No flags of its own."""


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Print the models on disk."""
    models = cli.models()
    print(describe(models, arguments[0] if arguments else "", datetime.now(UTC)), end="")
    return 0


def describe(models: Sequence[ModelSummary], prefix: str, now: datetime) -> str:
    """The table of those whose names begin with `prefix`, in any case of letters."""
    return table(
        ("NAME", "ID", "SIZE", "MODIFIED"),
        (
            (
                model.name,
                model.digest[:12],
                "-" if model.remote_model else human_bytes(model.size),
                human_time(model.modified_at, now),
            )
            for model in models
            if model.name.casefold().startswith(prefix.casefold())
        ),
    )
