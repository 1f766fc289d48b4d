"""What the loop believes of its memory is what is there, whatever happens and in whatever order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import cast

import llama_cpp.llama_cpp as c
import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from corral.runtime.engine import admission, parked
from corral.runtime.engine import context as engine_context
from corral.runtime.engine.context import Batch, Context, Decoded
from corral.runtime.engine.devices import Devices
from corral.runtime.engine.llama import MemoryKind, Model, start_backend
from corral.runtime.engine.llamalog import EngineLog
from corral.runtime.engine.params import ModelParams
from corral.runtime.engine.protocol import Load
from corral.runtime.engine.sequence import Sequence
from tests.fakes.memory import FakeMemory
from tests.unit.runtime.tiny_models import write_tiny
from tests.unit.runtime.walk import END, NUM_CELLS, NUM_CTX, NUM_SEQUENCES, Walk


@pytest.fixture
def small_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make what is worth waiting for, keeping and writing as small as the memory of a walk."""
    for name, tokens in (("WAITING", 4), ("KEEPING", 6)):
        monkeypatch.setattr(admission, f"_WORTH_{name}", tokens)
    monkeypatch.setattr(parked, "_WORTH_WRITING", 12)
    monkeypatch.setattr(engine_context, "KEPT_CELLS", 30)
    monkeypatch.setattr(engine_context, "KEPT_WINDOW_CELLS", 60)
    monkeypatch.setattr(admission, "affordable_bytes", lambda: PARKED_BYTES)
    monkeypatch.setattr(admission, "_BEFORE_THE_END", 3)


PARKED_BYTES = 20_000

KINDS = ["full", "whole window", "cut window", "recurrent", "hybrid"]
FAKE_WALKS, FAKE_STEPS = 8, 500


class FakeModel:
    """A vocabulary in which all tokens look alike."""

    def is_end(self, token: int) -> bool:
        return token == END

    def piece(self, _token: int) -> bytes:
        return b"a"


class SeenMemory(FakeMemory):
    """Says what it holds."""

    def cells_in_use(self) -> int:
        return self.used

    def check(self, slot: int, tokens: list[int], *, exact: bool) -> None:
        assert self.length(slot) == len(tokens)
        assert self.is_in_order(slot)
        assert not exact or self.holds(slot, tokens)


def fake_walk(kind: str, seed: int) -> Walk:
    chance = Random(seed)
    memory = SeenMemory(kind, chance.choice(NUM_CELLS), NUM_SEQUENCES, chance.choice((0, 1, 2, 6)), chance)
    memory.most_kept = {"full": 30, "whole window": 60}.get(kind)
    walk = Walk(cast(Model, FakeModel()), cast(Context, memory), memory, chance)

    def break_off() -> None:
        memory.next_outcome = chance.choice((Decoded.ABORTED, Decoded.ABORTED, Decoded.FAILED))
        if memory.copies_whole:
            memory.next_outcome = Decoded.FAILED  # its steps are never broken off

    walk.break_off = break_off
    return walk


@pytest.mark.usefixtures("small_thresholds")
@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_whose_cells_can_be_seen_agrees_with_the_tree(kind: str) -> None:
    seen: Counter[str] = Counter()
    for seed in range(FAKE_WALKS):
        walk = fake_walk(kind, seed)
        for _ in range(FAKE_STEPS):
            walk.step()
        seen.update(walk.seen)
    assert seen["reused"] > seen["started"] // 4
    assert all(seen[what] for what in ("finished", "refused", "shifted", "fetched"))


MEMORIES = [("full", None), ("sliding", True), ("sliding", False), ("recurrent", None), ("hybrid", None)]
REAL_STEPS = 2000
REAL_CELLS = 256
COMPARE_EVERY = 5
NOISE = 5e-3
"""How far logits of the same text may lie apart. Other batches and other cells round otherwise: by up to 0.00002, and
0.0015 where norms of nearly nothing are scaled up (gemma3). A token too many or too few in view makes 0.1 and more."""


class SeenContext(Context):
    """Says what llama.cpp holds, and fails where it has no cell for what was promised one."""

    def cells_in_use(self) -> None:
        """llama.cpp does not say."""

    def check(self, slot: int, tokens: list[int], *, exact: bool) -> None:
        assert c.llama_memory_seq_pos_max(self._memory, slot) == len(tokens) - 1
        oldest = c.llama_memory_seq_pos_min(self._memory, slot)
        if not tokens:
            assert oldest == -1
        elif self.kind is not MemoryKind.RECURRENT:
            assert oldest <= (max(0, len(tokens) - self.window + 1) if self.window else 0)

    def decode(self, batch: Batch) -> Decoded:
        outcome = super().decode(batch)
        assert outcome in {Decoded.OK, Decoded.ABORTED}
        return outcome


class Reference:
    """Computes texts alone, from their first token on."""

    def __init__(self, model: Model, load: Load, log: EngineLog) -> None:
        self._context = Context(model, load, log)
        self._batch = Batch(self._context.num_batch)

    def logits(self, tokens: list[int]) -> npt.NDArray[np.float32]:
        self._context.forget(0)
        self._batch.clear()
        index = self._batch.add(0, tokens, 0, output=True)
        assert self._context.decode(self._batch) is Decoded.OK
        return self._context.logits(index).copy()


def real_walk(folder: Path, log: EngineLog, kind: str, whole: bool | None, seed: int) -> Walk:
    load = Load(
        path=str(write_tiny(folder / "tiny.gguf", kind)),
        num_ctx=NUM_CTX,
        num_cells=REAL_CELLS,
        num_sequences=NUM_SEQUENCES,
        num_batch=64,
        num_threads=1,
        kv_type="f32",
        flash_attention=False,
        whole_window=whole,
    )
    model = Model(load.path, ModelParams(load, Devices()).struct, log, lambda _fraction: True)
    context = SeenContext(model, load, log)
    walk = Walk(model, context, context, Random(seed))
    reference = Reference(
        model, msgspec.structs.replace(load, num_sequences=1, num_batch=NUM_CTX, whole_window=True), log
    )

    def compare(sequence: Sequence, index: int) -> None:
        if walk.seen["drawn"] % COMPARE_EVERY == 0 and not sequence.shifted:
            expected = reference.logits(sequence.tokens)
            np.testing.assert_allclose(context.logits(index), expected, atol=NOISE, rtol=0)
            walk.seen["compared"] += 1

    walk.on_draw = compare
    walk.break_off = context.abort
    return walk


_BACKENDS: list[object] = []
"""llama.cpp logs through these for as long as this process lives."""


@pytest.fixture(scope="module")
def log() -> EngineLog:
    log = EngineLog()
    _BACKENDS.append(start_backend(log))
    return log


@pytest.mark.usefixtures("small_thresholds")
@pytest.mark.parametrize(("kind", "whole"), MEMORIES)
def test_llama_cpps_memory_agrees_with_the_tree(
    tmp_path: Path, log: EngineLog, monkeypatch: pytest.MonkeyPatch, kind: str, whole: bool | None
) -> None:
    monkeypatch.setattr(engine_context, "SPARE_SEQUENCES", 6)
    walk = real_walk(tmp_path, log, kind, whole, 1)
    for _ in range(REAL_STEPS):
        walk.step()
    assert walk.seen["reused"] > walk.seen["started"] // 4
    assert walk.seen["compared"] > REAL_STEPS // 4
    assert all(walk.seen[what] for what in ("finished", "shifted", "fetched"))
