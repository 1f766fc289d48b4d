"""`corral ps [PREFIX]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from corral.tui.cli.human import human_bytes, human_time
from corral.tui.cli.session import Cli
from corral.tui.cli.table import table

if TYPE_CHECKING:
    from corral.runtime.verbs import LoadedModel


def add_flags(parser: argparse.ArgumentParser) -> None:
    """No flags of its own."""


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Print the models in memory."""
    with cli.session() as session:
        models = session.run(session.client.loaded())
    print(describe(models, arguments[0] if arguments else "", datetime.now(UTC)), end="")
    return 0


def describe(models: Sequence[LoadedModel], prefix: str, now: datetime) -> str:
    """The table of those whose names begin with `prefix`, in any case of letters."""
    return table(
        ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"),
        (
            (
                model.name,
                model.digest[:12],
                human_bytes(model.size),
                elsewhere(model) if model.remote_host else processor(model.size, model.size_vram),
                str(model.context_length),
                _until(model.expires_at, now),
            )
            for model in models
            if model.name.casefold().startswith(prefix.casefold())
        ),
    )


def elsewhere(model: LoadedModel) -> str:
    """On which servers a model runs, what is wrong with them, and for how many requests."""
    hosts = [f"{host.url} {host.ill}".strip() for host in model.hosts]
    count = f"{model.requests} request{'' if model.requests == 1 else 's'}"
    return f"{', '.join(hosts)} ({count})"


def processor(size: int, size_vram: int) -> str:
    """Where a model lies: `100% CPU`, `100% GPU`, `48%/52% CPU/GPU`."""
    if size_vram == 0:
        return "100% CPU"
    if size_vram == size:
        return "100% GPU"
    if size_vram > size or size == 0:
        return "Unknown"
    on_cpu = int((size - size_vram) / size * 100 + 0.5)
    return f"{on_cpu}%/{100 - on_cpu}% CPU/GPU"


def _until(expires_at: datetime | None, now: datetime) -> str:
    if expires_at is None:
        return "Forever"
    return "Stopping..." if expires_at < now else human_time(expires_at, now)
