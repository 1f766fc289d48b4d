"""Which servers may be asked: those of a setting, and those a user of this machine named in a Modelfile.

A model's config may come from anybody: from a registry, or from a client over the network. Without a list it could
make this machine ask whatever its network reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from corral.runtime.errors import BadRequest, CloudDisabled
from corral.runtime.remote.address import Remote
from corral.runtime.server_address import is_loopback

CLOUD = "ollama.com"
_LONGEST_FILE = 1 << 20


class Allowed:
    """`hosts` are names or `name:port`, `file` has addresses, one a line; it is read again whenever it is asked.

    With `near_only` (`NO_CLOUD`) no other machine is asked, whoever allowed it.
    """

    def __init__(self, hosts: Sequence[str], file: Path | None = None, *, near_only: bool = False) -> None:
        self._near_only = near_only
        self._hosts = frozenset(map(_called, hosts))
        self._file = file

    def check(self, remote: Remote) -> None:
        """Refuse a model one of whose servers may not be asked (spec a.5).

        Raises:
            CloudDisabled: it is the cloud's, or on another machine where none is to be asked.
            BadRequest: it is any other.
        """
        for url in remote.hosts if self._near_only else ():
            if not is_loopback(name_of(url)):
                raise CloudDisabled(f"remote model is unavailable: {place_of(url)} is another machine, NO_CLOUD is set")
        others = [url for url in remote.hosts if not self._hosts & {name_of(url), place_of(url)}]
        for url in set(others) - (_noted(self._file) if others else frozenset()):
            if name_of(url) == CLOUD:
                raise CloudDisabled
            raise BadRequest("this server cannot run this remote model")


def note(file: Path | None, hosts: Sequence[str]) -> None:
    """Allow servers from now on. To be called where a user of this machine named them, and nowhere else.

    Raises:
        OSError: the file cannot be written.
    """
    if file is None:
        return
    new = [host for host in hosts if host not in _noted(file)]
    if new:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as lines:
            lines.write("".join(f"{host}\n" for host in new))


def key_of(keys: Sequence[tuple[str, str]], url: str) -> str:
    """The key that goes to a server: that of its name and port, else that of its name, else none."""
    found = {_called(host): key for host, key in keys}
    return found.get(place_of(url)) or found.get(name_of(url)) or ""


def name_of(url: str) -> str:
    """The name of a server, without its port."""
    return (urlsplit(url).hostname or "").lower()


def place_of(url: str) -> str:
    """The name of a server with its port, as in `10.0.0.5:8000`."""
    return urlsplit(url).netloc.lower()


def _called(host: str) -> str:
    """What a user calls a server, as `name_of` and `place_of` have it: an IPv6 address may be in brackets or not."""
    return host.lower().removeprefix("[").removesuffix("]") if host.endswith("]") else host.lower()


def _noted(file: Path | None) -> frozenset[str]:
    try:
        if file is None or file.stat().st_size > _LONGEST_FILE:
            return frozenset()
        return frozenset(filter(None, map(str.strip, file.read_text(encoding="utf-8").splitlines())))
    except (OSError, UnicodeDecodeError):
        return frozenset()
