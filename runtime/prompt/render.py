"""Which template renders a chat: the Modelfile's in Go, the model's own in Jinja, or a plain one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.gotemplate import DEFAULT_TEMPLATE, render_go
from corral.runtime.prompt.jinja import render_jinja


@dataclass(frozen=True, slots=True)
class ModelTemplate:
    """The Jinja template a model carries, and what its texts begin and end with."""

    source: str | None
    bos: str = ""
    eos: str = ""


def renderer_for(go_template: str | None, model: ModelTemplate) -> Callable[[Sequence[Turn]], str]:
    """Return what turns messages into a prompt. Calling it raises TemplateFailed; it belongs to the main thread."""
    if go_template is not None or not model.source:
        source = go_template or DEFAULT_TEMPLATE
        return lambda turns: render_go(source, turns)
    template = model.source

    def render(turns: Sequence[Turn]) -> str:
        variables = {
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
            "add_generation_prompt": not turns or turns[-1].role != "assistant",
            "bos_token": model.bos,
            "eos_token": model.eos,
            "tools": None,
            "documents": None,
        }
        return render_jinja(template, variables)

    return render
