"""A real registry that wants tokens, and one behind a certificate that nobody signed."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import json
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_public_key,
)
from cryptography.x509.oid import NameOID

from corral.store.errors import SourceError
from corral.store.names import ModelName
from corral.store.push import Pusher
from corral.store.registries import Identity, Registries
from corral.store.retry import Patience
from corral.store.sources.registry import RegistrySource
from tests.clients.test_registry import docker_registry, needs_registry
from tests.fakes.ending import end_runner
from tests.fakes.registry import FakeRegistry
from tests.unit.store.stocked import Stocked
from tests.unit.store.survival import check_whole

HASTE = Patience(tries=3, first_s=0.001, longest_s=0.002, stall_s=20.0)
SERVICE, ISSUER = "models.example", "tokens.example"
PARTS = (b"weights" * 300_000, b"{{ .Prompt }}", b"Be brief.")


@dataclass(frozen=True)
class Certificate:
    """A key, and the certificate by which it says itself that it is 127.0.0.1."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def made(cls, days: int = 1) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    def write(self, path: Path) -> Path:
        """Key and certificate, as servers read them."""
        private = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM) + private)
        return path

    def tls(self, path: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.write(path))
        return context


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class TokenService:
    """Gives tokens as docker's registry wants them, and stands before that registry on the same address if told to."""

    signer: Certificate
    registry: str = ""
    base: str = ""
    asked_as: list[str] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)

    def token(self, scopes: list[str]) -> str:
        der = base64.b64encode(self.signer.certificate.public_bytes(Encoding.DER)).decode()
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        claims = {"iss": ISSUER, "sub": "ada", "aud": SERVICE, "exp": now + 300, "nbf": now - 10, "iat": now}
        head = {"typ": "JWT", "alg": "ES256", "x5c": [der]}
        parts = (head, {**claims, "jti": str(len(self.scopes)), "access": access})
        text = ".".join(base64url(json.dumps(part).encode()) for part in parts)
        r, s = decode_dss_signature(self.signer.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            authorization = request.headers.get("Authorization", "")
            self.asked_as.append(authorization)
            if ":" in authorization:
                _check_signature(authorization, f"{self.base}{request.path_qs}")
            scopes = request.query.getall("scope", [])
            self.scopes += scopes
            return web.json_response({"token": self.token(scopes)})
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                f"http://{self.registry}{request.path_qs}",
                headers=request.headers,
                data=await request.read(),
                allow_redirects=False,
            ) as answer,
        ):
            kept = {name: value for name, value in answer.headers.items() if name != "Transfer-Encoding"}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    @contextlib.asynccontextmanager
    async def served(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[TokenService]:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.base = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await end_runner(runner)


def _check_signature(authorization: str, url: str) -> None:
    """As Ollama's registry does (spec i.2). Raises InvalidSignature."""
    public, _, signature = authorization.partition(":")
    nothing = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
    key = load_ssh_public_key(f"ssh-ed25519 {public}".encode())
    key.verify(base64.b64decode(signature), f"GET,{url},{nothing}".encode())  # type: ignore[call-arg]


def token_auth(realm: str, bundle: Path) -> dict[str, object]:
    return {"token": {"realm": realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(bundle)}}


def same_store(one: Stocked, other: Stocked) -> None:
    """Both hold the same files, byte for byte, for the same people."""
    files = one.files()
    assert files == other.files()
    for name in files:
        ours, theirs = one.paths.root / name, other.paths.root / name
        assert ours.read_bytes() == theirs.read_bytes()
        assert ours.stat().st_mode == theirs.stat().st_mode


async def there_and_back(store: Stocked, other: Stocked, name: str, registries: Registries) -> None:
    """Push a model out of one store and pull it into another."""
    store.model(name.partition("://")[2], *PARTS)
    pusher = Pusher(store.blobs, registries, patience=HASTE, part_bytes=1 << 20)
    assert [step.status async for step in pusher.push(name, insecure=True)][-1] == "success"
    source = RegistrySource(other.blobs, registries, patience=HASTE)
    try:
        assert [step.status async for step in source.pull(name, insecure=True)][-1] == "success"
    finally:
        await source.close()
    check_whole(other)
    same_store(store, other)


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Stocked, Stocked]:
    return Stocked(tmp_path / "one"), Stocked(tmp_path / "other")


@needs_registry
async def test_tokens_of_a_service_elsewhere_are_asked_for_by_nobody(
    stores: tuple[Stocked, Stocked], tmp_path: Path
) -> None:
    service = TokenService(Certificate.made())
    async with service.served():
        bundle = service.signer.write(tmp_path / "bundle.pem")
        with docker_registry(tmp_path, auth=token_auth(f"{service.base}/token", bundle)) as address:
            registries = Registries(identity=Identity(keys=tmp_path / "keys"))
            await there_and_back(*stores, f"http://{address}/ada/tiny:1", registries)
    assert set(service.asked_as) == {""}
    assert "repository:ada/tiny:pull" in service.scopes
    assert any("push" in scope for scope in service.scopes)  # the registry names actions in any order
    assert not (tmp_path / "keys").exists()


@needs_registry
async def test_tokens_of_the_registrys_own_service_are_signed_for_with_the_users_key(
    stores: tuple[Stocked, Stocked], tmp_path: Path
) -> None:
    """Over TLS with a certificate of its own, which `insecure` lets pass and nothing else."""
    service = TokenService(Certificate.made())
    async with service.served(service.signer.tls(tmp_path / "tls.pem")):
        bundle = service.signer.write(tmp_path / "bundle.pem")
        with docker_registry(tmp_path, auth=token_auth(f"{service.base}/token", bundle), relative=True) as address:
            service.registry = address
            registries = Registries(identity=Identity(keys=tmp_path / "keys"))
            name = f"{service.base}/ada/tiny:1"
            await there_and_back(*stores, name, registries)
            source = RegistrySource(stores[1].blobs, registries, patience=HASTE)
            with pytest.raises(SourceError, match="cannot prove who it is"):
                async for _ in source.pull(name):
                    pass
            await source.close()
    assert service.asked_as
    assert all(one.startswith("AAAAC3NzaC1lZDI1NTE5") for one in service.asked_as)


@pytest.mark.parametrize("days", [1, -1])
async def test_a_certificate_nobody_signed_is_refused_at_once(tmp_path: Path, days: int) -> None:
    """Also one that has run out; and plain http where https was asked for."""
    store = Stocked(tmp_path / "models")
    service = TokenService(Certificate.made(days))
    async with FakeRegistry().served() as plain, service.served(service.signer.tls(tmp_path / "tls.pem")):
        source = RegistrySource(store.blobs, Registries(), patience=HASTE)
        with pytest.raises(SourceError, match="cannot prove who it is"):
            async for _ in source.pull(f"{service.base}/ada/tiny:1"):
                pass
        with pytest.raises(SourceError, match="broke off"):
            async for _ in source.pull(f"https://{plain.base.removeprefix('http://')}/ada/tiny:1"):
                pass
        await source.close()
        assert plain.seen == []
    assert store.files() == set()
    assert store.manifests.locate(ModelName.parse("ada/tiny:1")) is None
