"""The bodies of requests as files, each with a script that sends it again (`OLLAMA_DEBUG_LOG_REQUESTS`).

For their owner's eyes only: they hold what people asked. Keys are not written.
"""

from __future__ import annotations

import logging
import os
import shlex
import tempfile
from itertools import count
from pathlib import Path

log = logging.getLogger(__name__)

_LOGGED = ("/api/generate", "/api/chat", "/api/embed", "/api/embeddings", "/api/rerank", "/v1/")


class RequestFiles:
    """Writes requests into a new folder of the system's temporary one. Blocking; for any thread."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._numbers = count(1)
        self.folder = Path(tempfile.mkdtemp(prefix="corral-requests-"))
        log.warning("requests are written to %s", self.folder)

    def add(self, method: str, path: str, body: bytes) -> None:
        """Write one request; a disk that is full must not fail it."""
        if not path.startswith(_LOGGED):
            return
        name = f"{next(self._numbers):06}{path.replace('/', '-')}"
        url = shlex.quote(self._base_url + path)
        script = (
            f"#!/bin/sh\ncurl -sS -X {method} {url} -H 'Content-Type: application/json' \\\n"
            '  ${CORRAL_API_KEY:+-H "Authorization: Bearer $CORRAL_API_KEY"} \\\n'
            f'  --data-binary @"$(dirname "$0")/"{shlex.quote(name)}.json\n'
        )
        try:
            _write(self.folder / f"{name}.json", body, 0o600)
            _write(self.folder / f"{name}.sh", script.encode(), 0o700)
        except OSError as error:
            log.warning("a request could not be written: %s", error)


def _write(path: Path, data: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
