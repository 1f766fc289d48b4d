"""One table from our errors to each wire's: the HTTP status and the body of Ollama's, OpenAI's and Anthropic's APIs.

No other module of the package formats an error; handlers raise. Imports nothing of the HTTP server, so that the
command line may catch these types without paying for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from corral.runtime import errors as run
from corral.store import errors as store


class ApiError(run.RunError):
    """Base of the errors of the API; `str(error)` is one line for a user."""


class PortTaken(ApiError):
    """Somebody else listens on the address.

    `by` names who in a few words ("ollama (process 4711)"), "" where that is not to be found out; `answers` says that
    a server of Ollama's API is there, which can be used instead.
    """

    def __init__(self, host: str, port: int, by: str = "", *, answers: bool = False) -> None:
        super().__init__(f"address {join_address(host, port)} is in use" + (f" by {by}" if by else ""))
        self.host = host
        self.port = port
        self.by = by
        self.answers = answers


class CannotListen(ApiError):
    """The address cannot be listened on: not of this machine, or not allowed."""


class SettingsRefused(ApiError):
    """The file of settings has mistakes, and a server would not do what it says."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))


class AnonymousRefused(ApiError):
    """A server that others can reach was to be started without a key."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"refusing to listen on {host} without an API key: set CORRAL_API_KEY, "
            "or CORRAL_ALLOW_ANONYMOUS=1 to let everybody in"
        )
        self.host = host


class TlsFailed(ApiError):
    """A certificate, or the key to it, cannot be used."""


class InvalidOrigin(ApiError):
    """An entry of the list of allowed origins that is none."""

    def __init__(self, origin: str) -> None:
        super().__init__(f"bad origin {origin!r}: it must contain '*' or begin with a scheme such as https://")


class RequestRefused(ApiError):
    """A request that the API itself turns down, with its HTTP status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class NotSignedIn(RequestRefused):
    """What only an account may ask; `signin_url` is where one signs in."""

    def __init__(self, message: str, signin_url: str) -> None:
        super().__init__(message, 401)
        self.signin_url = signin_url


class Problem(NamedTuple):
    """What a client is told: the status, one line, headers that belong to it, and where to sign in if that is it."""

    status: int
    message: str
    headers: Mapping[str, str] = {}
    signin_url: str = ""


_STATUS: Mapping[type[Exception], int] = {
    store.InvalidName: 400,
    store.InvalidDigest: 400,
    store.ModelNotFound: 404,
    store.ModelElsewhere: 400,
    store.BlobNotFound: 404,
    store.DigestMismatch: 400,
    store.BrokenManifest: 500,
    store.NotGguf: 400,
    store.ModelfileError: 400,
    store.NoSpace: 500,
    store.StoreReadOnly: 500,
    store.SourceError: 500,
    store.ArchiveError: 400,
    store.ConversionError: 400,
    store.StoreError: 500,
    run.BadRequest: 400,
    run.InvalidFormat: 500,  # Ollama's own status for it (spec a.7)
    run.InvalidOption: 500,  # and for this (spec a.5)
    run.InvalidParameter: 400,
    run.NotSupported: 400,
    run.PromptTooLong: 400,
    run.TemplateFailed: 400,
    run.QueueFull: 503,
    run.CloudDisabled: 403,
    run.LoadFailed: 500,
    run.QuantizeFailed: 500,
    run.RunnerDied: 500,
    run.RequestCanceled: 499,
    run.ServerUnreachable: 502,
    run.ServerUntrusted: 502,
    run.RunError: 500,
}

_INTERNAL = "internal error, see the server's log"
_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


def describe(error: Exception) -> Problem:
    """Translate an error. What is none of our types tells a client nothing but that it happened."""
    if isinstance(error, NotSignedIn):
        return Problem(error.status, str(error), signin_url=error.signin_url)
    if isinstance(error, run.RemoteFailed):
        after_s = error.retry_after_s
        return Problem(error.status, str(error), {} if after_s is None else {"Retry-After": str(math.ceil(after_s))})
    if isinstance(error, RequestRefused):
        return Problem(error.status, str(error))
    if isinstance(error, run.QueueFull):
        headers = {"Retry-After": str(error.retry_after_s), "X-Corral-Queue": str(error.waiting)}
        return Problem(503, str(error), headers)
    if isinstance(error, run.KeepsDying):
        return Problem(503, str(error), {"Retry-After": str(error.retry_after_s)})
    for kind in type(error).__mro__:
        status = _STATUS.get(kind)
        if status is not None:
            return Problem(status, str(error))
    return Problem(500, _INTERNAL)


def is_expected(error: Exception) -> bool:
    """Say whether an error is one of ours, and not a fault in the program."""
    return isinstance(error, (store.StoreError, run.RunError))


def ollama_body(problem: Problem) -> dict[str, object]:
    """Return the body of an error on `/api`."""
    signin = {"signin_url": problem.signin_url} if problem.signin_url else {}
    return {"error": problem.message, **signin}


def openai_body(problem: Problem) -> dict[str, object]:
    """Return the body of an error on `/v1` (spec b.1)."""
    kind = _OPENAI_TYPES.get(problem.status, "api_error")
    return {"error": {"message": problem.message, "type": kind, "param": None, "code": None}}


def anthropic_body(problem: Problem, request_id: str) -> dict[str, object]:
    """Return the body of an error on `/v1/messages` (spec c)."""
    kind = _ANTHROPIC_TYPES.get(problem.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": problem.message}, "request_id": request_id}


def join_address(host: str, port: int) -> str:
    """Write host and port as one text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
