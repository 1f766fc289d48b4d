"""The least a group of prompts with one beginning can take: bare llama.cpp calls in a process of their own.

The beginning is computed once, for all sequences at the same time as what each adds to it; then all are decoded in one
batch. Nothing is scheduled, sent or turned into text.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corral.runtime.engine.process import default_threads

_BATCH = 2048
_UBATCH = 512
_MOST_SEQUENCES = 16


class Floor:
    """The process that calls llama.cpp."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def shared_s(self, shared: str, own: list[str], tokens: int) -> float:
        """Seconds for `tokens` of each answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"shared": shared, "own": own, "tokens": tokens}) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


@contextlib.contextmanager
def floor_process(model: Path, *, num_cells: int) -> Iterator[Floor]:
    """Run the process on a GGUF file, warmed up."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.engine_floor", str(model), str(num_cells)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        floor = Floor(process)
        floor.shared_s("a beginning", [" one", " two"], 4)
        yield floor
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def _measure(model: str, num_cells: int) -> None:
    import llama_cpp.llama_cpp as c

    c.llama_backend_init()
    weights = c.llama_model_load_from_file(model.encode(), c.llama_model_default_params())
    params = c.llama_context_default_params()
    params.n_ctx = num_cells
    params.n_batch, params.n_ubatch = _BATCH, _UBATCH
    params.n_seq_max = _MOST_SEQUENCES
    params.kv_unified = True
    params.n_threads = params.n_threads_batch = default_threads()
    params.no_perf = True
    context = c.llama_init_from_model(weights, params)
    batch = c.llama_batch_init(_BATCH, 0, _MOST_SEQUENCES)
    for line in sys.stdin:
        asked = json.loads(line)
        shared = _tokens(c, weights, asked["shared"])
        own = [_tokens(c, weights, text) for text in asked["own"]]
        c.llama_memory_clear(c.llama_get_memory(context), True)
        began = time.perf_counter()
        _generate(c, context, batch, shared, own, asked["tokens"])
        print(time.perf_counter() - began, flush=True)


def _tokens(c: Any, weights: Any, text: str) -> list[int]:
    data = text.encode()
    room = (c.llama_token * (len(data) + 8))()
    count = c.llama_tokenize(c.llama_model_get_vocab(weights), data, len(data), room, len(room), False, False)
    return list(room[:count])


def _generate(c: Any, context: Any, batch: Any, shared: list[int], own: list[list[int]], tokens: int) -> None:
    everyone = range(len(own))
    batch.n_tokens = 0
    for position, token in enumerate(shared):
        _add(batch, token, position, everyone, output=False)
    indices = []
    for sequence, rest in enumerate(own):
        for offset, token in enumerate(rest):
            _add(batch, token, len(shared) + offset, (sequence,), output=offset == len(rest) - 1)
        indices.append(batch.n_tokens - 1)
    sampler = c.llama_sampler_init_greedy()
    assert c.llama_decode(context, batch) == 0
    for step in range(tokens - 1):
        drawn = [c.llama_sampler_sample(sampler, context, index) for index in indices]
        batch.n_tokens = 0
        for sequence, token in enumerate(drawn):
            _add(batch, token, len(shared) + len(own[sequence]) + step, (sequence,), output=True)
        indices = list(everyone)
        assert c.llama_decode(context, batch) == 0
    for index in indices:
        c.llama_sampler_sample(sampler, context, index)
    c.llama_sampler_free(sampler)


def _add(batch: Any, token: int, position: int, sequences: Any, *, output: bool) -> None:
    index = batch.n_tokens
    batch.token[index], batch.pos[index], batch.logits[index] = token, position, output
    batch.n_seq_id[index] = len(sequences)
    for place, sequence in enumerate(sequences):
        batch.seq_id[index][place] = sequence
    batch.n_tokens = index + 1


if __name__ == "__main__":
    _measure(sys.argv[1], int(sys.argv[2]))
