"""Images in a prompt, by llama.cpp's mtmd: from files to embeddings, and these into the cache.

In a sequence's tokens an image is a run of stand-ins: numbers below 0 made from its file's hash. So the same image in
the same place is found again by whatever looks for a common beginning, and two images are never taken for one. There
are as many stand-ins as the image takes positions; with M-RoPE (Qwen2-VL and later) these are fewer than its cells.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import llama_cpp.llama_cpp as c
import llama_cpp.mtmd_cpp as m
import numpy as np
import numpy.typing as npt

from corral.runtime.engine.llama import LoadError, Model
from corral.runtime.engine.llamalog import EngineLog

_KEPT_BYTES: Final = 128 * 1024 * 1024
_WORDS: Final = struct.Struct("<8I")
_FLOATS: Final = ctypes.POINTER(ctypes.c_float)


class Media:
    """A part of an image that is computed in one go. Made on the main thread, computed on the loop's.

    `stand_ins` are its tokens, `cells` how many it fills in the cache, `at_once` says that they must be computed in
    one batch, for they look at each other. `splits` says that its positions are not one after another.
    """

    def __init__(self, projector: Any, chunk: Any, digest: bytes) -> None:
        """Take over a chunk of mtmd's."""
        weakref.finalize(self, m.mtmd_input_chunk_free, chunk)
        self._projector = projector
        self._chunk = chunk
        self._embeddings: npt.NDArray[np.float32] | None = None
        self.cells = int(m.mtmd_input_chunk_get_n_tokens(chunk))
        count = int(m.mtmd_input_chunk_get_n_pos(chunk))
        words = _WORDS.unpack(digest)
        self.stand_ins = [-1 - (words[index % len(words)] >> 2) for index in range(count)]
        self.splits = count != self.cells
        self.at_once = bool(m.mtmd_decode_use_non_causal(projector, chunk))

    def encode(self, width: int) -> None:
        """Compute its embeddings, once. Raises ValueError where llama.cpp fails."""
        if self._embeddings is not None:
            return
        if m.mtmd_encode_chunk(self._projector, self._chunk) != 0:
            raise ValueError("llama.cpp failed to encode an image")
        output = m.mtmd_get_output_embd(self._projector)
        if not output:
            raise ValueError("llama.cpp failed to encode an image")
        self._embeddings = np.ctypeslib.as_array(output, shape=(self.cells, width)).copy()

    @property
    def embeddings(self) -> npt.NDArray[np.float32]:
        """Return a row for each cell; `encode` comes first."""
        assert self._embeddings is not None
        return self._embeddings

    def decode(self, context: Any, slot: int, position: int, num_batch: int) -> int:
        """Compute it into a llama_context's cache from `position` on; returns what `llama_decode` does."""
        end = c.llama_pos(0)
        floats = self.embeddings.ctypes.data_as(_FLOATS)
        silent = m.mtmd_helper_post_decode_callback()
        where = (position, slot, num_batch, ctypes.byref(end))
        code = m.mtmd_helper_decode_image_chunk(self._projector, context, self._chunk, floats, *where, silent, None)
        return int(code)


@dataclass(frozen=True, slots=True)
class Span:
    """Where in a sequence's tokens a part of an image stands."""

    start: int
    media: Media

    @property
    def end(self) -> int:
        """Return where what follows it begins."""
        return self.start + len(self.media.stand_ins)

    def inside(self, length: int) -> bool:
        """Say whether a sequence cut to `length` tokens would have a part of it that is of no use.

        What llama.cpp tells of positions that are not one after another does not say that the end is there.
        """
        return self.start < length < self.end + self.media.splits


Piece = list[int] | Media
"""A part of what stands for an image: the tokens around it, and itself in one or more parts."""


def reads_images(path: str) -> bool:
    """Say whether a projector is for images, and not for sound alone; one that is broken is not known to be so."""
    found = m.mtmd_get_cap_from_file(os.fsencode(path))
    return bool(found.inp_vision or not found.inp_audio)


