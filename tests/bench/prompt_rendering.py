"""How long it takes to write a long chat's prompt, by each of the ways there are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.render import ModelTemplate, renderer_for
from tests.bench.figures import Figure

MESSAGES: Final = 100
GOAL_MS: Final = 5.0
ROUNDS: Final = 15
GO: Final = """{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}{{ if not $last }}<|im_end|>
{{ end }}
{{- end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ end }}
{{- end }}"""
"""As the templates of Ollama's library are written: each message finds out whether it is the last."""


def rendering_figures(store: Path, scratch: Path) -> Iterator[Figure]:
    """Time the Jinja template of Qwen 3, a Go template like those of Ollama's library, and a built-in renderer."""
    jinja = Path(__file__).parents[1] / "unit/runtime/templates/Qwen-Qwen3-0.6B.jinja"
    turns = [Turn("system", "Be kind.")]
    turns += [Turn(("user", "assistant")[i % 2], f"message {i} " + "word " * 60) for i in range(MESSAGES - 1)]
    ways = {
        "Jinja": renderer_for(None, ModelTemplate(jinja.read_text())),
        "Go": renderer_for(GO, ModelTemplate(None)),
        "built-in": renderer_for(None, ModelTemplate(None), renderer="qwen3.5"),
    }
    for name, render in ways.items():
        yield Figure(f"prompt of a {MESSAGES}-message chat, {name}", _times_ms(render, turns), "ms", GOAL_MS)


def _times_ms(render: Callable[[Sequence[Turn]], str], turns: Sequence[Turn]) -> tuple[float, ...]:
    render(turns)  # a template is compiled once for all requests
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        render(turns)
        times.append((time.perf_counter() - began) * 1e3)
    return tuple(times)
