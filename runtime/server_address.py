"""Where a server is: the forms of `OLLAMA_HOST` (spec e)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import NamedTuple

DEFAULT_PORT = 11434
HIGHEST_PORT = 65535


class Address(NamedTuple):
    """Where a server is: `url` is what a client calls."""

    host: str
    port: int
    url: str


def parse_host(text: str, warn: Callable[[str], None], *, port: int = DEFAULT_PORT, tls: bool = False) -> Address:
    """Read `[scheme://]host[:port][/path]` as Ollama does; a bad port becomes the default, with a warning.

    `port` holds where the text names neither a port nor a scheme, `tls` makes https of an address without a scheme.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "https" if tls else "http", text
    default_port = {"http": 80, "https": 443}.get(scheme, port) if separator else port
    rest, slash, path = rest.partition("/")
    host, port = _split_port(rest, default_port, warn)
    host = host or "127.0.0.1"
    if not separator and host == "ollama.com":
        scheme, port = "https", 443
    called = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = f"[{called}]" if ":" in called else called
    return Address(host, port, f"{scheme}://{shown}:{port}" + (slash + path).rstrip("/"))


def _split_port(text: str, default: int, warn: Callable[[str], None]) -> tuple[str, int]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") > 1:
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    if not port:
        return host, default
    if port.isascii() and port.isdigit() and int(port) <= HIGHEST_PORT:
        return host, int(port)
    warn(f"invalid port {port!r}, using {default}")
    return host, default


def is_loopback(host: str) -> bool:
    """Say whether an address or host name means this machine alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
