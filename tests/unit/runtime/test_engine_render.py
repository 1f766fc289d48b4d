"""Prompts as the runner writes them, on random models whose vocabularies have marks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.runtime.capabilities import capabilities, renderer_of, vocabulary_infills
from corral.runtime.engine.protocol import ChatPrompt, ToolUse, Turn
from corral.store.gguf import read_header
from corral.store.manifests import ModelConfig
from tests.unit.runtime.runner_process import RunnerProcess
from tests.unit.runtime.tiny_models import write_tiny

INFILL = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
HI = [Turn("user", "the fox")]


@pytest.fixture
def runner() -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        yield child


def rendered(runner: RunnerProcess, prompt: str | ChatPrompt) -> str:
    answer = runner.ask(1, prompt, render_only=True)
    assert answer.rendered is not None, answer.refused
    return answer.rendered.text


def test_a_prompt_is_shown_and_nothing_computed(runner: RunnerProcess, tmp_path: Path) -> None:
    runner.load(write_tiny(tmp_path / "x.gguf", "full", template="{{ tools[0].name }}{{ messages[0].content }}"))
    assert rendered(runner, "as it is") == "as it is"
    assert rendered(runner, ChatPrompt(HI, tools=ToolUse('[{"name": "look"}]'))) == "lookthe fox"
    assert rendered(runner, ChatPrompt(HI, "{{ .Prompt }}!")) == "the fox!"
    assert rendered(runner, ChatPrompt(HI, renderer="chatml")).endswith("<|im_start|>assistant\n")
    assert runner.ask(2, ChatPrompt(HI, renderer="x"), render_only=True).refused is not None
    assert runner.ask(3, "the fox", num_predict=1).finished is not None


def test_a_model_without_a_template_is_known_by_its_marks(runner: RunnerProcess, tmp_path: Path) -> None:
    runner.load(write_tiny(tmp_path / "x.gguf", "full", template="", marks=("<|im_start|>", "<|im_end|>")))
    expected = "<|im_start|>user\nthe fox<|im_end|>\n<|im_start|>assistant\n"
    assert rendered(runner, ChatPrompt(HI)) == expected
    assert rendered(runner, ChatPrompt(HI, "{{ .Prompt }}")) == "the fox"


def test_a_model_without_any_marks_gets_the_text(runner: RunnerProcess, tmp_path: Path) -> None:
    runner.load(write_tiny(tmp_path / "x.gguf", "full", template=""))
    assert rendered(runner, ChatPrompt(HI)) == "the fox"


def test_a_suffix_goes_between_the_vocabularys_marks(runner: RunnerProcess, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "x.gguf", "full", marks=INFILL)
    runner.load(path)
    prompt = ChatPrompt(HI, suffix=" ran")
    assert rendered(runner, prompt) == "<|fim_prefix|>the fox<|fim_suffix|> ran<|fim_middle|>"
    answer = runner.ask(2, prompt, num_predict=1)
    assert answer.finished is not None
    assert vocabulary_infills(path)


def test_a_suffix_without_marks_is_refused(runner: RunnerProcess, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "x.gguf", "full")
    runner.load(path)
    refused = runner.ask(1, ChatPrompt(HI, suffix=" ran")).refused
    assert refused is not None
    assert "insert" in refused.message
    assert not vocabulary_infills(path)


@pytest.mark.parametrize(
    ("template", "renderer", "expected"),
    [
        (None, "", ("completion",)),
        ("{{ .Prompt }}{{ .Suffix }}", "", ("completion", "insert")),
        ("{{ range .Messages }}{{ $.Tools }}{{ end }}", "", ("completion", "tools")),
        ("{{ .Prompt }}", "qwen3.5", ("completion", "tools", "thinking")),
        ("{{ .Prompt }}", "qwen3-coder", ("completion", "tools")),
        ("{{ .Prompt }}", "olmo3-think", ("completion", "thinking")),
        (None, "chatml", ("completion",)),
    ],
)
def test_what_renders_a_models_chats_says_what_it_can(
    tmp_path: Path, template: str | None, renderer: str, expected: tuple[str, ...]
) -> None:
    header = read_header(write_tiny(tmp_path / "x.gguf", "full", template=""))
    assert capabilities(header, template, renderer) == expected


def test_a_jinja_template_that_knows_tools_offers_them(tmp_path: Path) -> None:
    header = read_header(write_tiny(tmp_path / "x.gguf", "full", template="{% if tools %}{% endif %}"))
    assert capabilities(header, None) == ("completion", "tools")
    assert capabilities(header, "{{ .Prompt }}") == ("completion",)


def test_which_renderer_a_model_has(tmp_path: Path) -> None:
    header = read_header(write_tiny(tmp_path / "x.gguf", "full"))
    assert renderer_of(ModelConfig(renderer="gemma4"), header, None) == "gemma4-small"
    assert renderer_of(ModelConfig(renderer="x"), header, "y") == "x"
    harmony = "<|start|>system<|message|>{{ .System }}<|end|>"
    assert renderer_of(ModelConfig(model_family="gptoss"), header, harmony) == "harmony"
    assert renderer_of(ModelConfig(model_family="gptoss"), header, "{{ .Prompt }}") == ""
    assert renderer_of(ModelConfig(model_family="llama"), header, harmony) == ""
