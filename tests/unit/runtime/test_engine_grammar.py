"""Answers bound to a form, on the real model: every one that ends by itself is what was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.runtime.engine.protocol import Grammar, Loaded, Ping, Pong, Sampling, Turn
from corral.runtime.formats import grammar_for
from tests.unit.runtime.json_schemas import FIFTY, complaint, table, text
from tests.unit.runtime.runner_process import Answer, RunnerProcess

pytestmark = pytest.mark.model
ASK = [Turn("user", "Invent something and describe it as JSON.")]


@pytest.fixture(scope="module")
def runner(starter_gguf: Path) -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        assert isinstance(child.load(starter_gguf, num_ctx=1024, num_cells=8192, num_sequences=8), Loaded)
        yield child


def bound(schema: object) -> Grammar:
    grammar = grammar_for(schema, {}, "", "")
    assert grammar is not None
    return grammar


def lark(text: str) -> Grammar:
    return Grammar("grammar", text)


def reason(answer: Answer) -> str:
    assert answer.refused is None, answer.refused
    assert answer.finished is not None
    return answer.finished.reason


def test_fifty_schemas_side_by_side_give_what_they_say(runner: RunnerProcess) -> None:
    answers = [
        (
            schema,
            runner.submit(
                1000 + 100 * seed + number,
                ASK,
                grammar=bound(schema),
                num_predict=160,
                num_ctx=1024,
                sampling=Sampling(seed=seed, temperature=1.0),
            ),
        )
        for seed in (1, 2)
        for number, schema in enumerate(FIFTY)
    ]
    runner.read_until(lambda: all(answer.is_over for _schema, answer in answers))
    ended = 0
    for schema, answer in answers:
        if reason(answer) == "stop":
            ended += 1
            assert complaint(schema, json.loads(answer.text)) == "", (schema, answer.text)
    assert ended > 90


def test_bound_and_free_streams_share_a_batch(runner: RunnerProcess) -> None:
    count = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,"  # what comes next is no close call that rounding could turn
    alone = runner.ask(1, count, num_predict=24).text
    bounds = [bound(table(name=text(300, minLength=300))), bound(table(size=text(9))), Grammar("regex", "[a-f]{40}")]
    free = [runner.submit(2 + i, count, num_predict=24) for i in range(2)]
    tied = [runner.submit(5 + i, ASK, num_predict=40, grammar=grammar) for i, grammar in enumerate(bounds)]
    runner.read_until(lambda: all(answer.is_over for answer in [*free, *tied]))
    assert [answer.text for answer in free] == [alone, alone]
    assert tied[0].text.startswith("{")
    assert set(json.loads(tied[1].text)) == {"size"}
    assert re.fullmatch("[a-f]{1,40}", tied[2].text)


def test_json_is_an_object_and_a_limit_may_cut_it(runner: RunnerProcess) -> None:
    answer = runner.ask(10, ASK, grammar=bound("json"), num_predict=6)
    assert reason(answer) == "length"
    assert answer.text.startswith("{")
    # A form that is complete ends the answer at once, without another token.
    assert runner.ask(11, ASK, grammar=lark('start: "yes"'), num_predict=1).text == "yes"


def test_regular_expressions_and_both_kinds_of_grammar(runner: RunnerProcess) -> None:
    date = runner.ask(20, ASK, grammar=Grammar("regex", r"\d{4}-\d{2}-\d{2}"))
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", date.text)
    assert runner.ask(21, ASK, grammar=lark('start: "red" | "blue"')).text in ("red", "blue")
    gbnf = 'root ::= colour "-" [0-9]{3}\ncolour ::= "red" | "blue"'
    assert re.fullmatch(r"(red|blue)-[0-9]{3}", runner.ask(22, ASK, grammar=lark(gbnf)).text)


def test_a_form_that_the_answer_has_anyway_changes_nothing(runner: RunnerProcess) -> None:
    count = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,"
    free = runner.ask(25, count, num_predict=24)
    assert re.fullmatch("[0-9, ]+", free.text)
    assert runner.ask(26, count, num_predict=24, grammar=Grammar("regex", "[0-9, ]+")).text == free.text
    banned = Grammar("regex", "[0-8, ]+")  # the first tokens are as before, then all that was ruled out is worked out
    bound_text = runner.ask(27, count, num_predict=48, grammar=banned).text
    assert "9" not in bound_text
    assert bound_text.startswith(free.text[:9])


def test_what_cannot_be_enforced_is_told(runner: RunnerProcess) -> None:
    answer = runner.ask(30, ASK, grammar=bound({"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True}))
    assert answer.started is not None
    assert answer.started.warnings == ['format: Unimplemented keys: ["uniqueItems"]']


@pytest.mark.parametrize(
    "options",
    [
        {"typical_p": 0.5},
        {"min_p": 0.3, "top_p": 0.5, "top_k": 3},
        {"repeat_penalty": 1.5, "presence_penalty": 2.0, "repeat_last_n": -1},
        {"temperature": 0},
        {"mirostat": 1},
        {"mirostat": 2},
        {"top_n_sigma": 1.0, "xtc_probability": 1.0, "dynatemp_range": 0.5},
        {"dry_multiplier": 5.0, "logit_bias": [("a", 1000.0), ("x", 1000.0)]},
        {"temperature": 3.0, "top_k": 0, "top_p": 1.0},
    ],
)
def test_every_way_of_drawing_keeps_to_the_form(runner: RunnerProcess, options: dict[str, float]) -> None:
    grammar = lark(r"start: /[a-c]{8}-(ja|nein)/")
    settings = {"seed": 3, **options}
    answer = runner.ask(40, ASK, grammar=grammar, sampling=Sampling(**settings))  # type: ignore[arg-type]
    assert re.fullmatch("[a-c]{8}-(ja|nein)", answer.text)


BROKEN = {
    "a type there is none of": bound({"type": "nope"}),
    "an unknown reference": bound({"$ref": "#/$defs/a"}),
    "a reference elsewhere": bound({"$ref": "http://localhost:1/schema"}),
    "a reference to itself": bound(
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    ),
    "no number fits": bound({"type": "integer", "minimum": 5, "maximum": 3}),
    "looking around": bound({"type": "string", "pattern": "(?=a)b"}),
    "half a character": bound({"const": "\ud800"}),
    "alternatives by the million": bound(
        {"allOf": [{"anyOf": [{"properties": {f"p{i}{j}": {"type": "string"}}} for j in range(4)]} for i in range(10)]}
    ),
    "no grammar": lark("this is none"),
    "an empty rule": lark("start: start"),
    "an unknown rule": lark("start: nobody"),
    "an open bracket": lark("start: ("),
    "deep brackets": lark("start: " + "(" * 250 + '"a"' + ")" * 250),
    "GBNF with an open bracket": lark('root ::= ( "a"'),
    "GBNF without a rule": lark("root ::= nobody"),
    "GBNF that ends in a backslash": lark('root ::= "a\\'),
    "deep GBNF": lark("root ::= " + "(" * 250 + '"a"' + ")" * 250 + " nobody"),
    "doubling": lark("start: T0\n" + "\n".join(f"T{i}: T{i + 1} T{i + 1}" for i in range(60)) + '\nT60: "a"'),
    "doubling rules": lark("start: t0\n" + "\n".join(f"t{i}: t{i + 1} t{i + 1}" for i in range(60)) + '\nt60: "a"'),
    "no expression": Grammar("regex", "("),
    "looking ahead": Grammar("regex", "(?=a)b"),
    "stars": Grammar("regex", "a*" * 1000),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_be_compiled_is_refused_in_one_line(runner: RunnerProcess, what: str) -> None:
    before_s = runner.computed_s()
    answer = runner.ask(50, ASK, grammar=BROKEN[what])
    took_s = runner.computed_s() - before_s
    assert answer.refused is not None, answer
    assert answer.refused.kind == "bad_request"
    assert re.match(
        r"(invalid (JSON schema in format|grammar|regex)|the answer's format failed): \S", answer.refused.message
    )
    assert "\n" not in answer.refused.message
    assert len(answer.refused.message) < 400
    assert not answer.text
    assert took_s < 3


LONG = {
    "chained terminals": lark(
        "start: T0\n" + "\n".join(f'T{i}: ("a" | T{i + 1} "b")*' for i in range(598)) + '\nT598: "a"'
    ),
    "chained rules": lark("start: t0\n" + "\n".join(f't{i}: "a" t{i + 1} | "b"' for i in range(598)) + '\nt598: "a"'),
    "chained references": bound(
        {"$ref": "#/$defs/d0", "$defs": {f"d{i}": {"$ref": f"#/$defs/d{min(i + 1, 999)}x"} for i in range(999)}}
    ),
    "many properties": bound({"type": "object", "properties": {f"p{i}": text() for i in range(600)}}),
    "many values": bound({"enum": [f"value {i}" for i in range(2000)]}),
    "repetitions of repetitions": Grammar("regex", "((a{1,1000}){1,1000}){1,1000}"),
    "a costly tail": Grammar("regex", "(a|b)*a(a|b){2000}"),
    "much at once": lark("start: T\nT: /(.*a.{20}){20}/ & ~/(.*b.{30}){30}/"),
    "large lists": bound({"type": "array", "items": text(10_000), "maxItems": 10_000_000}),
    "ambiguous": lark('start: s\ns: s s | s s s | "a" | "b" | /[a-z]*/'),
}


@pytest.mark.parametrize("what", LONG)
def test_heavy_forms_are_kept_to_or_refused_and_hold_nobody_up(runner: RunnerProcess, what: str) -> None:
    answer = runner.ask(60, ASK, grammar=LONG[what], num_predict=12, sampling=Sampling(seed=1, temperature=2.0))
    assert answer.is_over
    runner.send(Ping(7))
    runner.read_until(lambda: any(isinstance(one, Pong) and one.nonce == 7 for one in runner.others))
