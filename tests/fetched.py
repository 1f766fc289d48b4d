"""Other people's programs that tests compare with or use: fetched or built once, and kept between runs."""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.conftest import cache_folder


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of that name in the cache, which `make` fills where it is not there yet.

    Test processes side by side wait for the one that makes it.
    """
    folder = cache_folder() / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                    made = Path(scratch) / "made"
                    made.mkdir()
                    make(made)
                    made.replace(folder)
    return folder


def npm_packages(*packages: str) -> Path:
    """Return a folder whose `node_modules` have these packages, given as `name@version`."""

    def install(folder: Path) -> None:
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--fetch-retries=5")
        subprocess.run(["npm", "install", *quiet, "--prefix", str(folder), *packages], check=True, timeout=150)

    return kept(f"npm/{'+'.join(packages).replace('/', '_')}", install)
