"""HTTP to the places models come from: bounded, undeceived by redirects, and silent about credentials to third parties.

Nothing is decompressed: what a server packs is not what was asked for. httpx is imported when somebody asks something.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import ipaddress
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import msgspec

from corral.store.addresses import origin_of
from corral.store.errors import SourceError
from corral.store.retry import Again, Patience, retry_after_s

if TYPE_CHECKING:
    import httpx

#: What clients of registries are told apart by.
USER_AGENT = "corral"
LONGEST_ERROR = 64 << 10
_MOST_REDIRECTS = 10
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
_SHOWN_ERROR = 300
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refused(SourceError):
    """An answer with an error status; `status` is the HTTP status, `challenge` what it says of logging in."""

    def __init__(self, status: int, message: str, challenge: str = "") -> None:
        super().__init__(f"{status}: {message}" if message else str(status))
        self.status = status
        self.message = message
        self.challenge = challenge


class Web:
    """Requests to others. Belongs to the loop it is used on; `close` ends its connections."""

    def __init__(self, *, insecure: bool = False, patience: Patience | None = None) -> None:
        self._insecure = insecure
        self._patience = patience or Patience()
        self._clients: dict[tuple[bool, bool], httpx.AsyncClient] = {}

    async def close(self) -> None:
        """Close every connection."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()

    async def _client(self, url: str) -> httpx.AsyncClient:
        from http.cookiejar import CookieJar, DefaultCookiePolicy

        import httpx

        scheme, host, _ = origin_of(url)
        key = (scheme == "https", _reach_of_text(host) == 0)
        if key not in self._clients:
            tls, own = key
            # Reading the certificates takes 30 ms, and without TLS nobody needs them.
            verify = await asyncio.to_thread(httpx.create_ssl_context) if tls and not self._insecure else False
            client = httpx.AsyncClient(
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
                timeout=httpx.Timeout(self._patience.stall_s, connect=self._patience.connect_s),
                limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
                verify=verify,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # they ignore ports
                trust_env=not own,  # a proxy of the environment is not meant for this machine
            )
            # Two that asked at once have made two.
            if self._clients.setdefault(key, client) is not client:
                await client.aclose()
        return self._clients[key]

    @contextlib.asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterable[bytes] | None = None,
    ) -> AsyncGenerator[httpx.Response, None]:
        """Ask once. Reading and probing follow redirects, to another host without `Authorization`.

        The answer may have any status; `check` tells the good from the bad.

        Raises:
            Again: nobody answers, or the connection breaks, also while the body is read.
            SourceError: the address, or one it leads to, is not to be asked.
        """
        await _imported("httpx")
        import httpx

        start, sent = url, dict(headers)
        try:
            for _ in range(_MOST_REDIRECTS + 1):
                await check_target(start, url)
                client = await self._client(url)
                async with client.stream(method, url, headers=sent, content=content) as response:
                    location = response.headers.get("Location")
                    if method not in {"GET", "HEAD"} or response.status_code not in _REDIRECTS or not location:
                        yield response
                        return
                    target = urljoin(url, location)
                if origin_of(target) != origin_of(start):
                    sent = {name: value for name, value in sent.items() if name.lower() != "authorization"}
                url = target
        except httpx.TimeoutException as error:
            raise Again(f"{_host(url)} does not answer") from error
        except httpx.TransportError as error:
            if _UNTRUSTED in str(error):
                raise SourceError(f"{_host(url)} cannot prove who it is: {error}") from error
            raise Again(f"{_host(url)} cannot be reached or broke off: {error or type(error).__name__}") from error
        except (httpx.InvalidURL, httpx.DecodingError, UnicodeError) as error:
            raise SourceError(f"{_host(start)} leads to an address that is none") from error
        raise SourceError(f"{_host(start)} redirects without end")


