"""Tool calls taken out of answers as the families write them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.engine.protocol import ToolUse
from corral.runtime.prompt.parsers.answers import parser_for
from corral.runtime.prompt.parsers.calls import UNREADABLE, offered_by
from corral.runtime.prompt.parsers.families import PARSERS, Family, family_of, infer_form
from corral.runtime.prompt.parsers.glimmer import OPENING as ATEM

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "metric": {"type": "boolean"},
        "at": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "where": {"type": "object"},
    },
    "required": ["city"],
}
OFFERED = offered_by(
    ToolUse(
        json.dumps(
            [
                {"type": "function", "function": {"name": "weather", "parameters": WEATHER}},
                {"type": "function", "function": {"name": "weather_map", "parameters": WEATHER}},
                {"type": "function", "function": {"name": "time"}},
            ]
        )
    )
)
OSLO = ("weather", {"city": "Oslo"})
OSLO_JSON = '{"name": "weather", "arguments": {"city": "Oslo"}}'
GO_LLAMA = '{{ if .Tools }}x{{ end }}{{ range .Messages }}{{ if .ToolCalls }}{"name": "{{ .X }}"}{{ end }}{{ end }}'
GO_OWN = "{{ .Tools }}{{ range .Messages }}{{ if .ToolCalls }}"
GO_OWN += "{{ range .ToolCalls }}<do>{{ .Function }}</do>{{ end }}{{ end }}{{ end }}"
GO_QWEN = '{{ if .Tools }}{{ end }}{{ if .ToolCalls }}<tool_call>\n{{ range .ToolCalls }}{"name": {{ end }}{{ end }}'


class Read(NamedTuple):
    thinking: str
    content: str
    calls: list[tuple[str, Any]]
    failed: bool = False


def read(family: Family, *pieces: str, thinks: bool = False, parallel: bool = True, tools: bool = True) -> Read:
    parser = parser_for(family, OFFERED if tools else None, thinks=thinks, parallel=parallel)
    assert parser is not None
    thinking = content = ""
    calls: list[tuple[str, Any]] = []
    for number, piece in enumerate(pieces):
        said = parser.push(piece, last=number == len(pieces) - 1)
        thinking, content = thinking + said.thinking, content + said.content
        calls += [(call.name, json.loads(call.arguments)) for call in said.calls]
    return Read(thinking, content, calls, parser.warnings == (UNREADABLE,))


def atem(name: str, **given: str) -> str:
    """Return a call as Muse Glimmer writes it."""
    parameters = "".join(f'<atem:parameter name="{key}">{value}</atem:parameter>\n' for key, value in given.items())
    return f'{ATEM}\n<atem:invoke name="{name}">\n{parameters}</atem:invoke>\n</atem:function_calls>'


MANY = atem("weather", city=" Oslo\n", days="3", metric="true", tags='["a", "b"]')
CASES = [
    ("qwen3", f"<tool_call>\n{OSLO_JSON}\n</tool_call>", Read("", "", [OSLO])),
    ("qwen3", f"I look.\n\n<tool_call>\n{OSLO_JSON}\n</tool_call>", Read("", "I look.", [OSLO])),
    (
        "qwen3",
        f'<tool_call>{OSLO_JSON}</tool_call>\n<tool_call>{{"name": "time", "arguments": {{}}}}</tool_call>\n',
        Read("", "", [OSLO, ("time", {})]),
    ),
    ("qwen3", f"<tool_call>{OSLO_JSON}", Read("", "", [OSLO])),
    (
        "qwen3",
        '<tool_call>{"name": "weather", "arguments": {"city": "a } b </tool_call> \\"c\\\\"}}</tool_call>done',
        Read("", "done", [("weather", {"city": 'a } b </tool_call> "c\\'})]),
    ),
    ("qwen3", 'if a < b: print("<tool")', Read("", 'if a < b: print("<tool")', [])),
    (
        "qwen3",
        '<tool_call>{"name": "sell", "arguments": {}}</tool_call>',
        Read("", '<tool_call>{"name": "sell", "arguments": {}}</tool_call>', [], True),
    ),
    ("qwen3", "see\n<tool_call>\n{broken", Read("", "see\n<tool_call>\n{broken", [], True)),
    ("qwen3-vl-instruct", f"<tool_call>{OSLO_JSON}</tool_call>", Read("", "", [OSLO])),
    (
        "qwen3-coder",
        "Sure.\n<tool_call>\n<function=weather>\n<parameter=city>\nNew\nYork <b>&\n</parameter>\n<parameter=days>\n3\n"
        "</parameter>\n<parameter=metric>\nTrue\n</parameter>\n<parameter=at>\n1.5\n</parameter>\n<parameter=tags>\n"
        '["a"]\n</parameter>\n<parameter=where>\n{"x": 1}\n</parameter>\n</function>\n</tool_call>',
        Read(
            "",
            "Sure.",
            [
                (
                    "weather",
                    {
                        "city": "New\nYork <b>&",
                        "days": 3,
                        "metric": True,
                        "at": 1.5,
                        "tags": ["a"],
                        "where": {"x": 1},
                    },
                )
            ],
        ),
    ),
    (
        "qwen3-coder",
        "<function=time>\n</function>\n<function=weather><parameter=city>42</parameter></function>",
        Read("", "", [("time", {}), ("weather", {"city": "42"})]),
    ),
    ("qwen3.5", f"<tool_call>\n{OSLO_JSON}\n</tool_call>", Read("", "", [OSLO])),
    (
        "glm-4.7",
        "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n"
        "<arg_value>2</arg_value>\n</tool_call>",
        Read("", "", [("weather", {"city": "Oslo", "days": 2})]),
    ),
    ("laguna", "<tool_call>time</tool_call> ok", Read("", "ok", [("time", {})])),
    (
        "deepseek3",
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{"city": "Oslo"}<｜tool▁call▁end｜>'
        "<｜tool▁call▁begin｜>time<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        Read("", "", [OSLO, ("time", {})]),
    ),
    (
        "cogito",
        "Now:<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n"
        '{"city": "Oslo"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>time\n```json\n{}\n```'
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        Read("", "Now:", [OSLO, ("time", {})]),
    ),
    ("ministral", '[TOOL_CALLS]weather[ARGS]{"city": "Oslo"}', Read("", "", [OSLO])),
    (
        "ministral",
        '[TOOL_CALLS]weather_map[ARGS]{"city": "Oslo"}[TOOL_CALLS]time[ARGS]{}',
        Read("", "", [("weather_map", {"city": "Oslo"}), ("time", {})]),
    ),
    ("ministral", f"[TOOL_CALLS] [{OSLO_JSON}, {OSLO_JSON}]", Read("", "", [OSLO, OSLO])),
    (
        "olmo3",
        'Let me see. <function_calls>weather(city="Oslo", days=-2, metric=true, at=None)\ntime()</function_calls>',
        Read("", "Let me see.", [("weather", {"city": "Oslo", "days": -2, "metric": True, "at": None}), ("time", {})]),
    ),
    (
        "lfm2",
        '<|tool_call_start|>[weather("Oslo", tags=["a"], where={"x": 1}), time()]<|tool_call_end|>Looking.',
        Read("", "Looking.", [("weather", {"city": "Oslo", "tags": ["a"], "where": {"x": 1}}), ("time", {})]),
    ),
    ("lfm2", f"<|tool_call_start|>[{OSLO_JSON}]<|tool_call_end|>", Read("", "", [OSLO])),
    (
        "functiongemma",
        "<start_function_call>call:weather{city:<escape>O, {slo}<escape>,days:3}<end_function_call>",
        Read("", "", [("weather", {"city": "O, {slo}", "days": 3})]),
    ),
    (
        "gemma4",
        '<|tool_call>call:weather{city:<|"|>a <tool_call|> b<|"|>,tags:[<|"|>x<|"|>,<|"|>y<|"|>],where:{x:{y:true}},'
        "at:1.5}<tool_call|><|tool_response>",
        Read(
            "",
            "",
            [
                (
                    "weather",
                    {"city": "a <tool_call|> b", "tags": ["x", "y"], "where": {"x": {"y": True}}, "at": 1.5},
                )
            ],
        ),
    ),
    ("gemma4", "<|tool_call>call:time{}", Read("", "", [("time", {})])),
    (
        "cohere",
        '<|START_ACTION|>[\n {"tool_call_id": "0", "tool_name": "weather", "parameters": {"city": "Oslo"}}\n]'
        "<|END_ACTION|>",
        Read("", "", [OSLO]),
    ),
    ("cohere", "<|START_TEXT|>Hello.<|END_TEXT|>", Read("", "Hello.", [])),
    (
        "harmony",
        "<|channel|>analysis<|message|>Need it.<|end|><|start|>assistant<|channel|>commentary to=functions.weather "
        '<|constrain|>json<|message|>{"city":"Oslo"}<|call|>',
        Read("Need it.", "", [OSLO]),
    ),
    (
        "harmony",
        '<|start|>assistant to=functions.weather<|channel|>commentary json<|message|>{"city":"Oslo"}',
        Read("", "", [OSLO]),
    ),
    (
        "harmony",
        "<|channel|>commentary<|message|>I will look.<|end|><|start|>assistant<|channel|>final<|message|> It rains.",
        Read("", "I will look.It rains.", []),
    ),
    (
        "harmony",
        "<|channel|>commentary to=functions.sell<|message|>{}<|call|>",
        Read("", "<|channel|>commentary to=functions.sell<|message|>{}", [], True),
    ),
    ("harmony", "plain <b> text", Read("", "plain <b> text", [])),
    (
        "glimmer",
        " to=self<|message|>Which <b>?<|eom|><|start|>assistant to=weather<|message|>"
        f"{atem('weather', city='Oslo')}<|eot|>",
        Read("Which <b>?", "", [OSLO]),
    ),
    (
        "glimmer",
        " to=self<|message|>Look.<|eom|><|start|>assistant to=user<|message|>It <rains>.<|eot|>and more",
        Read("Look.", "It <rains>.", []),
    ),
    (
        "glimmer",
        f" to=weather<|message|>{MANY}<|eom|><|start|>assistant to=time.time<|message|>{atem('time.time')}<|eot|>",
        Read("", "", [("weather", {"city": " Oslo\n", "days": 3, "metric": True, "tags": ["a", "b"]}), ("time", {})]),
    ),
    ("glimmer", f" to=user<|message|>\n{atem('weather', city='Oslo')}", Read("", "", [OSLO])),
    ("glimmer", atem("weather", city="Oslo"), Read("", "", [OSLO])),
    (
        "glimmer",
        f" to=sell<|message|>{atem('sell')}<|eot|>",
        Read("", f" to=sell<|message|>{atem('sell')}", [], True),
    ),
    ("glimmer", f" to=user<|message|>Say {ATEM}.<|eot|>", Read("", f"Say {ATEM}.", [])),
    ("glimmer", "plain <b> text", Read("", "plain <b> text", [])),
    ("glimmer", "<atom>", Read("", "<atom>", [])),
]
INFERRED = [
    (GO_LLAMA, '{"name": "weather", "parameters": {"city": "Oslo"}}', Read("", "", [OSLO])),
    (
        GO_LLAMA,
        f' {OSLO_JSON}; {{"name": "time", "parameters": {{}}}}',
        Read("", "", [OSLO, ("time", {})]),
    ),
    (GO_LLAMA, ' {"answer": 42} ', Read("", ' {"answer": 42} ', [])),
    (GO_LLAMA, '{"name": "sell"}', Read("", '{"name": "sell"}', [])),
    (GO_LLAMA, f"Look: {OSLO_JSON}", Read("", f"Look: {OSLO_JSON}", [])),
    (GO_LLAMA, '{"weather": {"city": "Oslo"}}', Read("", "", [OSLO])),
    (GO_LLAMA, '{"function": "weather", "parameters": "{\\"city\\": \\"Oslo\\"}"}', Read("", "", [OSLO])),
    (GO_LLAMA, f'{{"type": "function", "function": {OSLO_JSON}}}', Read("", "", [OSLO])),
    (GO_OWN, f"<do>{OSLO_JSON}</do> done", Read("", "done", [OSLO])),
    (GO_OWN, '<do>weather {"city": "Oslo"}</do>', Read("", "", [OSLO])),
    (GO_QWEN, f"<tool_call>{OSLO_JSON}</tool_call>", Read("", "", [OSLO])),
    ("{% tools %}<|python_tag|>", '<|python_tag|>{"name": "time", "parameters": {}}', Read("", "", [("time", {})])),
    ("{% tools %}<|python_tag|>", '{"name": "time", "parameters": {}}', Read("", "", [("time", {})])),
    ("{% tools %}<function=x>", '<function=weather>{"city": "Oslo"}</function>', Read("", "", [OSLO])),
    ("{% tools %}<|tool_call|>", f"<|tool_call|>[{OSLO_JSON}]", Read("", "", [OSLO])),
    ("{% tools %}<|tool_call|><|/tool_call|>", f"<|tool_call|>[{OSLO_JSON}]<|/tool_call|>!", Read("", "!", [OSLO])),
    ("{% tools %}functools[", f"functools[{OSLO_JSON}]", Read("", "", [OSLO])),
    ("{% tools %}[TOOL_CALLS]", f"[TOOL_CALLS][{OSLO_JSON},{OSLO_JSON}] ", Read("", "", [OSLO, OSLO])),
    ("{% tools %}[TOOL_CALLS]", f"[TOOL_CALLS][{OSLO_JSON},{{x]", Read("", "{x]", [OSLO], True)),
    (
        "{% tools %}<|tool_calls_section_begin|>",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>"
        '{"city": "Oslo"}<|tool_call_end|><|tool_call_begin|>functions.time:1<|tool_call_argument_begin|>{}'
        "<|tool_call_end|><|tool_calls_section_end|>",
        Read("", "", [OSLO, ("time", {})]),
    ),
    (
        "{% tools %}<|tools_prefix|>",
        '<|tools_prefix|>[{"weather": {"city": "Oslo"}}]<|tools_suffix|>',
        Read("", "", [OSLO]),
    ),
]
FAMILIES = [(PARSERS[name], text, wanted) for name, text, wanted in CASES]
FAMILIES += [(family_of("", template), text, wanted) for template, text, wanted in INFERRED]


@pytest.mark.parametrize(("family", "text", "wanted"), FAMILIES)
def test_what_families_write(family: Family, text: str, wanted: Read) -> None:
    assert read(family, text) == wanted
    assert read(family, *text) == wanted
    assert read(family, text, "") == wanted


MARKS = st.sampled_from(
    [
        *(
            "<tool_call>",
            "</tool_call>",
            "<function=",
            "weather",
            ">",
            "</function>",
            "{",
            "}",
            "[",
            "]",
            '"',
            "\\",
            "\n",
        ),
        *("[TOOL_CALLS]", "[ARGS]", OSLO_JSON, "<|channel|>", "final", "<|message|>", " to=functions.time", "<|end|>"),
        *(
            "<|tool_call>call:time{",
            '<|"|>',
            "<tool_call|>",
            "<function_calls>",
            "time()",
            "</function_calls>",
            "<think>",
        ),
        *(
            "</think>",
            "<｜tool▁calls▁begin｜>",
            " to=self<|message|>",
            " to=time<|message|>",
            atem("time"),
            "<atem:",
            "<|eom|>",
            "<|eot|>",
            "x y",
            " ",
            ",",
            "<arg_key>k</arg_key><arg_value>v</arg_value>",
            "<|STA",
        ),
    ]
)


@given(st.lists(MARKS, max_size=12), st.sampled_from(sorted(PARSERS)), st.data())
def test_it_does_not_matter_how_an_answer_is_split(parts: list[str], name: str, data: st.DataObject) -> None:
    text, family = "".join(parts), PARSERS[name]
    if family.form is None:
        return
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    for thinks in (False, True):
        whole = read(family, text, thinks=thinks)
        assert read(family, *pieces, thinks=thinks) == whole
        assert read(family, *(text or [""]), thinks=thinks) == whole
        if not whole.calls and not whole.thinking and not family.form.dropped and not family.channels and not thinks:
            assert whole.content == text


def test_one_call_is_enough_where_no_more_are_allowed() -> None:
    two = f"<tool_call>{OSLO_JSON}</tool_call><tool_call>{OSLO_JSON}</tool_call>more"
    for pieces in ([two], list(two)):
        assert read(PARSERS["qwen3"], *pieces, parallel=False) == Read("", "", [OSLO])
    harmony = (
        "<|channel|>commentary to=functions.time<|message|>{}<|call|><|start|>assistant<|channel|>final<|message|>x"
    )
    assert read(PARSERS["harmony"], harmony, parallel=False) == Read("", "", [("time", {})])


def test_thoughts_come_before_calls() -> None:
    text = f"<think>\nHm, <tool_call>?</think>\n\nNow.\n<tool_call>{OSLO_JSON}</tool_call>"
    assert read(PARSERS["qwen3-thinking"], *text, thinks=True) == Read("Hm, <tool_call>?", "Now.", [OSLO])


def test_text_streams_until_a_call_may_begin() -> None:
    parser = parser_for(PARSERS["qwen3"], OFFERED, thinks=False)
    assert parser is not None
    assert [parser.push(piece).content for piece in ("I ", "look", " now <", "b>", " <tool_", "x")] == [
        *("I", " look", " now", " <b>", "", " <tool_x"),
    ]


def test_without_tools_only_marks_are_taken_out() -> None:
    text = f"<tool_call>{OSLO_JSON}</tool_call>"
    assert parser_for(PARSERS["qwen3"], None, thinks=False) is None
    assert parser_for(PARSERS["passthrough"], OFFERED, thinks=True) is None
    assert read(PARSERS["qwen3-thinking"], f"<think>a</think>{text}", thinks=True, tools=False) == Read("a", text, [])
    cohere = f"<|START_TEXT|>{text}<|END_TEXT|>"
    assert read(PARSERS["cohere"], cohere, tools=False) == Read("", text, [])
    channels = "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b"
    assert read(PARSERS["harmony"], channels, tools=False) == Read("a", "b", [])


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 2000, '{"a":' * 150, "NaN", "1e999", '"\\ud800"', '"\\'])
@pytest.mark.parametrize("name", ["qwen3", "qwen3-coder", "gemma4", "lfm2", "deepseek3", "harmony", "glimmer"])
def test_nothing_a_model_writes_breaks_the_reading(name: str, value: str) -> None:
    texts = {
        "qwen3": f'<tool_call>{{"name": "weather", "arguments": {{"at": {value}}}}}</tool_call>',
        "qwen3-coder": f"<function=weather><parameter=at>{value}</parameter></function>",
        "gemma4": f"<|tool_call>call:weather{{at:{value}}}<tool_call|>",
        "lfm2": f"<|tool_call_start|>[weather(at={value})]<|tool_call_end|>",
        "deepseek3": f'<｜tool▁calls▁begin｜>weather<｜tool▁sep｜>{{"at": {value}}}',
        "harmony": f'<|channel|>commentary to=functions.weather<|message|>{{"at": {value}}}<|call|>',
        "glimmer": f" to=weather<|message|>{atem('weather', at=value)}<|eot|>",
    }
    text = texts[name]
    found = read(PARSERS[name], *text)
    assert found == read(PARSERS[name], text)
    assert len(found.calls) + found.failed == 1
    for _, arguments in found.calls:
        json.dumps(arguments).encode()


def test_a_long_call_takes_no_longer_for_coming_in_pieces() -> None:
    code = 'if (a) { b[0] = \\"x\\"; }\\n' * 4000
    text = f'<tool_call>{{"name": "weather", "arguments": {{"city": "{code}"}}}}</tool_call>'
    pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
    assert read(PARSERS["qwen3"], *pieces).calls[0][1]["city"].startswith('if (a) { b[0] = "x"; }\n')


@pytest.mark.parametrize("template", ["", "{{ .Prompt }}", "{% for m in messages %}{{ m.content }}{% endfor %}"])
def test_templates_that_know_no_tools(template: str) -> None:
    assert infer_form(template) is None
    assert family_of("nobody", template) == Family()
