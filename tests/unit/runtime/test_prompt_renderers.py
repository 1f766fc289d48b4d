"""The built-in ways to write a prompt, held against the forms that the families' makers publish."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.errors import TemplateFailed
from corral.runtime.prompt.families import RENDERER_NAMES, RENDERER_TAGS, WITHOUT_TOOLS
from corral.runtime.prompt.render import ModelTemplate, renderer_for, tags_of
from corral.runtime.prompt.renderers import RENDERERS
from corral.runtime.prompt.renderers.plain import FAMILIES, family_by_marks
from corral.runtime.prompt.thinking import Think

TEMPLATES = Path(__file__).parent / "templates"
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look there.",
        "parameters": {
            "type": "object",
            "properties": {"at": {"type": "string", "description": "A <place>"}, "for": {"type": ["integer", "null"]}},
            "required": ["at"],
        },
    },
}
SYSTEM, USER, MORE = Turn("system", "Be kind."), Turn("user", "hi"), Turn("user", "bye")
CALL = ToolCall("look", '{"at": "Zürich", "for": 2}', "c1")
CALLED = [
    USER,
    Turn("assistant", "", "hm", tool_calls=[CALL]),
    Turn("tool", "seen", tool_name="look", tool_call_id="c1"),
]
TALK = [SYSTEM, *CALLED, Turn("assistant", "I see."), MORE]


def render(name: str, *turns: Turn, think: Think = None, tools: bool = False) -> str:
    functions = json.dumps([TOOL]) if tools else ""
    return renderer_for(None, ModelTemplate(None), think, functions=functions, renderer=name)(turns)


@pytest.mark.parametrize(("name", "template"), [("qwen3.5", "Qwen3.5-4B"), ("glm-4.7", "GLM-4.7-Flash")])
@pytest.mark.parametrize("think", [True, False])
def test_as_the_makers_template_does(name: str, template: str, think: bool) -> None:
    model = ModelTemplate((TEMPLATES / f"{template}.jinja").read_text())
    theirs = renderer_for(None, model, think, functions=json.dumps([TOOL]))
    for turns in ([USER], [SYSTEM, USER], CALLED, [SYSTEM, *CALLED]):
        assert render(name, *turns, think=think, tools=True) == theirs(turns)


@pytest.mark.parametrize("name", RENDERERS)
def test_all_of_a_conversation_is_there(name: str) -> None:
    for think in (None, True, False, "low"):
        text = render(name, *TALK, think=think, tools=True)
        assert all(text.count(said) == 1 for said in ("Be kind.", "I see.", "bye"))
        assert text.index("Be kind.") < text.index("I see.") < text.index("bye")
        if name not in WITHOUT_TOOLS:
            assert text.count("Zürich") == text.count("seen") == 1
            assert "A <place>" in text
    assert render(name, USER)


@pytest.mark.parametrize("name", [name for name in RENDERERS if not name.endswith("think")])
def test_a_begun_answer_is_continued(name: str) -> None:
    assert render(name, USER, Turn("assistant", "I thi")).endswith("I thi")


@pytest.mark.parametrize("name", RENDERERS)
def test_odd_conversations_break_nothing(name: str) -> None:
    for turns in (
        [],
        [SYSTEM],
        [Turn("tool", "x")],
        [Turn("other", "x")],
        [Turn("tool", "a"), Turn("tool", "b"), USER],
    ):
        render(name, *turns, think=True, tools=True)
    broken = ToolCall("look", "no json")
    odd = [{}, {"function": 3}, {"function": {"parameters": {"properties": {"a": 3, "b": {"type": 5}}, "required": 1}}}]
    write = renderer_for(None, ModelTemplate(None), True, functions=json.dumps(odd), renderer=name)
    write([USER, Turn("assistant", "x", tool_calls=[broken, broken]), USER])


QWEN_CALL = (
    "<tool_call>\n<function=look>\n<parameter=at>\nZürich\n</parameter>"
    "\n<parameter=for>\n2\n</parameter>\n</function>\n</tool_call>"
)
DEEPSEEK_CALL = '<｜tool▁call▁begin｜>look<｜tool▁sep｜>{"at":"Zürich","for":2}<｜tool▁call▁end｜>'
PARTS = [
    ("qwen3-coder", '<parameter>\n<name>for</name>\n<type>["integer", "null"]</type>\n</parameter>'),
    (
        "qwen3-coder",
        f"<|im_start|>assistant\n{QWEN_CALL}<|im_end|>\n<|im_start|>user"
        f"\n<tool_response>\nseen\n</tool_response>\n<|im_end|>\n",
    ),
    (
        "qwen3-vl-instruct",
        '<tool_call>\n{"name": "look", "arguments": {"at": "Zürich", "for": 2}}\n</tool_call><|im_end|>',
    ),
    ("nemotron-3-nano", f"<think></think>\n{QWEN_CALL}\n<|im_end|>\n<|im_start|>user\n<tool_response>\nseen"),
    (
        "deepseek3.1",
        f"<｜Assistant｜></think><｜tool▁calls▁begin｜>{DEEPSEEK_CALL}<｜tool▁calls▁end｜><｜end▁of▁sentence｜>",
    ),
    (
        "deepseek3.1",
        "<｜tool▁output▁begin｜>seen<｜tool▁output▁end｜>I see.<｜end▁of▁sentence｜><｜User｜>bye<｜Assistant｜>",
    ),
    ("cogito", '<｜tool▁sep｜>look\n```json\n{"at":"Zürich","for":2}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'),
    (
        "olmo3",
        '<function_calls>look(at="Zürich", for=2)</function_calls><|im_end|>\n<|im_start|>environment\nseen<|im_end|>',
    ),
    ("lfm2", '<|tool_call_start|>[look(at="Zürich",for=2)]<|tool_call_end|><|im_end|>\n'),
    ("lfm2", "<|im_start|>tool\n<|tool_response_start|>seen<|tool_response_end|><|im_end|>\n"),
    (
        "glm-ocr",
        "\n<tool_call>look<arg_key>at</arg_key><arg_value>Zürich</arg_value>"
        "<arg_key>for</arg_key><arg_value>2</arg_value></tool_call>\n",
    ),
    (
        "functiongemma",
        "<start_function_call>call:look{at:<escape>Zürich<escape>,for:2}<end_function_call><start_function_response>",
    ),
    ("functiongemma", "response:look{<escape>seen<escape>}<end_function_response>I see.<end_of_turn>\n"),
    ("functiongemma", "at:{description:<escape>A <place><escape>,type:<escape>STRING<escape>}"),
    (
        "gemma4",
        '<|tool_call>call:look{at:<|"|>Zürich<|"|>,for:2}<tool_call|>'
        '<|tool_response>response:look{value:<|"|>seen<|"|>}',
    ),
    ("gemma4", "for:{type:<|\"|>['INTEGER', 'NULL']<|\"|>}"),
    (
        "harmony",
        "<|start|>assistant<|channel|>commentary to=functions.look "
        '<|constrain|>json<|message|>{"at":"Zürich","for":2}<|call|>',
    ),
    ("harmony", "<|start|>functions.look to=assistant<|channel|>commentary<|message|>seen<|end|>"),
    ("harmony", "// Look there.\ntype look = (_: {\n// A <place>\nat: string,\nfor?: number | null,\n}) => any;"),
    ("harmony", f"Current date: {date.today().isoformat()}\n\nReasoning: medium\n\n# Valid channels"),
    (
        "cohere",
        '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "look",'
        ' "parameters": {"at": "Zürich", "for": 2}}\n]<|END_ACTION|>',
    ),
    ("cohere", '"tool_call_id": "0",\n        "results": {\n            "0": {"content": "seen"}\n'),
]


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_tools_calls_and_results_in_the_familys_form(name: str, part: str) -> None:
    assert part in render(name, *TALK, tools=True)


ENDS = [
    ("qwen3-vl-thinking", None, "<|im_start|>assistant\n<think>\n"),
    ("qwen3-vl-thinking", False, "<|im_start|>assistant\n"),
    ("qwen3-vl-instruct", None, "<|im_start|>assistant\n"),
    ("qwen3.5", False, "<|im_start|>assistant\n<think>\n\n</think>\n\n"),
    ("deepseek3.1", None, "<｜User｜>hi<｜Assistant｜></think>"),
    ("deepseek3.1", True, "<｜User｜>hi<｜Assistant｜><think>"),
    ("cogito", True, "<｜User｜>hi<｜Assistant｜><think>\n"),
    ("nemotron-3-nano", None, "<think>\n"),
    ("nemotron-3-nano", False, "<think></think>"),
    ("olmo3-think", None, "<|im_start|>assistant\n<think>"),
    ("glm-ocr", False, "<|user|>\nhi/nothink<|assistant|>\n<think></think>\n"),
    ("gemma4-large", False, "<|turn>model\n<|channel>thought\n<channel|>"),
    ("gemma4-small", False, "<|turn>model\n"),
    ("cohere", False, "<|START_THINKING|><|END_THINKING|>"),
    ("cohere", None, "<|START_THINKING|>"),
    ("harmony", "high", "<|start|>assistant"),
]


@pytest.mark.parametrize(("name", "think", "end"), ENDS)
def test_where_the_answer_goes(name: str, think: Think, end: str) -> None:
    assert render(name, USER, think=think).endswith(end)


def test_messages_of_nemotron_switch_thinking() -> None:
    assert render("nemotron-3-nano", Turn("user", "hi /no_think")).endswith(
        "hi<|im_end|>\n<|im_start|>assistant\n<think></think>"
    )
    assert render("nemotron-3-nano", Turn("user", "hi /think"), think=False).endswith("<think>\n")


def test_how_hard_to_think_is_said_to_gpt_oss() -> None:
    for think, said in (("low", "low"), ("max", "high"), (True, "medium"), (None, "medium")):
        assert f"Reasoning: {said}\n" in render("gpt-oss", USER, think=think)


def test_thoughts_that_led_to_a_call_are_shown_again() -> None:
    shown = {"qwen3.5": "hm", "qwen3-vl-thinking": "hm", "gemma4": "thought\nhm", "harmony": "analysis<|message|>hm"}
    for name, part in shown.items():
        assert part in render(name, *CALLED, think=True)
        assert part not in render(name, *CALLED, Turn("assistant", "I see."), MORE, think=True)


def test_unknown_names_are_told() -> None:
    with pytest.raises(TemplateFailed, match=r'^unknown renderer "nonsense"$'):
        render("nonsense", USER)


def test_what_is_known_of_renderers_is_of_those_there_are() -> None:
    assert set(RENDERER_NAMES) == set(RENDERERS)
    assert set(RENDERER_TAGS) | set(WITHOUT_TOOLS) <= set(RENDERERS)
    assert tags_of(None, ModelTemplate(None), "qwen3.5") == RENDERER_TAGS["qwen3.5"]
    assert tags_of("{{ .Thinking }}", ModelTemplate(None), "qwen3-coder") is None


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_vocabulary_tells_its_family(family: object) -> None:
    assert isinstance(family, type(FAMILIES[0]))
    assert family_by_marks(lambda token: token in family.tokens) == family.name
    model = ModelTemplate(None, family=family.name)
    assert renderer_for(None, model)([USER]) == f"{family.user}hi{family.end}{family.assistant}"
    assert renderer_for("{{ .Prompt }}", model)([USER]) == "hi"


def test_a_vocabulary_without_marks_has_none() -> None:
    assert family_by_marks(lambda token: token == "<|im_start|>") == ""


def test_poolsides_form() -> None:
    given = "<arg_key>at</arg_key><arg_value>Zürich</arg_value><arg_key>for</arg_key><arg_value>2</arg_value>"
    listed = f"available_tools>\n{json.dumps(TOOL, ensure_ascii=False)}\n</available_tools></system>\n"
    text = render("poolside-v1", *TALK, tools=True)
    assert text.startswith("〈|EOS|〉<system>Be kind.\n\n### Tools\n\nYou may call functions")
    assert text.partition(listed)[2] == (
        f"<user>hi</user>\n<assistant><think>hm</think><tool_call>look{given}</tool_call></assistant>\n"
        "<tool_response>seen</tool_response>\n<assistant><think></think>I see.</assistant>\n"
        "<user>bye</user>\n<assistant><think>"
    )
    assert "made by Poolside" in render("poolside-v1", USER)
    nobody = render("poolside-v1", Turn("system", ""), USER, Turn("assistant", "Yo"), think=False)
    assert nobody == "〈|EOS|〉<user>hi</user>\n<assistant></think>Yo"


def test_the_older_form_of_poolside_s() -> None:
    """As Laguna XS.2's own template has it: on lines."""
    text = render("laguna", *TALK, think=True, tools=True)
    begin, listed, rest = text.partition(f"{json.dumps(TOOL, ensure_ascii=False)}\n</available_tools>\n\n")
    assert listed
    assert begin.startswith("〈|EOS|〉<system>\n\nBe kind.\n\n### Tools\n\nYou may call functions to assist")
    taught, _, said = rest.partition("\n</system>\n")
    assert taught.startswith("Wrap your thinking in '<think>', '</think>' tags, followed by a function call. For each")
    assert taught.endswith("</arg_key>\n<arg_value>value-of-argument-key</arg_value>\n</tool_call>")
    given = "<arg_key>at</arg_key>\n<arg_value>Zürich</arg_value>\n<arg_key>for</arg_key>\n<arg_value>2</arg_value>\n"
    assert said == (
        f"<user>\nhi\n</user>\n<assistant>\n<think>\nhm\n</think>\n<tool_call>look\n{given}</tool_call>\n</assistant>\n"
        "<tool_response>\nseen\n</tool_response>\n<assistant>\n</think>\nI see.\n</assistant>\n"
        "<user>\nbye\n</user>\n<assistant>\n<think>"
    )
    assert render("laguna", Turn("system", ""), USER) == "〈|EOS|〉<user>\nhi\n</user>\n<assistant>\n</think>"
    assert "made by Poolside" in render("laguna", USER)
    assert tags_of(None, ModelTemplate(None), "laguna") == tags_of(None, ModelTemplate(None), "poolside-v1")


