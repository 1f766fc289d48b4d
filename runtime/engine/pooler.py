"""Texts of all who ask, computed together: a thread that fills batches in the order the texts came."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NoReturn

from corral.runtime.engine.llama import LoadError, Model
from corral.runtime.engine.llamalog import EngineLog
from corral.runtime.engine.pooled import PooledContext
from corral.runtime.engine.process import run_or_end
from corral.runtime.engine.protocol import FromRunner, Load, Refused
from corral.runtime.engine.sizes import MOST_TEXTS

BATCH_TOKENS: Final = 512
"""Tokens a batch of several texts may have: attention over more costs more than what it saves."""

TOO_LONG: Final = "the input length exceeds the context length"


class Job(ABC):
    """A request on its way: its texts in tokens. Belongs to the pooler once it is added."""

    def __init__(self, request_id: int, texts: list[list[int]]) -> None:
        self.id = request_id
        self.texts = texts
        self.taken = 0
        self.computed = 0
        self.began_ns = time.monotonic_ns()

    @abstractmethod
    def keep(self, values: Sequence[float]) -> None:
        """Take what came out for the next text; `values` are the pooled floats."""

    @abstractmethod
    def answer(self, prompt_tokens: int, prompt_ns: int) -> FromRunner:
        """Return what is sent once all texts are computed."""


class Pooler:
    """Computes for one model. `add` and `cancel` belong to the runner's main thread, the rest to a thread of its own.

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
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def longest(self, num_ctx: int) -> int:
        """Return how many tokens a text of a request may have; 0 asks for as many as the model was loaded for."""
        return min(num_ctx or self._load.num_ctx, self._load.num_ctx, self._model.num_ctx_train)

    def add(self, job: Job) -> None:
        """Take a request; its texts have at most `longest` tokens each."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=run_or_end, args=(self._run,), name="pool", daemon=True)
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
        found = self._context.compute([text for _, text in batch])
        owners = list(dict.fromkeys(job for job, _ in batch))
        if found is None:
            self._refuse(owners, "llama.cpp failed to compute this batch")
            return
        for (job, _), values in zip(batch, found, strict=True):
            job.keep(values)
            job.computed += 1
        self._finish(owners)

    def _fill(self, num_batch: int) -> list[tuple[Job, list[int]]]:
        """Take the next texts, of all jobs in turn: nobody waits until somebody's thousand are done."""
        batch: list[tuple[Job, list[int]]] = []
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

    def _finish(self, owners: Iterable[Job]) -> None:
        """Answer the requests that have all their texts computed."""
        with self._changed:
            done = [job for job in owners if job.computed == len(job.texts) and job in self._jobs]
            for job in done:
                self._jobs.remove(job)
        for job in done:
            self._send(job.answer(sum(map(len, job.texts)), time.monotonic_ns() - job.began_ns))

    def _refuse(self, jobs: Iterable[Job], message: str) -> None:
        with self._changed:
            refused = [job for job in jobs if job in self._jobs]
            for job in refused:
                self._jobs.remove(job)
        for job in refused:
            self._send(Refused(job.id, "internal", message))
