"""The one registry of generation options (spec a.9): what each is called, may be, and does.

The API checks requests against it, `create` and the Modelfile editor check PARAMETER lines, the screens explain it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from corral.runtime import load_options
from corral.runtime.errors import InvalidOption, InvalidParameter

Weights = tuple[tuple[str, float], ...]
OptionValue = int | float | bool | str | tuple[str, ...] | Weights


class Kind(StrEnum):
    """The type of an option, by the word Ollama's error uses for it."""

    INT = "integer"
    FLOAT = "float32"
    BOOL = "boolean"
    STRINGS = "array"
    TEXT = "string"
    WEIGHTS = "object"


class Option(NamedTuple):
    """One option. `default` None means automatic; `loads` says that a change reloads the model."""

    name: str
    kind: Kind
    default: OptionValue | None
    low: float
    high: float
    loads: bool
    text: str


DRY_BREAKERS = ("\n", ":", '"', "*")
_INF = math.inf
_INT32 = 2**31 - 1

OPTIONS: Mapping[str, Option] = {
    option.name: option
    for option in (
        Option("num_ctx", Kind.INT, None, 4, _INT32, True, "tokens the model sees at once"),
        Option("num_batch", Kind.INT, 512, 1, 65536, True, "prompt tokens per decode call"),
        Option("num_gpu", Kind.INT, -1, -1, _INT32, True, "layers on the GPU; -1 as many as fit, 0 none"),
        Option("main_gpu", Kind.INT, None, 0, 1024, True, "the GPU to use"),
        Option("use_mmap", Kind.BOOL, None, 0, 1, True, "map the file instead of reading it"),
        Option("num_thread", Kind.INT, 0, 0, 4096, True, "CPU threads; 0 as many as help, of the physical cores"),
        Option("num_ubatch", Kind.INT, 0, 0, 65536, True, "tokens of a call computed at a time; 0 all"),
        Option("num_thread_batch", Kind.INT, 0, 0, 4096, True, "CPU threads for prompts; 0 as num_thread"),
        Option("use_mlock", Kind.BOOL, False, 0, 1, True, "keep the model from being swapped out"),
        Option("use_direct_io", Kind.BOOL, False, 0, 1, True, "read the file past the page cache"),
        Option("flash_attention", Kind.TEXT, "", 0, 0, True, "flash attention: auto, on or off"),
        Option("kv_cache_type", Kind.TEXT, "", 0, 0, True, "type of the KV cache, or types of keys,values"),
        Option("split_mode", Kind.TEXT, "", 0, 0, True, "how GPUs share it: none, layer, row or tensor"),
        Option("tensor_split", Kind.TEXT, "", 0, 0, True, "proportions of the GPUs, as in 3,1"),
        Option("override_tensor", Kind.STRINGS, (), 0, 0, True, "tensors by name to memory: pattern=CPU"),
        Option("num_cpu_moe", Kind.INT, 0, -1, 4096, True, "layers whose experts stay in main memory; -1 all"),
        Option("num_keep", Kind.INT, 4, -1, _INT32, False, "tokens kept from the start when the window is cut"),
        Option("seed", Kind.INT, -1, -1, 2**63, False, "same seed, same answer; -1 random"),
        Option("num_predict", Kind.INT, -1, -2, _INT32, False, "most tokens to make; -1 no limit"),
        Option(
            "draft_num_predict",
            Kind.INT,
            -1,
            -1,
            64,
            False,
            "tokens guessed ahead and checked at once; -1 as many as pay, 0 none",
        ),
        Option("top_k", Kind.INT, 40, -_INF, _INT32, False, "draw from the k likeliest; 0 off"),
        Option("top_p", Kind.FLOAT, 0.9, 0.0, 1.0, False, "draw from the likeliest that sum to p"),
        Option("min_p", Kind.FLOAT, 0.0, 0.0, 1.0, False, "drop what is less likely than p times the likeliest"),
        Option("typical_p", Kind.FLOAT, 1.0, 0.0, 1.0, False, "locally typical sampling; 1 off"),
        Option("temperature", Kind.FLOAT, 0.8, 0.0, _INF, False, "0 always the likeliest, higher more varied"),
        Option("repeat_last_n", Kind.INT, 64, -1, _INT32, False, "tokens the penalties look back; -1 all"),
        Option("repeat_penalty", Kind.FLOAT, 1.0, 0.0, _INF, False, "above 1 punishes repeated tokens"),
        Option("presence_penalty", Kind.FLOAT, 0.0, -_INF, _INF, False, "punishes tokens that occurred"),
        Option("frequency_penalty", Kind.FLOAT, 0.0, -_INF, _INF, False, "punishes tokens by how often"),
        Option(
            "top_n_sigma", Kind.FLOAT, -1.0, -1.0, _INF, False, "drop what is n deviations below the likeliest; -1 off"
        ),
        Option("xtc_probability", Kind.FLOAT, 0.0, 0.0, 1.0, False, "how often to leave out all likely tokens but one"),
        Option("xtc_threshold", Kind.FLOAT, 0.1, 0.0, 1.0, False, "what likely means there; above 0.5 off"),
        Option("dynatemp_range", Kind.FLOAT, 0.0, 0.0, _INF, False, "temperature moves by this, as surprise does"),
        Option("dynatemp_exponent", Kind.FLOAT, 1.0, 0.0, _INF, False, "how surprise becomes temperature there"),
        Option("mirostat", Kind.INT, 0, 0, 2, False, "keep surprise even instead of cutting; 1 or 2 by version"),
        Option("mirostat_tau", Kind.FLOAT, 5.0, 0.0, _INF, False, "the surprise it aims at"),
        Option("mirostat_eta", Kind.FLOAT, 0.1, 0.0, _INF, False, "how fast it follows"),
        Option("dry_multiplier", Kind.FLOAT, 0.0, 0.0, _INF, False, "punishes going on with a repetition; 0 off"),
        Option("dry_base", Kind.FLOAT, 1.75, 0.0, _INF, False, "how the punishment grows with its length"),
        Option("dry_allowed_length", Kind.INT, 2, 0, _INT32, False, "tokens that may be repeated freely"),
        Option("dry_penalty_last_n", Kind.INT, -1, -1, _INT32, False, "tokens it looks back; -1 all"),
        Option("dry_sequence_breakers", Kind.STRINGS, DRY_BREAKERS, 0, 0, False, "texts that no repetition spans"),
        Option(
            "logit_bias", Kind.WEIGHTS, (), -1000.0, 1000.0, False, "token id or text to what is added to its logit"
        ),
        Option("stop", Kind.STRINGS, (), 0, 0, False, "texts that end the answer; may be repeated"),
        Option("grammar", Kind.TEXT, "", 0, 0, False, "a Lark or GBNF grammar that the answer must follow"),
        Option("regex", Kind.TEXT, "", 0, 0, False, "a regular expression that the answer must match"),
    )
}

