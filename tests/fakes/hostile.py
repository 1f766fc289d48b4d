"""Texts as an enemy of the terminal would write them, and what of them no terminal may ever be sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

COMMANDS = (
    "\x1b[2J",
    "\x1b[H\x1b[3J",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;owned\x07",
    "\x1b]2;owned\x1b\\",
    "\x1b]52;c;b3duZWQ=\x07",
    "\x1b]8;;http://owned.example\x1b\\here\x1b]8;;\x1b\\",
    "\x1b]1337;File=inline=1:b3duZWQ=\x07",
    "\x1bP+q544e\x1b\\",
    "\x1bPq#0;2;0;0;0\x1b\\",
    "\x1b_Gf=24;AAAA\x1b\\",
    "\x1b^owned\x1b\\",
    "\x1b[6n\x1b[c\x1b[>q",
    "\x1b[?1049l\x1b[?25h\x1bc",
    "\x1b#8\x1b(0lqqk\x1b(B",
    "\x1b",
    "\x9b2J",
    "\x9d0;owned\x9c",
    "\x90q\x9c",
    "\x9f\x98\x9e\x84\x85\x8d",
    "".join(map(chr, range(0x20))),
    "".join(map(chr, range(0x7F, 0xA0))),
)
MARKUP = (
    "[red]",
    "[/]",
    "[/foo]",
    "[b]bold[/b]",
    "[@click=app.exit]x[/]",
    "[link=http://owned.example]x[/link]",
    "[x](javascript:alert(1))",
    "<http://owned.example/%1b%5b2J>",
    "&#27;[2J &#x9b;2J &#x202e;evil &#x200b; &ZeroWidthSpace; &#x2066;",
    "![x](file:///etc/passwd)",
    "```\x1b[2J\n\x9b\n```",
    "| a | \x1b[2J |\n|---|---|\n| \u202e | b |",
    "{{ .Prompt }} {% raw %}",
    ":smile: \\[ \\x1b[2J $(id) `id`",
)
WRITING = (
    "\u202eevil\u202c",
    "\u2066a\u2069\u061c\u200e\u200f",
    "a\u200bb\u200cc\u200dd\u2060e\ufeff\u00ad\u180e",
    "\u2028\u2029\x0b\x0c\x85",
    "e" + "\u0301" * 60,
    "\u0e01" + "\u0e47" * 30,
    "\u0915\u094d\u0937\u093f",
    "漢字テスト한국어",
    "α§±×°·…—“”",
    "👨\u200d👩\u200d👧\u200d👦 👍🏽 🏽🏿 🇩🇪🇫 🏴\U000e0067\U000e0062\U000e007f ❤\ufe0f ☎\ufe0e 1\ufe0f\u20e3",
    "\ud800\udfff\udc80 \udcff",
    "\ufff9\ufffa\ufffb\ufffe\uffff\U0001fffe\U0010ffff",
    "\ue000\U000f0000 \U000e0001",
    b"\xff\xfe\xc3\x28\xf0\x9f".decode("utf-8", "surrogateescape"),
    "a\rb\r\nc\n\rd",
    "\ta\tb\t",
    "\x00",
    "\x08\x08\x08owned",
    "../../etc/passwd",
)
SEEDS = COMMANDS + MARKUP + WRITING

OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""What no drawn text may hold: a terminal obeys it, reorders by it, or does not show it. Newlines and tabs are ours."""


def texts(count: int, seed: int = 1) -> Iterator[str]:
    """`count` texts, the same ones for the same `seed`: each of the seeds alone, then mixtures and noise."""
    dice = Random(seed)
    for number in range(count):
        if number < len(SEEDS):
            yield SEEDS[number]
            continue
        parts = [dice.choice(SEEDS) for _ in range(dice.randint(1, 3))]
        parts.insert(dice.randint(0, len(parts)), "".join(chr(dice.randrange(0x3000)) for _ in range(4)))
        if dice.random() < 0.3:
            parts.append(chr(dice.randrange(0x110000)))
        yield "".join(parts)


LONG = "x\x1b[2J" * 50_000
"""A line of a megabyte."""
