"""Who we are to a registry: tokens, the user's Ollama key, and passwords that `docker login` keeps (spec i.2).

Credentials go to the registry they are for, and to a token service on the very same host; a service elsewhere is asked
without any.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import re
import secrets
import time
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from corral.store.addresses import origin_of
from corral.store.disk import disk_errors
from corral.store.errors import SourceError
from corral.store.registries import Identity
from corral.store.web import Refused, Web, check, check_target, read

_LONGEST_TOKEN = 64 << 10
_LONGEST_CONFIG = 1 << 20
# A name has an end: else a long row of letters is gone through once for each of them.
_PARAMETER = re.compile(r'([a-zA-Z]{1,32})="([^"]*)"')
_KEY_FILE = "id_ed25519"


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""


class _DockerLogin(msgspec.Struct, frozen=True):
    auth: str = ""


class _DockerConfig(msgspec.Struct, frozen=True):
    auths: dict[str, _DockerLogin] = {}


class Login:
    """What is sent to one registry for one repository. Owned by one loop."""

    def __init__(self, web: Web, base: str, identity: Identity) -> None:
        self._web = web
        self._base = base
        self._identity = identity
        self._authorization = ""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the next request."""
        return {"Authorization": self._authorization} if self._authorization else {}

    async def answer(self, refused: Refused) -> None:
        """Get what a registry that answered 401 asks for.

        Raises:
            Refused: there is nothing to get, or nobody gives it.
            SourceError: it asks for something that must not be sent.
            Again: the token service is not to be reached.
        """
        scheme, _, rest = refused.challenge.partition(" ")
        asked = dict(_PARAMETER.findall(rest))
        if scheme.lower() == "basic":
            self._authorization = self._basic(refused)
        elif scheme.lower() == "bearer" and asked.get("realm"):
            self._authorization = f"Bearer {await self._token(asked)}"
        else:
            raise refused

    def _basic(self, refused: Refused) -> str:
        found = self._password()
        if not found:
            raise Refused(refused.status, f"{refused.message}; log in first: docker login {self._host}")
        if f"Basic {found}" == self._authorization:
            raise refused
        return f"Basic {found}"

    @property
    def _host(self) -> str:
        return self._base.split("://", 1)[1].partition("/")[0]

    def _password(self) -> str:
        """Name and password for this registry as `docker login` has stored them, in base64."""
        path = self._identity.docker_config
        if path is None:
            return ""
        try:
            with path.open("rb") as file:
                config = msgspec.json.decode(file.read(_LONGEST_CONFIG), type=_DockerConfig)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return ""
        for name in (self._host, f"https://{self._host}", f"http://{self._host}"):
            login = config.auths.get(name) or config.auths.get(f"{name}/")
            if login is not None and login.auth.isascii():
                return login.auth
        return ""

    async def _token(self, asked: dict[str, str]) -> str:
        realm = asked["realm"]
        ours, theirs = origin_of(self._base), origin_of(realm)
        if ours[0] == "https" and theirs[0] != "https":
            raise SourceError(f"{ours[1]} wants a token from {theirs[1]} without encryption, which is not done")
        await check_target(self._base, realm)
        query = [("service", asked["service"])] if "service" in asked else []
        query += [("scope", scope) for scope in asked.get("scope", "").split(" ") if scope]
        if ours != theirs:
            return await self._ask(realm, query, {})
        if password := self._password():
            return await self._ask(realm, query, {"Authorization": f"Basic {password}"})
        if self._identity.keys is not None:
            stamp = [("ts", str(int(time.time()))), ("nonce", _base64url(secrets.token_bytes(16)))]
            url = _with_query(realm, query + stamp)
            signed = await asyncio.to_thread(sign, self._identity.keys, "GET", url)
            with contextlib.suppress(Refused):
                return await self._ask(url, [], {"Authorization": signed})
        # A registry that does not know Ollama's keys may still let everybody read.
        return await self._ask(realm, query, {})

    async def _ask(self, realm: str, query: list[tuple[str, str]], headers: dict[str, str]) -> str:
        async with self._web.open("GET", _with_query(realm, query), headers) as response:
            await check(response)
            data = await read(response, _LONGEST_TOKEN)
        try:
            found = msgspec.json.decode(data, type=_Token)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            found = _Token()
        token = found.token or found.access_token
        if not token or not token.isascii() or not token.isprintable():
            raise SourceError(f"{origin_of(realm)[1]} gave no token")
        return token


def _with_query(url: str, query: list[tuple[str, str]]) -> str:
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(folder: Path, method: str, url: str) -> str:
    """The `Authorization` of a request that is signed with the user's Ollama key, made if there is none yet.

    Raises:
        StoreReadOnly, StoreError: the key cannot be made.
        SourceError: the key cannot be read.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_ssh_private_key,
    )

    path = folder / _KEY_FILE
    if not path.exists():
        _make_key(folder)
    try:
        key = load_ssh_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SourceError(f"the key {_KEY_FILE} cannot be read: {type(error).__name__}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SourceError(f"the key {_KEY_FILE} is of another kind than ed25519")
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1].decode()
    nothing = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
    signature = base64.b64encode(key.sign(f"{method},{url},{nothing}".encode())).decode()
    return f"{public}:{signature}"


def _make_key(folder: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    with disk_errors(folder):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # another of our requests was first
            handle = os.open(folder / _KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(private)
            (folder / f"{_KEY_FILE}.pub").write_bytes(public + b"\n")
