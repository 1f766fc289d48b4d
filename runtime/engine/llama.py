"""A llama.cpp model: its weights and its vocabulary. Every pointer is checked.

llama.cpp's C API is called here, in `params.py`, `context.py`, `chain.py`, `pooled.py` and `vision.py`, and nowhere
else.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import llama_cpp.llama_cpp as c
import llama_cpp.mtmd_cpp as m

from corral.runtime.engine.llamalog import EngineLog
from corral.runtime.engine.sizes import keeps_whole_window, state_bytes, state_floats

_OVERFLOW: Final = -(2**31)
_VOCAB_DIFFERENCE: Final = 128
_FIRST_COMPARED: Final = 5


class LoadError(Exception):
    """llama.cpp would not load this model; `str(error)` says why in one line."""


class MemoryKind(StrEnum):
    """How a model remembers: that decides where a finished sequence can be cut for reuse."""

    FULL = "full"  # anywhere
    SLIDING = "sliding"  # where the window before the cut is still there
    RECURRENT = "recurrent"  # nowhere: it can only be continued at its end


def start_backend(log: EngineLog) -> object:
    """Initialise llama.cpp with its log going to `log`; keep what is returned for as long as llama.cpp is used."""

    @c.llama_log_callback  # type: ignore[untyped-decorator]
    def receive(level: int, text: bytes, _data: object) -> None:
        log.receive(level, text.decode("utf-8", errors="replace"))

    c.llama_log_set(receive, ctypes.c_void_p(0))
    m.mtmd_helper_log_set(receive, ctypes.c_void_p(0))
    c.llama_backend_init()
    return receive


class Model:
    """Weights and vocabulary. Tokenising is thread-safe in llama.cpp."""

    def __init__(self, path: str, params: Any, log: EngineLog, on_progress: Callable[[float], bool]) -> None:
        """Read a model with a `llama_model_params`; `on_progress` gets 0..1 and says whether to go on.

        Raises LoadError.
        """
        if not os.path.isfile(path):
            raise LoadError(f"model file {path} does not exist")
        progress = c.llama_progress_callback(lambda fraction, _data: on_progress(fraction))
        params.progress_callback = progress
        pointer = c.llama_model_load_from_file(os.fsencode(path), params)
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
        self.ranks = self.pooling == c.LLAMA_POOLING_TYPE_RANK
        self._adapters: list[Any] = []
        self._scales: list[float] = []

    def add_adapter(self, path: str, scale: float, log: EngineLog) -> None:
        """Read a LoRA adapter that all contexts made from now on compute with.

        llama.cpp wants adapters read before the first context is made, and frees them with the model. Raises LoadError.
        """
        if not os.path.isfile(path):
            raise LoadError(f"adapter file {path} does not exist")
        pointer = c.llama_adapter_lora_init(self.pointer, os.fsencode(path))
        if not pointer:
            raise LoadError(f"the adapter does not fit the model: {log.last_errors() or 'llama.cpp refused it'}")
        if c.llama_adapter_get_alora_n_invocation_tokens(pointer) > 0:
            raise LoadError("adapters that wait for a word to be activated (aLoRA) are not supported")
        self._adapters.append(pointer)
        self._scales.append(scale)

    def put_adapters_on(self, context: Any) -> None:
        """Have a context compute with the adapters. Raises LoadError."""
        count = len(self._adapters)
        if not count:
            return
        pointers = (c.llama_adapter_lora_p_ctypes * count)(*self._adapters)
        scales = (ctypes.c_float * count)(*self._scales)
        if c.llama_set_adapters_lora(context, pointers, count, scales) != 0:
            raise LoadError("llama.cpp could not put the adapter on the model")

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

    def rank_template(self) -> str | None:
        """Return the text a reranker wants its {query} and {document} in, None where marks stand around them."""
        raw: bytes | None = c.llama_model_chat_template(self.pointer, b"rerank")
        return raw.decode("utf-8", errors="replace") if raw else None

    def pair_marks(self) -> tuple[list[int], list[int], list[int]]:
        """Return the tokens before, between and after a query and a document.

        [BOS] query [EOS] [SEP] document [EOS], each as far as the vocabulary adds it; SEP stands in for an EOS that is
        not there (llama.cpp's server, `format_prompt_rerank`).
        """
        sep = int(c.llama_vocab_sep(self._vocab))
        eos = int(c.llama_vocab_eos(self._vocab))
        eos = eos if eos >= 0 else sep
        ends = [eos] if c.llama_vocab_get_add_eos(self._vocab) and eos >= 0 else []
        separates = [sep] if c.llama_vocab_get_add_sep(self._vocab) and sep >= 0 else []
        return ([self._bos] if self.begins else [], ends + separates, ends)

    def special_texts(self) -> tuple[str, str]:
        """Return what the beginning and the end of a text look like, "" where the vocabulary has none."""
        tokens = (int(c.llama_vocab_bos(self._vocab)), int(c.llama_vocab_eos(self._vocab)))
        bos, eos = (self.piece(t).decode("utf-8", errors="replace") if t >= 0 else "" for t in tokens)
        return bos, eos

    def infill_texts(self) -> tuple[str, str, str] | None:
        """Return the marks before what comes first, before what comes last, and before what is to be filled in.

        None where the vocabulary does not have all three.
        """
        vocab = self._vocab
        tokens = [int(get(vocab)) for get in (c.llama_vocab_fim_pre, c.llama_vocab_fim_suf, c.llama_vocab_fim_mid)]
        if any(token < 0 for token in tokens):
            return None
        first, last, middle = (self.piece(token).decode("utf-8", errors="replace") for token in tokens)
        return first, last, middle

    def has_mark(self, text: str) -> bool:
        """Say whether a text is one special token."""
        tokens = self._tokenize(text, add_special=False, special=True)
        return len(tokens) == 1 and self.is_mark(tokens[0])

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

    def is_mark(self, token: int) -> bool:
        """Say whether a token is a mark and no text, by the rule of `llguidance.llamacpp.lltokenizer_from_vocab`."""
        attributes = int(c.llama_vocab_get_attr(self._vocab, token))
        if attributes & c.LLAMA_TOKEN_ATTR_CONTROL:
            return True
        piece = self.piece(token)
        is_own = bool(attributes & c.LLAMA_TOKEN_ATTR_USER_DEFINED)
        return is_own and piece.startswith(b"<") and piece.endswith(b">")

    def is_token(self, token: int) -> bool:
        """Say whether the vocabulary has such a token."""
        return 0 <= token < self.num_vocab

    @property
    def state_bytes(self) -> int:
        """Return about how many bytes a sequence's recurrent state takes."""
        width = int(c.llama_model_n_embd(self.pointer))
        return state_bytes(state_floats(lambda key: self._number(key, 0), width), self.num_layers)

    def speaks_like(self, other: Model) -> bool:
        """Say whether another model's tokens mean what this one's do (`common_speculative_are_compatible`).

        A few tokens at the end may be missing on either side; the first ones are special and may be spelled otherwise.
        Walks the vocabulary: 0.1 seconds for 50,000 tokens.
        """
        mine, theirs = self._vocab, other._vocab
        shared = min(self.num_vocab, other.num_vocab)
        return (
            c.llama_vocab_type(mine) == c.llama_vocab_type(theirs)
            and self._bos == other._bos
            and _end_added(mine) == _end_added(theirs)
            and abs(self.num_vocab - other.num_vocab) <= _VOCAB_DIFFERENCE
            and all(
                c.llama_vocab_get_text(mine, token) == c.llama_vocab_get_text(theirs, token)
                for token in range(_FIRST_COMPARED, shared)
            )
        )

    def close(self) -> None:
        """Free the weights; nothing may be asked of the model any more."""
        c.llama_model_free(self.pointer)

    def keeps_whole_window(self, num_cells: int) -> bool:
        """Say whether a sliding-window cache of full size costs little enough to be worth its freedom to be cut.

        Assumes half-precision keys and values in every layer: an upper bound.
        """
        width = int(c.llama_model_n_embd(self.pointer)) // max(1, int(c.llama_model_n_head(self.pointer)))
        per_cell = self.num_layers * int(c.llama_model_n_head_kv(self.pointer)) * width * 2 * 2
        return keeps_whole_window(per_cell, num_cells, self.size_bytes)


def _end_added(vocab: Any) -> int:
    """Return the token a vocabulary puts at a text's end, -1 for none."""
    return int(c.llama_vocab_eos(vocab)) if c.llama_vocab_get_add_eos(vocab) else -1
