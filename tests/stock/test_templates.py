"""Other people's templates, rendered as their authors' own code renders them.

The templates are those of Ollama's library, each with the one that the same model's file carries; for Go's form Go's
own text/template is the authority, for Jinja's the renderer of Hugging Face's transformers.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any, Final

from corral.runtime.errors import TemplateFailed
from corral.runtime.prompt.chat import render_chat
from corral.runtime.prompt.gotemplate import render_go
from corral.runtime.prompt.parsers.families import family_of
from tests.stock.conversations import BEGUN, CALLS, INFILL, ODD, PLAIN, THINKING, Conversation
from tests.stock.peers import by_go, by_huggingface, needs_go, pairs

BOS: Final = "<BOS>"
EOS: Final = "<EOS>"
OWN: Final = Path(__file__).parents[1] / "unit" / "runtime" / "templates"

GUARDS: Final = {"granite3-guardian:2b", "llama-guard3:1b", "shieldgemma:27b"}
"""They judge one exchange: what else a conversation has is nothing to them."""
WANTS_MORE: Final = {"firefunction-v2:70b"}
"""It asks for `functions` and `datetime`, which nobody hands to chat templates."""

LOSING: Final = {("mistralai-Mistral-Nemo-Instruct-2407", "a call")}
"""It puts the system before the last question, if that is the last message."""

DIFFERENT: Final = {
    **dict.fromkeys(("aya-expanse:8b", "command-r:35b", "command-r-plus:104b"), "Ollama's ends the last turn twice"),
    **dict.fromkeys(("deepseek-v2.5:236b", "deepseek-v3:671b"), "Ollama's begins the text again with every question"),
    "deepseek-coder-v2:16b": "Ollama's has the model's own end, here it is another",
    "deepseek-coder:1.3b": "Ollama's leaves out the mark that ends an answer",
    "deepseek-v3.1:latest": "Ollama's leaves out the mark before old answers",
    "dolphin-llama3:8b": "Ollama's is another form than the file's",
    "dolphin-phi:2.7b": "Ollama's has an empty system before every question",
    "llama-pro:latest": "Ollama's has an empty system before every question",
    "llama2:7b": "Ollama's has an empty system before every question",
    "llava:34b": "Ollama's has an empty system before every question",
    "tinyllama:1.1b": "Ollama's has an empty system before every question",
    "glm4:9b": "Ollama's begins the text again with every question",
    "qwen:0.5b": "Ollama's leaves out the mark that ends an answer",
    "firefunction-v2:70b": "the file's asks for what nobody hands to it",
    "shieldgemma:27b": "the file's judges by the guideline it is given, Ollama's by one of its own",
}
"""Where Ollama's template says another thing than the file's own, and why."""

OTHER_CALLS: Final = {
    "cogito:3b": "Ollama's shows calls between tags, the file's an array",
    "llama3.1:8b": "the file's knows a mark for code besides, which Ollama's doesn't show",
    "nemotron:70b": "the file's knows a mark for code besides, which Ollama's doesn't show",
    "llama4:latest": "Ollama's tells calls by the mark before a role, as its rule for templates is",
}
"""Where Ollama's template shows calls in another form than the file's own, and why."""

IN_SYSTEM: Final = {"glm4:9b", "phi4-mini:3.8b", "phi4-mini-reasoning:3.8b"}
"""They want tools inside of the system message, the first as objects, the others as text."""

_LEFT_OUT: Final = re.compile(rf"\s+|{EOS}|</s>|<\|endoftext\|>|<think>|<thought>")


def rendered_go(template: str, asked: Conversation) -> str:
    try:
        return render_go(template, asked.turns, asked.think, list(asked.tools), asked.suffix)
    except TemplateFailed:
        return ""


def rendered_chat(template: str, asked: Conversation, *, bos: str = BOS) -> str:
    try:
        return render_chat(template, asked.turns, asked.think, list(asked.tools), bos=bos, eos=EOS)
    except TemplateFailed:
        return ""


def shown_where(ours: str, theirs: str) -> str:
    """Return what two texts say where they part."""
    at = next((i for i, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), 0)
    return f"{ours[max(0, at - 40) : at + 60]!r} is not {theirs[max(0, at - 40) : at + 60]!r}"


@needs_go
def test_go_templates_come_out_as_go_makes_them() -> None:
    stock = pairs()
    assert len(stock) == 97
    cases = [*PLAIN, *CALLS, *THINKING, *BEGUN, *ODD]
    table = by_go([pair.go for pair in stock], [case.as_go_reads_it() for case in cases])
    wrong = [
        f"{pair.model}, {case.name}: {shown_where(ours, theirs.text)}"
        for pair, row in zip(stock, table, strict=True)
        for case, theirs in zip(cases, row, strict=True)
        if (ours := rendered_go(pair.go, case)) != theirs.text
    ]
    assert not wrong, "\n".join(wrong)
    failing = {pair.model for pair, row in zip(stock, table, strict=True) if any(one.error for one in row)}
    assert failing == {"llama4:latest"}  # it asks for the tools of a tool


@needs_go
def test_what_stands_between_comes_out_as_go_makes_it() -> None:
    stock = [pair for pair in pairs() if ".Suffix" in pair.go]
    assert len(stock) == 4
    table = by_go([pair.go for pair in stock], [INFILL.as_go_reads_it()])
    assert [rendered_go(pair.go, INFILL) for pair in stock] == [row[0].text for row in table]


def variables(asked: Conversation) -> dict[str, Any]:
    """Return what is told a template besides messages and tools."""
    think = asked.think
    told = {} if think is None else {"enable_thinking": bool(think), "thinking": bool(think)}
    return {"bos_token": BOS, "eos_token": EOS, **told, **({"reasoning_effort": think} if think == "high" else {})}


def test_chat_templates_come_out_as_hugging_face_makes_them() -> None:
    stock = [
        *((pair.model, pair.jinja) for pair in pairs()),
        *((one.stem, one.read_text()) for one in OWN.glob("*.jinja")),
    ]
    cases = [case for case in (*PLAIN, *CALLS, *THINKING, *ODD) if case.name != "nothing but a system"]
    table = by_huggingface(
        [template for _, template in stock],
        [
            {"messages": case.as_openai_has_it(), "tools": list(case.tools) or None, "variables": variables(case)}
            for case in cases
        ],
    )
    wrong, alike, otherwise = [], 0, 0
    for (model, template), row in zip(stock, table, strict=True):
        for case, theirs in zip(cases, row, strict=True):
            if model in IN_SYSTEM and case.tools:
                continue
            ours = rendered_chat(template, case)
            if case.words and not theirs.error and all(word in theirs.text for word in case.words):
                alike += 1
                if ours != theirs.text:
                    wrong.append(f"{model}, {case.name}: {shown_where(ours, theirs.text)}")
            elif model not in GUARDS | WANTS_MORE and (model, case.name) not in LOSING:
                # What a template refuses or loses is said otherwise, so that the model is told all the same.
                otherwise += 1
                lost = [word for word in case.words if word not in ours]
                if lost or not ours:
                    wrong.append(f"{model}, {case.name}: {lost} is lost")
    assert not wrong, "\n".join(wrong)
    assert alike > 1500
    assert otherwise > 300


def test_tools_stand_in_the_system_where_the_authors_put_them() -> None:
    stock = {pair.model: pair.jinja for pair in pairs() if pair.model in IN_SYSTEM}
    assert stock.keys() == IN_SYSTEM
    cases = [case for case in CALLS if case.name.startswith("tools")]
    assert len(cases) == 2
    asked = []
    for as_text, case in itertools.product((False, True), cases):
        tools = json.dumps([one["function"] for one in case.tools], ensure_ascii=False)
        alone = {"role": "system", "content": "You are a helpful assistant with some tools." if as_text else ""}
        system, *said = [alone, *case.as_openai_has_it()][-2:]
        told = {**system, "tools": tools if as_text else list(case.tools)}
        asked.append({"messages": [told, *said], "tools": None, "variables": variables(case)})
    for (model, template), row in zip(stock.items(), by_huggingface(list(stock.values()), asked), strict=True):
        theirs = row[2:] if model.startswith("phi4") else row[:2]
        assert [rendered_chat(template, case) for case in cases] == [one.text for one in theirs]
        for case, one in zip(cases, theirs, strict=True):
            assert case.tools[0]["function"]["name"] in one.text


def test_a_model_s_own_template_says_what_ollama_s_does() -> None:
    """Blanks aside, marks at the end of an answer, and what comes before the first question."""

    def compared(text: str) -> str:
        return _LEFT_OUT.sub("", text[text.find("Hello") :])

    different = {
        pair.model
        for pair in pairs()
        for case in (PLAIN[1], PLAIN[3])
        if compared(rendered_go(pair.go, case)) != compared(rendered_chat(pair.jinja, case, bos=""))
    }
    assert different == set(DIFFERENT)


def test_both_templates_show_one_family() -> None:
    """Where both show how a model calls, or thinks, its answers are read the same by either."""
    both = [(pair.model, family_of("", pair.go), family_of("", pair.jinja)) for pair in pairs()]
    assert not [model for model, one, other in both if one.tags and other.tags and one.tags != other.tags]
    calling = {model for model, one, other in both if one.form and other.form}
    unlike = {model for model, one, other in both if model in calling and one.form is not other.form}
    assert unlike == set(OTHER_CALLS)
    assert len(calling) > 20