def test_glimmer_s_form() -> None:
    """As Muse Glimmer's own template has it: messages to somebody, and calls in tags."""
    dotted = {"type": "function", "function": {"name": "maps.find", "description": "", "parameters": {}}}
    model, functions = ModelTemplate(None), json.dumps([TOOL, dotted])
    text = renderer_for(None, model, "max", functions=functions, renderer="glimmer")(TALK)
    schema = json.dumps(TOOL["function"], ensure_ascii=False)
    offer = (
        "JSONSchema format:\n// Tool metadata\n"
        '{"name": "look", "description": ""}\n{"name": "maps", "description": ""}\n'
        f'// Function schemas\n{schema}\n{{"name": "maps.find", "description": "", "parameters": {{}}}}\n\nHere\'s an'
    )
    assert offer in text
    assert text.startswith(
        "<|begin_of_text|><|start|>system<|message|>Be kind.\n\nReasoning strength: xhigh.\n\nIn this environment you"
    )
    call = (
        '<atem:function_calls>\n<atem:invoke name="look">\n<atem:parameter name="at">Zürich</atem:parameter>\n'
        '<atem:parameter name="for">2</atem:parameter>\n</atem:invoke>\n</atem:function_calls>'
    )
    assert text.partition("\n</atem:parameter>\n</atem:invoke>\n</atem:function_calls>\n\n")[2] == (
        '# Valid recipients: "self", "look.*", "maps.*", "user".<|eot|><|start|>user<|message|>hi<|eot|>'
        f"<|start|>assistant to=self<|message|>hm<|eom|><|start|>assistant to=look<|message|>{call}<|eot|>"
        '<|start|>tool look<|message|><tool_output name="look">\nseen\n</tool_output><|eot|>'
        "<|start|>assistant to=user<|message|>I see.<|eot|><|start|>user<|message|>bye<|eot|><|start|>assistant"
    )
    twice = [
        Turn("assistant", "", tool_calls=[CALL, ToolCall("maps.find", "{}", "c2")]),
        Turn("tool", "x", tool_call_id="c2"),
    ]
    found = render("glimmer", USER, *twice)
    assert f"{call}<|eom|><|start|>assistant to=maps.find<|message|>" in found
    assert found.endswith(
        '<|eot|><|start|>tool maps.find<|message|><tool_output name="maps.find">\nx\n</tool_output><|eot|>'
        "<|start|>assistant"
    )
    assert render("glimmer", USER) == (
        "<|begin_of_text|><|start|>system<|message|>You are a helpful AI assistant.\nKnowledge cutoff: 2026-01-04.\n"
        f"Current date: {date.today().isoformat()}.\n\nReasoning strength: high.\n\n"
        '# Valid recipients: "self", "user".<|eot|><|start|>user<|message|>hi<|eot|><|start|>assistant'
    )
    assert "strength: none." in render("glimmer", USER, think=False)


