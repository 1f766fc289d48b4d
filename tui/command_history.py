"""Lines that are kept between runs in XDG's state folder: those typed after `:`, servers that were gone to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["CommandHistory"]

_KEPT = 200
_OFF = frozenset({"", "0", "false", "f"})


class CommandHistory:
    """Oldest first. A file that cannot be read or written costs the history, nothing else."""

    def __init__(self, environ: Mapping[str, str], file: str = "commands") -> None:
        home = environ.get("HOME")
        state = environ.get("XDG_STATE_HOME") or (f"{home}/.local/state" if home else "")
        is_off = (environ.get("CORRAL_NOHISTORY") or environ.get("OLLAMA_NOHISTORY") or "").lower() not in _OFF
        self._path = Path(state) / "corral" / file if state and not is_off else None
        self._lines: list[str] | None = None
        self.is_kept = self._path is not None

    def entries(self) -> list[str]:
        """All lines."""
        if self._lines is None:
            self._lines = self._read()
        return self._lines

    def add(self, line: str) -> None:
        """Add a line; one that was there moves to the end."""
        self._lines = [*(one for one in self.entries() if one != line), line][-_KEPT:]
        if self._path is None or not self.is_kept:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path.write_text("".join(f"{one}\n" for one in self._lines), "utf-8")
            self._path.chmod(0o600)
        except OSError:
            self._path = None

    def _read(self) -> list[str]:
        if self._path is None:
            return []
        try:
            return [line for line in self._path.read_text("utf-8", "replace").splitlines() if line][-_KEPT:]
        except OSError:
            return []
