"""From safetensors to GGUF, without PyTorch: the files of a Hugging Face folder in, one file that llama.cpp loads out.

Importing it loads the `gguf` package, so callers do that when they convert and not before.
"""

from corral.store.convert.adapter import convert_adapter
from corral.store.convert.checkpoint import files_of
from corral.store.convert.conversion import Converted, check, convert
from corral.store.convert.stream import FloatType

__all__ = ["Converted", "FloatType", "check", "convert", "convert_adapter", "files_of"]
