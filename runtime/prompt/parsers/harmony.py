"""gpt-oss: an answer is several messages, each with a channel; some are thoughts, some calls (spec g.6).

`<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json
<|message|>{…}<|call|>`; what the channel `final` says, and `commentary` to nobody, is for the user.
"""

from __future__ import annotations

import re
from typing import Final

from corral.runtime.engine.protocol import ToolCall
from corral.runtime.prompt.parsers.calls import Offered, call_of, read_json
from corral.runtime.prompt.parsers.channels import START, ChannelStream, Kind

_CHANNEL: Final = re.compile(r"<\|channel\|>\s*([a-z]+)")
_RECIPIENT: Final = re.compile(r"\bto=([^\s<]+)")


class HarmonyStream(ChannelStream):
    """Splits an answer of gpt-oss."""

    openings = ("<|channel|>", START, "to=")
    ends = ("<|end|>", "<|call|>", "<|return|>")

    def kind_of(self, header: str) -> tuple[Kind, str]:
        """Return what the message behind a header is, and whom it is to."""
        channel, recipient = _CHANNEL.search(header), _RECIPIENT.search(header)
        if recipient and self.offers:
            return Kind.CALL, recipient[1]
        return Kind.THINKING if channel and channel[1] == "analysis" else Kind.CONTENT, ""

    def call_in(self, recipient: str, body: str, offered: Offered) -> ToolCall | None:
        """Read a message that calls, None where it cannot be read."""
        try:
            arguments = read_json(body) if body.strip() else {}
        except ValueError:
            return None
        return call_of(recipient, arguments, offered)
