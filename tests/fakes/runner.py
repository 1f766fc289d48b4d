"""A runner without a process: loads when the test says so."""

from __future__ import annotations

import asyncio

from corral.runtime.cache_figures import CacheFigures
from corral.runtime.engine import protocol
from corral.runtime.errors import LoadFailed
from corral.runtime.rates import Rate
from corral.runtime.runner import Runner
from corral.runtime.stderr_tail import StderrTail


class FakeRunner(Runner):
    """Counts what happens to it. `may_load` opens the gate of `load`; `refuse` makes the load fail."""

    def __init__(self, clock: float = 0.0, refuse: str = "") -> None:
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.refuse = refuse
        self.closed = 0
        self.exited = asyncio.Event()
        self.loaded = None
        self.load_fraction = 0.0
        self.load_phase = protocol.LoadPhase.START
        self.load_split = (0, 0)
        self.heard_at = 0.0
        self.cells_used = 0
        self.streams_waiting = 0
        self.cache = CacheFigures(lambda: clock)
        self.stderr = StderrTail()
        self.decode_rate = Rate(lambda: clock)
        self.prompt_rate = Rate(lambda: clock)

    @property
    def pid(self) -> int:
        return 4711

    @property
    def alive(self) -> bool:
        return not self.exited.is_set()

    @property
    def running(self) -> int:
        return 0

    def last_words(self) -> str:
        return "last words"

    async def load(self, message: protocol.Load, stall_s: float) -> protocol.Loaded:
        await self.may_load.wait()
        if self.refuse:
            error = LoadFailed(self.refuse)
            error.out_of_memory = "alloc" in self.refuse
            raise error
        self.loaded = protocol.Loaded(
            num_ctx=message.num_ctx,
            num_ctx_train=8192,
            num_cells=message.num_cells,
            num_sequences=message.num_sequences,
            weights_bytes=100,
            kv_bytes=10,
            compute_bytes=1,
            vram_bytes=0,
            gpu_layers=0,
            num_layers=1,
        )
        return self.loaded

    def ping(self) -> None:
        """Nothing that listens is here."""

    async def close(self) -> None:
        self.closed += 1
        self.exited.set()