class Vision:
    """A model's projector; belongs to the runner's main thread."""

    def __init__(self, path: str, model: Model, log: EngineLog, *, use_gpu: bool, num_threads: int) -> None:
        """Read a projector. Raises LoadError."""
        if not os.path.isfile(path):
            raise LoadError(f"projector file {path} does not exist")

        params = m.mtmd_context_params_default()
        params.use_gpu = use_gpu
        params.print_timings = False
        if num_threads > 0:
            params.n_threads = num_threads
        pointer = m.mtmd_init_from_file(os.fsencode(path), model.pointer, params)
        if not pointer:
            raise LoadError(f"the projector does not fit the model: {log.last_errors() or 'llama.cpp refused it'}")
        self._pointer = pointer
        self._width = int(c.llama_model_n_embd_inp(model.pointer))
        self.size_bytes = os.path.getsize(path)
        self._kept: OrderedDict[bytes, list[Piece]] = OrderedDict()

    def read(self, data: bytes, number: int) -> list[Piece]:
        """Return what stands for an image file, the request's image `number`; it is not encoded yet.

        Raises ValueError.
        """
        digest = hashlib.sha256(data).digest()
        pieces = self._kept.pop(digest, None)
        if pieces is None:
            # Pillow is read in beside a load (by `prepare`), not before it.
            from corral.runtime.engine.pictures import read_picture

            pixels = read_picture(data, number)
            pieces = self._pieces(pixels.width, pixels.height, pixels.data, digest)
        self._kept[digest] = pieces
        return pieces

    def encode(self, media: Sequence[Media], most_at_once: int) -> None:
        """Compute the embeddings of what goes into a prompt; `most_at_once` is how many tokens a batch can hold.

        Raises ValueError.
        """
        for one in media:
            if one.at_once and one.cells > most_at_once:
                raise ValueError(
                    f"an image of this model is {one.cells} tokens that are computed at once: "
                    f"num_batch and num_ubatch must be as many"
                )
            one.encode(self._width)
        kept = sum(map(self._size, self._kept.values()))
        while kept > _KEPT_BYTES and len(self._kept) > 1:
            kept -= self._size(self._kept.popitem(last=False)[1])

    def _size(self, pieces: list[Piece]) -> int:
        """Return about how many bytes an image takes: its embeddings, and as much for what they were made of."""
        return sum(2 * 4 * self._width * piece.cells for piece in pieces if isinstance(piece, Media))

    def _pieces(self, width: int, height: int, data: bytes, digest: bytes) -> list[Piece]:
        """Have mtmd cut an image to what its projector reads, with the marks that belong around it."""
        buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
        bitmap = m.mtmd_bitmap_init(width, height, buffer)
        chunks = m.mtmd_input_chunks_init()
        if not bitmap or not chunks:
            raise MemoryError("llama.cpp has no memory for an image")
        try:
            part = m.mtmd_input_part(None, bitmap)
            parts = (ctypes.POINTER(m.mtmd_input_part) * 1)(ctypes.pointer(part))
            if m.mtmd_tokenize_from_parts(self._pointer, chunks, parts, 1, False) != 0:
                raise ValueError("llama.cpp could not prepare an image")
            count = int(m.mtmd_input_chunks_size(chunks))
            return [self._piece(m.mtmd_input_chunks_get(chunks, index), index, digest) for index in range(count)]
        finally:
            m.mtmd_input_chunks_free(chunks)
            m.mtmd_bitmap_free(bitmap)

    def _piece(self, chunk: Any, index: int, digest: bytes) -> Piece:
        if not chunk:
            raise ValueError("llama.cpp could not prepare an image")
        if m.mtmd_input_chunk_get_type(chunk) == m.MTMD_INPUT_CHUNK_TYPE_TEXT:
            count = ctypes.c_size_t(0)
            tokens: Any = m.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
            return list(tokens[: count.value]) if tokens else []
        own = m.mtmd_input_chunk_copy(chunk)
        if not own:
            raise MemoryError("llama.cpp has no memory for an image")
        return Media(self._pointer, own, hashlib.sha256(digest + index.to_bytes(4, "little")).digest())