async def _imported(name: str) -> None:
    """Import in a thread what would hold up the loop for a tenth of a second."""
    if name not in sys.modules:
        await asyncio.to_thread(importlib.import_module, name)


async def check(response: httpx.Response) -> None:
    """Let a good answer pass.

    Raises:
        Again: the server says that it may be better later.
        Refused: anything else; in the server's words, where it uses those of registries.
    """
    status = response.status_code
    if 200 <= status < 300:
        return
    message = _message(await read(response, LONGEST_ERROR))
    if status in _PASSING:
        shown = f": {message}" if message else ""
        raise Again(f"{response.url.host} answers {status}{shown}", retry_after_s(response.headers.get("Retry-After")))
    raise Refused(status, message or response.reason_phrase, response.headers.get("WWW-Authenticate", ""))


async def read(response: httpx.Response, longest: int) -> bytes:
    """The body as it came.

    Raises:
        SourceError: it is longer than `longest` bytes.
    """
    data = bytearray()
    async for chunk in response.aiter_raw():
        data += chunk
        if len(data) > longest:
            raise SourceError(f"{response.url.host} sent more than {longest} bytes where a short answer belongs")
    return bytes(data)


class _ErrorItem(msgspec.Struct, frozen=True):
    message: str = ""
    code: str = ""


class _Errors(msgspec.Struct, frozen=True):
    errors: tuple[_ErrorItem, ...] = ()
    error: str = ""


def _message(body: bytes) -> str:
    """What a registry says went wrong; nothing of a body in another form, which may be somebody else's page."""
    try:
        found = msgspec.json.decode(body, type=_Errors)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    texts = [one.message or one.code for one in found.errors[:3]] or [found.error]
    words = " ".join(", ".join(texts).split())
    return "".join(one for one in words if one.isprintable())[:_SHOWN_ERROR]


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or url[:_SHOWN_ERROR]
    except ValueError:
        return url[:_SHOWN_ERROR]


async def check_target(start: str, target: str) -> None:
    """Refuse addresses that a server must not lead us to: each reach may lead to its own and wider ones only.

    This machine, then the local network, then the world. Link-local addresses, where clouds hand out keys, are never
    asked.

    Raises:
        SourceError: `target` is closer than `start`, or no address on the web.
    """
    first, then = origin_of(start), origin_of(target)
    if first[0] == "https" and then[0] == "http":
        raise SourceError(f"{first[1]} leads from https to http, which is not followed")
    reach = await _reach(then[1], then[2])
    if reach is None:
        raise SourceError(f"{then[1]} is a link-local address, which is not asked")
    if first[1] != then[1] and reach < (await _reach(first[1], first[2]) or 0):
        raise SourceError(f"{first[1]} leads to {then[1]}, which is not followed: that address is not public")


async def _reach(host: str, port: int) -> int | None:
    """0 this machine, 1 the local network, 2 the world; None link-local. The closest of a name's addresses counts."""
    known = _reach_of_text(host)
    if known is not None:
        return known
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        reaches = [_reach_of(ipaddress.ip_address(str(one[4][0]).partition("%")[0])) for one in found]
    except (OSError, UnicodeError, ValueError):
        return 2  # a proxy may know it; without one the connection fails by itself
    return None if None in reaches else min((one for one in reaches if one is not None), default=2)


def _reach_of_text(host: str) -> int | None:
    """The reach that can be told from the text; None for names, and for link-local addresses."""
    if host == "localhost" or host.endswith(".localhost"):
        return 0
    try:
        # Also 127.1, 0x7f.1 and 2130706433, as the system's resolver takes them.
        return _reach_of(ipaddress.ip_address(socket.inet_aton(host)))
    except (OSError, UnicodeError):
        pass
    try:
        return _reach_of(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None


def _reach_of(address: Address) -> int | None:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_link_local or address.is_multicast:
        return None
    if address.is_loopback or address.is_unspecified:
        return 0
    return 2 if address.is_global else 1
