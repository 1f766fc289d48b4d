"""llama.cpp's workers on other machines: their devices are added to those here, and models are shared among all.

We only ever call workers; to be one is `rpc-server`'s matter, which speaks to whoever reaches it.
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Sequence
from typing import Any, Final

import llama_cpp.llama_cpp as c

from corral.runtime.engine.llama import LoadError

CONNECT_S: Final = 5.0


def add_workers(workers: Sequence[str]) -> None:
    """Register the devices of `workers` (`host:port`); to be called once in a process, before a model is loaded.

    As llama.cpp's common/arg.cpp does (add_rpc_devices). Raises LoadError.
    """
    lib: Any = c._lib  # its dependencies are searched too; another copy of ggml would have another registry
    try:
        by_name, address, register = (
            lib.ggml_backend_reg_by_name,
            lib.ggml_backend_reg_get_proc_address,
            lib.ggml_backend_register,
        )
    except AttributeError:
        raise LoadError(_LACKING) from None
    by_name.argtypes, by_name.restype = [ctypes.c_char_p], ctypes.c_void_p
    address.argtypes, address.restype = [ctypes.c_void_p, ctypes.c_char_p], ctypes.c_void_p
    register.argtypes, register.restype = [ctypes.c_void_p], None
    registry = by_name(b"RPC")
    found = address(registry, b"ggml_backend_rpc_add_server") if registry else None
    if not found:
        raise LoadError(_LACKING)
    add_server = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)(found)
    for worker in workers:
        _check(worker)
        added = add_server(worker.encode())
        if not added:
            raise LoadError(f"the RPC worker {worker} offers no device")
        register(added)


def _check(worker: str) -> None:
    """Make sure that somebody listens: llama.cpp ends the process where nobody does."""
    host, _, port = worker.rpartition(":")
    if not host or not port.isdigit():
        raise LoadError(f"CORRAL_RPC_SERVERS: {worker!r} is not host:port")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise LoadError(f"the RPC worker {worker} does not answer: {error}") from None


_LACKING: Final = (
    "CORRAL_RPC_SERVERS is set, but this build of llama.cpp has no RPC: build llama-cpp-python again with "
    "CMAKE_ARGS=-DGGML_RPC=on"
)
