"""A llama.cpp context: the KV cache of all sequences, and the batches that are computed into it."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final

import llama_cpp.llama_cpp as c
import numpy as np
import numpy.typing as npt

from corral.runtime.engine.llama import LoadError, MemoryKind, Model
from corral.runtime.engine.llamalog import EngineLog
from corral.runtime.engine.params import cache_types, context_params
from corral.runtime.engine.process import decoding_threads
from corral.runtime.engine.protocol import Load
from corral.runtime.engine.sizes import SPARE_SEQUENCES, batch_size, slots, spare_states
from corral.runtime.engine.spinning import spinning_of
from corral.runtime.engine.vision import Media

MOST_SEQUENCES: Final = int(c.llama_max_parallel_sequences())
KEPT_CELLS: Final = 256
"""llama.cpp looks at cells in blocks of so many."""

KEPT_WINDOW_CELLS: Final = 1024
"""More of them, for of a sequence with a window only its end can be brought back."""

_logits_at: Final = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)(
    ctypes.cast(c.llama_get_logits_ith, ctypes.c_void_p).value or 0
)
"""`llama_get_logits_ith` as an address, without a pointer object for each token."""

_BYTES: Final = ctypes.POINTER(ctypes.c_uint8)


class Decoded(StrEnum):
    """How a decode ended."""

    OK = "ok"
    NO_CELLS = "no_cells"
    ABORTED = "aborted"
    FAILED = "failed"


class Batch:
    """The tokens of one step, in arrays that are filled again and again; belongs to the loop's thread."""

    def __init__(self, capacity: int) -> None:
        self.size = 0
        # Any: ctypes takes every sequence of integers in a slice assignment, its stubs only lists.
        self._tokens: Any = (ctypes.c_int32 * capacity)()
        self._positions: Any = (ctypes.c_int32 * capacity)()
        self._counts = (ctypes.c_int32 * capacity)(*([1] * capacity))
        self._slots: Any = (ctypes.c_int32 * capacity)()
        self._outputs: Any = (ctypes.c_int8 * capacity)()
        integer = ctypes.POINTER(ctypes.c_int32)
        start = ctypes.addressof(self._slots)
        cells = (ctypes.cast(start + 4 * index, integer) for index in range(capacity))
        self._slot_pointers = (integer * capacity)(*cells)
        self.struct: Any = c.llama_batch(
            0,
            ctypes.cast(self._tokens, integer),
            None,
            ctypes.cast(self._positions, integer),
            ctypes.cast(self._counts, integer),
            ctypes.cast(self._slot_pointers, ctypes.POINTER(integer)),
            ctypes.cast(self._outputs, ctypes.POINTER(ctypes.c_int8)),
        )

    def clear(self) -> None:
        """Empty the batch."""
        self.size = 0

    def add(self, slot: int, tokens: Sequence[int], position: int, *, output: bool, every: bool = False) -> int:
        """Append tokens of a sequence from `position` on; `output` asks for the last one's logits, `every` for all.

        Returns the last one's index in the batch.
        """
        start, count = self.size, len(tokens)
        self.size = end = start + count
        if count == 1:
            self._tokens[start], self._positions[start], self._slots[start] = tokens[0], position, slot
        else:
            self._tokens[start:end] = tokens
            self._positions[start:end] = range(position, position + count)
            self._slots[start:end] = [slot] * count
            self._outputs[start:end] = bytes([every]) * count
        self._outputs[end - 1] = output
        return end - 1


