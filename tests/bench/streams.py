"""One client for both servers: raw prompts sent over HTTP, and when which piece of each answer came.

Everything is read by one thread that only notes bytes and times; they are taken apart when all is over, so that the
client takes as little as it can from the processors that are measured.
"""

from __future__ import annotations

import itertools
import json
import re
import selectors
import socket
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

PATIENCE_S = 300.0
_EVENT = re.compile(rb"^(?:data: )?(\{.*\})\r?$", re.MULTILINE)
_NEVER = -100.0


@dataclass(frozen=True, slots=True)
class Ask:
    """A raw prompt and how many tokens shall follow it; `options` are sent to our server alone."""

    prompt: str
    tokens: int
    schema: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """A piece of an answer; the counts are there on the last one."""

    text: str
    prompt_tokens: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `arrivals` are seconds after it was asked for, one for each piece of text."""

    began: float
    arrivals: tuple[float, ...]
    text: str
    prompt_tokens: int
    tokens: int

    @property
    def first_s(self) -> float:
        """Seconds until the first piece."""
        return self.arrivals[0]

    @property
    def last_s(self) -> float:
        """Seconds until the last piece."""
        return self.arrivals[-1]

    @property
    def tokens_per_s(self) -> float:
        """How fast the tokens after the first came."""
        return (self.tokens - 1) / (self.last_s - self.first_s)


class Server(Protocol):
    """How a server wants to be asked, and what its answers look like."""

    @property
    def port(self) -> int: ...

    def request(self, ask: Ask) -> tuple[str, dict[str, Any]]: ...

    def event(self, message: dict[str, Any]) -> Event: ...


@dataclass(frozen=True, slots=True)
class Ours:
    """`corral serve`, by `/api/generate`; with 0 `threads` it takes as many as it finds good, and is not greedy."""

    port: int
    model: str
    num_ctx: int
    threads: int
    ends: tuple[int, ...]

    def request(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        """A prompt as it is; the answer does not end before its tokens are there, unless a schema ends it."""
        options: dict[str, Any] = {
            "num_ctx": self.num_ctx,
            "num_predict": ask.tokens,
            **({"num_thread": self.threads, "temperature": 0} if self.threads else {"temperature": 0.01}),
        }
        body = {"model": self.model, "prompt": ask.prompt, "raw": True, "keep_alive": -1}
        if ask.schema is None:
            options["logit_bias"] = {str(token): _NEVER for token in self.ends}
        else:
            body["format"] = dict(ask.schema)
        return "/api/generate", body | {"options": options | dict(ask.options)}

    def event(self, message: dict[str, Any]) -> Event:
        """A line of NDJSON."""
        return Event(message["response"], message.get("prompt_eval_count", 0), message.get("eval_count", 0))


@dataclass(frozen=True, slots=True)
class Peer:
    """llama.cpp's server, by `/completion`."""

    port: int
    ends: tuple[int, ...]

    def request(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        """The same prompt, to be answered in the same way."""
        body: dict[str, Any] = {"prompt": ask.prompt, "n_predict": ask.tokens, "temperature": 0, "stream": True}
        if ask.schema is None:
            body["logit_bias"] = [[token, _NEVER] for token in self.ends]
        else:
            body["json_schema"] = dict(ask.schema)
        return "/completion", body

    def event(self, message: dict[str, Any]) -> Event:
        """A server-sent event."""
        last = message["stop"]
        tokens = message["tokens_predicted"] if last else 0
        return Event(message["content"], message["tokens_evaluated"] if last else 0, tokens)


class Stream:
    """A request on its way. Close it, or read it to its end."""

    def __init__(self, server: Server, ask: Ask) -> None:
        path, body = server.request(ask)
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        )
        self._server = server
        self._ask = ask
        self._data = bytearray()
        self._ends: list[int] = []
        self._times: list[float] = []
        self.over = False
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = time.perf_counter()
        self.socket.sendall(head.encode() + data)

    @property
    def pieces(self) -> int:
        """How many reads its answer took so far: about its tokens."""
        return len(self._times)

    def read(self) -> None:
        """Take what is there."""
        data = self.socket.recv(65536)
        if not data:
            self.over = True
            return
        self._times.append(time.perf_counter())
        self._data += data
        self._ends.append(len(self._data))

    def reply(self) -> Reply:
        """What came so far, taken apart. Raises ValueError where it is no answer, or short."""
        if not self._data.startswith(b"HTTP/1.1 200"):
            raise ValueError(bytes(self._data[:2000]).decode(errors="replace"))
        arrivals: list[float] = []
        texts: list[str] = []
        last = Event("")
        for match in _EVENT.finditer(self._data):
            last = self._server.event(json.loads(match[1]))
            if last.text:
                texts.append(last.text)
                arrivals.append(self._times[bisect_left(self._ends, match.end())] - self.began)
        if self.over and self._ask.schema is None and last.tokens != self._ask.tokens:
            raise ValueError(f"{last.tokens} tokens instead of {self._ask.tokens}: {''.join(texts)[-200:]!r}")
        return Reply(self.began, tuple(arrivals), "".join(texts), last.prompt_tokens, last.tokens)


def read_until(streams: Sequence[Stream], condition: Callable[[], bool]) -> None:
    """Read streams until a condition holds, looked at after every read. Raises TimeoutError."""
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            if not stream.over:
                selector.register(stream.socket, selectors.EVENT_READ, stream)
        while not condition():
            ready = selector.select(PATIENCE_S)
            if not ready:
                raise TimeoutError("nothing came")
            for key, _ in ready:
                stream = key.data
                stream.read()
                if stream.over:
                    selector.unregister(stream.socket)
                    stream.socket.close()


def ask_all(server: Server, asks: Sequence[Ask]) -> list[Reply]:
    """Ask everything at once and wait for all answers."""
    streams = [Stream(server, ask) for ask in asks]
    read_until(streams, lambda: all(stream.over for stream in streams))
    return [stream.reply() for stream in streams]


def ask_one(server: Server, ask: Ask) -> Reply:
    """Ask and wait for the answer."""
    return ask_all(server, [ask])[0]


def span_s(replies: Sequence[Reply]) -> float:
    """Seconds from the first question to the last piece of the last answer."""
    began = min(reply.began for reply in replies)
    return max(reply.began + reply.last_s for reply in replies) - began


def worst_gap_s(reply: Reply, begin: float, end: float) -> float:
    """The longest wait for a piece between two times of the clock; the waits that reach beyond them count whole."""
    times = [reply.began + arrival for arrival in reply.arrivals]
    return max(b - a for a, b in itertools.pairwise(times) if b > begin and a < end)
