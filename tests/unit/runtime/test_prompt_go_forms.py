"""The forms that Modelfile templates take: the same talk written by each, as Go's text/template would write it.

The templates are our own; between them they use what those of Ollama's library use.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.prompt.gotemplate import render_go

RULE, HI, YO, MORE = "Be brief.", "Hi there", "Yo!", "And <now>?"
ALONE = [Turn("user", HI)]
TALK = [Turn("user", HI), Turn("assistant", YO), Turn("user", MORE)]
TOLD = [Turn("system", RULE), *TALK]
TOLD_TWICE = [Turn("system", RULE), *TALK[:2], Turn("system", "In French."), TALK[2]]


@dataclass(frozen=True)
class Form:
    """A template, and what it makes of a question, of a talk, of one with a system message, and of one with two."""

    name: str
    source: str
    alone: str
    talk: str
    told: str
    told_twice: str


FORMS = [
    Form(
        "roles are written as they are called",
        "{{- range .Messages }}[{{ .Role }}]\n{{ .Content }}[/]\n{{ end }}[assistant]\n",
        f"[user]\n{HI}[/]\n[assistant]\n",
        f"[user]\n{HI}[/]\n[assistant]\n{YO}[/]\n[user]\n{MORE}[/]\n[assistant]\n",
        f"[system]\n{RULE}[/]\n[user]\n{HI}[/]\n[assistant]\n{YO}[/]\n[user]\n{MORE}[/]\n[assistant]\n",
        f"[system]\n{RULE}[/]\n[user]\n{HI}[/]\n[assistant]\n{YO}[/]\n[system]\nIn French.[/]\n[user]\n{MORE}[/]\n"
        "[assistant]\n",
    ),
    Form(
        "roles have names of their own",
        '{{- range .Messages }}\n{{- if eq .Role "system" }}Rules:\n{{- else if eq .Role "user" }}Q:\n'
        '{{- else if eq .Role "assistant" }}A:\n{{- end }} {{ .Content }}\n\n{{ end }}A:',
        f"Q: {HI}\n\nA:",
        f"Q: {HI}\n\nA: {YO}\n\nQ: {MORE}\n\nA:",
        f"Rules: {RULE}\n\nQ: {HI}\n\nA: {YO}\n\nQ: {MORE}\n\nA:",
        f"Rules: {RULE}\n\nQ: {HI}\n\nA: {YO}\n\nRules: In French.\n\nQ: {MORE}\n\nA:",
    ),
    Form(
        "what the system says waits for the next question",
        '{{- $held := "" }}\n{{- range .Messages }}\n{{- if eq .Role "system" }}\n'
        "{{- if $held }}{{ $held = printf `%s; %s` $held .Content }}{{ else }}{{ $held = .Content }}{{ end }}\n"
        '{{- continue }}\n{{- else if eq .Role "user" }}<u>\n{{- with $held }}({{ . }}) {{ end }}{{ $held = "" }}\n'
        '{{- else if eq .Role "assistant" }}<a>\n{{- end }}{{ .Content }}</>{{ end }}<a>',
        f"<u>{HI}</><a>",
        f"<u>{HI}</><a>{YO}</><u>{MORE}</><a>",
        f"<u>({RULE}) {HI}</><a>{YO}</><u>{MORE}</><a>",
        f"<u>({RULE}) {HI}</><a>{YO}</><u>(In French.) {MORE}</><a>",
    ),
    Form(
        "what the system says goes before the last question",
        '{{- range $n, $_ := .Messages }}\n{{- if eq .Role "user" }}<<\n'
        "{{- if and $.System (eq (len (slice $.Messages $n)) 1) }}{{ $.System }} | {{ end }}{{ .Content }}>>\n"
        '{{- else if ne .Role "system" }} {{ .Content }}.\n{{- end }}\n{{- end }}',
        f"<<{HI}>>",
        f"<<{HI}>> {YO}.<<{MORE}>>",
        f"<<{HI}>> {YO}.<<{RULE} | {MORE}>>",
        f"<<{HI}>> {YO}.<<{RULE}\n\nIn French. | {MORE}>>",
    ),
    Form(
        "the first message and the last are found by number",
        "{{- range $n, $m := .Messages }}\n{{- $last := eq (len (slice $.Messages $n)) 1 }}"
        "{{ if eq $n 0 }}^{{ end }}{{ $m.Content }}{{ if $last }}${{ else }}/{{ end }}{{ end }}",
        f"^{HI}$",
        f"^{HI}/{YO}/{MORE}$",
        f"^{RULE}/{HI}/{YO}/{MORE}$",
        f"^{RULE}/{HI}/{YO}/In French./{MORE}$",
    ),
    Form(
        "one exchange at a time",
        "{{ if .System }}# {{ .System }}\n{{ end }}{{ if .Prompt }}> {{ .Prompt }}\n{{ end }}< {{ .Response }};\n",
        f"> {HI}\n< ",
        f"> {HI}\n< {YO};\n> {MORE}\n< ",
        f"# {RULE}\n> {HI}\n< {YO};\n> {MORE}\n< ",
        f"# {RULE}\n> {HI}\n< {YO};\n# In French.\n> {MORE}\n< ",
    ),
    Form(
        "both ways in one template",
        "{{ if .Messages }}{{ range .Messages }}{{ .Content }}|{{ else }}nobody{{ end }}"
        "{{ else }}{{ .Prompt }}{{ end }}",
        f"{HI}|",
        f"{HI}|{YO}|{MORE}|",
        f"{RULE}|{HI}|{YO}|{MORE}|",
        f"{RULE}|{HI}|{YO}|In French.|{MORE}|",
    ),
    Form(
        "messages are written by a template of their own",
        '{{- define "said" }}{{ .Role | printf "%.1s" }}={{ .Content }};{{ end }}'
        '{{- /* the last one\n wins */ -}}\n{{ range .Messages }}{{ template "said" . }}{{ end }}a=',
        f"u={HI};a=",
        f"u={HI};a={YO};u={MORE};a=",
        f"s={RULE};u={HI};a={YO};u={MORE};a=",
        f"s={RULE};u={HI};a={YO};s=In French.;u={MORE};a=",
    ),
    Form(
        "nothing is said twice",
        '{{ range $n, $m := .Messages }}{{ if or (eq .Role "assistant") (gt $n 3) }}{{ break }}{{ end }}'
        '{{ .Content | printf "%q " }}{{ end }}',
        f'"{HI}" ',
        f'"{HI}" ',
        f'"{RULE}" "{HI}" ',
        f'"{RULE}" "{HI}" ',
    ),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_talk(form: Form) -> None:
    assert render_go(form.source, ALONE) == form.alone
    assert render_go(form.source, TALK) == form.talk
    assert render_go(form.source, TOLD) == form.told
    assert render_go(form.source, TOLD_TWICE) == form.told_twice


FORECAST = {
    "type": "function",
    "function": {
        "name": "forecast",
        "description": "Say what the weather will be.",
        "parameters": {
            "type": "object",
            "properties": {
                "town": {"type": "string", "description": "Its name"},
                "days": {"type": ["integer", "null"], "description": "How far"},
                "by": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["town"],
        },
    },
}
PRINTED = (
    '{"type":"function","function":{"name":"forecast","description":"Say what the weather will be.","parameters":'
    '{"type":"object","required":["town"],"properties":{"by":{"type":"array","items":{"type":"string"}},'
    '"days":{"type":["integer","null"],"description":"How far"},"town":{"type":"string","description":"Its name"}}}}}'
)
CALLED = [
    Turn("user", HI),
    Turn(
        "assistant",
        "",
        "Where?",
        tool_calls=[ToolCall("forecast", '{"town": "Århus", "days": 2}', "c1"), ToolCall("forecast", "{}", "c2")],
    ),
    Turn("tool", "rain", tool_name="forecast", tool_call_id="c1"),
    Turn("tool", "sun", tool_name="forecast", tool_call_id="c2"),
]


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        ("{{ if .Tools }}{{ .Tools }}{{ end }}", f"[{PRINTED}]"),
        ("{{ range .Tools }}{{ json . }}\n{{ end }}", f"{PRINTED}\n"),
        ("{{ $.Tools | len }}{{ slice .Tools 0 1 }}{{ slice .Tools 1 }}", f"1[{PRINTED}][]"),
        (
            "{{ range .Tools }}{{ with .Function }}def {{ .Name }}("
            "{{ range $name, $p := .Parameters.Properties }}{{ $name }}: {{ $p.Type }}, {{ end }})"
            "{{ range .Parameters.Required }} needs {{ . }}{{ end }}{{ end }}{{ end }}",
            "def forecast(by: array, days: [integer null], town: string, ) needs town",
        ),
        (
            "{{ range .Tools }}{{ range $name, $p := .Function.Parameters.Properties }}{{ $name }}?: "
            "{{ $p | toTypeScriptType }};{{ if $p.Description }} // {{ $p.Description }}{{ end }}\n{{ end }}{{ end }}",
            "by?: any[];\ndays?: number | null; // How far\ntown?: string; // Its name\n",
        ),
        (
            "{{ range .Messages }}{{ range $n, $c := .ToolCalls }}{{ if $n }}, {{ end }}"
            '{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}'
            '{{ if eq .Role "tool" }}\n{{ .ToolName }}/{{ .ToolCallID }}: {{ .Content }}{{ end }}{{ end }}',
            '{"name": "forecast", "parameters": {"days":2,"town":"Århus"}}, {"name": "forecast", "parameters": {}}\n'
            "forecast/c1: rain\nforecast/c2: sun",
        ),
        (
            "{{ range .Messages }}{{ range .ToolCalls }}{{ .Function.Index }}{{ .ID }}("
            "{{ range $k, $v := .Function.Arguments }}{{ $k }}={{ $v }} {{ end }}){{ end }}{{ end }}",
            "0c1(days=2 town=Århus )1c2()",
        ),
        (
            "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ end }}"
            "{{ if and $.IsThinkSet (not $.Think) }}/no{{ else if .ThinkLevel }}/{{ .ThinkLevel }}{{ end }}",
            "<think>Where?</think>/no",
        ),
    ],
)
def test_tools_calls_and_thoughts(source: str, prompt: str) -> None:
    unmentioned = "{{ if .Messages }}{{ end }}"
    assert render_go(source + unmentioned, CALLED, think=False, tools=[FORECAST]) == prompt


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        (
            "{{ range $n, $m := .Messages }}{{ if and $m (eq (len (slice $.Messages $n)) 1) }}{{ $n }}{{ end }}"
            "{{ end }}",
            "2",
        ),
        ("{{ range $n, $_ := .Messages }}{{- eq (len (slice $.Messages $n)) 1 -}} {{ end }}", "falsefalsetrue"),
        ("{{ range $n, $_ := .Messages }}{{ eq (len (slice $.Messages $n)) 1 2 }} {{ end }}", "false true true "),
        ("{{ range $n, $_ := .Messages }}{{ eq (len (slice $.Messages $n)) 3 }} {{ end }}", "true false false "),
        (
            '{{ with .Messages }}{{ "(eq (len (slice $.Messages $n)) 1)" }}{{ end }}',
            "(eq (len (slice $.Messages $n)) 1)",
        ),
        ('{{ len "é" }}{{ slice "né!" 1 3 }}{{ len .Messages }}{{ ne "a" "a" }}', "2é3false"),
        ('{{ eq "b" "a" "b" }}{{ eq .Messages nil }}{{ eq 1 1 }}', "truefalsetrue"),
    ],
)
def test_what_every_message_asks(source: str, prompt: str) -> None:
    assert render_go(source, TALK) == prompt
