"""What the names of GGUF files say: the quantization, and which part of a split model a file is."""

from __future__ import annotations

import re
from typing import NamedTuple

#: `-00001-of-00003` before the suffix, as llama.cpp's `llama_split_path` writes it.
_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\Z")
_QUANT = re.compile(
    r"(?:^|[-_.])(?P<quant>(?:UD-)?(?:I?Q\d\w*|BF16|F16|FP16|F32|FP32|MXFP4\w*|TQ\d\w*))\Z", re.IGNORECASE
)
_PREFERRED = (
    *("Q4_K_M", "UD-Q4_K_XL", "Q4_K_XL", "Q4_K_L", "Q4_K_S", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_1", "MXFP4"),
    *("Q5_K_M", "Q5_K_S", "Q5_0", "Q5_1", "Q6_K", "Q8_0", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "BF16", "F16", "F32"),
)
_PROJECTORS = ("F16", "BF16", "F32", "Q8_0")


class FileName(NamedTuple):
    """A name taken apart: `stem` without suffix, part and quantization; `quant` in capitals, "" where none is named."""

    stem: str
    quant: str
    part: int = 1
    parts: int = 1


def is_gguf(name: str) -> bool:
    """Whether a file's name says that it is GGUF."""
    return name.lower().endswith(".gguf")


def take_apart(name: str) -> FileName:
    """Read the name of a GGUF file, without its folder."""
    stem, part, parts = name[: -len(".gguf")] if is_gguf(name) else name, 1, 1
    if found := _PART.match(stem):
        stem, part, parts = found["stem"], int(found["number"]), int(found["count"])
    quant = ""
    if found := _QUANT.search(stem):
        stem, quant = stem[: found.start()], found["quant"].upper()
    return FileName(stem, quant, part, parts)


def is_projector_name(name: str) -> bool:
    """Whether a file's name says that it makes images into what a model reads."""
    return "mmproj" in name.lower()


def preference(quant: str) -> int:
    """Where a quantization stands when none is asked for: the lowest is taken. Hugging Face takes Q4_K_M first too."""
    return _PREFERRED.index(quant) if quant in _PREFERRED else len(_PREFERRED)


def projector_preference(quant: str) -> int:
    """Where a projector's precision stands when none is asked for: the lowest is taken."""
    return _PROJECTORS.index(quant) if quant in _PROJECTORS else len(_PROJECTORS)
