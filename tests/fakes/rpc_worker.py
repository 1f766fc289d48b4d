"""llama.cpp's RPC worker on the processor of this machine, out of a llama-cpp-python that was built with RPC.

`python -m tests.fakes.rpc_worker BUILD PORT`; packages have no `rpc-server`, but the library that it is made of.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

_CPU = 0
_THREADS = 1


def serve(build: Path, port: int) -> None:
    """Be a worker until this process is ended. Takes whoever connects, one after the other."""
    libraries = build / "llama_cpp" / "lib"
    base, ggml, rpc = (ctypes.CDLL(str(libraries / f"lib{name}.so")) for name in ("ggml-base", "ggml", "ggml-rpc"))
    ggml.ggml_backend_dev_by_type.argtypes, ggml.ggml_backend_dev_by_type.restype = [ctypes.c_int], ctypes.c_void_p
    base.ggml_backend_dev_name.argtypes, base.ggml_backend_dev_name.restype = [ctypes.c_void_p], ctypes.c_char_p
    start = rpc.ggml_backend_rpc_start_server
    devices = ctypes.POINTER(ctypes.c_void_p)
    start.argtypes, start.restype = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, devices], None
    device = ctypes.c_void_p(ggml.ggml_backend_dev_by_type(_CPU))
    assert base.ggml_backend_dev_name(device) == b"CPU"
    start(f"127.0.0.1:{port}".encode(), None, _THREADS, 1, ctypes.byref(device))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