DEPRECATED = frozenset(
    {
        *("penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "tfs_z"),
        *("numa", "num_gqa", "rope_frequency_base", "rope_frequency_scale"),
    }
)
"""Names that old Modelfiles and clients send; taken without an error, without effect."""

MAX_STOPS = 256
MAX_STOP_BYTES = 4096
MAX_BREAKERS = 8
MAX_BREAKER_BYTES = 8
"""Each byte of each breaker costs a walk over the vocabulary."""
_LIST_BOUNDS = {
    "stop": (MAX_STOPS, MAX_STOP_BYTES),
    "dry_sequence_breakers": (MAX_BREAKERS, MAX_BREAKER_BYTES),
    "override_tensor": (load_options.MOST_OVERRIDES, load_options.LONGEST_OVERRIDE_BYTES),
}
"""How many texts a list may have, and of how many bytes."""
MAX_WEIGHTS = 1024
MAX_WEIGHT_BYTES = 64


class Options(msgspec.Struct, frozen=True):
    """All options of one request. None means automatic."""

    num_ctx: int | None = None
    num_batch: int = 512
    num_gpu: int = -1
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int = 0
    num_ubatch: int = 0
    num_thread_batch: int = 0
    use_mlock: bool = False
    use_direct_io: bool = False
    flash_attention: str = ""
    kv_cache_type: str = ""
    split_mode: str = ""
    tensor_split: str = ""
    override_tensor: tuple[str, ...] = ()
    num_cpu_moe: int = 0
    num_keep: int = 4
    seed: int = -1
    num_predict: int = -1
    draft_num_predict: int = -1
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    temperature: float = 0.8
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_sequence_breakers: tuple[str, ...] = DRY_BREAKERS
    logit_bias: Weights = ()
    stop: tuple[str, ...] = ()
    grammar: str = ""
    regex: str = ""


def parse_options(*layers: Mapping[str, object]) -> Options:
    """Merge option maps, later ones winning, over the defaults. Unknown names and nulls are skipped (spec a.9).

    Raises:
        InvalidOption: a value of the wrong type, or outside what can be computed with.
    """
    values: dict[str, OptionValue] = {}
    for layer in layers:
        for name, value in layer.items():
            option = OPTIONS.get(name)
            if option is not None and value is not None:
                values[name] = _check(option, value)
    return Options(**values)  # type: ignore[arg-type]


def unknown_names(options: Mapping[str, object]) -> tuple[str, ...]:
    """The names in a request that mean nothing here, for a warning."""
    return tuple(name for name in options if name not in OPTIONS and name not in DEPRECATED)


def _check(option: Option, value: object) -> OptionValue:
    if option.kind is Kind.STRINGS:
        return _strings(option, value)
    if option.kind is Kind.WEIGHTS:
        return _weights(option, value)
    if option.kind is Kind.TEXT:
        if not isinstance(value, str):
            raise InvalidOption(f'option "{option.name}" must be of type {option.kind}')
        return _meant(option, value)
    if option.kind is Kind.BOOL:
        if not isinstance(value, bool):
            raise InvalidOption(f'option "{option.name}" must be of type {option.kind}')
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidOption(f'option "{option.name}" must be of type {option.kind}')
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidOption(f'option "{option.name}" must be a finite number')
    if abs(value) > 2**63:
        raise InvalidOption(f'option "{option.name}" is out of range')
    if option.kind is Kind.INT:
        return int(min(max(value, option.low), option.high))
    return float(min(max(value, option.low), min(option.high, 1e6)))


def _strings(option: Option, value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise InvalidOption(f'option "{option.name}" must be of type {option.kind}')
    if not all(isinstance(one, str) for one in value):
        raise InvalidOption(f'option "{option.name}" must be of an array of strings')
    texts = tuple(_meant(option, one) for one in value if one)
    most, longest = _LIST_BOUNDS[option.name]
    if len(texts) > most or any(len(one.encode(errors="replace")) > longest for one in texts):
        raise InvalidOption(f'option "{option.name}" takes {most} texts of {longest} bytes at most')
    return texts


def _meant(option: Option, text: str) -> str:
    """Check a text that is not free."""
    check = load_options.CHECKS.get(option.name)
    if check is not None and text:
        try:
            check(text)
        except ValueError as error:
            raise InvalidOption(f'option "{option.name}" {error}') from None
    return text


def _weights(option: Option, value: object) -> Weights:
    if not isinstance(value, Mapping):
        raise InvalidOption(f'option "{option.name}" must be of type {option.kind}')
    if len(value) > MAX_WEIGHTS or any(len(str(key)) > MAX_WEIGHT_BYTES for key in value):
        raise InvalidOption(f'option "{option.name}" takes {MAX_WEIGHTS} texts of {MAX_WEIGHT_BYTES} bytes at most')
    weights = []
    for key, number in value.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise InvalidOption(f'option "{option.name}" must be of an object of numbers')
        if key:
            weights.append((str(key), float(min(max(number, option.low), option.high))))
    return tuple(weights)


def parse_parameter(name: str, text: str) -> OptionValue | dict[str, float] | None:
    """Read the value of a `PARAMETER name text` line; None where the name is deprecated (spec f.2).

    A `stop` gives a tuple of one, and a `logit_bias` ("token bias") a map of one, to be added to those before it.

    Raises:
        InvalidParameter: an unknown name or a value of the wrong type, in Ollama's words.
    """
    if name in DEPRECATED:
        return None
    option = OPTIONS.get(name)
    if option is None:
        raise InvalidParameter(f"unknown parameter '{name}'")
    if option.kind in (Kind.STRINGS, Kind.TEXT):
        try:
            meant = _meant(option, text)
        except InvalidOption as error:
            raise InvalidParameter(str(error)) from None
        return (meant,) if option.kind is Kind.STRINGS else meant
    if option.kind is Kind.BOOL:
        if text in {"1", "t", "T", "true", "TRUE", "True"}:
            return True
        if text in {"0", "f", "F", "false", "FALSE", "False"}:
            return False
        raise InvalidParameter(f"invalid bool value [{text}]")
    if option.kind is Kind.WEIGHTS:
        key, _, number_text = text.rpartition(" ")
        try:
            return {key: _weight(key, number_text)}
        except ValueError:
            raise InvalidParameter(f"invalid token and bias [{text}]") from None
    word = "int" if option.kind is Kind.INT else "float"
    try:
        number: int | float = int(text) if option.kind is Kind.INT else float(text)
    except ValueError:
        raise InvalidParameter(f"invalid {word} value [{text}]") from None
    if isinstance(number, float) and not math.isfinite(number):
        raise InvalidParameter(f"invalid {word} value [{text}]")
    return number


def _weight(key: str, text: str) -> float:
    number = float(text)
    if not key or not math.isfinite(number):
        raise ValueError
    return number


def parse_parameters(lines: list[tuple[str, str]]) -> dict[str, object]:
    """Read PARAMETER lines in order: lists and maps accumulate, of the others the last wins.

    Raises:
        InvalidParameter: as `parse_parameter`.
    """
    values: dict[str, object] = {}
    for name, text in lines:
        value = parse_parameter(name, text)
        if isinstance(value, tuple):
            before = values.get(name, [])
            values[name] = [*before, *value] if isinstance(before, list) else list(value)
        elif isinstance(value, dict):
            before = values.get(name, {})
            values[name] = {**before, **value} if isinstance(before, dict) else value
        elif value is not None:
            values[name] = value
    return values


def advice(name: str, value: object) -> str | None:
    """A remark on a value that is legal and has no effect, or none that is meant; None where all is well."""
    option = OPTIONS.get(name)
    if option is None or isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if value > option.high:
        return f"values above {option.high:g} have no effect"
    if value < option.low:
        return f"values below {option.low:g} have no effect"
    return None
