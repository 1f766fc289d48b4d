"""What a Jinja template does not understand is said otherwise."""

from __future__ import annotations

import json
import time

import pytest

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.errors import TemplateFailed
from corral.runtime.prompt.jinja import RENDER_SECONDS
from corral.runtime.prompt.render import ModelTemplate, renderer_for

USER = Turn("user", "hi")
CALL = ToolCall("look", '{"at": "<b>"}')
CALLED = [USER, Turn("assistant", "", tool_calls=[CALL]), Turn("tool", "seen")]
EACH = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"


def render(source: str, *turns: Turn, think: bool | None = None, functions: str = "") -> str:
    return renderer_for(None, ModelTemplate(source), think, functions=functions)(turns)


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{% if m.role == 'user' %}[user] {{ m.content }}{% endif %}{% endfor %}",
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + EACH,
    ],
)
def test_a_system_that_is_not_known_speaks_through_the_user(source: str) -> None:
    assert render(source, Turn("system", "be kind"), USER) == "[user] be kind\n\nhi"


def test_a_system_that_is_known_stays() -> None:
    assert render(EACH, Turn("system", "be kind"), USER) == "[system] be kind[user] hi"


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages if m.role == 'system' %}{% if loop.last %}[system] {{ m.content }}{% endif %}{% endfor %}"
        "{% for m in messages if m.role != 'system' %}[{{ m.role }}] {{ m.content }}{% endfor %}",
        "{% for m in messages[1:] if m.role == 'system' %}{{ raise_exception('no') }}{% endfor %}" + EACH,
    ],
)
def test_several_systems_are_one_where_only_one_is_known(source: str) -> None:
    turns = [Turn("system", "be kind"), USER, Turn("assistant", "yo"), Turn("system", "be brief"), USER]
    assert render(source, *turns) == "[system] be kind\n\nbe brief[user] hi[assistant] yo[user] hi"
    assert render(EACH, *turns) == "[system] be kind[user] hi[assistant] yo[system] be brief[user] hi"


ALTERNATING = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% endfor %}" + EACH
)


def test_the_user_begins_where_it_must() -> None:
    assert render(ALTERNATING, Turn("assistant", "yo"), USER) == "[user] [assistant] yo[user] hi"


def test_a_template_s_own_refusal_is_told() -> None:
    source = "{% if messages | length > 1 %}{{ raise_exception('one at a time') }}{% endif %}{{ messages[0].content }}"
    with pytest.raises(TemplateFailed, match="one at a time"):
        render(source, USER, Turn("assistant", "yo"), USER)


def test_calls_follow_each_other_where_only_one_at_once_is_known() -> None:
    source = (
        "{% for m in messages %}{% if m.tool_calls %}{% if m.tool_calls | length != 1 %}"
        "{{ raise_exception('only single tool-calls at once') }}{% endif %}{% set call = m.tool_calls[0].function %}"
        "<{{ m.content }}{{ call.name }} {{ call.arguments | tojson }}>"
        "{% else %}[{{ m.role }}] {{ m.content }}{% endif %}"
        "{% endfor %}"
    )
    twice = Turn("assistant", "so ", tool_calls=[CALL, ToolCall("hear", '{"what": 1}')])
    results = (Turn("tool", "heard", tool_name="hear"), Turn("tool", "seen", tool_name="look"))
    said = '[user] hi<so look {"at": "<b>"}>[tool] seen<hear {"what": 1}>[tool] heard'
    assert render(source, USER, twice, *results) == said


def test_turns_are_joined_where_they_must_alternate() -> None:
    assert render(ALTERNATING, USER, Turn("user", "there")) == "[user] hi\n\nthere"


def test_parts_for_those_who_want_them() -> None:
    source = "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}"
    assert render(source, USER) == "hi"


