"""TLS on both ends: what the server shows, and by what commands know it."""

from __future__ import annotations

import ssl
from pathlib import Path

from corral.api.errors import TlsFailed
from corral.runtime.server_address import is_loopback


def server_tls(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """Return what a server shows; without `key` the private key stands in the certificate's file.

    Raises:
        TlsFailed: a file cannot be read, or the two do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # A key with a password would ask for it on the terminal, where nobody may be.
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        raise TlsFailed(
            f"cannot use the certificate {certificate} with the key {key or certificate}: {reason}"
        ) from None
    except OSError as error:
        missing = next(
            (str(path) for path in (certificate, key) if path is not None and not path.is_file()), certificate
        )
        raise TlsFailed(f"cannot read {missing}: {error.strerror or error}") from None
    return context


def client_tls(trusted: Path | None, host: str) -> ssl.SSLContext | bool:
    """Return by what a server is known; True is what the system trusts.

    A certificate in `trusted` need not name this machine's loopback address: nobody else answers there.

    Raises:
        TlsFailed: the file cannot be read.
    """
    if trusted is None:
        return True
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=trusted)
    except (OSError, ssl.SSLError) as error:
        raise TlsFailed(f"cannot read certificates in {trusted}: {error.strerror or error}") from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = not is_loopback(host)
    return context
