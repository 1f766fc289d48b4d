"""Servers a user knows: those named in `[hosts]` of config.toml, and those that were gone to before."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from corral.runtime.server_address import parse_host
from corral.tui.command_history import CommandHistory

__all__ = ["HERE", "Host", "KnownHosts"]

HERE = "here"
"""What is typed for the service the screen was opened on."""


class Host(msgspec.Struct, frozen=True):
    """A server; `name` is that of config.toml, else its address without the scheme."""

    name: str
    url: str


def url_of(address: str) -> str:
    """An address as people write it as a URL."""
    return parse_host(address, lambda warning: None).url


class KnownHosts:
    """`named` is the table of config.toml. Those used before are kept between runs, unless there is no history."""

    def __init__(self, named: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self._named = {name: url_of(address) for name, address in named.items()}
        self._used = CommandHistory(environ, "hosts")

    def entries(self) -> list[Host]:
        """The named ones, then the others, the last used first."""
        named = [Host(name, url) for name, url in self._named.items()]
        others = [url for url in reversed(self._used.entries()) if url not in self._named.values()]
        return [*named, *(Host(url.partition("://")[2], url) for url in others)]

    def words(self) -> list[str]:
        """What completion proposes."""
        return [one.name if one.name in self._named else one.url for one in self.entries()]

    def address(self, word: str) -> str:
        """The address of a name; what is no name is one itself."""
        return self._named.get(word, word)

    def name(self, url: str) -> str:
        """The name that config.toml gives an address, "" for none."""
        return next((name for name, named in self._named.items() if named == url), "")

    def used(self, url: str) -> None:
        """Remember a server that answered."""
        self._used.add(url)
