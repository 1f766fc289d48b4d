"""Which family a model's answers belong to: by the PARSER its Modelfile names, else by the template of its prompts.

The names are Ollama's (spec g.6). A template shows how old calls are written; the model writes new ones likewise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from corral.runtime.prompt.parsers.calls import Arguments, Channels, Form, Writing
from corral.runtime.prompt.parsers.gemma import gemma_form
from corral.runtime.prompt.parsers.glimmer import OPENING as ATEM
from corral.runtime.prompt.parsers.json_calls import json_form
from corral.runtime.prompt.parsers.pythonic import python_form
from corral.runtime.prompt.parsers.tagged import FUNCTION, tagged_form
from corral.runtime.prompt.thinking import GLIMMER, HARMONY, Tags, infer_tags

_OBJECT: Final = '{"name": "NAME", "arguments": '
_THINK: Final = Tags("<think>", "</think>")

BARE: Final = json_form(bare=("{", "["), writing=Writing('{"name": "NAME", "parameters": ', "}", between="; "))
LLAMA: Final = json_form(
    "<|python_tag|>", bare=("{", "["), writing=Writing('{"name": "NAME", "parameters": ', "}", between="; ")
)
HERMES: Final = tagged_form(Writing(f"<tool_call>\n{_OBJECT}", "}\n</tool_call>", between="\n"))
QWEN_CODER: Final = tagged_form(
    Writing(
        "<tool_call>\n<function=NAME>\n",
        "</function>\n</tool_call>",
        between="\n",
        arguments=Arguments.XML,
    ),
    openings=(FUNCTION,),
)
SEED: Final = tagged_form(
    Writing(
        "<seed:tool_call>\n<function=NAME>\n",
        "</function>\n</seed:tool_call>",
        between="\n",
        arguments=Arguments.XML,
    ),
    opening="<seed:tool_call>",
    closing="</seed:tool_call>",
)
FUNCTION_OBJECT: Final = tagged_form(Writing("<function=NAME>", "</function>"), opening=FUNCTION)
GLM: Final = tagged_form(Writing("<tool_call>NAME", "</tool_call>", between="\n", arguments=Arguments.KEYS))
_DEEPSEEK_MARKS: Final = ("<｜tool▁call▁end｜>", "<｜tool▁call▁begin｜>", "function<｜tool▁sep｜>", "```")
DEEPSEEK: Final = json_form(
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    closings=("<｜tool▁calls▁end｜>",),
    skipped=_DEEPSEEK_MARKS,
    writing=Writing(
        "<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>",
        "<｜tool▁call▁end｜>",
        begin="<｜tool▁calls▁begin｜>",
        end="<｜tool▁calls▁end｜>",
    ),
)
COGITO: Final = json_form(
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    closings=("<｜tool▁calls▁end｜>",),
    skipped=_DEEPSEEK_MARKS,
    writing=Writing(
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\n",
        "\n```<｜tool▁call▁end｜>",
        begin="<｜tool▁calls▁begin｜>",
        between="\n",
        end="<｜tool▁calls▁end｜>",
    ),
)
MISTRAL: Final = json_form("[TOOL_CALLS]", writing=Writing(_OBJECT, "}", begin="[TOOL_CALLS][", between=", ", end="]"))
MINISTRAL: Final = json_form("[TOOL_CALLS]", writing=Writing("[TOOL_CALLS]NAME[ARGS]"))
GRANITE: Final = json_form(
    "<|tool_call|>", writing=Writing(_OBJECT, "}", begin="<|tool_call|>[", between=", ", end="]")
)
PHI_MINI: Final = json_form(
    "<|tool_call|>",
    closings=("<|/tool_call|>",),
    writing=Writing(_OBJECT, "}", begin="<|tool_call|>[", between=", ", end="]<|/tool_call|>"),
)
FUNCTOOLS: Final = json_form("functools", writing=Writing(_OBJECT, "}", begin="functools[", between=", ", end="]"))
NEMOTRON: Final = json_form(
    "<TOOLCALL>",
    closings=("</TOOLCALL>",),
    writing=Writing(_OBJECT, "}", begin="<TOOLCALL>[", between=", ", end="]</TOOLCALL>"),
)
NEMOTRON_MINI: Final = json_form(
    "<toolcall>",
    closings=("</toolcall>",),
    writing=Writing(f"<toolcall> {_OBJECT}", "} </toolcall>", between=" "),
)
KIMI: Final = json_form(
    "<|tool_calls_section_begin|>",
    closings=("<|tool_calls_section_end|>",),
    skipped=("<|tool_call_end|>", "<|tool_call_begin|>"),
    writing=Writing(
        "<|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>",
        "<|tool_call_end|>",
        begin="<|tool_calls_section_begin|>",
        end="<|tool_calls_section_end|>",
    ),
)
APERTUS: Final = json_form(
    "<|tools_prefix|>",
    closings=("<|tools_suffix|>",),
    writing=Writing('{"NAME": ', "}", begin="<|tools_prefix|>[", between=", ", end="]<|tools_suffix|>"),
)
COHERE: Final = json_form(
    "<|START_ACTION|>",
    closings=("<|END_ACTION|>",),
    dropped=("<|START_TEXT|>", "<|END_TEXT|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    writing=Writing(
        '{"tool_call_id": "0", "tool_name": "NAME", "parameters": ',
        "}",
        begin="<|START_ACTION|>[",
        between=", ",
        end="]<|END_ACTION|>",
    ),
)
OLMO: Final = python_form("<function_calls>", "</function_calls>", between="\n")
LFM: Final = python_form("<|tool_call_start|>", "<|tool_call_end|>", between=", ")
GEMMA: Final = gemma_form("<|tool_call>", "<tool_call|>", '<|"|>', dropped=("<|tool_response>",))
FUNCTION_GEMMA: Final = gemma_form("<start_function_call>", "<end_function_call>", "<escape>")
HARMONY_FORM: Final = replace(
    json_form(writing=Writing("<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>")),
    channels=Channels("<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant"),
)
"""Only for how it is written: `harmony.HarmonyStream` reads it, with all else of such an answer."""
GLIMMER_FORM: Final = replace(
    json_form(
        writing=Writing(
            f'<|message|>{ATEM}\n<atem:invoke name="NAME">\n',
            "</atem:invoke>\n</atem:function_calls>",
            arguments=Arguments.ATEM,
            header=" to=NAME",
        ),
    ),
    channels=Channels(" to=self<|message|>", "<|eom|>", "<|start|>assistant"),
)
"""Likewise, and read by `glimmer.GlimmerStream`."""


@dataclass(frozen=True, slots=True)
class Family:
    """What stands around a model's thoughts, and how it calls tools; None where it does not."""

    tags: Tags | None = None
    form: Form | None = None

    @property
    def channels(self) -> Channels | None:
        """How its answers are parted into messages, None where they are not."""
        return self.form.channels if self.form is not None else None


