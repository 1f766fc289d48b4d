"""Texts to vectors, of all who ask at once: a thread that fills batches in the order the texts came."""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NoReturn

from corral.runtime.engine.llama import LoadError, Model
from corral.runtime.engine.llamalog import EngineLog
from corral.runtime.engine.pooled import MOST_TEXTS, PooledContext
from corral.runtime.engine.prefix import common_length
from corral.runtime.engine.process import run_or_end
from corral.runtime.engine.protocol import Embed, Embedded, FromRunner, Load, Refused

BATCH_TOKENS: Final = 512
"""Tokens a batch of several texts may have: attention over more costs more than what it saves."""


TOO_LONG: Final = "the input length exceeds the context length"


@dataclass(eq=False)
class _Job:
    """A request on its way: its texts in tokens and the vectors that are there already, as bytes."""

    id: int
    texts: list[list[int]]
    vectors: list[bytes] = field(default_factory=list)
    taken: int = 0
    cut: int = 0
    began_ns: int = field(default_factory=time.monotonic_ns)


class Embedder:
    """Embeds for one model. `submit` and `cancel` belong to the runner's main thread, the rest to a thread of its own.

    Where `context` is None it is made when it is first needed.
    """

    def __init__(
        self,
        model: Model,
        load: Load,
        log: EngineLog,
        send: Callable[[FromRunner], None],
        context: PooledContext | None = None,
    ) -> None:
        self._model = model
        self._load = load
        self._log = log
        self._send = send
        self._context = context
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._specials = model.tokenize_whole("")
        self._thread: threading.Thread | None = None

    def submit(self, message: Embed) -> None:
        """Take a request, or refuse it."""
        num_ctx = min(message.num_ctx or self._load.num_ctx, self._load.num_ctx, self._model.num_ctx_train)
        texts = []
        cut = 0
        for text in message.texts:
            try:
                tokens = self._model.tokenize_whole(text) or [self._model.first_token]
            except ValueError as error:
                self._send(Refused(message.id, "bad_request", str(error)))
                return
            if len(tokens) > num_ctx:
                if not message.truncate:
                    self._send(Refused(message.id, "too_long", TOO_LONG, len(tokens)))
                    return
                tokens = cut_end(tokens, self._specials, num_ctx)
                cut += 1
            texts.append(tokens)
        with self._changed:
            self._jobs.append(_Job(message.id, texts, cut=cut))
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=run_or_end, args=(self._run,), name="embed", daemon=True)
            self._thread.start()

    def cancel(self, request_id: int) -> None:
        """Forget a request; what is being computed of it comes to its end unheard."""
        with self._changed:
            self._jobs = deque(job for job in self._jobs if job.id != request_id)

    def _run(self) -> NoReturn:
        while True:
            self._step()

    def _step(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._jobs))
            if self._context is None:
                jobs = list(self._jobs)
        if self._context is None:
            try:
                self._context = PooledContext(self._model, self._load, self._log)
            except LoadError as error:
                self._refuse(jobs, str(error))
                return
        batch = self._fill(self._context.num_batch)
        vectors = self._context.embed([text for _, text in batch])
        owners = list(dict.fromkeys(job for job, _ in batch))
        if vectors is None:
            self._refuse(owners, "llama.cpp failed to compute this batch")
            return
        for (job, _), vector in zip(batch, vectors, strict=True):
            job.vectors.append(normalised(vector))
        self._finish(owners)

    def _fill(self, num_batch: int) -> list[tuple[_Job, list[int]]]:
        """Take the next texts, of all jobs in turn: nobody waits until somebody's thousand are done."""
        batch: list[tuple[_Job, list[int]]] = []
        size = 0
        with self._changed:
            waiting = deque(job for job in self._jobs if job.taken < len(job.texts))
            while waiting and len(batch) < MOST_TEXTS:
                job = waiting.popleft()
                text = job.texts[job.taken]
                if batch and size + len(text) > min(num_batch, BATCH_TOKENS):
                    break
                batch.append((job, text))
                size += len(text)
                job.taken += 1
                if job.taken < len(job.texts):
                    waiting.append(job)
        return batch

    def _finish(self, owners: Iterable[_Job]) -> None:
        """Send the vectors of the requests that have all of theirs."""
        with self._changed:
            done = [job for job in owners if len(job.vectors) == len(job.texts) and job in self._jobs]
            for job in done:
                self._jobs.remove(job)
        for job in done:
            if not all(job.vectors):
                self._send(Refused(job.id, "bad_request", "embedding contains NaN or Inf values"))
                continue
            tokens = sum(map(len, job.texts))
            self._send(Embedded(job.id, job.vectors, tokens, time.monotonic_ns() - job.began_ns, job.cut))

    def _refuse(self, jobs: Iterable[_Job], message: str) -> None:
        with self._changed:
            refused = [job for job in jobs if job in self._jobs]
            for job in refused:
                self._jobs.remove(job)
        for job in refused:
            self._send(Refused(job.id, "internal", message))


def normalised(vector: Iterable[float]) -> bytes:
    """Return a vector of length 1 as float32 values; b"" where it holds NaN or infinity."""
    values = array("f", vector)
    length = math.sqrt(math.fsum(value * value for value in values))
    if not math.isfinite(length):
        return b""
    return array("f", (value / length for value in values)).tobytes() if length else values.tobytes()


def cut_end(tokens: list[int], specials: list[int], length: int) -> list[int]:
    """Return a text cut to `length` tokens with what belongs at its end; `specials` are the tokens of an empty text."""
    tail = len(specials) - common_length(specials, tokens)
    tail = min(tail, length - 1)
    return tokens[: length - tail] + tokens[len(tokens) - tail :]
