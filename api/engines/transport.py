"""The way to a server that runs models for us, on aiohttp's client: pieces of answers cost a third of httpx's here."""

from __future__ import annotations

import contextlib
import functools
import ssl
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterable
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http import HttpProcessingError

from corral.api.engines.exchange import Exchanges
from corral.api.transport import CONNECT_S, Reply, Transport
from corral.api.version import SERVER
from corral.runtime.errors import ServerUnreachable, ServerUntrusted
from corral.runtime.server_address import is_loopback


class EngineTransport(Transport):
    """Requests to one server. Belongs to the loop it is first used on."""

    _exchanges: Exchanges | None = None

    def _opened(self) -> Exchanges:
        if self._exchanges is None:
            headers = {"User-Agent": SERVER.lower(), "Accept-Encoding": "identity", **self._headers}
            tls = _trust() if urlsplit(self.base_url).scheme == "https" else None
            self._exchanges = Exchanges(self.base_url, headers, CONNECT_S, tls, _proxy(self.base_url))
        return self._exchanges

    async def close(self) -> None:
        """Close every connection."""
        if self._exchanges is not None:
            await self._exchanges.close()
            self._exchanges = None

    @contextlib.asynccontextmanager
    async def _open(
        self, method: str, path: str, content: bytes | AsyncIterable[bytes] | None, accept: str = ""
    ) -> AsyncGenerator[Reply, None]:
        assert content is None or isinstance(content, bytes), "engines are sent no files"
        began = False
        headers = {"Content-Type": "application/json"} if content is not None else {}
        if accept:
            headers["Accept"] = accept
        try:
            exchanges = self._opened()
        except ValueError as error:
            raise ServerUnreachable(f"no address of a server: {self.base_url}") from error
        try:
            async with exchanges.exchange(method, path, content, headers) as reply:
                began = True
                yield reply
        except aiohttp.ClientConnectorCertificateError as error:
            found = error.certificate_error
            raise ServerUntrusted(getattr(found, "verify_message", "") or str(found)) from error
        # A connection that takes too long is an OSError as well.
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            if began:
                raise ServerUnreachable("the server went away in the middle of its answer") from error
            raise ServerUnreachable(f"could not connect to a server at {self.base_url}") from error


@functools.cache
def _trust() -> ssl.SSLContext:
    """By whom servers are known: those the system trusts, and the list that Python programs bring along.

    Reading them takes 30 ms; without TLS nobody needs them.
    """
    import httpx

    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context


def _proxy(url: str) -> str | None:
    """Return the environment's proxy for a server; none is meant for this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    found = urllib.request.getproxies()
    return found.get(parts.scheme) or found.get("all")
