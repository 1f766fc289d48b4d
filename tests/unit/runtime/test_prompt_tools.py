"""Tools, calls and suffixes in Go templates, as Ollama has them."""

from __future__ import annotations

import pytest

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.errors import TemplateFailed
from corral.runtime.prompt.godata import go_json
from corral.runtime.prompt.gotemplate import render_go
from corral.runtime.prompt.render import ModelTemplate, renderer_for

TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {
            "type": "object",
            "properties": {
                "when": {"type": ["integer", "null"], "default": 3},
                "at": {"type": "string", "enum": ["<b>"]},
            },
            "required": ["at"],
        },
    },
}
PARAMETERS = (
    '{"type":"object","required":["at"],"properties":'
    '{"at":{"type":"string","enum":["\\u003cb\\u003e"]},"when":{"type":["integer","null"]}}}'
)
FUNCTION = f'{{"name":"look","description":"","parameters":{PARAMETERS}}}'
WHOLE = f'{{"type":"function","function":{FUNCTION}}}'
EACH = "{{ range .Tools }}{{ range $k, $v := .Function.Parameters.Properties }}"
ENDS = "{{ end }}{{ end }}"
USER = Turn("user", "hi")
CALLED = [USER, Turn("assistant", "", tool_calls=[ToolCall("look", '{"when": 2.0, "at": "é&"}', "c1")])]
RESULT = Turn("tool", "seen", tool_name="look", tool_call_id="c1")


def render(source: str, *turns: Turn) -> str:
    return render_go(source, turns or [USER], tools=[TOOL])


@pytest.mark.parametrize(
    ("what", "printed"),
    [
        ("{{ .Tools }}", f"[{WHOLE}]"),
        ("{{ json .Tools }}", f"[{WHOLE}]"),
        ("{{ range .Tools }}{{ . }}{{ end }}", WHOLE),
        ("{{ range $t := .Tools }}{{- $t.Function -}}{{ end }}", FUNCTION),
        ("{{ range .Tools }}{{ .Function.Parameters }}{{ end }}", PARAMETERS),
        ('{{ range .Tools }}{{ printf "%s" .Function.Parameters }}{{ end }}', PARAMETERS),
        ("{{ with .Tools }}{{ len . }}{{ end }}", "1"),
        (f"{EACH}{{{{ $k }}}}:{{{{ $v.Type }}}};{ENDS}", "at:string;when:[integer null];"),
        (f"{EACH}{{{{ toTypeScriptType $v }}}};{ENDS}", "string;number | null;"),
        ("{{ range .Tools }}{{ index .Function.Parameters.Required 0 }}{{ end }}", "at"),
        ("{{ $all := .Tools }}{{ $all }}", f"[{WHOLE}]"),
        ('{{ if .Tools }}{{ "}}" }}{{ `"{{` }}{{ end }}{{/* {{ .Tools }} */}}', '}}"{{'),
    ],
)  # fmt: skip
def test_what_templates_print_of_tools(what: str, printed: str) -> None:
    assert render("{{ if .Messages }}{{ end }}" + what) == printed


@pytest.mark.parametrize(
    ("what", "printed"),
    [
        ("{{ .Function.Arguments }}", '{"at":"é\\u0026","when":2}'),
        ("{{ json .Function.Arguments }}", '{"at":"é\\u0026","when":2}'),
        ("{{ .Function.Name }}{{ .Function.Index }}{{ .ID }}", "look0c1"),
        ("{{ range $k, $v := .Function.Arguments }}{{ $k }}={{ $v }};{{ end }}", "at=é&;when=2;"),
    ],
)
def test_what_templates_print_of_calls(what: str, printed: str) -> None:
    source = "{{ range .Messages }}{{ range .ToolCalls }}" + what + "{{ end }}{{ end }}"
    assert render(source, *CALLED) == printed


def test_results_say_what_they_answer() -> None:
    source = (
        '{{ range .Messages }}{{ if eq .Role "tool" }}{{ .ToolName'
        " }} {{ .ToolCallID }} {{ .Content }}|{{ end }}{{ end }}"
    )
    assert render(source, *CALLED, RESULT, RESULT) == "look c1 seen|look c1 seen|"


def test_without_tools_there_are_none() -> None:
    source = (
        "{{ range .Messages }}{{ if $.Tools }}tools{{ end }}{{ if .ToolCalls }}calls{{ end }}{{ .Content }}{{ end }}"
    )
    assert render_go(source, [USER]) == "hi"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, "1.5"),
        (100.0, "100"),
        (1e21, "1e+21"),
        (1.5e-7, "1.5e-7"),
        (1.5e-05, "0.000015"),
        (True, "true"),
        (None, "null"),
    ],
)
def test_numbers_as_go_prints_them(value: object, text: str) -> None:
    assert go_json(value) == text


def test_what_is_nested_too_deep_is_refused() -> None:
    deep: list[object] = []
    for _ in range(1000):
        deep = [deep]
    tool = {"type": "function", "function": {"name": "x", "parameters": {"properties": {"a": {"enum": deep}}}}}
    with pytest.raises(TemplateFailed):
        render_go("{{ range .Messages }}{{ $.Tools }}{{ end }}", [USER], tools=[tool])


INSERTS = "{{- if .Suffix }}<PRE> {{ .Prompt }} <SUF>{{ .Suffix }} <MID>{{- else }}{{ .System }}{{ .Prompt }}{{- end }}"


def test_a_suffix_goes_where_the_template_has_it() -> None:
    model = ModelTemplate(None)
    turns = [Turn("system", "no"), Turn("user", "def add(")]
    assert renderer_for(INSERTS, model, suffix="return x")(turns) == "<PRE> def add( <SUF>return x <MID>"
    assert renderer_for(INSERTS, model)(turns) == "nodef add("


def test_a_suffix_goes_between_the_vocabularys_marks() -> None:
    model = ModelTemplate("{{ messages[0].content }}", infill=("<P>", "<S>", "<M>"))
    assert renderer_for(None, model, suffix="b")([Turn("user", "a")]) == "<P>a<S>b<M>"
    assert renderer_for("{{ .Prompt }}", model, suffix="b")([Turn("user", "a")]) == "<P>a<S>b<M>"


def test_a_suffix_that_no_model_knows_is_refused() -> None:
    with pytest.raises(TemplateFailed, match="insert"):
        renderer_for("{{ .Prompt }}", ModelTemplate(None), suffix="b")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ if .Prompt }}{{ .Prompt }} A:{{ .Response }} end{{ else }}none{{ end }} after", "hi A:"),
        ("{{ .Prompt }}{{ if .Response }}={{ .Response }}{{ end }} after", "hi"),
        ("{{ .Prompt }} {{- .Response -}} after", "hi"),
        ('{{ .Prompt }}{{ .Response }}{{ template "x" }}{{ define "x" }}later{{ end }}', "hi"),
        ('{{ define "x" }}{{ .Prompt }}!{{ end }}{{ template "x" . }}{{ .Response }}{{ define "y" }}{{ end }}', "hi!"),
    ],
)
def test_nothing_stands_behind_the_place_for_the_answer(source: str, text: str) -> None:
    assert render_go(source, [USER]) == text
