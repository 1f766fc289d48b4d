"""What can be asked about tokens, as types: how a text or a conversation is cut, and what tokens say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from corral.runtime.verbs import Caller


class TokenizeRequest(msgspec.Struct, frozen=True):
    """A text whose tokens are wanted; with `begin` it starts with BOS, where the model has one."""

    model: str
    text: str = ""
    begin: bool = False
    options: Mapping[str, object] = msgspec.field(default_factory=dict)
    keep_alive_s: float | None = None
    caller: Caller | None = None


class DetokenizeRequest(msgspec.Struct, frozen=True):
    """Tokens whose text is wanted."""

    model: str
    tokens: tuple[int, ...] = ()
    options: Mapping[str, object] = msgspec.field(default_factory=dict)
    keep_alive_s: float | None = None
    caller: Caller | None = None


class Tokens(msgspec.Struct, frozen=True):
    """The tokens of a text or of a conversation as the model would be sent it; durations in nanoseconds."""

    tokens: tuple[int, ...] = ()
    total_ns: int = 0
    load_ns: int = 0


class Detokenized(msgspec.Struct, frozen=True):
    """The text of tokens; bytes that are no whole character are U+FFFD. Durations in nanoseconds."""

    text: str = ""
    total_ns: int = 0
    load_ns: int = 0
