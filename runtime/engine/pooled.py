"""A llama.cpp context that turns texts into vectors or scores: many texts a batch, each pooled to one."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from typing import Any, Final

import llama_cpp.llama_cpp as c

from corral.runtime.engine.context import Batch
from corral.runtime.engine.llama import LoadError, Model
from corral.runtime.engine.llamalog import EngineLog
from corral.runtime.engine.params import context_params
from corral.runtime.engine.process import decoding_threads
from corral.runtime.engine.protocol import Load
from corral.runtime.engine.sizes import MOST_TEXTS
from corral.runtime.engine.spinning import spinning_of

_UNPOOLED: Final = (c.LLAMA_POOLING_TYPE_UNSPECIFIED, c.LLAMA_POOLING_TYPE_NONE)


class PooledContext:
    """Computes vectors, pooled as the model says, or as their mean where it says nothing. Belongs to one thread.

    Of a model that ranks, a text's vector is what its classification head says.
    """

    def __init__(self, model: Model, load: Load, log: EngineLog) -> None:
        """Reserve the memory. Raises LoadError."""
        params = context_params(load)
        # A text is computed in one piece, or its pooling would see but a part of it.
        params.n_ctx = params.n_batch = params.n_ubatch = min(load.num_ctx, model.num_ctx_train)
        params.n_seq_max = MOST_TEXTS
        params.embeddings = True
        if model.pooling in _UNPOOLED:
            params.pooling_type = c.LLAMA_POOLING_TYPE_MEAN
        self.pointer = c.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise LoadError(log.last_errors() or "llama.cpp could not reserve the context")
        model.put_adapters_on(self.pointer)
        self._memory = c.llama_get_memory(self.pointer)
        width = c.llama_model_n_cls_out if model.ranks else c.llama_model_n_embd_out
        self._width = int(width(model.pointer))
        self.num_batch = min(int(c.llama_n_ubatch(self.pointer)), int(c.llama_n_ctx(self.pointer)))
        self._batch = Batch(self.num_batch)
        self._spinning = spinning_of(decoding_threads(load.batch_threads or load.num_threads))

    def compute(self, texts: Sequence[Sequence[int]]) -> list[Any] | None:
        """Return a ctypes array of floats for each text, None where llama.cpp fails.

        The texts are tokens, at most `MOST_TEXTS` and at most `num_batch` tokens in all.
        """
        batch = self._batch
        batch.clear()
        for slot, tokens in enumerate(texts):
            batch.add(slot, tokens, 0, output=True, every=True)
        batch.struct.n_tokens = batch.size
        if self._memory:
            c.llama_memory_clear(self._memory, False)
            code = c.llama_decode(self.pointer, batch.struct)
        else:
            code = c.llama_encode(self.pointer, batch.struct)
        if self._spinning is not None:
            self._spinning.observe(time.monotonic_ns())
        if code != 0:
            return None
        found = [c.llama_get_embeddings_seq(self.pointer, slot) for slot in range(len(texts))]
        if not all(found):
            return None
        floats = ctypes.c_float * self._width
        return [floats.from_buffer_copy(ctypes.cast(one, ctypes.POINTER(floats)).contents) for one in found]
