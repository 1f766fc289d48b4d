"""What an answer took, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corral.runtime.verbs import Stats


def usage_object(stats: Stats) -> dict[str, Any]:
    """Return the `usage` of completions."""
    details: dict[str, Any] = {"reasoning_tokens": stats.thinking_tokens}
    if stats.drafted:
        details["accepted_prediction_tokens"] = stats.accepted
        details["rejected_prediction_tokens"] = stats.drafted - stats.accepted
    return {
        "prompt_tokens": stats.prompt_tokens,
        "completion_tokens": stats.output_tokens,
        "total_tokens": stats.prompt_tokens + stats.output_tokens,
        "prompt_tokens_details": {"cached_tokens": stats.cached_tokens},
        "completion_tokens_details": details,
    }


def sum_of_choices(stats: Sequence[Stats], choices_of_a_prompt: int) -> Stats:
    """Add up answers that were given side by side, in the order of their prompts.

    The prompt that several answer counts once, as at OpenAI; of it as many tokens were cached as the answer found that
    came first.
    """
    size = max(1, choices_of_a_prompt)
    prompts = [stats[at : at + size] for at in range(0, len(stats), size)]
    return Stats(
        prompt_tokens=sum(answers[0].prompt_tokens for answers in prompts),
        cached_tokens=sum(min(one.cached_tokens for one in answers) for answers in prompts),
        output_tokens=sum(one.output_tokens for one in stats),
        drafted=sum(one.drafted for one in stats),
        accepted=sum(one.accepted for one in stats),
        thinking_tokens=sum(one.thinking_tokens for one in stats),
    )