_CHANNEL: Final = Tags("<|channel>thought", "<channel|>")
PARSERS: Final[Mapping[str, Family]] = {
    "passthrough": Family(),
    "glm-ocr": Family(),
    "harmony": Family(HARMONY, HARMONY_FORM),
    "qwen3": Family(None, HERMES),
    "qwen3-thinking": Family(_THINK, HERMES),
    "qwen3-vl-instruct": Family(None, HERMES),
    "qwen3-vl-thinking": Family(_THINK, HERMES),
    "qwen3-coder": Family(None, QWEN_CODER),
    "qwen3.5": Family(_THINK, QWEN_CODER),
    "qwen3.8": Family(_THINK, QWEN_CODER),
    "ornith": Family(_THINK, QWEN_CODER),
    "nemotron-3-nano": Family(_THINK, QWEN_CODER),
    "nemotron-3.5-nano": Family(_THINK, QWEN_CODER),
    "ministral": Family(Tags("[THINK]", "[/THINK]"), MINISTRAL),
    "cogito": Family(_THINK, COGITO),
    "deepseek3": Family(_THINK, DEEPSEEK),
    "deepseek3.1": Family(_THINK, DEEPSEEK),
    "olmo3": Family(None, OLMO),
    "olmo3-think": Family(_THINK, OLMO),
    "functiongemma": Family(None, FUNCTION_GEMMA),
    "gemma4": Family(_CHANNEL, GEMMA),
    "gemma4-no-thinking": Family(None, GEMMA),
    "glm-4.7": Family(_THINK, GLM),
    "lfm2": Family(None, LFM),
    "lfm2-thinking": Family(_THINK, LFM),
    "laguna": Family(_THINK, GLM),
    "poolside-v1": Family(_THINK, GLM),
    "glimmer": Family(GLIMMER, GLIMMER_FORM),
    "cohere": Family(Tags("<|START_THINKING|>", "<|END_THINKING|>"), COHERE),
}
"""What the name after PARSER stands for; one that is not here leaves it to the template."""

