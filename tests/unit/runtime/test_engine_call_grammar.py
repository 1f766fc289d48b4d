"""Which texts the grammars of calls let through, token by token."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from corral.runtime.engine.call_grammar import call_grammar
from corral.runtime.engine.deferral import Deferral
from corral.runtime.engine.devices import Devices
from corral.runtime.engine.grammar import GrammarFailed, Grammars
from corral.runtime.engine.llama import Model, start_backend
from corral.runtime.engine.llamalog import EngineLog
from corral.runtime.engine.params import ModelParams
from corral.runtime.engine.protocol import Load
from corral.runtime.prompt.parsers.answers import parser_for
from corral.runtime.prompt.parsers.families import PARSERS
from tests.unit.runtime.tiny_models import WORDS, write_tiny

pytestmark = pytest.mark.filterwarnings("ignore:llama_token_get_attr:DeprecationWarning")  # llguidance's own use
_BACKENDS: list[object] = []
"""llama.cpp logs through these for as long as this process lives."""
MARKS = ["<tool_call>", "</tool_call>", "<think>", "</think>", "<|channel|>", "<|message|>", "<|end|>", "<|start|>"]
MARKS += [
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁sep｜>",
]
MARKS += ["<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", '<|"|>', "<|tool_call>", "<tool_call|>"]
SPACED = [*WORDS, "▁"]
NOTE = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "stars": {"type": "integer", "maximum": 5},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["stars"],
}
OFFERED: dict[str, Any] = {"note": NOTE, "time": {}}
ARGUMENTS = {"text": "a <b> </c\n{d}", "stars": 4, "tags": ["x"]}
JSON = '{"text": "a <b> </c\\n{d}", "stars": 4, "tags": ["x"]}'
CALL = f'{{"name": "note", "arguments": {JSON}}}'
WRITTEN = {
    "qwen3": f"<tool_call>\n{CALL}\n</tool_call>",
    "qwen3-coder": "<tool_call>\n<function=note>\n<parameter=text>\na <b> </c\n{d}\n</parameter>\n<parameter=stars>\n4"
    '\n</parameter>\n<parameter=tags>\n["x"]\n</parameter>\n</function>\n</tool_call>',
    "glm-4.7": "<tool_call>note\n<arg_key>text</arg_key>\n<arg_value>a <b> </c\n{d}</arg_value>\n"
    '<arg_key>stars</arg_key>\n<arg_value>4</arg_value>\n<arg_key>tags</arg_key>\n<arg_value>["x"]</arg_value></tool_call>',
    "olmo3": '<function_calls>note(text="a <b> </c\\n{d}", stars=4, tags=["x"])</function_calls>',
    "lfm2": '<|tool_call_start|>[note(text="a <b> </c\\n{d}", stars=4, tags=["x"])]<|tool_call_end|>',
    "gemma4": '<|tool_call>call:note{text:<|"|>a <b> </c\n{d}<|"|>,stars:4,tags:["x"]}<tool_call|>',
    "functiongemma": "<start_function_call>call:note{text:<escape>a <b> </c\n{d}<escape>,stars:4,tags:[\"x\"]}"
    "<end_function_call>",
    "deepseek3": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>note"
    f"<｜tool▁sep｜>{JSON}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "ministral": f"[TOOL_CALLS]note[ARGS]{JSON}",
    "cohere": f'<|START_ACTION|>[{{"tool_call_id": "0", "tool_name": "note", "parameters": {JSON}}}]<|END_ACTION|>',
    "harmony": f"<|channel|>commentary to=functions.note <|constrain|>json<|message|>{JSON}",
    "glimmer": ' to=note<|message|><atem:function_calls>\n<atem:invoke name="note">\n<atem:parameter name="text">'
    'a <b> </c\n{d}</atem:parameter>\n<atem:parameter name="stars">4</atem:parameter>\n<atem:parameter name="tags">'
    '["x"]</atem:parameter>\n</atem:invoke>\n</atem:function_calls>',
}  # fmt: skip
SHORT = {
    "qwen3": '<tool_call>\n{"name": "note", "arguments": {"stars": 4}}\n</tool_call>',
    "qwen3-coder": "<tool_call>\n<function=note>\n<parameter=stars>\n4\n</parameter>\n</function>\n</tool_call>",
    "olmo3": "<function_calls>note(stars=4)</function_calls>",
    "gemma4": "<|tool_call>call:note{stars:4}<tool_call|>",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = write_tiny(tmp_path_factory.mktemp("grammar") / "tiny.gguf", "full", words=SPACED, marks=MARKS)
    log = EngineLog()
    _BACKENDS.append(start_backend(log))
    load = Load(path=str(path), num_ctx=64, num_cells=64, num_sequences=1)
    return Model(load.path, ModelParams(load, Devices()).struct, log, lambda _fraction: True)


@pytest.fixture(scope="module")
def grammars(model: Model) -> Grammars:
    return Grammars(model)


def tokens(text: str) -> list[int]:
    """Return a text in marks and single bytes."""
    found: list[int] = []
    for part in re.split(f"({'|'.join(map(re.escape, MARKS))})", text):
        known = part in MARKS
        found += [3 + 256 + len(SPACED) + MARKS.index(part)] if known else [3 + byte for byte in part.encode()]
    return found


def ends(
    model: Model, grammars: Grammars, name: str, text: str, *, parallel: bool = False, thinks: bool = False
) -> bool:
    """Say that an answer may end with this text, and with no part of it. Raises GrammarFailed where it may not."""
    family = PARSERS[name]
    calls = call_grammar(model, family, OFFERED, parallel=parallel, inside=False)
    assert calls is not None
    deferral = Deferral(family.tags, False) if thinks and family.tags is not None and family.channels is None else None
    constraint = grammars.compile_calls(calls, deferral)
    *before, last = tokens(text)
    if any(constraint.take(token) for token in before):
        raise GrammarFailed("it was over before")
    if not constraint.take(last):
        constraint.take(2)  # raises where the answer may not end here
    return True


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_family_writes_may_be_written(model: Model, grammars: Grammars, name: str) -> None:
    assert ends(model, grammars, name, WRITTEN[name])
    parser = parser_for(PARSERS[name], OFFERED, thinks=False)
    assert parser is not None
    said = parser.push(WRITTEN[name], last=True)
    assert [(call.name, json.loads(call.arguments)) for call in said.calls] == [("note", ARGUMENTS)]
    if name in SHORT:
        assert ends(model, grammars, name, SHORT[name])


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize(("old", "new"), [("4", "6"), ("stars", "moons"), ("note", "sell"), ("4", '"4"')])
def test_what_fits_no_schema_may_not(model: Model, grammars: Grammars, name: str, old: str, new: str) -> None:
    with pytest.raises(GrammarFailed):
        ends(model, grammars, name, SHORT[name].replace(old, new, 1))


def test_a_required_parameter_cannot_be_left_out(model: Model, grammars: Grammars) -> None:
    for name, text in (
        ("qwen3", '<tool_call>\n{"name": "note", "arguments": {}}'),
        ("qwen3-coder", "<tool_call>\n<function=note>\n</function>"),
        ("olmo3", "<function_calls>note()"),
    ):
        with pytest.raises(GrammarFailed):
            ends(model, grammars, name, text)


def test_several_calls_where_they_are_allowed(model: Model, grammars: Grammars) -> None:
    for name, between in (("qwen3", "\n"), ("qwen3-coder", "\n")):
        two = SHORT[name] + between + SHORT[name]
        assert ends(model, grammars, name, two, parallel=True)
        with pytest.raises(GrammarFailed):
            ends(model, grammars, name, two)
    assert ends(model, grammars, "olmo3", "<function_calls>note(stars=4)\ntime()</function_calls>", parallel=True)


def test_thoughts_before_a_call(model: Model, grammars: Grammars) -> None:
    thought = f"<think>Hm {{<tool}}</think>\n\n{SHORT['qwen3']}"
    assert ends(model, grammars, "qwen3-thinking", thought, thinks=True)
    with pytest.raises(GrammarFailed):
        ends(model, grammars, "qwen3-thinking", "<think>Hm</think>\n\nno", thinks=True)
    channels = f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant{WRITTEN['harmony']}"
    assert ends(model, grammars, "harmony", channels)
    with pytest.raises(GrammarFailed):
        ends(model, grammars, "harmony", "<|channel|>final")
