"""What can go wrong with what lies on disk, each with a message its reader can act on."""

from __future__ import annotations


class StoreError(Exception):
    """Base of every error of the store; `str(error)` is one line for a user."""


class InvalidName(StoreError):
    """A text that is no model name (spec h.3)."""

    def __init__(self, text: str) -> None:
        super().__init__("invalid model name")
        self.text = text


class InvalidDigest(StoreError):
    """A text that is no sha256 digest."""

    def __init__(self, text: str) -> None:
        super().__init__("invalid digest format")
        self.text = text


class ModelNotFound(StoreError):
    """No manifest of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"model '{name}' not found")
        self.name = name


class CannotRestore(StoreError):
    """What was deleted cannot be brought back as it was; the message says what stands in its way."""


class ModelElsewhere(StoreError):
    """A model that can be used but is not ours to change: it lies in another folder, or is an alias."""


class BlobNotFound(StoreError):
    """A digest whose bytes are not in the store."""


class DigestMismatch(StoreError):
    """Bytes that do not hash to what they were announced as; `again` says in Ollama's words that they were fetched."""

    def __init__(self, expected: str, actual: str, *, again: bool = False) -> None:
        super().__init__(
            f"digest mismatch, file must be downloaded again: want {expected}, got {actual}"
            if again
            else f'digest mismatch, expected "{expected}", got "{actual}"'
        )
        self.expected = expected
        self.actual = actual


class BrokenManifest(StoreError):
    """A manifest or config that cannot be read."""


class DamagedModel(StoreError):
    """Bytes of a model on the disk are not what their digest says, or not there."""


class NotGguf(StoreError):
    """A file that is not GGUF, or whose header lies about its size."""


class ModelfileError(StoreError):
    """A Modelfile that does not parse; `line` counts from 1, 0 where no line is at fault.

    `message` is without the line, `str(error)` begins with it (spec f.1).
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(f"(line {line}): {message}" if line else message)
        self.message = message
        self.line = line


class NoSpace(StoreError):
    """The disk does not hold what is to be written."""


class StoreReadOnly(StoreError):
    """The store cannot be written by this user."""


class SourceError(StoreError):
    """A place models come from failed, or what it sent was not a model."""


class ArchiveError(StoreError):
    """A file a model was to be read from is no such file, or holds what it may not."""


class ConversionError(StoreError):
    """Weights of another format that cannot be made into a GGUF file; the message says what is missing or unknown."""


class NotSafetensors(ConversionError):
    """A file that is not safetensors, or whose header lies about its size."""


class UnsupportedArchitecture(ConversionError):
    """A model of a family that is not converted (spec k)."""

    def __init__(self, architecture: str) -> None:
        super().__init__(f'unsupported architecture "{architecture}"')
        self.architecture = architecture


class SessionsError(StoreError):
    """Saved conversations that cannot be read or written."""
