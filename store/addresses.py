"""Addresses on the web, as far as they may be asked at all."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from corral.store.errors import SourceError

_SHOWN = 300
_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials belong to.

    Raises:
        SourceError: the text is no address on the web.
    """
    parts = _split(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS[parts.scheme]


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    # A name before an @ is how one host is made to look like another.
    if not usable or "@" in parts.netloc:
        raise SourceError(f"not an address that can be fetched from: {url[:_SHOWN]}")
    return parts