class Context:
    """The KV cache and its computations; belongs to the loop's thread, but for `abort`.

    `llama_ns` adds up how long llama.cpp computed and sampled. `most_kept` is how many cells sequences may fill that
    nobody runs, where each costs every token: attention on a processor looks at all that are in use. None: any number.
    `most_threads` compute it where nobody said how many and no GPU takes part; else 0.
    """

    def __init__(self, model: Model, load: Load, log: EngineLog) -> None:
        """Reserve the memory. Raises LoadError."""
        self._log = log
        self.kind = model.memory_kind
        whole_window = self.kind is MemoryKind.SLIDING and (
            model.keeps_whole_window(load.num_cells) if load.whole_window is None else load.whole_window
        )
        self.copies = self.kind is MemoryKind.FULL or whole_window
        self.copies_whole = self.kind is MemoryKind.RECURRENT
        # A window's old cells are taken by whoever finds them first, in a cache of full size too: what a sequence
        # shared may have to be computed again.
        self.shares = self.kind is MemoryKind.FULL
        spare = SPARE_SEQUENCES if self.copies else 0
        if self.copies_whole:
            spare = min(SPARE_SEQUENCES, spare_states(model.size_bytes, model.state_bytes))
        self.window = model.window
        self.num_slots = min(slots(load.num_sequences, load.num_batch, spare=spare), MOST_SEQUENCES)
        self.pointer = _new_context(model, load, self.num_slots, whole_window, log)
        memory = c.llama_get_memory(self.pointer)
        if not memory:
            raise LoadError("the model keeps no memory of a text; it cannot be used to generate text")
        self._memory = memory
        # Which of the tokens to keep a sliding window still has depends on the other sequences; they'd move unseen.
        self.can_shift = bool(c.llama_memory_can_shift(memory)) and not self.window
        self._shifts = False
        self._num_vocab = model.num_vocab
        self._logits: dict[int, npt.NDArray[np.float32]] = {}  # by address: to make one takes longer than to read it
        self.num_cells = int(c.llama_n_ctx(self.pointer))
        self.num_batch = int(c.llama_n_batch(self.pointer))
        self.num_at_once = int(c.llama_n_ubatch(self.pointer))
        self._abort_flag = ctypes.create_string_buffer(2)
        self._abort_callback = _flag_reader()
        self._set_abort_callback()
        self.llama_ns = 0
        self.most_kept: int | None = None
        if self.copies and log.offloaded_layers == 0:
            self.most_kept = KEPT_CELLS if self.shares else KEPT_WINDOW_CELLS
        told = load.num_threads or load.batch_threads or log.offloaded_layers
        self._num_threads = decoding_threads(load.num_threads)
        self.most_threads = 0 if told else self._num_threads
        self._spinning = spinning_of(self._num_threads)

    def _set_abort_callback(self) -> None:
        c.llama_set_abort_callback(self.pointer, self._abort_callback, ctypes.cast(self._abort_flag, ctypes.c_void_p))

    def use_threads(self, count: int) -> None:
        """Have so many threads compute from now on, of `most_threads`."""
        if count != self._num_threads:
            self._num_threads = count
            c.llama_set_n_threads(self.pointer, count, count)

    def abort(self) -> None:
        """Make the decode that runs, or the next one, end early; may be called from any thread.

        One of a recurrent memory goes on: it moves the states of other sequences too, who would lose them unseen.
        """
        if self.copies_whole:
            return
        self._log.muted = True
        self._abort_flag[0] = b"x"

    def allow(self) -> None:
        """Forget an `abort`."""
        self._abort_flag[0] = b"\0"
        self._log.muted = False

    def decode(self, batch: Batch) -> Decoded:
        """Compute a batch; the interpreter is free meanwhile."""
        batch.struct.n_tokens = batch.size
        return self._timed(lambda: int(c.llama_decode(self.pointer, batch.struct)))

    def decode_media(self, media: Media, slot: int, position: int) -> Decoded:
        """Compute a part of an image; the interpreter is free meanwhile."""
        return self._timed(lambda: media.decode(self.pointer, slot, position, self.num_batch))

    def _timed(self, decode: Callable[[], int]) -> Decoded:
        if self._shifts:
            # llama.cpp turns the moved keys first; broken off in between, some layers would be turned twice.
            c.llama_set_abort_callback(self.pointer, c.ggml_abort_callback(), None)
        began = time.monotonic_ns()
        code = decode()
        ended = time.monotonic_ns()
        self.llama_ns += ended - began
        if self._spinning is not None:
            self._spinning.observe(ended)
        if self._shifts:
            self._shifts = False
            self._set_abort_callback()
        if code == 0:
            return Decoded.OK
        if code == 1:
            return Decoded.NO_CELLS
        return Decoded.ABORTED if code == 2 else Decoded.FAILED

    def logits(self, index: int) -> npt.NDArray[np.float32]:
        """Return the logits of the batch's token `index`, as they stand in llama.cpp: what is written is sampled from.

        They are gone with the next decode. Raises MemoryError where there are none.
        """
        address = _logits_at(self.pointer, index)
        if not address:
            raise MemoryError("llama.cpp has no logits for this token")
        if (logits := self._logits.get(address)) is None:
            floats = ctypes.cast(address, ctypes.POINTER(ctypes.c_float))
            logits = self._logits[address] = np.ctypeslib.as_array(floats, shape=(self._num_vocab,))
        return logits

    def forget(self, slot: int) -> None:
        """Empty a sequence."""
        c.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def cut(self, slot: int, length: int) -> bool:
        """Cut a sequence to its first `length` tokens; False, and the sequence empty, where that cannot be exact."""
        exact = bool(c.llama_memory_seq_rm(self._memory, slot, length, -1)) and self.covers(slot, length)
        if not exact:
            self.forget(slot)
        return exact

    def covers(self, slot: int, length: int) -> bool:
        """Say whether a sequence ends at `length` with all that the token after it may look at."""
        return c.llama_memory_seq_pos_max(self._memory, slot) == length - 1 and self.reaches(slot, length)

    def reaches(self, slot: int, length: int) -> bool:
        """Say whether a sequence of at least `length` tokens has all that the one behind them may look at.

        That is the window with the token itself in it (llama.cpp: `is_masked_swa`).
        """
        if self.kind is MemoryKind.RECURRENT or length == 0:
            return True
        oldest = int(c.llama_memory_seq_pos_min(self._memory, slot))
        return oldest <= max(0, length - self.window + 1) if self.window else oldest == 0

    def shift(self, slot: int, start: int, count: int) -> bool:
        """Drop `count` tokens from `start` on and move what follows there; False where that cannot be done.

        Ask `can_shift` before. Cells that move must not be shared, see `own`. A recurrent memory still knows what was
        dropped.
        """
        if not c.llama_memory_seq_rm(self._memory, slot, start, start + count):
            return False
        c.llama_memory_seq_add(self._memory, slot, start + count, -1, -count)
        self._shifts = True
        return True

    def own(self, slot: int) -> bool:
        """Give a sequence cells that no other shares; False, and it perhaps empty, where there is no room for them."""
        state = self.state(slot)
        if state is None:
            return False
        self.forget(slot)
        return self.restore(slot, state)

    def state_bytes(self, slot: int) -> int:
        """Return how large what the memory holds of a sequence is outside of it."""
        return int(c.llama_state_seq_get_size(self.pointer, slot))

    def state(self, slot: int) -> memoryview | None:
        """Return all that the memory holds of a sequence; None where llama.cpp fails."""
        size = self.state_bytes(slot)
        buffer = np.empty(size, np.uint8)
        written = c.llama_state_seq_get_data(self.pointer, buffer.ctypes.data_as(_BYTES), size, slot)
        return buffer.data if written == size else None

    def restore(self, slot: int, state: bytes | memoryview) -> bool:
        """Give an empty sequence what `state` returned; False, and it empty, where that cannot be taken.

        The bytes must be llama.cpp's own: it does not check all of them.
        """
        buffer = np.frombuffer(state, np.uint8)
        read = c.llama_state_seq_set_data(self.pointer, buffer.ctypes.data_as(_BYTES), buffer.size, slot)
        if read != buffer.size:
            self.forget(slot)
        return bool(read == buffer.size)

    def adopt(self, source: int, target: int, length: int) -> None:
        """Let a sequence share another's first `length` cells instead of cells of its own with the same tokens.

        Only where `shares` says that shared cells stay.
        """
        c.llama_memory_seq_rm(self._memory, target, 0, length)
        c.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def copy(self, source: int, target: int, length: int) -> bool:
        """Let an empty sequence share another's first `length` cells; False, and it empty, where that is not exact.

        `copies` says that any beginning can be copied, `copies_whole` that a sequence can as a whole.
        """
        c.llama_memory_seq_cp(self._memory, source, target, 0, length)
        if self.covers(target, length):
            return True
        self.forget(target)
        return False


def _new_context(model: Model, load: Load, num_slots: int, whole_window: bool, log: EngineLog) -> Any:
    params = context_params(load)
    params.n_ctx = load.num_cells
    params.n_batch = batch_size(load.num_batch, load.num_sequences)
    params.n_ubatch = min(load.micro_batch or params.n_batch, params.n_batch)
    params.n_seq_max = num_slots
    params.swa_full = whole_window
    params.type_k, params.type_v = cache_types(load)
    pointer = c.llama_init_from_model(model.pointer, params)
    if not pointer:
        raise LoadError(log.last_errors() or "llama.cpp could not reserve the context")
    model.put_adapters_on(pointer)
    return pointer


def _flag_reader() -> Any:
    """Return a C function that says whether the bytes it is given begin with anything but NUL.

    ggml asks it for every node of every graph, several hundred times a token; a Python callback would take the
    interpreter lock each time. strlen answers the same question without it.
    """
    libc = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
    return ctypes.cast(libc.strlen, c.ggml_abort_callback)
