"""Muse Glimmer: an answer is several messages, each to somebody; those to functions call them (its chat template).

` to=self<|message|>…<|eom|><|start|>assistant to=NAME<|message|><atem:function_calls>
<atem:invoke name="NAME">
<atem:parameter name="KEY">VALUE</atem:parameter>
</atem:invoke>
</atem:function_calls><|eot|>`; what is to the user, or to nobody, is for the user.
"""

from __future__ import annotations

import re
from typing import Final

from corral.runtime.engine.protocol import ToolCall
from corral.runtime.prompt.parsers.calls import Offered, call_of
from corral.runtime.prompt.parsers.channels import START, ChannelStream, Kind
from corral.runtime.prompt.parsers.tagged import typed

OPENING: Final = "<atem:function_calls>"
_INVOKE: Final = '<atem:invoke name="'
_PARAMETER: Final = '<atem:parameter name="'
_RECIPIENT: Final = re.compile(r"\bto=([^\s<]+)")


class GlimmerStream(ChannelStream):
    """Splits an answer of Muse Glimmer."""

    openings = ("to=", START)
    ends = ("<|eom|>", "<|eot|>")
    final = ("<|eot|>",)
    begins_call = OPENING

    def kind_of(self, header: str) -> tuple[Kind, str]:
        """Return what the message behind a header is, and whom it is to."""
        found = _RECIPIENT.search(header)
        match found[1] if found else "user":
            case "self":
                return Kind.THINKING, "self"
            case "user":
                return Kind.CONTENT, "user"
            case name:
                return (Kind.CALL if self.offers else Kind.CONTENT), name

    def call_in(self, recipient: str, body: str, offered: Offered) -> ToolCall | None:
        """Read a message that calls, None where it cannot be read; who is called stands in it too, and that counts."""
        _, found, rest = body.partition(_INVOKE)
        name, closed, rest = rest.partition('">')
        inside, ended, _ = rest.partition("</atem:invoke>")
        if not (found and closed and ended):
            return None
        name = _offered_as(name, offered)
        schema = offered.get(name, {})
        arguments: dict[str, object] = {}
        for given in inside.split(_PARAMETER)[1:]:
            key, _, value = given.partition('">')
            value, ended, _ = value.partition("</atem:parameter>")
            if not ended:
                return None
            arguments[key] = typed(value, schema, key)
        return call_of(name, arguments, offered)


def _offered_as(name: str, offered: Offered) -> str:
    """Return which function is meant: the template lets `look` be called as `look.look`, for want of a namespace."""
    space, _, own = name.partition(".")
    return own if name not in offered and own in offered and own.partition(".")[0] == space else name