CALLS = "{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.name }}{{ ARGS }}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("how", "shown"),
    [
        ("c.function.arguments | tojson", '{"at": "<b>"}'),
        ("c.function.arguments", '{"at": "<b>"}'),
        ("c['function']['arguments'] + '!'", '{"at": "<b>"}!'),
        ("c.function.arguments.items() | list", "[('at', '<b>')]"),
    ],
)
def test_arguments_as_an_object_or_as_text(how: str, shown: str) -> None:
    assert render(CALLS.replace("ARGS", how), *CALLED) == "look" + shown


def test_calls_for_those_who_want_no_content_with_them() -> None:
    source = "{% for m in messages %}{% if m.content is none %}{{ m.tool_calls | tojson }}{% endif %}{% endfor %}"
    assert '"arguments": {"at": "<b>"}' in render(source, *CALLED)


def test_calls_and_results_that_are_not_known_are_spelled_out() -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'user' %}U{{ m.content }}"
        "{% elif m.role == 'assistant' %}A{{ m.content }}{% endif %}{% endfor %}"
    )
    said = render(source, *CALLED)
    call, _, result = said.removeprefix("UhiA").partition("U")
    assert json.loads(call) == {"tool_calls": [{"name": "look", "arguments": {"at": "<b>"}, "id": "call00000"}]}
    told = {"tool": "look", "content": "seen", "tool_call_id": "call00000"}
    assert json.loads(result) == {"tool_response": told}


IDS = "{% for m in messages %}{% for c in m.tool_calls %}<{{ c.id }}>{{ c.function | tojson }}{% endfor %}"
IDS += "{% if m.role == 'tool' %}[{{ m.tool_call_id }} {{ m.name }}]{{ m.content }}{% endif %}{% endfor %}"


def test_results_find_their_calls() -> None:
    calls = [ToolCall("a", "{}"), ToolCall("b", "{}"), ToolCall("b", "{}")]
    turns = [USER, Turn("assistant", "", tool_calls=calls)]
    turns += [Turn("tool", "1", tool_name="b"), Turn("tool", "2"), Turn("tool", "3", tool_name="b")]
    text = render(IDS, *turns)
    assert "[call00001 b]1[call00000 a]2[call00002 b]3" in text


def test_ids_of_the_length_mistral_wants() -> None:
    call = ToolCall("a", "{}", "call_Ab12cd34")
    turns = [USER, Turn("assistant", "", tool_calls=[call]), Turn("tool", "1", tool_call_id="call_Ab12cd34")]
    text = render(IDS + "{# strings with length 9 #}", *turns)
    assert "<lAb12cd34>" in text
    assert "[lAb12cd34 a]1" in text


def test_a_begun_answer_goes_behind_the_place_for_answers() -> None:
    source = EACH + "{% if add_generation_prompt %}<a>{% endif %}"
    assert render(source, USER, Turn("assistant", "I thi")) == "[user] hi<a>I thi"
    assert render(source, USER, Turn("assistant", "")) == "[user] hi<a>"
    thinks = EACH + "<a><think>\n{# </think> #}"
    begun = Turn("assistant", "so", "why")
    assert render(thinks, USER, begun) == "[user] hi<a><think>\nwhy\n</think>\n\nso"
    assert render(thinks, USER, Turn("assistant", "", "why")) == "[user] hi<a><think>\nwhy"


def test_templates_that_run_through_tools_without_asking_have_none() -> None:
    assert render("{% for t in tools %}{{ t }}{% endfor %}" + EACH, USER) == "[user] hi"


def test_a_template_that_takes_too_long_is_tried_once() -> None:
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    began_s = time.thread_time()
    with pytest.raises(TemplateFailed, match="longer than"):
        render(loops, Turn("system", "be kind"), *CALLED)
    assert time.thread_time() - began_s < 2 * RENDER_SECONDS


def test_what_training_marks_is_passed_through() -> None:
    assert render("{% generation %}" + EACH + "{% endgeneration %}", USER) == "[user] hi"


def test_tools_that_are_no_list_are_refused() -> None:
    with pytest.raises(TemplateFailed, match="tools"):
        render(EACH, USER, functions='{"a": 1}')
