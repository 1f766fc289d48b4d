"""Which template renders a chat: the Modelfile's in Go, the model's own in Jinja, or a plain one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.gotemplate import DEFAULT_TEMPLATE, render_go
from corral.runtime.prompt.jinja import render_jinja
from corral.runtime.prompt.thinking import HARMONY, Tags, Think, infer_tags


@dataclass(frozen=True, slots=True)
class ModelTemplate:
    """The Jinja template a model carries, and what its texts begin and end with."""

    source: str | None
    bos: str = ""
    eos: str = ""


def template_of(go_template: str | None, model: ModelTemplate) -> str:
    """Return the text of the template that renders a model's chats."""
    return go_template if go_template is not None else model.source or ""


def tags_of(go_template: str | None, model: ModelTemplate) -> Tags | None:
    """Return the tags around a model's thoughts, by the template that renders its chats."""
    return infer_tags(template_of(go_template, model))


def renderer_for(go_template: str | None, model: ModelTemplate, think: Think = None) -> Callable[[Sequence[Turn]], str]:
    """Return what turns messages into a prompt. Calling it raises TemplateFailed; it belongs to the main thread."""
    if think == "max" and tags_of(go_template, model) == HARMONY:
        think = "high"  # gpt-oss knows no more (spec a.7)
    if go_template is not None or not model.source:
        source = go_template or DEFAULT_TEMPLATE
        return lambda turns: render_go(source, turns, think)
    template = model.source

    def render(turns: Sequence[Turn]) -> str:
        variables = {
            "messages": [_message(turn) for turn in turns],
            "add_generation_prompt": not turns or turns[-1].role != "assistant",
            "bos_token": model.bos,
            "eos_token": model.eos,
            "tools": None,
            "documents": None,
            **_thinking_variables(think),
        }
        return render_jinja(template, variables)

    return render


def _message(turn: Turn) -> dict[str, str]:
    """Return a message as templates read it; some call its thoughts one thing, some the other."""
    message = {"role": turn.role, "content": turn.content}
    if turn.thinking:
        message |= {"thinking": turn.thinking, "reasoning_content": turn.thinking}
    return message


def _thinking_variables(think: Think) -> dict[str, object]:
    """Return what tells a template to have its model think (spec g.3); `thinking` is DeepSeek's and Granite's word."""
    if think is None:
        return {}
    levels = {"reasoning_effort": think} if isinstance(think, str) else {}
    return {"enable_thinking": bool(think), "thinking": bool(think), **levels}