def test_the_newer_nemotron_knows_no_switches() -> None:
    said = [
        Turn("user", " /no_think"),
        Turn("assistant", "Yes.", "hm"),
        MORE,
        Turn("assistant", "No.", "hm", tool_calls=[CALL]),
    ]
    text = render("nemotron-3.5-nano", *said, think="medium")
    assert text == (
        "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n /no_think<|im_end|>\n"
        "<|im_start|>assistant\n<think></think>Yes.<|im_end|>\n"
        "<|im_start|>user\nbye\n\n{reasoning effort: efficient}<|im_end|>\n"
        f"<|im_start|>assistant\n<think>\nhm</think>No.\n{QWEN_CALL}\n<|im_end|>\n<|im_start|>assistant\n<think>\n"
    )
    assert render("nemotron-3.5-nano", USER, think=False).endswith(
        "user\nhi<|im_end|>\n<|im_start|>assistant\n<think></think>"
    )


@pytest.mark.parametrize(
    ("think", "told", "opens"),
    [
        (None, "Reasoning effort is set to xhigh.", "<think>\n"),
        ("max", "Reasoning effort is set to xhigh.", "<think>\n"),
        ("low", "Reasoning effort is set to low.", "<think>\n"),
        ("medium", "", "<think>\n"),
        (False, "", "<think>\n\n</think>\n\n"),
    ],
)
def test_the_newer_qwen_is_told_how_hard_to_think(think: Think, told: str, opens: str) -> None:
    for tools in (False, True):
        text = render("qwen3.8", SYSTEM, USER, Turn("assistant", "Yo.", "hm"), MORE, think=think, tools=tools)
        after = "<|im_start|>system\n" + (told or ("# Tools" if tools else "Be kind."))
        assert text.startswith(after)
        assert text.count("Reasoning effort") == bool(told)
        assert "Be kind.<|im_end|>" in text
        assert "<think>\nhm\n</think>\n\nYo.<|im_end|>" in text
        assert text.endswith(f"bye<|im_end|>\n<|im_start|>assistant\n{opens}")
    assert ("system" in render("qwen3.8", USER, think=think)) == bool(told)
