"""`corral show MODEL`: all there is to know about a model, or one part of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from corral.store.counts import human_count
from corral.tui.cli.errors import UsageError
from corral.tui.cli.session import Cli
from corral.tui.cli.table import section
from corral.tui.control_chars import visible

if TYPE_CHECKING:
    from corral.runtime.verbs import ModelDetails

_PARTS = ("license", "modelfile", "parameters", "template", "system")
_HEAD_LINES = 2
_LIST_ITEMS = 3


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag a part, and the long form."""
    for part in _PARTS:
        parser.add_argument(f"--{part}", action="store_true", help=f"Show {part} of the model")
    parser.add_argument("-v", "--verbose", action="store_true", help="Show metadata and tensors too")


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Print the model."""
    parts = [part for part in _PARTS if getattr(flags, part)]
    if len(parts) > 1:
        raise UsageError(
            "only one of '--license', '--modelfile', '--parameters', '--system', or '--template' can be specified"
        )
    with cli.session() as session:
        details = session.run(session.client.show(arguments[0], verbose=flags.verbose))
    if parts:
        print(visible(part_of(details, parts[0])))
    else:
        print(describe(details, verbose=flags.verbose), end="")
    return 0


def part_of(details: ModelDetails, part: str) -> str:
    """The text of one part: license, modelfile, parameters, template or system."""
    if part == "parameters":
        return "\n".join(f"{name:<30} {_quoted(name, value)}" for name, value in details.parameters)
    text: str = getattr(details, part)
    return text


def _quoted(name: str, value: str) -> str:
    """Stop texts stand in quotes, so that one of blanks can be seen."""
    return json.dumps(value, ensure_ascii=False) if name == "stop" and not value.startswith('"') else value


def describe(details: ModelDetails, *, verbose: bool = False) -> str:
    """The sections of spec d.2."""
    text = section("Model", _model_rows(details))
    if details.capabilities:
        text += section("Capabilities", [(capability,) for capability in details.capabilities])
    if details.projector_info:
        text += section("Projector", _projector_rows(details.projector_info))
    if details.parameters:
        text += section("Parameters", [(name, _quoted(name, value)) for name, value in details.parameters])
    if verbose:
        rows = [(key, _metadata(value)) for key, value in sorted(details.model_info.items())]
        text += section("Metadata", rows) if rows else ""
        tensors = [(one.name, one.type, "[" + " ".join(map(str, one.shape)) + "]") for one in details.tensors]
        text += section("Tensors", tensors) if tensors else ""
    for title, content in (("System", details.system), ("License", details.license)):
        if content.strip():
            text += section(title, _head(content))
    return text


def _model_rows(details: ModelDetails) -> list[tuple[str, str]]:
    info = details.model_info
    architecture = str(info.get("general.architecture") or details.details.family)
    rows = [("Remote model", details.remote_model), ("Remote URL", details.remote_host)] if details.remote_host else []
    rows += [("architecture", architecture)] if architecture else []
    count = info.get("general.parameter_count")
    size = details.details.parameter_size or (human_count(count) if isinstance(count, int) else "")
    if size:
        rows.append(("parameters", size))
    for label, key, fallback in (
        ("context length", "context_length", details.details.context_length),
        ("embedding length", "embedding_length", details.details.embedding_length),
    ):
        value = info.get(f"{architecture}.{key}") or fallback
        if isinstance(value, (int, float)) and value:
            rows.append((label, f"{value:.0f}"))
    if details.details.quantization_level:
        rows.append(("quantization", details.details.quantization_level))
    if details.requires:
        rows.append(("requires", details.requires))
    return rows


def _projector_rows(info: Mapping[str, object]) -> list[tuple[str, str]]:
    architecture = str(info.get("general.architecture") or "")
    rows = [("architecture", architecture)] if architecture else []
    count = info.get("general.parameter_count")
    if isinstance(count, int):
        rows.append(("parameters", human_count(count)))
    for label, key in (("embedding length", "embedding_length"), ("dimensions", "projection_dim")):
        value = info.get(f"{architecture}.vision.{key}")
        if isinstance(value, (int, float)):
            rows.append((label, f"{value:.0f}"))
    return rows


def _metadata(value: object) -> str:
    if isinstance(value, (list, tuple)):
        shown = ", ".join(_metadata(one) for one in value[:_LIST_ITEMS])
        more = f", ...+{len(value) - _LIST_ITEMS} more" if len(value) > _LIST_ITEMS else ""
        return f"[{shown}{more}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _head(text: str) -> list[tuple[str]]:
    """The first two lines that hold something, then `...` where there are more."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    more = ["..."] if len(lines) > _HEAD_LINES else []
    return [(line,) for line in (*lines[:_HEAD_LINES], *more)]
