"""`corral --version`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from corral.runtime.settings import load
from corral.tui.cli.probe import answers

_CONNECT_S = 0.1


def print_version(environ: Mapping[str, str]) -> int:
    """Print the version, and before it a warning where no server answers at once.

    Ollama also compares the server's version with its own. Ours reports Ollama's number (`0.33.0`), for clients that
    ask how old it is, so there is nothing to compare.
    """
    settings = load(environ, Path(environ.get("HOME") or Path.home()))
    if not answers(settings.base_url, _CONNECT_S):
        print("Warning: could not connect to a running Corral instance")
    try:
        number = version("corral")
    except PackageNotFoundError:
        number = "0.0.0"
    print(f"corral version is {number}")
    return 0
