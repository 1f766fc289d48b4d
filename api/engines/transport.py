"""The way to a server that runs models for us, on aiohttp's client: pieces of answers cost a third of httpx's here."""

from __future__ import annotations

import contextlib
import functools
import ssl
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterable
from urllib.parse import urlsplit

import aiohttp

from corral.api.transport import CONNECT_S, Reply, Transport
from corral.api.version import SERVER
from corral.runtime.errors import ServerUnreachable, ServerUntrusted
from corral.runtime.server_address import is_loopback

KEPT_S = 30.0
"""How long a connection that nobody uses is kept."""


class EngineTransport(Transport):
    """Requests to one server. Belongs to the loop it is first used on."""

    _session: aiohttp.ClientSession | None = None

    def _client_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            secure = urlsplit(self.base_url).scheme == "https"
            self._session = aiohttp.ClientSession(
                headers={"User-Agent": SERVER.lower(), "Accept-Encoding": "identity", **self._headers},
                # How many may be asked at once is for the caller to say; a hidden queue would look like a slow server.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_S, ssl=_trust() if secure else False),
                # A model may take minutes until its first byte.
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Of the environment only a proxy counts: passwords in ~/.netrc are not meant for engines.
                trust_env=False,
                proxy=_proxy(self.base_url),
            )
        return self._session

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @contextlib.asynccontextmanager
    async def _open(
        self, method: str, path: str, content: bytes | AsyncIterable[bytes] | None, accept: str = ""
    ) -> AsyncGenerator[Reply, None]:
        began = False
        headers = {"Content-Type": "application/json"} if isinstance(content, bytes) else {}
        if accept:
            headers["Accept"] = accept
        try:
            asked = self._client_session().request(
                method, self.base_url + path, data=content, headers=headers, allow_redirects=False
            )
            async with asked as response:
                began = True
                yield _Answer(response)
        except aiohttp.InvalidURL as error:
            raise ServerUnreachable(f"no address of a server: {self.base_url}") from error
        except aiohttp.ClientConnectorCertificateError as error:
            found = error.certificate_error
            raise ServerUntrusted(getattr(found, "verify_message", "") or str(found)) from error
        except (aiohttp.ClientError, OSError) as error:  # a connection that takes too long is an OSError as well
            if began:
                raise ServerUnreachable("the server went away in the middle of its answer") from error
            raise ServerUnreachable(f"could not connect to a server at {self.base_url}") from error


class _Answer:
    """aiohttp's reply as `Transport` reads one."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status_code = response.status
        self.is_success = 200 <= response.status < 300
        self.aiter_bytes = response.content.iter_any


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
