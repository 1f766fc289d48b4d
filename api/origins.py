"""Who may call from a browser, and under which name: the Origin and Host checks (spec a.3). Pure functions of text.

A page on the web can make a browser send requests to this machine. The Origin check stops those that say where they
come from; the Host check stops those of a page whose own name was made to point here (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from corral.api.errors import InvalidOrigin

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "0.0.0.0")
_APP_ORIGINS = ("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*")
_SCHEMES = (
    *("http://", "https://", "app://", "file://", "tauri://", "vscode-webview://", "vscode-file://"),
    *("chrome-extension://", "moz-extension://", "safari-web-extension://", "safari-extension://"),
)
_HOST_SUFFIXES = (".localhost", ".local", ".internal")
_PORT = re.compile(r"[0-9]{1,5}\Z")


class OriginPolicy:
    """The origins a browser may call from: those always allowed and the user's.

    Raises:
        InvalidOrigin: an entry has neither a `*` nor a known scheme, or more than one `*`.
    """

    def __init__(self, origins: Iterable[str] = ()) -> None:
        entries = [origin.lower().rstrip("/") for origin in origins]
        for entry in entries:
            if entry.count("*") > 1 or not ("*" in entry or entry.startswith(_SCHEMES)):
                raise InvalidOrigin(entry)
        self.allows_all = "*" in entries
        for scheme in ("http", "https"):
            for host in _LOCAL_HOSTS:
                entries += [f"{scheme}://{host}", f"{scheme}://{host}:*"]
        self._patterns = [_pattern(entry) for entry in (*entries, *_APP_ORIGINS)]

    def allows(self, origin: str, host: str) -> bool:
        """Say whether a request with this Origin may be served under this Host header."""
        if self.allows_all:
            return True
        origin = origin.lower()
        if host and origin in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return True
        return any(pattern.fullmatch(origin) for pattern in self._patterns)


def _pattern(entry: str) -> re.Pattern[str]:
    before, star, after = entry.partition("*")
    if not star:
        return re.compile(re.escape(entry))
    # A star in the place of a port is a port: http://localhost:x.evil.example is no origin of this machine.
    anything = "[0-9]{1,5}" if before.endswith(":") and not after else ".*"
    return re.compile(re.escape(before) + anything + re.escape(after))


class HostPolicy:
    """The names this server answers to.

    `origins` lists further names by their host, and by `*` any name where the address is not loopback.
    """

    def __init__(
        self,
        listen_host: str,
        origins: Iterable[str] = (),
        *,
        loopback: bool = True,
        own_addresses: Callable[[], Iterable[str]] | None = None,
        hostname: str | None = None,
    ) -> None:
        listed = {(urlsplit(origin).hostname or "").lower() for origin in origins}
        self._names = (listed - {"", "*"}) | {"localhost", (hostname or socket.gethostname()).lower()}
        if listen_host and not _is_address(listen_host):
            self._names.add(listen_host.lower())
        self._any_name = not loopback and "*" in set(origins)
        self._own_addresses = own_addresses or _interface_addresses

    def allows(self, header: str) -> bool:
        """Say whether a request with this Host header is meant for us."""
        if self._any_name:
            return True
        host = split_host(header)
        if host is None:
            return False
        if not _is_address(host):
            return host in self._names or host.endswith(_HOST_SUFFIXES)
        address = ipaddress.ip_address(host)
        if address.is_loopback or address.is_private or address.is_unspecified:
            return True
        return str(address) in set(self._own_addresses())

    def allows_by_name(self, header: str) -> bool:
        """Say whether the header names us, rather than giving an address."""
        host = split_host(header)
        return host is not None and (host in self._names or host.endswith(_HOST_SUFFIXES))


def split_host(header: str) -> str | None:
    """Return the host of a Host header in lower case without its port, None where it is none."""
    host, separator, port = header.strip().lower(), "", ""
    if host.startswith("["):
        host, closing, rest = host[1:].partition("]")
        if not closing or (rest and not rest.startswith(":")):
            return None
        port = rest[1:]
        separator = rest[:1]
    else:
        host, separator, port = host.partition(":")
    if separator and port and not _PORT.match(port):
        return None
    return host or None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _interface_addresses() -> list[str]:
    import psutil  # needed for addresses of the open internet alone

    return [
        entry.address.split("%")[0]
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family in (socket.AF_INET, socket.AF_INET6)
    ]
