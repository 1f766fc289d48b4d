"""The quantizer: `python -m corral.runtime.engine.quantize`, one process for one file.

It reads a `Job` from stdin and writes a `Report` a line to stdout: one for every tensor it begins, one at the end. The
end of the parent ends the process.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from corral.runtime.engine.bindings import import_bindings
from corral.runtime.engine.process import decoding_threads, harden

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from corral.store.gguf import GgufTensor

SUCCESS: Final = 0
_TENSOR: Final = re.compile(r"\[ *\d+/ *\d+\] +(\S+)")
"""How llama.cpp's log begins a tensor (`llama_model_quantize_impl`)."""
_SUMS, _COUNTS = ".in_sum2", ".counts"


class Job(msgspec.Struct, frozen=True):
    """What to make: the file `target` out of `source`, or of all parts of a split whose first one `source` is.

    `file_type` is llama.cpp's `LLAMA_FTYPE`; None copies the tensors as they are. `imatrix` is a file that says how
    much each column of a tensor matters, "" for none.
    """

    source: str
    target: str
    file_type: int | None
    imatrix: str = ""


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far the job is: the tensor that is begun, or `done`, with an `error` where it failed."""

    tensor: str = ""
    done: bool = False
    error: str = ""


class ImportanceError(Exception):
    """A file that is no importance matrix."""


def main() -> None:
    """Do one job."""
    outgoing = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no report
    harden()
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)

    def send(report: Report) -> None:
        try:
            os.write(outgoing, msgspec.json.encode(report) + b"\n")
        except BrokenPipeError:
            os._exit(0)  # the parent is gone

    try:
        error = _quantize(job, send)
    except (ImportanceError, OSError) as failure:
        error = str(failure)
    send(Report(done=True, error=error))


def _quantize(job: Job, send: Any) -> str:
    """Do the job and return what went wrong, "" for nothing."""
    import_bindings()  # after the streams are taken, as it may print
    import llama_cpp.llama_cpp as c

    from corral.runtime.engine.llama import start_backend
    from corral.runtime.engine.llamalog import EngineLog

    class Log(EngineLog):
        def receive(self, level: int, text: str) -> None:
            if match := _TENSOR.match(text):
                send(Report(match[1]))
            super().receive(level, text)

    log = Log()
    backend = start_backend(log)
    params = c.llama_model_quantize_default_params()
    params.nthread = decoding_threads(0)
    params.only_copy = job.file_type is None
    if job.file_type is not None:
        params.ftype = job.file_type
    columns = _importance(Path(job.imatrix)) if job.imatrix else {}
    if columns:
        data = (c.llama_model_imatrix_data * (len(columns) + 1))()  # the last one without a name ends the list
        for entry, (name, values) in zip(data, columns.items(), strict=False):
            entry.name = name.encode()
            entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            entry.size = values.size
        params.imatrix = data
    code = c.llama_model_quantize(os.fsencode(job.source), os.fsencode(job.target), ctypes.byref(params))
    del backend  # llama.cpp calls into it until here
    if code == SUCCESS:
        return ""
    return log.last_errors() or f"llama.cpp's quantizer ended with {code}"


def _importance(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read an importance matrix in GGUF form: for each tensor the mean square of what each column is multiplied with.

    As llama.cpp's `llama-quantize` reads it: sums over counts, and 1 for what no text ever reached.
    """
    import numpy as np

    from corral.store.errors import NotGguf
    from corral.store.gguf import read_header

    try:
        header = read_header(path)
    except NotGguf as error:
        raise ImportanceError(f"the importance matrix cannot be read: {error}") from None
    tensors = {one.name: one for one in header.tensors}
    found = {}
    for name, sums in tensors.items():
        counts = tensors.get(name.removesuffix(_SUMS) + _COUNTS)
        if not name.endswith(_SUMS) or counts is None:
            continue
        rows = _floats(path, counts).reshape(-1, 1)
        if not rows.size or sums.elements % rows.size:
            raise ImportanceError("the importance matrix cannot be read: its counts do not fit its sums")
        values = _floats(path, sums).reshape(rows.size, -1)
        seen = np.where(rows > 0, values / np.where(rows > 0, rows, 1), 1)
        found[name.removesuffix(_SUMS)] = np.ascontiguousarray(seen, np.float32).reshape(-1)
    if not found:
        raise ImportanceError("the importance matrix cannot be read: it has no sums and counts of tensors")
    return found


def _floats(path: Path, tensor: GgufTensor) -> NDArray[np.float32]:
    import numpy as np

    if tensor.type != "F32":
        raise ImportanceError(f"the importance matrix cannot be read: {tensor.name} is {tensor.type}")
    return np.fromfile(path, np.float32, tensor.elements, offset=tensor.offset)


if __name__ == "__main__":
    main()
