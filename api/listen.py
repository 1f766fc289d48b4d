"""The socket that is listened on, and who has it where we cannot. Blocking; called before anything runs."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys

from corral.api.errors import CannotListen, PortTaken

BACKLOG = 1024
_ASK_S = 0.5
_LONGEST_ANSWER = 4096


def bind(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 takes any that is free.

    Raises:
        PortTaken: somebody else does.
        CannotListen: the address is none of this machine's, or not allowed.
    """
    try:
        # As bytes where it is ASCII: text is looked up by way of a codec that takes 2 ms to import.
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.encode() if host.isascii() else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise CannotListen(f"cannot listen on {host}: {error.strerror or error}") from None
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise taken(host, port) from None
        raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    listener.setblocking(False)
    return listener


def taken(host: str, port: int) -> PortTaken:
    """Find out who listens on an address, as far as the system tells."""
    greeting = _greeting(host, port)
    answers = b"Ollama is running" in greeting
    kind = ""
    if answers:
        kind = "another Corral" if b"\r\nserver: corral/" in greeting.lower() else "Ollama"
    process = _process_on(port)
    by = f"{kind} ({process})" if kind and process else kind or process
    return PortTaken(host, port, by, answers=answers)


def free_port(host: str, after: int) -> int:
    """Return a port near `after` that nobody listens on now; 0 where there is none."""
    for port in range(after + 1, min(after + 100, 65536)):
        with contextlib.suppress(CannotListen, PortTaken):
            bind(host, port).close()
            return port
    return 0


def _greeting(host: str, port: int) -> bytes:
    """Ask whoever listens for its front page."""
    called = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection((called, port), _ASK_S) as connection:
        connection.settimeout(_ASK_S)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        while len(answer) < _LONGEST_ANSWER and (piece := connection.recv(_LONGEST_ANSWER)):
            answer += piece
    return answer


def _process_on(port: int) -> str:
    import psutil  # only where the port is taken

    with contextlib.suppress(psutil.Error, OSError):
        for entry in psutil.net_connections("tcp"):
            if entry.status == psutil.CONN_LISTEN and entry.laddr and entry.laddr.port == port and entry.pid:
                return f"{psutil.Process(entry.pid).name()}, process {entry.pid}"
    return ""
