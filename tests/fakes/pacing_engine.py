"""A runner's inside without a model, as a program: says a word to every request at each step. Argument: seconds a step.

It computes nothing, so what a service on it takes of the processor is the service's own.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from corral.runtime.engine import protocol
from corral.runtime.engine.framing import Frames, frame, to_runner

CELLS = 1 << 20
WORD = " word"


class PacingEngine:
    """Speaks the protocol of `corral.runtime.engine` on standard input and output."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._left: dict[int, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._sending = threading.Lock()

    def run(self) -> None:
        """Serve until standard input ends."""
        self._send(protocol.Hello(os.getpid()))
        threading.Thread(target=self._step_for_ever, daemon=True).start()
        frames = Frames()
        while data := os.read(0, 1 << 16):
            for body in frames.feed(data):
                self._take(to_runner.decode(body))

    def _take(self, message: protocol.ToRunner) -> None:
        match message:
            case protocol.Load():
                self._send(
                    protocol.Loaded(
                        num_ctx=message.num_ctx,
                        num_ctx_train=message.num_ctx,
                        num_cells=CELLS,
                        num_sequences=message.num_sequences,
                        weights_bytes=0,
                        kv_bytes=0,
                        compute_bytes=0,
                        vram_bytes=0,
                        gpu_layers=0,
                        num_layers=1,
                    )
                )
            case protocol.Submit():
                self._send(protocol.Started(message.id, 1, 0))
                if not self._step_s:
                    self._left[message.id] = (message.num_predict, message.num_predict)
                    while self._left:
                        self._step()
                    return
                with self._lock:
                    self._left[message.id] = (message.num_predict, message.num_predict)
                self._work.set()
            case protocol.Cancel():
                with self._lock:
                    self._left.pop(message.id, None)
            case protocol.Ping():
                self._send(protocol.Pong(message.nonce))
            case _:
                pass

    def _step_for_ever(self) -> None:
        due = time.monotonic()
        while True:
            self._work.wait()
            due = max(due + self._step_s, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            with self._lock:
                self._step()
                if not self._left:
                    self._work.clear()

    def _step(self) -> None:
        finished = []
        pieces = [protocol.Piece(one, WORD, 1) for one in self._left]
        for one, (left, all_of_it) in tuple(self._left.items()):
            self._left[one] = (left - 1, all_of_it)
            if left <= 1:
                finished.append(protocol.Finished(one, "length", 1, 0, all_of_it, 1, 1))
                del self._left[one]
        self._send(protocol.Step(pieces, finished, [], 0, len(self._left), 0))

    def _send(self, message: protocol.FromRunner) -> None:
        with self._sending:
            os.write(1, frame(message))


if __name__ == "__main__":
    PacingEngine(float(sys.argv[1])).run()
