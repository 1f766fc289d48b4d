"""An answer's form for a model that thinks first: its thoughts are free, what comes after them is bound.

Both are one grammar, so the border between them holds even where one token lies on both sides of it: the answer either
opens its thoughts or has the form from its first token on, and once they are closed (and only then) it goes on in it.
It cannot end while it thinks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from corral.runtime.engine.llama import Model
from corral.runtime.prompt.thinking import Tags

CONTENT: Final = "content"

_BLANKS: Final = r"BLANKS: /[ \t\r\n]{0,8}/"
ANYTHING: Final = "/(?s:.*)/"


@dataclass(frozen=True, slots=True)
class Deferral:
    """Thoughts before the answer; `inside` says that the prompt has opened them already."""

    tags: Tags
    inside: bool


def thinking_first(model: Model, deferral: Deferral) -> str:
    """Return a Lark grammar of an answer whose content is the grammar named `CONTENT`."""
    tags = deferral.tags
    closing = symbols(model, tags.closing)
    header = " ".join(symbols(model, tags.header))
    rules = [_BLANKS]
    if closing[0].startswith("<"):
        # A closing tag is a token of its own: no text is mistaken for it, and none may look like it.
        rules.append(f"FREE: {ANYTHING} & ~({ANYTHING} {quoted(tags.closing)} {ANYTHING})")
        thoughts = " ".join(["FREE", *closing])
    else:
        rules.append(f"free[suffix={closing[0]}]: {ANYTHING}")
        thoughts = " ".join(["free", *closing[1:]])
    answer = f"BLANKS @{CONTENT}"
    answers = f"{answer} | BLANKS {header} {answer}" if header else answer
    rules += [f"thoughts: {thoughts}", f"answer: {answers}"]
    if deferral.inside:
        start = "thoughts answer"
    else:
        start = f"BLANKS {' '.join(symbols(model, tags.opening))} thoughts answer | @{CONTENT}"
        start += f" | BLANKS {header} {answer}" if header else ""
    return "\n".join([f"start: {start}", *rules, ""])


def deferred(model: Model, deferral: Deferral, content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return llguidance's list of grammars for an answer that thinks first, and then is `content`."""
    return [{"name": "thinking", "lark_grammar": thinking_first(model, deferral)}, {**content, "name": CONTENT}]


def symbols(model: Model, tag: str) -> list[str]:
    """Return a tag as Lark symbols: marks by their token's number, as llguidance wants them, the rest quoted."""
    symbols: list[str] = []
    rest = tag
    for token in filter(model.is_mark, model.tokenize(tag, begin=False)):
        text, _, rest = rest.partition(model.piece(token).decode(errors="replace"))
        symbols += [quoted(text)] if text else []
        symbols.append(f"<[{token}]>")
    return [*symbols, quoted(rest)] if rest else symbols


def quoted(text: str) -> str:
    """Return a text as Lark writes one."""
    return json.dumps(text, ensure_ascii=False)
