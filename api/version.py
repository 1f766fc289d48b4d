"""How the server names itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    PRODUCT = version("corral")
except PackageNotFoundError:  # run from a tree that was never installed
    PRODUCT = "0"

SERVER = f"Corral/{PRODUCT}"

FORWARDED = "X-Corral-Forwarded"
"""A header of requests that a Corral passes on to the engine of one of its models. They are passed on only once."""
