from __future__ import annotations

import resource
import time

import pytest

from corral.runtime.engine.protocol import Turn
from corral.runtime.errors import TemplateFailed
from corral.runtime.prompt.jinja import RENDER_SECONDS, render_jinja
from corral.runtime.prompt.render import ModelTemplate, renderer_for

MESSAGES = [{"role": "user", "content": "hi <b>"}]

TAKES_TOO_MUCH = [
    "{{ 'a' * 10000000000 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '%*d'|format(1000000000, 1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ 'a'.ljust(10000000000) }}",
    "{{ 'a'|center(10000000000) }}",
    "{{ 'a\nb'|indent(10000000000) }}",
    "{{ (2 ** 100000) ** 100000 }}",
    "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s.replace('a', 'aaaa') %}{% endfor %}",
    "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s|replace('a', 'aaaa') %}{% endfor %}",
    "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}"
    "{% set x %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = x %}{% endfor %}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
    "{% set s = 'a' * 8000000 %}{% for i in range(99999) %}{% set t = s ~ i %}{% endfor %}",
    "{% for i in range(99999) %}{{ 'a' * 100000 }}{% endfor %}",
    "{{ range(1000000000) }}",
    "{{ ('a' * 1000000).translate({97: 'b' * 9000})|length }}",
    "{{ ('\\t' * 1000000).expandtabs(9000)|length }}",
    "{{ ('\\t' * 1000000).expandtabs(tabsize=9000)|length }}",
    "{{ ('a\n' * 900000)|indent(9000)|length }}",
    "{{ ('a\n' * 900000)|indent(width='b' * 9000)|length }}",
    "{{ ('a ' * 900000)|wordwrap(1, wrapstring='b' * 9000)|length }}",
    "{{ range(90000)|join('b' * 90000)|length }}",
    "{{ range(90000)|map('string')|join('b' * 90000)|length }}",
]

NEVER_ENDS = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro f() %}{% for a in range(99999) %}{{ f() }}{% endfor %}{% endmacro %}"
    "{% for b in range(99999) %}{% for a in range(99999) %}{% set x = a %}{% endfor %}{% endfor %}",
]

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ messages.append(1) }}",
    "{{ raise_exception.__globals__ }}",
    "{% include '/etc/passwd' %}",
]


def render(source: str) -> str:
    return render_jinja(source, {"messages": MESSAGES, "bos_token": "<s>", "eos_token": "</s>"})


def test_as_hugging_face_renders() -> None:
    source = """
    {%- for m in messages %}
        {%- if loop.first %}{{ bos_token }}{% endif %}
        {{- m['role'] + ': ' + m.content | trim ~ eos_token }}
    {%- break %}
    {%- endfor %}"""
    assert render(source) == "<s>user: hi <b></s>"


def test_json_is_not_escaped() -> None:
    assert render("{{ messages | tojson }}") == '[{"role": "user", "content": "hi <b>"}]'
    assert render("{{ {'é': 1} | tojson(indent=2) }}") == '{\n  "é": 1\n}'


def test_the_clock_can_be_asked() -> None:
    assert render("{{ strftime_now('%Y') }}") == time.strftime("%Y")


def test_a_template_may_refuse() -> None:
    with pytest.raises(TemplateFailed, match="only one user"):
        render("{{ raise_exception('only one user') }}")


def test_a_broken_template_says_where() -> None:
    with pytest.raises(TemplateFailed, match="line 2"):
        render("\n{% for %}")


@pytest.mark.parametrize("source", ESCAPES)
def test_the_sandbox_holds(source: str) -> None:
    try:
        text = render(source)
    except TemplateFailed:
        return
    assert text == ""


@pytest.mark.parametrize("source", TAKES_TOO_MUCH)
def test_what_would_fill_the_memory_is_refused(source: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TemplateFailed):
        render(source)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000


@pytest.mark.parametrize("source", NEVER_ENDS)
def test_what_never_ends_is_ended(source: str) -> None:
    began_s = time.thread_time()
    with pytest.raises(TemplateFailed):
        render(source)
    assert time.thread_time() - began_s < RENDER_SECONDS + 2
    assert render("fine") == "fine"


def test_go_wins_over_jinja_and_jinja_over_the_plain_one() -> None:
    turns = [Turn("user", "hi")]
    model = ModelTemplate("J{{ messages[0].content }}{{ add_generation_prompt }}")
    assert renderer_for("G{{ .Prompt }}", model)(turns) == "Ghi"
    assert renderer_for(None, model)(turns) == "JhiTrue"
    assert renderer_for(None, ModelTemplate(None))(turns) == "hi"
