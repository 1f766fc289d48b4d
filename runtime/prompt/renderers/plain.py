"""Families whose messages stand between two marks each; by these a model without any template is known too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.renderers.form import Tool
from corral.runtime.prompt.thinking import Think


@dataclass(frozen=True, slots=True)
class Family:
    """How a family marks its messages: what stands before each role's, and behind all of them.

    A vocabulary that has all of `tokens` is of the family. Where there is no mark for the system, its words go before
    the user's. Roles that are not named are the user's.
    """

    name: str
    tokens: tuple[str, ...]
    user: str
    assistant: str
    end: str
    system: str = ""
    assistant_end: str | None = None


FAMILIES: Final = (
    Family(
        "gemma",
        ("<start_of_turn>", "<end_of_turn>"),
        "<start_of_turn>user\n",
        "<start_of_turn>model\n",
        "<end_of_turn>\n",
    ),
    Family(
        "llama3",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
        "<|start_header_id|>system<|end_header_id|>\n\n",
    ),
    Family(
        "llama4",
        ("<|header_start|>", "<|header_end|>", "<|eot|>"),
        "<|header_start|>user<|header_end|>\n\n",
        "<|header_start|>assistant<|header_end|>\n\n",
        "<|eot|>",
        "<|header_start|>system<|header_end|>\n\n",
    ),
    Family(
        "phi-4",
        ("<|im_start|>", "<|im_sep|>", "<|im_end|>"),
        "<|im_start|>user<|im_sep|>",
        "<|im_start|>assistant<|im_sep|>",
        "<|im_end|>",
        "<|im_start|>system<|im_sep|>",
    ),
    Family(
        "chatml",
        ("<|im_start|>", "<|im_end|>"),
        "<|im_start|>user\n",
        "<|im_start|>assistant\n",
        "<|im_end|>\n",
        "<|im_start|>system\n",
    ),
    Family(
        "granite",
        ("<|start_of_role|>", "<|end_of_role|>"),
        "<|start_of_role|>user<|end_of_role|>",
        "<|start_of_role|>assistant<|end_of_role|>",
        "<|end_of_text|>\n",
        "<|start_of_role|>system<|end_of_role|>",
    ),
    Family(
        "command-r",
        ("<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>"),
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        "<|END_OF_TURN_TOKEN|>",
        "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>",
    ),
    Family(
        "deepseek",
        ("<｜User｜>", "<｜Assistant｜>"),
        "<｜User｜>",
        "<｜Assistant｜>",
        "",
        assistant_end="<｜end▁of▁sentence｜>",
    ),
    Family(
        "phi-3", ("<|user|>", "<|assistant|>", "<|end|>"), "<|user|>\n", "<|assistant|>\n", "<|end|>\n", "<|system|>\n"
    ),
    Family("mistral", ("[INST]", "[/INST]"), "[INST] ", "[/INST]", "", assistant_end="</s>"),
)
"""Those that need more tokens go before those whose tokens they have too."""


def family_by_marks(has_token: Callable[[str], bool]) -> str:
    """Return the renderer for a vocabulary, "" where its marks are not known."""
    return next((family.name for family in FAMILIES if all(map(has_token, family.tokens))), "")


def plain(family: Family, turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Write a conversation; tools are not known."""
    parts: list[str] = []
    held = ""
    ends = family.end if family.assistant_end is None else family.assistant_end
    for index, turn in enumerate(turns):
        match turn.role:
            case "system" if not family.system:
                held += f"{turn.content}\n\n"
            case "system":
                parts.append(f"{family.system}{turn.content}{family.end}")
            case "assistant":
                parts.append(f"{family.assistant}{turn.content}")
                if index == len(turns) - 1:
                    return "".join(parts)
                parts.append(ends)
            case _:
                parts.append(f"{family.user}{held}{turn.content}{family.end}")
                held = ""
    if held:
        parts.append(f"{family.user}{held.rstrip()}{family.end}")
    return "".join([*parts, family.assistant])
