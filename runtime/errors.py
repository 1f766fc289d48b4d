"""What can go wrong with what runs, each with a message its reader can act on.

The texts are Ollama's where it has one (spec a.5): clients match on them. `api/errors.py` and `tui/cli` translate
these types once.
"""

from __future__ import annotations


class RunError(Exception):
    """Base of every error of the runtime; `str(error)` is one line for a user."""


class BadRequest(RunError):
    """A request whose fields contradict each other or hold what cannot be served."""


class InvalidFormat(RunError):
    """A `format` that is neither the word "json" nor a schema (spec a.7)."""

    def __init__(self, value: object) -> None:
        super().__init__(f'invalid format: "{value}"; expected "json" or a valid JSON Schema object')


class InvalidOption(RunError):
    """A generation option of the wrong type."""


class InvalidParameter(RunError):
    """A Modelfile PARAMETER that does not exist or whose value does not parse."""


class NotSupported(RunError):
    """The model lacks a capability the request needs."""


class PromptTooLong(RunError):
    """The prompt does not fit the context."""

    def __init__(self, num_tokens: int, num_ctx: int) -> None:
        super().__init__(
            "the prompt is longer than the context length currently available to the model; shorten the prompt, "
            "adjust the context length in settings, or use a model with a longer context length "
            f"({num_tokens} tokens, context {num_ctx})"
        )


class TemplateFailed(RunError):
    """The prompt template does not parse, or failed or ran too long on these messages."""


class QueueFull(RunError):
    """More requests wait than the queue holds."""

    def __init__(self, waiting: int, retry_after_s: int = 1) -> None:
        super().__init__("server busy, please try again.  maximum pending requests exceeded")
        self.waiting = waiting
        self.retry_after_s = retry_after_s


class LoadFailed(RunError):
    """The engine could not load a model; `out_of_memory` where it found too little of that."""

    out_of_memory = False


class RunnerDied(RunError):
    """The process that ran a model ended in the middle of a request."""

    def __init__(self, detail: str = "") -> None:
        text = (
            "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
            "check the server log for details"
        )
        super().__init__(f"{text}: {detail}" if detail else text)


class KeepsDying(RunError):
    """A model whose runner died again and again; it is left alone for a while."""

    def __init__(self, name: str, times: int, last_words: str, retry_after_s: int) -> None:
        super().__init__(
            f"{name} is not loaded for another {retry_after_s} s: its runner died {times} times within a minute"
            + (f" ({last_words})" if last_words else "")
        )
        self.retry_after_s = retry_after_s


class TooLittleMemory(LoadFailed):
    """A model does not fit the memory there is, with the sum."""


class RequestCanceled(RunError):
    """Somebody cancelled the request: its client, or a person at the workbench."""

    def __init__(self) -> None:
        super().__init__("request canceled")


class ServerUnreachable(RunError):
    """No server answers where one was expected."""


class ServerUntrusted(RunError):
    """Nobody who is trusted here vouches for a server's certificate."""

    def __init__(self, why: str) -> None:
        super().__init__(f"its certificate is not trusted ({why}): have SSL_CERT_FILE name a file with who signed it")


class RemoteFailed(RunError):
    """A server answered a verb with an error; `status` is the HTTP status, `retry_after_s` when it wants to be asked
    again, where it says so."""

    def __init__(self, message: str, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class CloudDisabled(RunError):
    """A model of Ollama's cloud, which is not asked (spec a.5)."""

    def __init__(self, what: str = "remote model is unavailable") -> None:
        super().__init__(f"ollama cloud is disabled: {what}")


class QuantizeFailed(RunError):
    """The quantizer could not write a model, or what it wrote is not whole."""
