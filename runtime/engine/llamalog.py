"""What llama.cpp says while it works: warnings to stderr, sizes while loading, the last errors for a refusal.

The C API has no call for the sizes of its buffers; it only logs them.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from typing import Final

_MIB: Final = 1024 * 1024
_BUFFER: Final = re.compile(r": +(\S+) +(KV|RS|compute|output) buffer size = +([\d.]+) MiB")
_OFFLOADED: Final = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
_OVERRIDDEN: Final = "buffer type overridden to"
_WARN: Final = 3
_ERROR: Final = 4
_CONTINUED: Final = 5


class EngineLog:
    """Receives llama.cpp's log lines, from any thread that holds the interpreter.

    llama.cpp says how many layers GPUs take, of how many, before it reads the first weights; the output counts as one.
    `muted` keeps the complaints about a step we abort ourselves off stderr.
    """

    def __init__(self) -> None:
        self.muted = False
        self.offloaded_layers = 0
        self.offloadable_layers = 0
        self.overridden_tensors = 0
        self._level = 0
        self._line = ""
        self._errors: deque[str] = deque(maxlen=4)
        self._cache_bytes = 0.0
        self._scratch_bytes: dict[tuple[str, str], float] = {}

    @property
    def cache_bytes(self) -> int:
        """Return the size of the KV cache or the recurrent states."""
        return int(self._cache_bytes)

    @property
    def scratch_bytes(self) -> int:
        """Return the size of the compute and output buffers."""
        return int(sum(self._scratch_bytes.values()))

    def last_errors(self) -> str:
        """Return the last errors as one line."""
        return "; ".join(self._errors)

    def receive(self, level: int, text: str) -> None:
        """Take a piece of a line; `level` is ggml's, 5 continues the line before."""
        if level != _CONTINUED:
            self._level = level
        self._line += text
        if self._line.endswith("\n"):
            line, self._line = self._line.strip(), ""
            self._take(line)

    def _take(self, line: str) -> None:
        if "buffer size =" in line:
            self._note_buffer(line)
        elif _OVERRIDDEN in line:
            self.overridden_tensors += 1
        elif match := _OFFLOADED.search(line):
            self.offloaded_layers, self.offloadable_layers = int(match[1]), int(match[2])
        if self._level >= _ERROR and line:
            self._errors.append(line)
        if self._level >= _WARN and not self.muted and line:
            print(line, file=sys.stderr, flush=True)

    def _note_buffer(self, line: str) -> None:
        match = _BUFFER.search(line)
        if not match:
            return
        size = float(match[3]) * _MIB
        if match[2] in ("KV", "RS"):
            self._cache_bytes += size
        else:
            self._scratch_bytes[match[1], match[2]] = size  # said again where it is reserved again
