"""The tokens with a role (begin, end, padding), whether they are added by themselves, and the chat template."""

from __future__ import annotations

from collections.abc import Iterator

import gguf

from corral.store.convert.checkpoint import Checkpoint, Config
from corral.store.convert.vocabulary import Vocabulary

_ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding", "mask": "mask"}
_MOST_ENDS = 64


def add_specials(writer: gguf.GGUFWriter, checkpoint: Checkpoint, vocabulary: Vocabulary) -> None:
    """Write the numbers of special tokens, all tokens that end an answer, and the template.

    Raises:
        ConversionError: a file says what cannot be.
    """
    settings = checkpoint.json("tokenizer_config.json") or Config({}, "tokenizer_config.json")
    found = _roles(checkpoint, settings, vocabulary)
    ends = [number for number in _ends(checkpoint) if number < len(vocabulary.tokens)]
    if ends and "eos" not in found:
        found["eos"] = ends[0]
    for role, number in found.items():
        writer.add_uint32(f"tokenizer.ggml.{_ROLES[role]}_token_id", number)
    _add_more_ends(writer, [number for number in ends if number != found.get("eos")], found)
    begins, finishes = _added_by_itself(checkpoint, settings, vocabulary)
    if begins is not None:
        writer.add_add_bos_token(begins)
    if finishes is not None:
        writer.add_add_eos_token(finishes)
    _add_template(writer, checkpoint, settings)


def _roles(checkpoint: Checkpoint, settings: Config, vocabulary: Vocabulary) -> dict[str, int]:
    """The number of each special token: by its text, else as the config has it."""
    map_file = checkpoint.json("special_tokens_map.json") or Config({}, "")
    found: dict[str, int] = {}
    for role in _ROLES:
        text = _text_of(settings, f"{role}_token") or _text_of(map_file, f"{role}_token")
        if not text and role == "bos" and vocabulary.model == "bert":
            text = _text_of(settings, "cls_token") or _text_of(map_file, "cls_token") or "[CLS]"
        number = vocabulary.numbers.get(text) if text else None
        if number is None and isinstance(value := checkpoint.config.values.get(f"{role}_token_id"), int):
            number = value if not isinstance(value, bool) and 0 <= value < len(vocabulary.tokens) else None
        if number is not None:
            found[role] = number
    return found


def _text_of(settings: Config, key: str) -> str:
    return settings.text(key) or settings.section(key).text("content")


def _ends(checkpoint: Checkpoint) -> Iterator[int]:
    """All tokens that `generation_config.json`, else the config, ends an answer at."""
    generation = checkpoint.json("generation_config.json")
    for config in (generation, checkpoint.config):
        value = config.values.get("eos_token_id") if config is not None else None
        numbers = value if isinstance(value, list) else [value]
        good = [one for one in numbers[:_MOST_ENDS] if isinstance(one, int) and not isinstance(one, bool) and one >= 0]
        if good:
            yield from dict.fromkeys(good)
            return


def _add_more_ends(writer: gguf.GGUFWriter, others: list[int], found: dict[str, int]) -> None:
    # llama.cpp has places for an end of turn and an end of message; the list is Ollama's key.
    if others:
        writer.add_eot_token_id(others[0])
        all_ends = [found["eos"], *others] if "eos" in found else others
        writer.add_array("tokenizer.ggml.eos_token_ids", all_ends)
    if len(others) > 1:
        writer.add_eom_token_id(others[1])


def _added_by_itself(
    checkpoint: Checkpoint, settings: Config, vocabulary: Vocabulary
) -> tuple[bool | None, bool | None]:
    """Whether begin and end are put around every text; None where nothing says so."""
    if vocabulary.model == "bert":
        return None, None  # llama.cpp puts both around WordPiece texts
    begins, finishes = _template_ends(checkpoint)
    if isinstance(value := settings.values.get("add_bos_token"), bool):
        begins = value
    if isinstance(value := settings.values.get("add_eos_token"), bool):
        finishes = value
    return begins, finishes


def _template_ends(checkpoint: Checkpoint) -> tuple[bool | None, bool | None]:
    """What the post-processor of `tokenizer.json` puts first and last."""
    tokenizer = checkpoint.json("tokenizer.json")
    if tokenizer is None:
        return None, None
    outer = tokenizer.section("post_processor")
    steps = [outer, *(Config(one, "") for one in outer.items("processors") if isinstance(one, dict))]
    for step in steps:
        if step.text("type") == "TemplateProcessing":
            pieces = [isinstance(one, dict) and "SpecialToken" in one for one in step.items("single")]
            return bool(pieces and pieces[0]), bool(pieces and pieces[-1])
    return (False, False) if outer.values else (None, None)


def _add_template(writer: gguf.GGUFWriter, checkpoint: Checkpoint, settings: Config) -> None:
    single = checkpoint.text("chat_template.jinja")
    if not single and (file := checkpoint.json("chat_template.json")) is not None:
        single = file.text("chat_template")
    if single := single or settings.text("chat_template"):
        writer.add_chat_template(single)
        return
    named = [Config(one, "") for one in settings.items("chat_template") if isinstance(one, dict)]
    templates = [{"name": one.text("name"), "template": one.text("template")} for one in named]
    if templates := [one for one in templates if one["name"] and one["template"]]:
        writer.add_chat_template(templates)