_SIGNS: Final[tuple[tuple[str, Form], ...]] = (
    (ATEM, GLIMMER_FORM),
    ("<seed:tool_call>", SEED),
    ("<parameter=", QWEN_CODER),
    ("<arg_key>", GLM),
    ("```json", COGITO),
    ("<｜tool▁call▁begin｜>", DEEPSEEK),
    ("[ARGS]", MINISTRAL),
    ("[TOOL_CALLS]", MISTRAL),
    ("<|START_ACTION|>", COHERE),
    ("<start_function_call>", FUNCTION_GEMMA),
    ("<|tool_call>", GEMMA),
    ("<function_calls>", OLMO),
    ("<|tool_call_start|>", LFM),
    ("<|tool_calls_section_begin|>", KIMI),
    ("<|tools_prefix|>", APERTUS),
    ("<TOOLCALL>", NEMOTRON),
    ("<toolcall>", NEMOTRON_MINI),
    ("<extra_id_1>Tool", NEMOTRON_MINI),
    ("<|/tool_call|>", PHI_MINI),
    ("<|/tool|>", PHI_MINI),
    ("<|tool_call|>", GRANITE),
    ("<tool_call>", HERMES),
    ("functools[", FUNCTOOLS),
    ("<|python_tag|>", LLAMA),
    ("<function=", FUNCTION_OBJECT),
)
"""Marks by which a template is known, the surest first."""

_JINJA: Final = "{%"
_GO_ACTION: Final = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_GO_GOES_ON: Final = ("if ", "else", "range ", "with ", "/*", "$")


@lru_cache(maxsize=256)
def family_of(parser: str, template: str) -> Family:
    """Return the family of a model: by its parser's name, or by its template."""
    if parser in PARSERS:
        return PARSERS[parser]
    tags = infer_tags(template)
    return Family(tags, HARMONY_FORM if tags == HARMONY else infer_form(template))


def infer_form(template: str) -> Form | None:
    """Return how a model with such a template calls tools, None where it shows it none (spec a.12)."""
    if not _shows_tools(template):
        return None
    for sign, form in _SIGNS:
        if sign in template and (form is not COGITO or "<｜tool▁call▁begin｜>" in template):
            return form
    tag = "" if _JINJA in template else _go_tag(template)
    return _tagged(tag) if tag not in ("", "[") else BARE


def _shows_tools(template: str) -> bool:
    if _JINJA in template:
        return "tools" in template or "tool_call" in template
    return any(re.search(r"\.Tools\b", action) for action in _GO_ACTION.findall(template))


def _go_tag(template: str) -> str:
    """Return the first text in a Go template's part about `.ToolCalls`, up to a brace (spec g.5)."""
    parts = _GO_ACTION.split(template)  # texts and actions in turn
    at = next((i for i in range(1, len(parts), 2) if parts[i].startswith("if ") and ".ToolCalls" in parts[i]), -1)
    for i in range(at + 1, len(parts) if at >= 0 else 0):
        if i % 2 == 0 and parts[i].strip():
            return parts[i].partition("{")[0].strip()
        if i % 2 and not parts[i].startswith(_GO_GOES_ON):
            break
    return ""


def _tagged(tag: str) -> Form:
    """Return the form of calls behind a tag nobody told us of; it closes as tags do."""
    mark = re.fullmatch(r"<(\|?)(\w+)(\|?)>", tag)
    closing = f"<{mark[1] and '|'}/{mark[2]}{mark[3]}>" if mark else ""
    closings = (closing,) if closing else ()
    return json_form(tag, closings=closings, writing=Writing(f"{tag}{_OBJECT}", f"}}{closing}", between="\n"))
