"""Answers that may call tools: free until a call begins, and from there on bound to what may be called."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from corral.runtime.engine.call_grammar import call_grammar
from corral.runtime.engine.grammar import Grammars
from corral.runtime.engine.lazy_calls import LazyCalls
from corral.runtime.engine.llama import Model
from corral.runtime.engine.protocol import Grammar, Loaded, Sampling, Turn
from corral.runtime.prompt.parsers.families import BARE, PARSERS, Family
from corral.runtime.prompt.parsers.trigger import CallTrigger
from tests.unit.runtime.runner_process import Answer, RunnerProcess
from tests.unit.runtime.test_engine_call_grammar import OFFERED, SHORT, WRITTEN, grammars, model, tokens
from tests.unit.runtime.test_engine_calls import HI, IDS, folder, runner, use

__all__ = ["folder", "grammars", "model", "runner"]  # fixtures
pytestmark = pytest.mark.filterwarnings("ignore:llama_token_get_attr:DeprecationWarning")  # llguidance's own use


def lazy(
    model: Model, grammars: Grammars, family: Family, *, parallel: bool = False, thinks: bool = False
) -> LazyCalls:
    calls = call_grammar(model, family, OFFERED, parallel=parallel, inside=False, begun=True)
    assert calls is not None
    trigger = CallTrigger(family, thinks=thinks, inside=False)
    return LazyCalls(trigger, grammars.compile_lazily(calls), model.piece, grammars.tokens)


def said(model: Model, bound: LazyCalls, text: str) -> str | None:
    """Take a text that is no end; return which single bytes may come next, None where anything may."""
    for token in tokens(text):
        assert not bound.take(token)
    logits = np.zeros(model.num_vocab, np.float32)
    bound.apply(logits)
    if np.isfinite(logits).all():
        return None
    return "".join(chr(at) for at in range(128) if np.isfinite(logits[3 + at]))


@pytest.mark.parametrize("name", WRITTEN)
def test_only_calls_that_fit_follow_where_one_begins(model: Model, grammars: Grammars, name: str) -> None:
    family, text = PARSERS[name], WRITTEN[name]
    bound = lazy(model, grammars, family)
    assert said(model, bound, "Let me {see} <what> [is] there. ") is None
    name_at = text.rindex("note")
    assert said(model, bound, text[:name_at]) == "nt"
    *before, last = tokens(text[name_at:])
    assert not any(bound.take(token) for token in before)
    if not bound.take(last):
        assert said(model, bound, "") == ""  # the end alone


def test_an_argument_fits_its_schema(model: Model, grammars: Grammars) -> None:
    bound = lazy(model, grammars, PARSERS["qwen3"])
    assert said(model, bound, '<tool_call>\n{"name": "note", "arguments": {"stars": ') == "\t\n\r -012345"


def test_more_calls_may_follow_where_they_may(model: Model, grammars: Grammars) -> None:
    for parallel, follows in ((True, "\n"), (False, "")):
        bound = lazy(model, grammars, PARSERS["qwen3"], parallel=parallel)
        *before, last = tokens(SHORT["qwen3"])
        assert not any(bound.take(token) for token in before)
        assert bound.take(last) is not parallel
        assert said(model, bound, "") == follows


@pytest.mark.parametrize("text", ['{"name": "', '\n{"name":"', '{ "name" : "'])
def test_calls_without_a_mark_begin_the_answer(model: Model, grammars: Grammars, text: str) -> None:
    assert said(model, lazy(model, grammars, Family(None, BARE)), text) == "nt"
    assert said(model, lazy(model, grammars, Family(None, BARE)), f"I see: {text}") is None


@pytest.mark.parametrize("parallel", [False, True])
def test_a_list_of_calls_without_a_mark(model: Model, grammars: Grammars, parallel: bool) -> None:
    call = '{"name": "note", "parameters": {"stars": 4}}'
    bound = lazy(model, grammars, Family(None, BARE), parallel=parallel)
    assert said(model, bound, '[ {"name": "') == "nt"
    assert said(model, bound, call.removeprefix('{"name": "')) == (",]" if parallel else "]")
    if parallel:
        assert said(model, bound, ', {"name": "') == "nt"
        assert said(model, bound, 'note", "parameters": {"stars": ') == "\t\n\r -012345"
    else:
        (last,) = tokens("]")
        assert bound.take(last)


@pytest.mark.parametrize("text", ['{"answer": 4, "name": "x', "[1, 2", '{"name', "{"])
def test_an_answer_in_json_is_no_call(model: Model, grammars: Grammars, text: str) -> None:
    assert said(model, lazy(model, grammars, Family(None, BARE)), text) is None


def test_a_family_that_calls_nothing_is_not_watched() -> None:
    assert CallTrigger(Family(), thinks=False, inside=False).off
    assert CallTrigger(PARSERS["passthrough"], thinks=False, inside=False).off


def test_a_mark_in_thoughts_is_none(model: Model, grammars: Grammars) -> None:
    bound = lazy(model, grammars, PARSERS["qwen3-thinking"], thinks=True)
    assert said(model, bound, "<think>a <tool_call>\n") is None
    assert said(model, bound, "so</think>\n\nok <tool_call>") is not None
    assert said(model, bound, '\n{"name": "') == "nt"


def test_what_begins_as_no_call_may_stays_free() -> None:
    trigger = CallTrigger(PARSERS["qwen3"], thinks=False, inside=False)
    assert trigger.push("<tool_call><function=note>") is None
    assert trigger.off


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("<tool_call>", "<tool_call>"),
        ("<tool_call>\n", "<tool_call>\n"),
        ("<tool_call>{", "<tool_call>\n{"),
        ('<tool_call>\n\n { "name":"', '<tool_call>\n{"name": "'),
        ('so <tool_call> {"name": "no te', '<tool_call>\n{"name": "no te'),
    ],
)
def test_blanks_are_the_family_s(said: str, written: str) -> None:
    assert CallTrigger(PARSERS["qwen3"], thinks=False, inside=False).push(said) == written
    pieces = CallTrigger(PARSERS["qwen3"], thinks=False, inside=False)
    assert [pieces.push(one) for one in ("a <tool", "_ca")] == [None, None]
    assert pieces.push("ll>") == "<tool_call>"


FORCED = ("qwen3", "qwen3-coder", "glm-4.7", "deepseek3")
STARTER_TAG = (44, 19324, 79, 4350, 46)
"""The real model's tokens for `<tool_call>`."""
OPENING = {"deepseek3": "<｜tool▁calls▁begin｜>"}


