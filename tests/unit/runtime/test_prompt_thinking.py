from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.render import ModelTemplate, renderer_for
from corral.runtime.prompt.thinking import (
    GLIMMER,
    HARMONY,
    KNOWN,
    Tags,
    Think,
    ThinkingStream,
    forget_thinking,
    infer_tags,
)

THINK = Tags("<think>", "</think>")
QWEN3_GO = """{{- $lastUserIdx := -1 -}}
{{- range $idx, $msg := .Messages -}}{{- if eq $msg.Role "user" }}{{ $lastUserIdx = $idx }}{{ end -}}{{- end }}
{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}{{- if and $.IsThinkSet (eq $i $lastUserIdx) }}{{- if $.Think -}}{{- " "}}/think
{{- else -}}{{- " "}}/no_think{{- end -}}{{- end }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if (and $.IsThinkSet (and .Thinking (or $last (gt $i $lastUserIdx)))) -}}
<think>{{ .Thinking }}</think>
{{ end -}}
{{ .Content }}{{- end }}{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ if and $.IsThinkSet (not $.Think) -}}
<think>

</think>

{{ end -}}{{ end }}{{ end }}"""
QWEN3_JINJA = (
    "{%- for m in messages %}{% if '</think>' in m.content %}{{ m.content.split('</think>')[-1] }}{% else %}"
    "{{ m.content }}{% endif %}{% endfor %}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)


def pushed(stream: ThinkingStream, pieces: list[str]) -> tuple[str, str]:
    split = [stream.push(piece) for piece in pieces] + [stream.push("", last=True)]
    assert not any(
        thinking for thinking, _ in split[next((i for i, one in enumerate(split) if one[1]), len(split)) + 1 :]
    )
    return "".join(one for one, _ in split), "".join(one for _, one in split)


def split(text: str, tags: Tags = THINK, *, inside: bool = False) -> tuple[str, str]:
    return pushed(ThinkingStream(tags, inside=inside), [text])


@pytest.mark.parametrize(
    ("template", "tags"),
    [
        (QWEN3_GO, THINK),
        ("{{ range .Messages }}{{ .Role }} [T] {{ $m.Thinking }} [/T] {{ .Content }}{{ end }}", Tags("[T]", "[/T]")),
        ("{{ range .Messages }}{{ .Role }}: <think>\n{{- .Thinking -}}\n</think>\n{{ .Content }}{{ end }}", THINK),
        ("{{ range .Messages }}<|channel|>analysis<|message|>{{ .Thinking }}<|end|>{{ end }}", HARMONY),
        ("{{ range .Messages }}{{ if .Thinking }}{{ .Content }}{{ end }}{{ end }}", None),
        ("{{ range .Messages }}{{ .Role }}{{ .Thinking }}{{ .Content }}{{ end }}", None),
        ("{{ .Prompt }}<think>{{ .Thinking }}</think>", None),
        ("{{ .Prompt }} <think></think>", None),
        ("", None),
        (QWEN3_JINJA, THINK),
        ("{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}", THINK),
        ("{% for m in messages %}{{ m.content }}{% endfor %}</think>", None),
        ("{% for m in messages %}{{ '<|start|>assistant<|channel|>final<|message|>' }}{% endfor %}", HARMONY),
        ("{% for m in messages %}{{ '<|start|>assistant to=self<|message|>' }}{% endfor %}", GLIMMER),
        *(("{% if x %}" + tags.opening + tags.closing + "{% endif %}", tags) for tags in KNOWN),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", None),
    ],
)
def test_tags_are_inferred_from_the_template(template: str, tags: Tags | None) -> None:
    assert infer_tags(template) == tags


@pytest.mark.parametrize(
    ("text", "inside", "thinking", "content"),
    [
        ("<think>\nhm, {\n</think>\n\nyes ", False, "hm, {\n", "yes "),
        (" \n<think>a</think>b<think>c</think>", False, "a", "b<think>c</think>"),
        ("\n yes <think>a</think>", False, "", "\n yes <think>a</think>"),
        ("<thinking>", False, "", "<thinking>"),
        ("<thi", False, "", "<thi"),
        ("  ", False, "", "  "),
        ("<think>", False, "", ""),
        ("<think></think>", False, "", ""),
        ("<think>a </thin", False, "a </thin", ""),
        ("\nhm</think>yes", True, "hm", "yes"),
        ("hm", True, "hm", ""),
        ("<think>hm</think>yes", True, "<think>hm", "yes"),
    ],
)
def test_what_is_thought_and_what_is_said(text: str, inside: bool, thinking: str, content: str) -> None:
    assert split(text, inside=inside) == (thinking, content)


def test_the_channels_of_gpt_oss() -> None:
    thought = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>yes"
    assert split(thought, HARMONY) == ("hm", "yes")
    assert split("<|channel|>final<|message|>yes", HARMONY) == ("", "yes")
    twice = [HARMONY.header, HARMONY.header]
    assert pushed(ThinkingStream(HARMONY), twice) == split("".join(twice), HARMONY) == ("", HARMONY.header)
    assert split("<|channel|>fin", HARMONY) == ("", "<|channel|>fin")
    (cohere,) = (tags for tags in KNOWN if tags.opening == "<|START_THINKING|>")
    assert split("<|START_THINKING|>a<|END_THINKING|>\n<|START_RESPONSE|>b", cohere) == ("a", "b")
    assert split("<|START_THINKING|>a<|END_THINKING|><|START", cohere) == ("a", "<|START")


def test_text_is_let_go_as_soon_as_it_is_sure() -> None:
    stream = ThinkingStream(THINK)
    pieces = ("<th", "ink> ", "a <", "b </t", "h", "</think", ">", " ", "c", " d")
    sure = ["", "", "a ", "<b ", "", "</th", "", "", "c", " d"]
    assert [thinking or content for thinking, content in map(stream.push, pieces)] == sure


words = st.text(alphabet="<>/think |ab\n", max_size=12)
known = st.sampled_from([*KNOWN, HARMONY, GLIMMER, Tags("aab", "aaab", "ab")])


@st.composite
def answers(draw: st.DrawFn) -> tuple[Tags, str]:
    tags = draw(known)
    parts = st.one_of(words, st.sampled_from([tags.opening, tags.closing, tags.header, tags.closing[:-1], " \n"]))
    return tags, "".join(draw(st.lists(parts, max_size=8)))


@given(answers(), st.booleans(), st.data())
def test_how_a_text_is_cut_into_pieces_makes_no_difference(
    answer: tuple[Tags, str], inside: bool, data: st.DataObject
) -> None:
    tags, text = answer
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = ThinkingStream(tags, inside=inside).push(text, last=True)
    assert pushed(ThinkingStream(tags, inside=inside), pieces) == whole
    assert pushed(ThinkingStream(tags, inside=inside), list(text)) == whole


@given(answers(), st.booleans())
def test_only_tags_and_whitespace_beside_them_are_lost(answer: tuple[Tags, str], inside: bool) -> None:
    tags, text = answer
    thinking, content = split(text, tags, inside=inside)
    rest = text
    if thinking or inside:
        assert tags.closing not in thinking
        rest = rest if inside else rest.lstrip().removeprefix(tags.opening)
        rest = rest.lstrip()
        assert rest.startswith(thinking)
        rest = rest[len(thinking) :].removeprefix(tags.closing)
    assert rest.endswith(content)
    lost = rest[: len(rest) - len(content)]
    for tag in (tags.opening, tags.closing, tags.header):
        lost = lost.replace(tag, "", 1)
    assert not lost.strip()


def test_old_thoughts_are_forgotten() -> None:
    turns = [
        Turn("assistant", "<think>a</think>\nb"),
        Turn("user", "<think>c</think>"),
        Turn("user", "d"),
        Turn("assistant", "<think>e</think>f"),
    ]
    kept = forget_thinking(turns, THINK)
    assert [turn.content for turn in kept] == ["b", "<think>c</think>", "d", "<think>e</think>f"]


GO = "{{ range .Messages }}{{ .Content }}<{{ .Thinking }}>{{ end }} {{ .Think }} {{ .ThinkLevel }} {{ .IsThinkSet }}"
JINJA = (
    "{% for m in messages %}{{ m.content }}<{{ m.thinking }}{{ m.reasoning_content }}>{% endfor %} "
    "{{ enable_thinking }} {{ thinking }} {{ reasoning_effort }}"
)


@pytest.mark.parametrize(
    ("think", "go", "jinja"),
    [
        (None, "q<>a<b>z<> false  false", "q<>a<bb>z<>   "),
        (False, "q<>a<b>z<> false  true", "q<>a<bb>z<> False False "),
        (True, "q<>a<b>z<> true  true", "q<>a<bb>z<> True True "),
        ("low", "q<>a<b>z<> true low true", "q<>a<bb>z<> True True low"),
        ("max", "q<>a<b>z<> true max true", "q<>a<bb>z<> True True max"),
    ],
)
def test_templates_are_told(think: Think, go: str, jinja: str) -> None:
    turns = [Turn("user", "q"), Turn("assistant", "a", "b"), Turn("user", "z")]
    assert renderer_for(GO, ModelTemplate(None), think)(turns) == go
    assert renderer_for(None, ModelTemplate(JINJA), think)(turns) == jinja


def test_gpt_oss_knows_no_max() -> None:
    go = "{{ range .Messages }}{{ $.ThinkLevel }}<|channel|><|message|>{{ end }}"
    assert renderer_for(go, ModelTemplate(None), "max")([Turn("user", "q")]).startswith("high")


def test_a_template_closes_what_it_opens_where_nobody_is_to_think() -> None:
    turns = [Turn("user", "q")]
    assert renderer_for(QWEN3_GO, ModelTemplate(None), False)(turns).endswith("assistant\n<think>\n\n</think>\n\n")
    opened = renderer_for(QWEN3_GO, ModelTemplate(None), True)(turns)
    assert opened.endswith("q /think<|im_end|>\n<|im_start|>assistant\n")
