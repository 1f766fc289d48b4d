"""Calls llama.cpp's models, contexts and samplers: small typed wrappers, every pointer checked.

No other file does, but `pooled.py` for contexts that embed.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final

import llama_cpp.llama_cpp as c
import numpy as np
import numpy.typing as npt

from corral.runtime.engine.llamalog import EngineLog
from corral.runtime.engine.process import decoding_threads
from corral.runtime.engine.protocol import Load

KV_TYPES: Final = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}
MOST_SEQUENCES: Final = int(c.llama_max_parallel_sequences())
SPARE_SEQUENCES: Final = 16
"""Sequence ids beyond those that run, for finished conversations; with full attention an id costs nothing."""

_WHOLE_WINDOW_BYTES: Final = 256 * 1024 * 1024
_MIROSTAT_M: Final = 100
_OVERFLOW: Final = -(2**31)


class LoadError(Exception):
    """llama.cpp would not load this model; `str(error)` says why in one line."""


class MemoryKind(StrEnum):
    """How a model remembers: that decides where a finished sequence can be cut for reuse."""

    FULL = "full"  # anywhere
    SLIDING = "sliding"  # where the window before the cut is still there
    RECURRENT = "recurrent"  # nowhere: it can only be continued at its end


class Decoded(StrEnum):
    """How a decode ended."""

    OK = "ok"
    NO_CELLS = "no_cells"
    ABORTED = "aborted"
    FAILED = "failed"


def start_backend(log: EngineLog) -> object:
    """Initialise llama.cpp with its log going to `log`; keep what is returned for as long as llama.cpp is used."""

    @c.llama_log_callback  # type: ignore[untyped-decorator]
    def receive(level: int, text: bytes, _data: object) -> None:
        log.receive(level, text.decode("utf-8", errors="replace"))

    c.llama_log_set(receive, ctypes.c_void_p(0))
    c.llama_backend_init()
    return receive


class Model:
    """Weights and vocabulary. Tokenising is thread-safe in llama.cpp."""

    def __init__(self, load: Load, log: EngineLog, on_progress: Callable[[float], bool]) -> None:
        """Read a model; `on_progress` gets 0..1 and says whether to go on. Raises LoadError."""
        if not os.path.isfile(load.path):
            raise LoadError(f"model file {load.path} does not exist")
        params = c.llama_model_default_params()
        params.n_gpu_layers = load.gpu_layers
        if load.main_gpu is not None:
            params.main_gpu = load.main_gpu
            params.split_mode = c.LLAMA_SPLIT_MODE_NONE
        if load.use_mmap is not None:
            params.load_mode = c.LLAMA_LOAD_MODE_MMAP if load.use_mmap else c.LLAMA_LOAD_MODE_NONE
        progress = c.llama_progress_callback(lambda fraction, _data: on_progress(fraction))
        params.progress_callback = progress
        pointer = c.llama_model_load_from_file(os.fsencode(load.path), params)
        if not pointer:
            raise LoadError(log.last_errors() or "llama.cpp could not load the model")
        self.pointer = pointer
        vocab = c.llama_model_get_vocab(pointer)
        if not vocab or c.llama_vocab_n_tokens(vocab) <= 0:
            raise LoadError("the model has no vocabulary")
        if c.llama_model_has_encoder(pointer) or not c.llama_model_has_decoder(pointer):
            raise LoadError("the model has an encoder; it cannot be used to generate text")
        self.vocab = self._vocab = vocab
        self._pieces: dict[int, bytes] = {}
        self.num_vocab = int(c.llama_vocab_n_tokens(vocab))
        self.num_ctx_train = int(c.llama_model_n_ctx_train(pointer))
        self.num_layers = int(c.llama_model_n_layer(pointer))
        self.window = int(c.llama_model_n_swa(pointer))
        self.size_bytes = int(c.llama_model_size(pointer))
        self._bos = int(c.llama_vocab_bos(vocab)) if c.llama_vocab_get_add_bos(vocab) else -1
        self.begins = self._bos >= 0
        self.first_token = max(0, int(c.llama_vocab_bos(vocab)))
        self.pooling = self._number("pooling_type", c.LLAMA_POOLING_TYPE_UNSPECIFIED)

    @property
    def memory_kind(self) -> MemoryKind:
        """Return how this model remembers, as llama.cpp says."""
        if c.llama_model_is_recurrent(self.pointer) or c.llama_model_is_hybrid(self.pointer):
            return MemoryKind.RECURRENT
        return MemoryKind.SLIDING if self.window > 0 else MemoryKind.FULL

    def chat_template(self) -> str | None:
        """Return the model's own Jinja template."""
        raw: bytes | None = c.llama_model_chat_template(self.pointer, None)
        return raw.decode("utf-8", errors="replace") if raw else None

    def special_texts(self) -> tuple[str, str]:
        """Return what the beginning and the end of a text look like, "" where the vocabulary has none."""
        tokens = (int(c.llama_vocab_bos(self._vocab)), int(c.llama_vocab_eos(self._vocab)))
        bos, eos = (self.piece(t).decode("utf-8", errors="replace") if t >= 0 else "" for t in tokens)
        return bos, eos

    def tokenize(self, text: str, *, begin: bool = True, special: bool = True) -> list[int]:
        """Return a prompt's tokens; with `begin` it starts with BOS once, where one belongs.

        Without `special` what looks like a special token is plain text.
        """
        tokens = self._tokenize(text, add_special=False, special=special)
        if begin and self._bos >= 0 and (not tokens or tokens[0] != self._bos):
            tokens.insert(0, self._bos)
        return tokens

    def tokenize_whole(self, text: str) -> list[int]:
        """Return the tokens of a text by itself, with all the vocabulary puts around one."""
        return self._tokenize(text, add_special=True, special=True)

    def _number(self, key: str, default: int) -> int:
        """Return a number of the model's metadata."""
        buffer = ctypes.create_string_buffer(64)
        if c.llama_model_meta_val_str(self.pointer, b"general.architecture", buffer, 64) < 0:
            return default
        name = buffer.value + b"." + key.encode()
        found = c.llama_model_meta_val_str(self.pointer, name, buffer, 64) >= 0
        return int(buffer.value) if found and buffer.value.isdigit() else default

    def _tokenize(self, text: str, *, add_special: bool, special: bool) -> list[int]:
        data = text.encode("utf-8", errors="replace")
        room = len(data) + 2
        while True:
            buffer = (ctypes.c_int32 * room)()
            count = int(c.llama_tokenize(self._vocab, data, len(data), buffer, room, add_special, special))
            if count >= 0:
                break
            if -count <= room or count == _OVERFLOW:
                raise ValueError("the text cannot be tokenised")
            room = -count  # some vocabularies need more tokens than bytes
        return list(buffer[:count])

    def piece(self, token: int) -> bytes:
        """Return a token's bytes, special ones spelled out."""
        known = self._pieces.get(token)
        if known is not None:
            return known
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = int(c.llama_token_to_piece(self._vocab, token, buffer, room, 0, True))
            if count >= 0:
                break
            room = -count
        return self._pieces.setdefault(token, buffer.raw[:count])

    def end_tokens(self) -> list[int]:
        """Return the tokens that end a generation, the vocabulary's own first."""
        own = int(c.llama_vocab_eos(self._vocab))
        ends = [token for token in range(self.num_vocab) if token != own and self.is_end(token)]
        return [own, *ends] if own >= 0 else ends

    def is_end(self, token: int) -> bool:
        """Say whether a token ends the generation."""
        return bool(c.llama_vocab_is_eog(self._vocab, token))

    def is_token(self, token: int) -> bool:
        """Say whether the vocabulary has such a token."""
        return 0 <= token < self.num_vocab

    def keeps_whole_window(self, num_cells: int) -> bool:
        """Say whether a sliding-window cache of full size costs little enough to be worth its freedom to be cut.

        Assumes half-precision keys and values in every layer: an upper bound.
        """
        width = int(c.llama_model_n_embd(self.pointer)) // max(1, int(c.llama_model_n_head(self.pointer)))
        per_cell = self.num_layers * int(c.llama_model_n_head_kv(self.pointer)) * width * 2 * 2
        return per_cell * num_cells <= max(_WHOLE_WINDOW_BYTES, self.size_bytes // 4)


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
    """The KV cache and its computations; belongs to the loop's thread, but for `abort`."""

    def __init__(self, model: Model, load: Load, log: EngineLog) -> None:
        """Reserve the memory. Raises LoadError."""
        self._log = log
        self.kind = model.memory_kind
        whole_window = self.kind is MemoryKind.SLIDING and (
            model.keeps_whole_window(load.num_cells) if load.whole_window is None else load.whole_window
        )
        roomy = self.kind is MemoryKind.FULL or whole_window
        spare = SPARE_SEQUENCES if roomy else 0
        self.copies = roomy
        self.window = model.window
        self.num_slots = min(load.num_sequences + spare, MOST_SEQUENCES)
        self.pointer = _new_context(model, load, self.num_slots, whole_window, log)
        memory = c.llama_get_memory(self.pointer)
        if not memory:
            raise LoadError("the model keeps no memory of a text; it cannot be used to generate text")
        self._memory = memory
        # Which of the tokens to keep a sliding window still has depends on the other sequences; they'd move unseen.
        self.can_shift = bool(c.llama_memory_can_shift(memory)) and not self.window
        self._shifts = False
        self._num_vocab = model.num_vocab
        self.num_cells = int(c.llama_n_ctx(self.pointer))
        self.num_batch = int(c.llama_n_batch(self.pointer))
        self._abort_flag = ctypes.create_string_buffer(2)
        self._abort_callback = _flag_reader()
        self._set_abort_callback()

    def _set_abort_callback(self) -> None:
        c.llama_set_abort_callback(self.pointer, self._abort_callback, ctypes.cast(self._abort_flag, ctypes.c_void_p))

    def abort(self) -> None:
        """Make the decode that runs, or the next one, end early; may be called from any thread."""
        self._log.muted = True
        self._abort_flag[0] = b"x"

    def allow(self) -> None:
        """Forget an `abort`."""
        self._abort_flag[0] = b"\0"
        self._log.muted = False

    def decode(self, batch: Batch) -> Decoded:
        """Compute a batch; the interpreter is free meanwhile."""
        batch.struct.n_tokens = batch.size
        if self._shifts:
            # llama.cpp turns the moved keys first; broken off in between, some layers would be turned twice.
            c.llama_set_abort_callback(self.pointer, c.ggml_abort_callback(), None)
        code = c.llama_decode(self.pointer, batch.struct)
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
        pointer = c.llama_get_logits_ith(self.pointer, index)
        if not pointer:
            raise MemoryError("llama.cpp has no logits for this token")
        return np.ctypeslib.as_array(pointer, shape=(self._num_vocab,))

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
        if c.llama_memory_seq_pos_max(self._memory, slot) != length - 1:
            return False
        if self.kind is MemoryKind.RECURRENT or length == 0:
            return True
        oldest = int(c.llama_memory_seq_pos_min(self._memory, slot))
        return oldest <= max(0, length - self.window) if self.window else oldest == 0

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
        size = int(c.llama_state_seq_get_size(self.pointer, slot))
        buffer = (ctypes.c_uint8 * size)()
        if c.llama_state_seq_get_data(self.pointer, buffer, size, slot) != size:
            return False
        self.forget(slot)
        return int(c.llama_state_seq_set_data(self.pointer, buffer, size, slot)) == size

    def copy(self, source: int, target: int, length: int) -> bool:
        """Let an empty sequence share another's first `length` cells; False, and it empty, where that is not exact."""
        c.llama_memory_seq_cp(self._memory, source, target, 0, length)
        if self.covers(target, length):
            return True
        self.forget(target)
        return False


class Sampler:
    """A llama.cpp sampler chain, filled link by link; belongs to the loop's thread.

    Making one or adding to it raises MemoryError where llama.cpp returns nothing.
    """

    def __init__(self) -> None:
        self._chain: Any = _checked(c.llama_sampler_chain_init(c.llama_sampler_chain_default_params()))

    def add_penalties(self, num_vocab: int, last_n: int, repeat: float, frequency: float, presence: float) -> None:
        """Make what came up among the last `last_n` tokens less likely."""
        self._add(c.llama_sampler_init_penalties(num_vocab, last_n, repeat, frequency, presence))

    def add_bias(self, num_vocab: int, biases: Sequence[tuple[int, float]]) -> None:
        """Add to the logits of some tokens."""
        pairs = (c.llama_logit_bias * len(biases))(*(c.llama_logit_bias(token, bias) for token, bias in biases))
        self._add(c.llama_sampler_init_logit_bias(num_vocab, len(biases), pairs))

    def add_dry(
        self, model: Model, multiplier: float, base: float, allowed: int, last_n: int, breakers: Sequence[str]
    ) -> None:
        """Make going on with a repetition longer than `allowed` tokens less likely; no repetition spans a breaker.

        Walks the vocabulary for every breaker: 3 ms each for 50,000 tokens.
        """
        texts = (ctypes.c_char_p * max(1, len(breakers)))(*(one.encode(errors="replace") for one in breakers))
        self._add(c.llama_sampler_init_dry(model.vocab, multiplier, base, allowed, last_n, texts, len(breakers)))

    def add_top_n_sigma(self, n: float) -> None:
        """Keep the tokens whose logits are within `n` standard deviations of the highest."""
        self._add(c.llama_sampler_init_top_n_sigma(n))

    def add_xtc(self, probability: float, threshold: float, seed: int) -> None:
        """Now and then take out all but the least likely of the tokens likelier than `threshold`."""
        self._add(c.llama_sampler_init_xtc(probability, threshold, 1, seed))

    def add_dynamic_temperature(self, temperature: float, spread: float, exponent: float) -> None:
        """Sharpen or flatten the distribution by how even it is."""
        self._add(c.llama_sampler_init_temp_ext(temperature, spread, exponent))

    def add_mirostat(self, version: int, num_vocab: int, seed: int, tau: float, eta: float) -> None:
        """Draw so that the surprise stays near `tau`."""
        if version == 1:
            self._add(c.llama_sampler_init_mirostat(num_vocab, seed, tau, eta, _MIROSTAT_M))
        else:
            self._add(c.llama_sampler_init_mirostat_v2(seed, tau, eta))

    def add_top_k(self, k: int) -> None:
        """Keep the `k` likeliest tokens."""
        self._add(c.llama_sampler_init_top_k(k))

    def add_typical(self, p: float) -> None:
        """Keep the tokens of typical surprise whose probabilities make `p`."""
        self._add(c.llama_sampler_init_typical(p, 1))

    def add_top_p(self, p: float) -> None:
        """Keep the likeliest tokens whose probabilities make `p`."""
        self._add(c.llama_sampler_init_top_p(p, 1))

    def add_min_p(self, p: float) -> None:
        """Keep the tokens at least `p` times as likely as the likeliest."""
        self._add(c.llama_sampler_init_min_p(p, 1))

    def add_temperature(self, temperature: float) -> None:
        """Sharpen or flatten the distribution."""
        self._add(c.llama_sampler_init_temp(temperature))

    def add_draw(self, seed: int) -> None:
        """Draw from the distribution; the unsigned 32-bit -1 has llama.cpp pick a seed."""
        self._add(c.llama_sampler_init_dist(seed))

    def add_greedy(self) -> None:
        """Take the likeliest token."""
        self._add(c.llama_sampler_init_greedy())

    def _add(self, link: Any) -> None:
        c.llama_sampler_chain_add(self._chain, _checked(link))  # which then owns it

    def sample(self, context: Context, index: int) -> int:
        """Draw a token from the logits of the batch's token `index` and remember it."""
        return int(c.llama_sampler_sample(self._chain, context.pointer, index))

    def accept(self, token: int) -> None:
        """Let the penalties know of a token that was not drawn here."""
        c.llama_sampler_accept(self._chain, token)

    def close(self) -> None:
        """Free the chain."""
        chain, self._chain = self._chain, None
        if chain:
            c.llama_sampler_free(chain)


def _checked(pointer: Any) -> Any:
    if not pointer:
        raise MemoryError("llama.cpp made no sampler")
    return pointer


def _new_context(model: Model, load: Load, num_slots: int, whole_window: bool, log: EngineLog) -> Any:
    params = c.llama_context_default_params()
    params.n_ctx = load.num_cells
    params.n_batch = params.n_ubatch = max(32, load.num_batch, load.num_sequences)
    params.n_seq_max = num_slots
    params.kv_unified = True
    params.swa_full = whole_window
    params.n_threads = params.n_threads_batch = decoding_threads(load.num_threads)
    if load.flash_attention is not None:
        wanted = load.flash_attention
        params.flash_attn_type = c.LLAMA_FLASH_ATTN_TYPE_ENABLED if wanted else c.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if load.kv_type not in KV_TYPES:
        raise LoadError(f"unknown type {load.kv_type!r} for the KV cache")
    params.type_k = params.type_v = KV_TYPES[load.kv_type]
    params.no_perf = True
    pointer = c.llama_init_from_model(model.pointer, params)
    if not pointer:
        raise LoadError(log.last_errors() or "llama.cpp could not reserve the context")
    return pointer


def _flag_reader() -> Any:
    """Return a C function that says whether the bytes it is given begin with anything but NUL.

    ggml asks it for every node of every graph, several hundred times a token; a Python callback would take the
    interpreter lock each time. strlen answers the same question without it.
    """
    libc = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
    return ctypes.cast(libc.strlen, c.ggml_abort_callback)
