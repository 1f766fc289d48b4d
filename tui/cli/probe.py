"""Whether a server is there. Imports little: `corral --version` asks too."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit


def answers(base_url: str, timeout_s: float) -> bool:
    """Say whether something accepts connections at the address of a server."""
    parts = urlsplit(base_url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "127.0.0.1", port), timeout_s):
            return True
    except (OSError, ValueError, UnicodeError):
        return False
