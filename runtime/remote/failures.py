"""What goes wrong with servers elsewhere: whether another may be asked, and how our client is told."""

from __future__ import annotations

from corral.runtime.errors import (
    RemoteFailed,
    RequestCanceled,
    RunError,
    ServerUnreachable,
    ServerUntrusted,
)
from corral.store.errors import StoreError

_LONGEST = 300
_ELSEWHERE = frozenset({404, 408, 429, 500, 501, 502, 503, 504})
_PASSING = frozenset({502, 503, 504})
_PASSED_ON = frozenset({400, 413, 500, 501, 503})

Failure = RunError | StoreError | TimeoutError


def is_down(error: Failure) -> bool:
    """Whether the server itself is at fault, and may be back in a moment."""
    if isinstance(error, RemoteFailed):
        return error.status in _PASSING
    return isinstance(error, (ServerUnreachable, TimeoutError))


def may_go_elsewhere(error: Failure) -> bool:
    """Whether another server could answer what this one did not."""
    if isinstance(error, RemoteFailed):
        return error.status in _ELSEWHERE
    return isinstance(error, (ServerUnreachable, ServerUntrusted, TimeoutError, StoreError))


def again_in_s(error: Failure) -> float | None:
    """In how many seconds the same server may be asked again: when it says, at once where it is down, or never."""
    if isinstance(error, RemoteFailed) and error.retry_after_s is not None:
        return error.retry_after_s
    return 0.0 if is_down(error) else None


def told(url: str, error: Failure, *, began: bool = False) -> RemoteFailed:
    """Return the error as our client hears it, with the server named and its words cleaned.

    A status that would make a client of ours do something about us is not passed on: a key that fails there is not the
    client's, a model that is missing there cannot be pulled here.
    """
    status, after_s = (error.status, error.retry_after_s) if isinstance(error, RemoteFailed) else (502, None)
    if began:
        why = "" if isinstance(error, ServerUnreachable) else f": {reason_of(error)}"
        return RemoteFailed(f"{url} ended in the middle of its answer{why}", 502)
    if status in (401, 403, 407):
        return RemoteFailed(f"{url} refuses the key of CORRAL_REMOTE_KEYS, or wants one", 502)
    if 300 <= status < 400:
        return RemoteFailed(f"{url} redirects, which is not followed: name the address it redirects to", 502)
    if status == 422:
        status = 400
    if status == 429:
        status = 503
    return RemoteFailed(f"{url}: {reason_of(error)}", status if status in _PASSED_ON else 502, after_s)


def reason_of(error: Failure) -> str:
    """Return the words of an error on one line, without what a terminal would obey."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ServerUnreachable):
        return "does not answer"
    if isinstance(error, RequestCanceled):
        return "the request was canceled there"
    text = "".join(sign if sign.isprintable() else " " for sign in str(error))
    return " ".join(text.split())[:_LONGEST]
