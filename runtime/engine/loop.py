"""The runner's loop: admit, schedule, decode, sample, send; one `Step` a step for all streams."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from corral.runtime.engine.admission import Slots
from corral.runtime.engine.context import Batch, Context, Decoded
from corral.runtime.engine.draft_model import DraftModel
from corral.runtime.engine.drawing import Drawing
from corral.runtime.engine.grammar import GrammarFailed
from corral.runtime.engine.idling import Idling
from corral.runtime.engine.llama import Model
from corral.runtime.engine.neighbours import IdleProcessors
from corral.runtime.engine.protocol import (
    Cancel,
    Finished,
    FromRunner,
    Pause,
    Piece,
    Ping,
    Pong,
    PromptProgress,
    Refused,
    Started,
    Step,
)
from corral.runtime.engine.schedule import YOUNG_NS, PromptBudget, plan, resting_place
from corral.runtime.engine.sequence import Request, Sequence
from corral.runtime.engine.shelf import Shelf
from corral.runtime.engine.shift import shift, tokens_to_drop
from corral.runtime.engine.speculation import Speculation
from corral.runtime.engine.threads import Threads

SECONDS_TO_PUT_AWAY: Final = 2.0
SETTLED_SECONDS: Final = 0.5


class Stop:
    """Have the loop end; `done` is set once it has put away what it computed."""

    def __init__(self) -> None:
        self.done = threading.Event()


Command = Request | Cancel | Pause | Ping | Stop


class Loop:
    """Serves all streams of one model. `run` owns everything here; `cancel_soon` may be called from any thread."""

    def __init__(
        self,
        model: Model,
        context: Context,
        commands: queue.Queue[Command],
        send: Callable[[FromRunner], None],
        num_sequences: int,
        draft_model: DraftModel | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self._context = context
        self._commands = commands
        self._idle = Idling(commands)
        self._send = send
        self._slots = Slots(context, num_sequences, shelf)
        self._batch = Batch(context.num_batch)
        self._budget = PromptBudget(context.num_batch)
        self._drawing = Drawing(model, context, self._slots.restart)
        self._speculation = Speculation(context, draft_model)
        self._threads = Threads(context.most_threads, IdleProcessors()) if context.most_threads > 1 else None
        self._waiting: deque[Request] = deque()
        self._running: list[Sequence] = []
        self._prompting: frozenset[int] = frozenset()

    def run(self) -> None:
        """Serve until `stop`; without work it sleeps in the queue."""
        while True:
            self._context.allow()  # before the queue is read: a cancel that comes later aborts the decode
            while not self._commands.empty() or not self._has_work():
                command = self._next_command()
                if isinstance(command, Stop):
                    self._slots.put_away(time.monotonic() + SECONDS_TO_PUT_AWAY / 2)
                    command.done.set()
                    return
                self._obey(command)
            self._admit()
            self._step()

    def _next_command(self) -> Command:
        """Wait for something to do; when nothing came for a while, get done what the next request would wait for.

        Not at once: a conversation's next turn needs none of it, and often comes at once.
        """
        if (command := self._idle.get_within(SETTLED_SECONDS)) is not None:
            return command
        while self._commands.empty() and self._slots.copy_ahead():
            pass
        return self._idle.get()

    def stop(self) -> None:
        """End the loop, whatever it computes, and wait until it has put away what is worth it."""
        stop = Stop()
        self._commands.put(stop)
        self._context.abort()
        stop.done.wait(SECONDS_TO_PUT_AWAY)

    def cancel_soon(self, request_id: int) -> None:
        """Break off the step in progress if it computes this request's prompt; call after queueing its `Cancel`."""
        if request_id in self._prompting:
            self._context.abort()

    def _has_work(self) -> bool:
        if any(sequence.wanted for sequence in self._running):
            return True
        return bool(self._waiting) and self._slots.can_admit(self._waiting[0], self._running)

    def _obey(self, command: Request | Cancel | Pause | Ping) -> None:
        match command:
            case Request():
                self._waiting.append(command)
            case Cancel():
                self._cancel(command.id)
                used, cache = self._slots.used(self._running), self._slots.cache_use(self._running)
                self._send(Step([], [], [], used, len(self._running), len(self._waiting), cache))  # the next may be far
            case Pause():
                self._pause(command)
            case Ping():
                self._send(Pong(command.nonce, self._idle.busy_ns(), self._context.llama_ns))

    def _pause(self, command: Pause) -> None:
        for sequence in self._running:
            if sequence.request.id == command.id:
                sequence.paused = command.paused
        self._follow()  # who waits for a paused one must go on alone

    def _cancel(self, request_id: int) -> None:
        for request in self._waiting:
            if request.id == request_id:
                self._waiting.remove(request)
                request.sampler.close()
                return
        for sequence in self._running:
            if sequence.request.id == request_id:
                self._end(sequence)
                return

    def _admit(self) -> None:
        while self._waiting and self._slots.can_admit(self._waiting[0], self._running):
            request = self._waiting.popleft()
            slot, held, leader, shared = self._slots.admit(request, self._running)
            sequence = Sequence(request, slot, time.monotonic_ns())
            sequence.computed = held
            sequence.leader, sequence.shared = leader, shared
            sequence.cached = shared if leader else held
            sequence.stops = self._slots.checkpoints(request, sequence.cached)
            self._running.append(sequence)
            warnings = [*request.warnings, *(request.constraint.warnings if request.constraint else ())]
            self._send(
                Started(request.id, sequence.prompt_tokens, sequence.cached, request.dropped, request.cut, warnings)
            )

    def _step(self) -> None:
        """Compute what the running sequences want, if any of them wants something."""
        for sequence in self._running:
            if sequence.wanted and sequence.overflows:
                self._shift(sequence)
        if not self._see():
            return
        wanted = [0 if sequence.media else sequence.wanted for sequence in self._running]
        if not any(wanted):
            return
        generating = wanted.count(1)
        young_ns = time.monotonic_ns() - YOUNG_NS
        young = all(s.first_ns > young_ns for s, want in zip(self._running, wanted, strict=True) if want == 1)
        budget = self._budget.tokens(generating, young=young)
        counts = plan(self._rested(wanted, budget), self._context.num_batch, budget)
        prompt_tokens = sum(count for count, want in zip(counts, wanted, strict=True) if want > 1)
        self._speculation.guess(self._running, 0 if prompt_tokens else self._context.num_batch - sum(counts))
        outputs = self._fill(counts)
        self._prompting = frozenset(
            s.request.id for s, want, count in zip(self._running, wanted, counts, strict=True) if want > 1 and count
        )
        threads = None if prompt_tokens or self._must_repeat(wanted) else self._threads
        if self._threads is not None:
            self._context.use_threads(threads.count if threads else self._context.most_threads)
        began, processor_ns = time.monotonic_ns(), time.process_time_ns()
        outcome = self._decode(partial(self._context.decode, self._batch))
        self._prompting = frozenset()
        if outcome is not Decoded.OK:
            self._recover(outcome, counts)
            return
        now = time.monotonic_ns()
        if self._batch.size == prompt_tokens + generating:  # guesses make a step longer
            self._budget.observe(prompt_tokens, generating, now - began)
            if threads is not None:
                threads.observe(generating, now - began, time.process_time_ns() - processor_ns, now)
        self._advance(counts, outputs, now)
        self._speculation.observe(self._batch.size, prompt_tokens, time.monotonic_ns() - began)

    def _rested(self, wanted: list[int], budget: int) -> list[int]:
        """Return what is wanted, with prompts resting where others go on from them."""
        counts = list(wanted)
        for index, leader in enumerate(self._running):
            if wanted[index] > 1:
                waiting = [(s.shared, len(s.tokens)) for s in self._running if s.leader is leader and not s.paused]
                place = resting_place(leader.computed, len(leader.tokens), waiting, budget)
                counts[index] = min(wanted[index], place - leader.computed) if place else wanted[index]
        return counts

    def _must_repeat(self, wanted: list[int]) -> bool:
        """Say whether one stream alone generates, and its answer is to be the same each time.

        llama.cpp divides the attention of a single token among its threads: how many there are shows in the rounding.
        """
        return wanted.count(1) == 1 and self._running[wanted.index(1)].request.repeatable

    def _see(self) -> bool:
        """Compute a part of an image for the first sequence that has come to one; False where that failed."""
        for sequence in self._running:
            if (media := sequence.media) is None:
                continue
            self._prompting = frozenset({sequence.request.id})
            decode = partial(self._context.decode_media, media, sequence.slot, sequence.computed)
            outcome = self._decode(decode)
            self._prompting = frozenset()
            if outcome is not Decoded.OK:
                self._recover(outcome, [int(one is sequence) for one in self._running])
                return False
            self._computed(sequence, len(media.stand_ins))
            self._follow()
            progress = PromptProgress(sequence.request.id, sequence.computed, sequence.prompt_tokens)
            used = self._slots.used(self._running)
            self._send(Step([], [], [progress], used, len(self._running), len(self._waiting)))
            break
        return True

    def _computed(self, sequence: Sequence, count: int) -> None:
        """Note that so many more of a sequence's tokens are in the cache."""
        sequence.computed += count
        if sequence.stops and sequence.computed == sequence.stops[0]:
            del sequence.stops[0]
            self._slots.checkpoint(sequence)

    def _fill(self, counts: list[int]) -> list[int]:
        """Put the step's tokens into the batch; returns where each sequence's logits begin, -1 for none."""
        batch = self._batch
        batch.clear()
        outputs = []
        for sequence, count in zip(self._running, counts, strict=True):
            index = -1
            if count:
                begin = sequence.computed
                complete = begin + count == len(sequence.tokens)
                tokens, draft = sequence.tokens[begin : begin + count], sequence.draft
                index = batch.add(sequence.slot, tokens + draft, begin, output=complete, every=bool(draft))
                index = index - len(draft) if complete else -1
            outputs.append(index)
        return outputs

    def _decode(self, decode: Callable[[], Decoded]) -> Decoded:
        """Decode; where llama.cpp finds no cells, give up cached sequences until it does."""
        outcome = decode()
        while outcome is Decoded.NO_CELLS and self._slots.evict_one():
            outcome = decode()
        return outcome

    def _advance(self, counts: list[int], outputs: list[int], now: int) -> None:
        """Note what was computed, draw the next tokens and tell the parent."""
        pieces: list[Piece] = []
        finished: list[Finished] = []
        progress: list[PromptProgress] = []
        ended: list[Sequence] = []
        for sequence, count, output in zip(self._running, counts, outputs, strict=True):
            if not count:
                continue
            self._computed(sequence, count)
            if not sequence.first_ns:
                progress.append(PromptProgress(sequence.request.id, sequence.computed, sequence.prompt_tokens))
            if output >= 0:
                try:
                    end = self._drawing.draw(sequence, output, pieces, now)
                except GrammarFailed as error:
                    self._send(Refused(sequence.request.id, "bad_request", f"the answer's format failed: {error}"))
                    ended.append(sequence)
                    continue
                if end is not None:
                    finished.append(end)
                    ended.append(sequence)
        self._follow()
        for sequence in ended:
            self._end(sequence)
        used = self._slots.used(self._running)
        cache = self._slots.cache_use(self._running) if progress or ended else None
        self._send(Step(pieces, finished, progress, used, len(self._running), len(self._waiting), cache))

    def _follow(self) -> None:
        """Let sequences whose shared beginning is computed go on from there."""
        for sequence in self._running:
            leader = sequence.leader
            if leader is not None and (leader.paused or leader.computed >= sequence.shared):
                self._slots.join(sequence, leader)

    def _release_followers(self, sequence: Sequence) -> None:
        for other in self._running:
            if other.leader is sequence:
                self._slots.join(other, sequence)

    def _shift(self, sequence: Sequence) -> None:
        """Make room in a full window."""
        self._release_followers(sequence)
        keep = sequence.request.keep
        shared = self._slots.unsettle(sequence, keep, keep + tokens_to_drop(sequence))
        shift(sequence, self._context, shared=shared)
        if not sequence.computed:
            self._slots.restart(sequence)

    def _end(self, sequence: Sequence) -> None:
        """Take a sequence out of the running; what it computed stays as cache."""
        self._release_followers(sequence)
        self._running.remove(sequence)
        sequence.sampler.close()
        self._slots.finish(sequence)

    def _recover(self, outcome: Decoded, counts: list[int]) -> None:
        """Bring the cache back to what was known computed after a step that did not come through."""
        if outcome is not Decoded.ABORTED:
            self._refuse(outcome, counts)
        if outcome is Decoded.FAILED and self._context.copies_whole:
            self._slots.distrust(self._running)
            return
        for sequence in self._running:
            if sequence.computed and not self._context.cut(sequence.slot, sequence.computed):
                self._slots.restart(sequence)
            elif not sequence.computed:
                self._context.forget(sequence.slot)

    def _refuse(self, outcome: Decoded, counts: list[int]) -> None:
        """Give up requests after a decode that failed: the newest where cells lack, else all of the batch."""
        involved = [s for s, count in zip(self._running, counts, strict=True) if count]
        if outcome is Decoded.NO_CELLS:
            involved = involved[-1:]
        for sequence in involved:
            self._send(Refused(sequence.request.id, "internal", "llama.cpp failed to compute this step"))
            sequence.computed = 0
            for other in self._running:
                if other.leader is sequence:
                    other.leader = None
            self._running.remove(sequence)
            sequence.sampler.close()
            self._slots.clear(sequence)
