"""The log of `corral serve`: one line an event on standard error, as logfmt or JSON. Never waited for.

What a line is about goes into `extra={"fields": {...}}`; both forms write it as fields beside time, level and message.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import re
import sys
import threading
from collections.abc import Generator
from datetime import UTC, datetime
from typing import TextIO

from corral.runtime.settings import Settings

_KEPT_LINES = 10_000
_LAST_LINES_S = 1.0
_PLAIN = re.compile(r"[^\s\"=\x00-\x1f\x7f-\x9f]+")


def level_of(debug: int) -> int:
    """Return the level that `OLLAMA_DEBUG` means: 0 info, 1 debug, 2 trace, -1 warnings, -2 errors (spec e)."""
    if debug >= 2:
        return 1
    return {1: logging.DEBUG, 0: logging.INFO, -1: logging.WARNING}.get(debug, logging.ERROR)


class LineFormatter(logging.Formatter):
    """Writes a record as one line of logfmt or of JSON. What a stranger sent can neither break a line nor colour it."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._as_json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        if self._as_json:
            return json.dumps(fields, default=str)
        return " ".join(f"{name}={_value(value)}" for name, value in fields.items())


def _value(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


class DetachedHandler(logging.Handler):
    """Writes lines from a thread of its own: a reader of standard error who stops reading must not stop the server.

    More than `_KEPT_LINES` that nobody reads are dropped.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(_KEPT_LINES)
        self._thread = threading.Thread(target=self._write, name="corral-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line over."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(self.format(record))

    def close(self) -> None:
        """Write what is left, if it can be written soon."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(_LAST_LINES_S)
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # a closed terminal is no reason to end
                self._stream.write(line + "\n")
                self._stream.flush()


@contextlib.contextmanager
def logging_to(settings: Settings, stream: TextIO | None = None) -> Generator[None, None, None]:
    """Write our log to a stream (standard error) as the settings say, until the end of the block."""
    log = logging.getLogger("corral")
    handler = DetachedHandler(stream or sys.stderr)
    handler.setFormatter(LineFormatter(settings.log_format))
    before = log.level
    log.setLevel(level_of(settings.debug))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
        handler.close()