def beginning(token: int, seed: int) -> Sampling:
    """Warm drawing that says this token first, and not again where it need not."""
    once = [(str(token), 1e6)]
    return Sampling(seed=seed, temperature=1.0, logit_bias=once, presence_penalty=2e6, repeat_last_n=-1)


def fitting(answer: Answer) -> bool:
    assert answer.refused is None, answer.refused
    assert answer.finished is not None
    assert (answer.text, answer.finished.reason, answer.finished.warnings) == ("", "stop", [])
    ((function, arguments),) = [(call.name, json.loads(call.arguments)) for call in answer.calls]
    named = function == "weather" and arguments["city"] in ("Oslo", "Rome") and arguments["days"] in range(1, 10)
    return named or (function, arguments) == ("time", {})


@pytest.mark.parametrize("name", FORCED)
@pytest.mark.parametrize("draft", [-1, 3])
def test_a_call_once_begun_fits(runner: RunnerProcess, name: str, draft: int) -> None:
    """Also where what comes next is guessed."""
    for seed in range(4):
        sampling = beginning(IDS[OPENING.get(name, "<tool_call>")], seed)
        asked: dict[str, object] = {
            "parser": name,
            "sampling": sampling,
            "num_predict": 400,
            "draft_num_predict": draft,
        }
        assert fitting(runner.ask(seed, HI, tools=use("auto", ""), **asked))


def test_thoughts_and_a_form_go_on_as_before(runner: RunnerProcess) -> None:
    order = [(str(token), 1e6 - 1e5 * at) for at, token in enumerate([IDS["<think>"], 259, IDS["</think>"]])]
    order.append((str(IDS["<tool_call>"]), 1e5))
    thought = Sampling(temperature=0, logit_bias=order, presence_penalty=2e6, repeat_last_n=-1)
    auto = use("auto", "")
    answer = runner.ask(40, HI, tools=auto, parser="qwen3-thinking", think=True, sampling=thought, num_predict=400)
    assert answer.thinking == "the"
    assert fitting(answer)
    form = Grammar("json_schema", '{"enum": ["fox"]}')
    bound = runner.ask(41, HI, tools=auto, parser="qwen3", grammar=form, num_predict=60)
    assert bound.text == '"fox"'


def test_tools_that_no_grammar_can_be_made_of_are_still_offered(runner: RunnerProcess) -> None:
    bad = [{"function": {"name": "f", "parameters": {"properties": {"a": {"pattern": "("}}, "required": ["a"]}}}]
    answer = runner.ask(50, HI, tools=use("auto", "", tools=bad), parser="qwen3")
    assert answer.refused is None
    assert answer.finished is not None
    assert answer.started is not None
    (told,) = [one for one in answer.started.warnings if "parameters" in one]
    assert told.startswith("the model's calls are not held to their tools' parameters: ")
    assert len(told) > len("the model's calls are not held to their tools' parameters: ")


@pytest.mark.model
def test_a_real_model_s_calls(starter_gguf: Path) -> None:
    turns = [Turn("user", "How is the weather in Rome for two days? Call weather.")]
    with RunnerProcess() as child:
        assert isinstance(child.load(starter_gguf, num_ctx=2048, num_cells=4096), Loaded)
        free = child.ask(1, turns, parser="qwen3", num_predict=40)
        offered = child.ask(2, turns, parser="qwen3", tools=use("auto", ""), num_predict=40)
        assert (free.text, free.calls) == (offered.text, offered.calls)
        for seed in range(3):
            order = [(str(token), 1e6 - 1e5 * at) for at, token in enumerate(STARTER_TAG)]
            warm = Sampling(seed=seed, temperature=1.0, logit_bias=order, presence_penalty=2e6, repeat_last_n=8)
            asked: dict[str, object] = {
                "tools": use("auto", ""),
                "parser": "qwen3",
                "sampling": warm,
                "num_predict": 300,
            }
            assert fitting(child.ask(10 + seed, turns, **asked))
