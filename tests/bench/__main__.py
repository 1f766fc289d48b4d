"""`make bench`: measures, and prints each figure beside its goal. Nothing here is asserted.

Ratios compare two things measured in turns in the same run, because machines differ and change under load.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.bench.api import api_figures
from tests.bench.conversion import conversion_figures
from tests.bench.crowded import crowded_figures
from tests.bench.engine_load import load_figures
from tests.bench.engine_loop import loop_figures
from tests.bench.engine_prompts import chat_figures, first_token_figures, shared_prompt_figures
from tests.bench.engine_rounding import rounding_figures
from tests.bench.engine_speed import (
    many_streams_figures,
    one_stream_figures,
    schema_figures,
    speculation_figures,
)
from tests.bench.engine_stall import stall_figures
from tests.bench.engine_texts import embedding_figures
from tests.bench.figures import Figure
from tests.bench.prompt_rendering import rendering_figures
from tests.bench.remote import remote_figures
from tests.bench.scheduling import scheduler_figures
from tests.bench.screen import clients_figures, screen_figures
from tests.bench.startup import startup_figures
from tests.bench.store import store_figures
from tests.bench.threads import threads_figures
from tests.bench.workbench import workbench_figures
from tests.conftest import fetched_starter, store_with_starter

GROUPS: tuple[Callable[[Path, Path], Iterator[Figure]], ...] = (
    startup_figures,
    workbench_figures,
    screen_figures,
    clients_figures,
    threads_figures,
    one_stream_figures,
    many_streams_figures,
    crowded_figures,
    first_token_figures,
    shared_prompt_figures,
    chat_figures,
    stall_figures,
    schema_figures,
    speculation_figures,
    embedding_figures,
    load_figures,
    loop_figures,
    rounding_figures,
    conversion_figures,
    api_figures,
    remote_figures,
    scheduler_figures,
    rendering_figures,
    store_figures,
)


def main() -> int:
    """Measure everything, or the groups whose names are given; a group that fails leaves the others their figures."""
    names = sys.argv[1:]
    target = os.environ.get("CORRAL_BENCH_JSON")
    print(
        f"{platform.machine()} · {psutil.cpu_count()} cores · Python {platform.python_version()} · {os.uname().release}"
    )
    print(f"{'':58}{'median':>12}{'lowest':>12}{'highest':>12}   goal")
    found: list[dict[str, object]] = []
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        store, home = Path(scratch) / "models", Path(scratch) / "home"
        home.mkdir()
        store_with_starter(fetched_starter(), store)
        for group in GROUPS:
            if names and not any(name in group.__name__ for name in names):
                continue
            name = group.__name__.removesuffix("_figures")
            began = time.monotonic()
            try:
                for figure in group(store, home):
                    print(figure.line(), flush=True)
                    found.append(figure.record())
            except Exception:
                traceback.print_exc()
                failed.append(name)
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            if target:
                Path(target).write_text(json.dumps(found, indent=1) + "\n")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
