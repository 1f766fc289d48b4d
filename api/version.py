"""How the server names itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

OLLAMA_LEVEL = "0.33.0"
"""The version of Ollama whose API this is; clients compare it with what they need (spec appendix A)."""

try:
    PRODUCT = version("corral")
except PackageNotFoundError:  # run from a tree that was never installed
    PRODUCT = "0"

SERVER = f"Corral/{PRODUCT}"
