"""The devices llama.cpp was built for, asked of ggml itself: names, free memory, the kinds of memory they offer."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from pathlib import Path

import llama_cpp.llama_cpp as c

_GPU, _INTEGRATED = 1, 2
_NAMES = {"linux": "lib{}.so", "darwin": "lib{}.dylib", "win32": "{}.dll"}


def _open(name: str) -> ctypes.CDLL | None:
    folder = Path(c.__file__).parent / "lib"
    for pattern in (_NAMES.get(sys.platform, "lib{}.so"), "lib{}.so", "lib{}.dll"):
        path = folder / pattern.format(name)
        if path.exists():
            return ctypes.CDLL(str(path))
    return None


class Devices:
    """The graphics devices; empty where the build has none or ggml cannot be asked."""

    def __init__(self) -> None:
        self._base = _open("ggml-base")
        self._handles: list[int] = []
        self._discrete: list[int] = []
        self._buffer_types: dict[str, int] = {}
        registry = _open("ggml")
        if self._base is None or registry is None:
            return
        try:
            self._bind(registry)
        except AttributeError:
            self._handles, self._discrete, self._buffer_types = [], [], {}

    def _bind(self, registry: ctypes.CDLL) -> None:
        base = self._base
        assert base is not None
        registry.ggml_backend_dev_count.restype = ctypes.c_size_t
        registry.ggml_backend_dev_get.restype = ctypes.c_void_p
        registry.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
        base.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
        base.ggml_backend_dev_description.argtypes = [ctypes.c_void_p]
        base.ggml_backend_dev_description.restype = ctypes.c_char_p
        size = ctypes.POINTER(ctypes.c_size_t)
        base.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, size, size]
        base.ggml_backend_dev_memory.restype = None
        base.ggml_backend_dev_buffer_type.argtypes = [ctypes.c_void_p]
        base.ggml_backend_dev_buffer_type.restype = ctypes.c_void_p
        base.ggml_backend_buft_name.argtypes = [ctypes.c_void_p]
        base.ggml_backend_buft_name.restype = ctypes.c_char_p
        for index in range(registry.ggml_backend_dev_count()):
            handle = registry.ggml_backend_dev_get(index)
            if not handle:
                continue
            kind = base.ggml_backend_dev_type(handle)
            if kind in (_GPU, _INTEGRATED):
                self._handles.append(handle)
            if kind == _GPU:
                self._discrete.append(handle)
            if buffer_type := base.ggml_backend_dev_buffer_type(handle):
                self._buffer_types[(base.ggml_backend_buft_name(buffer_type) or b"").decode(errors="replace")] = (
                    buffer_type
                )

    @property
    def buffer_types(self) -> Mapping[str, int]:
        """Return the devices' own kinds of memory by their names (`CPU`, `CUDA0`), as llama-server's `-ot` has them."""
        return self._buffer_types

    def names(self) -> list[str]:
        """Return what each device calls itself."""
        base = self._base
        if base is None:
            return []
        return [(base.ggml_backend_dev_description(h) or b"").decode(errors="replace") for h in self._handles]

    def free_bytes(self) -> int:
        """Return the free memory of all devices together; 0 without any."""
        return sum(map(self._free, self._handles))

    def free_each(self) -> list[int]:
        """Return the free memory of each device llama.cpp shares a model among: integrated ones only where alone."""
        return [self._free(handle) for handle in self._discrete or self._handles[:1]]

    def _free(self, handle: int) -> int:
        free, whole = ctypes.c_size_t(), ctypes.c_size_t()
        assert self._base is not None
        self._base.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(whole))
        return free.value
