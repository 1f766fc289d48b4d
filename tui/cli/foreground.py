"""A process in the foreground that stands in for the workbench, so that the workbench can leave its terminal.

A shell waits for the process it started. So that one stays behind and waits, and its child is the workbench: when that
detaches, the waiting one ends and the shell goes on, while the child keeps its threads, its models and its connections.
To be forked before there is any thread. What is sent to the waiting process reaches the child; if it is killed, the
child ends too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading

_DETACH = b"d"
_GO = b"g"
_SENT_BY_A_PROCESS = 0  # SI_USER of sigaction(2)


class Foreground:
    """The child's end. `can_detach` is False where there is no other process to leave behind."""

    def __init__(self, line: socket.socket | None) -> None:
        self._line = line
        self._released = threading.Event()
        if line is not None:
            threading.Thread(target=self._watch, args=(line,), name="foreground", daemon=True).start()

    @property
    def can_detach(self) -> bool:
        """Whether the terminal can be given back while this process goes on."""
        return self._line is not None

    def detach(self) -> None:
        """Leave the terminal's session and let the waiting process end. Standard streams lead nowhere afterwards."""
        assert self._line is not None, "there is nothing to detach from"
        sys.stdout.flush()
        sys.stderr.flush()
        # The end of a session's leader hangs up on the session: so this process is out of it before.
        os.setsid()
        self._line.sendall(_DETACH)
        self._released.wait()

    def _watch(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if line.recv(1) == _GO:
                self._released.set()
                return
        os.kill(os.getpid(), signal.SIGKILL)


def enter() -> Foreground | int:
    """Fork; returns the child's end in the child, and the exit code in the process that waited, when that is over."""
    if not hasattr(os, "fork") or threading.active_count() > 1:
        return Foreground(None)
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing may be lost between the fork and the moment the signals are passed on.
    passed_on = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, passed_on | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        ours.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return Foreground(theirs)
    theirs.close()
    return _wait(child, ours, passed_on)


def _wait(child: int, line: socket.socket, passed_on: set[signal.Signals]) -> int:
    """Pass signals on until the child ends or leaves; returns the exit code. Ours to take are blocked already."""
    asked = threading.Event()

    def listen() -> None:
        with contextlib.suppress(OSError):
            if line.recv(1) == _DETACH:
                asked.set()
        os.kill(os.getpid(), signal.SIGCHLD)  # wakes the loop below

    threading.Thread(target=listen, name="foreground", daemon=True).start()
    while True:
        number = _next_signal(passed_on | {signal.SIGCHLD})
        if asked.is_set():
            line.sendall(_GO)
            return 0
        if number in passed_on:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return _code(status)


def _next_signal(numbers: set[signal.Signals]) -> int:
    """Wait for a signal that is for this process alone: the terminal's Ctrl-C has reached the child by itself."""
    if not hasattr(signal, "sigwaitinfo"):
        return signal.sigwait(numbers)
    while True:
        found = signal.sigwaitinfo(numbers)
        if found.si_signo != signal.SIGINT or found.si_code == _SENT_BY_A_PROCESS:
            return found.si_signo


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        # So that whoever waits for this process sees what they would have seen of the child.
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.Signals(-code)})
        os.kill(os.getpid(), -code)
    return code
