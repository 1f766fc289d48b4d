from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.engine.protocol import Turn
from corral.runtime.errors import TemplateFailed
from corral.runtime.prompt.gotemplate import render_go

CHAT = [
    Turn("system", "be kind"),
    Turn("user", "hi"),
    Turn("assistant", "yo"),
    Turn("user", "again"),
    Turn("user", "?"),
]
LEGACY = "{{ if .System }}<s>{{ .System }}{{ end }}<u>{{ .Prompt }}<a>{{ .Response }}</a>"


def test_the_default_template_is_the_prompt() -> None:
    assert render_go("{{ .Prompt }}", [Turn("user", "hi")]) == "hi"


def test_legacy_is_cut_where_the_answer_goes() -> None:
    assert render_go(LEGACY, CHAT) == "<s>be kind<u>hi<a>yo</a><u>again\n\n?<a>"


def test_a_begun_answer_is_continued() -> None:
    assert render_go(LEGACY, [Turn("user", "hi"), Turn("assistant", "I thi")]) == "<u>hi<a>I thi"


def test_a_branch_on_the_answer_is_not_taken() -> None:
    assert render_go("<u>{{ .Prompt }}<a>{{ if .Response }}{{ .Response }}<end>{{ end }}", CHAT[1:2]) == "<u>hi<a>"


def test_messages_are_collated_and_rendered_once() -> None:
    source = "{{ .System }}|{{ range $i, $m := .Messages }}{{ .Role }}={{ .Content }};{{ end }}"
    assert render_go(source, CHAT) == "be kind|system=be kind;user=hi;assistant=yo;user=again\n\n?;"


def test_the_last_message_is_found_by_slicing() -> None:
    source = "{{ range $i, $m := .Messages }}{{ if eq (len (slice $.Messages $i)) 1 }}{{ .Content }}{{ end }}{{ end }}"
    assert render_go(source, CHAT) == "again\n\n?"


def test_a_response_is_appended_where_a_template_has_no_place_for_it() -> None:
    assert render_go("Q: {{ .Prompt }} A:", [Turn("user", "x"), Turn("assistant", "y")]) == "Q: x A:y"


def test_functions() -> None:
    assert render_go("{{ currentDate }}{{ .Response }}", []) == date.today().isoformat()
    assert render_go("{{ json .Prompt }}{{ .Response }}", [Turn("user", "<é>")]) == '"\\u003cé\\u003e"'


def test_templates_count_by_the_width_of_what_they_print() -> None:
    source = '{{ range $i, $m := .Messages }}{{ len (printf "a%*s" $i "") }}{{ end }}'
    assert render_go(source, CHAT) == "1234"
    assert render_go('{{ printf "%3d|%-3s|%v" 7 "x" true }}{{ .Response }}', []) == "  7|x  |true"


@pytest.mark.parametrize(
    "source",
    [
        "{{ if }}",
        "{{ range .Messages }}",
        "{{ nofunction .Prompt }}",
        "{{ .Prompt.__class__ }}{{ .Response }}",
        '{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}{{ .Response }}',
        '{{ printf "%1000000000d" 1 }}{{ .Response }}',
        '{{ printf (print "%" "1000000000d") 1 }}{{ .Response }}',
        '{{ printf "%*d" 1000000000 1 }}{{ .Response }}',
    ],
)
def test_broken_and_hostile_templates_are_refused(source: str) -> None:
    with pytest.raises(TemplateFailed):
        render_go(source, CHAT)


WORDS = """
{{ }} {{- -}} if end range with else .Messages .Prompt .Role $x := 1 and or eq len slice index printf json "%d" ( ) |
text . -7 toTypeScriptType define template "a" break not
"""
PARTS = st.sampled_from([*WORDS.split(), "\n"])


@given(
    st.lists(PARTS, max_size=12).map(" ".join) | st.lists(PARTS, max_size=6).map(lambda p: "{{" + " ".join(p) + "}}")
)
def test_no_template_breaks_anything_else(source: str) -> None:
    message = ""
    try:
        render_go(source, CHAT)
    except TemplateFailed as error:
        message = str(error)
    assert "\n" not in message
