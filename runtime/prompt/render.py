"""Which way a prompt is written: a built-in one, the Modelfile's template in Go, the model's own in Jinja, by marks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from corral.runtime.engine.protocol import Turn
from corral.runtime.errors import TemplateFailed
from corral.runtime.prompt.chat import render_chat
from corral.runtime.prompt.families import RENDERER_TAGS
from corral.runtime.prompt.gosource import mentions
from corral.runtime.prompt.gotemplate import DEFAULT_TEMPLATE, render_go
from corral.runtime.prompt.renderers import renderer_named
from corral.runtime.prompt.thinking import HARMONY, Tags, Think, infer_tags


@dataclass(frozen=True, slots=True)
class ModelTemplate:
    """The Jinja template a model carries, what its texts begin and end with, and what its vocabulary knows.

    `family` names the renderer for its marks, "" where it has none that are known. `infill` are the marks before what
    comes first, before what comes last, and before what is to be written between; None where it cannot.
    """

    source: str | None
    bos: str = ""
    eos: str = ""
    family: str = ""
    infill: tuple[str, str, str] | None = None


def template_of(go_template: str | None, model: ModelTemplate) -> str:
    """Return the text of the template that renders a model's chats."""
    return go_template if go_template is not None else model.source or ""


def tags_of(go_template: str | None, model: ModelTemplate, renderer: str = "") -> Tags | None:
    """Return the tags around a model's thoughts, by what renders its chats."""
    if renderer:
        return RENDERER_TAGS.get(renderer)
    return infer_tags(template_of(go_template, model))


def renderer_for(
    go_template: str | None,
    model: ModelTemplate,
    think: Think = None,
    *,
    functions: str = "",
    renderer: str = "",
    suffix: str = "",
) -> Callable[[Sequence[Turn]], str]:
    """Return what turns messages into a prompt. Calling it raises TemplateFailed; it belongs to the main thread.

    `functions` are tools as JSON; `renderer` names a built-in way, which goes before templates. Raises TemplateFailed
    where it names none.
    """
    if think == "max" and tags_of(go_template, model, renderer) == HARMONY:
        think = "high"  # gpt-oss knows no more (spec a.7)
    tools = _tools(functions)
    if suffix:
        return _inserter(go_template, model, think, suffix)
    if renderer:
        write = renderer_named(renderer)
        return lambda turns: write(turns, tools, think)
    if go_template is not None:
        source = go_template or DEFAULT_TEMPLATE
        return lambda turns: render_go(source, turns, think, tools)
    if model.source:
        template = model.source
        return lambda turns: render_chat(template, turns, think, tools, bos=model.bos, eos=model.eos)
    if model.family:
        write = renderer_named(model.family)
        return lambda turns: write(turns, tools, think)
    return lambda turns: render_go(DEFAULT_TEMPLATE, turns, think)


def _inserter(
    go_template: str | None, model: ModelTemplate, think: Think, suffix: str
) -> Callable[[Sequence[Turn]], str]:
    """Return what has a model write what stands between a prompt and a suffix."""
    if go_template is not None and mentions(go_template, "Suffix"):
        return lambda turns: render_go(go_template, turns, think, suffix=suffix)
    if model.infill is None:
        raise TemplateFailed("the model does not support insert: neither its template nor its vocabulary knows of it")
    first, last, middle = model.infill
    return lambda turns: f"{first}{turns[-1].content if turns else ''}{last}{suffix}{middle}"


def _tools(functions: str) -> list[Mapping[str, object]]:
    """Return tools as objects. Raises TemplateFailed for what is no list of them."""
    if not functions:
        return []
    try:
        tools: list[Mapping[str, object]] = msgspec.json.decode(functions, type=list[dict[str, object]])
    except msgspec.MsgspecError as error:
        raise TemplateFailed(f"the tools are no list of objects: {error}") from None
    return tools
