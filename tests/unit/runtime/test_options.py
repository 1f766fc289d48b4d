"""Options of requests and PARAMETER lines of Modelfiles, against the words of spec a.5 and f.2."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.errors import InvalidOption, InvalidParameter
from corral.runtime.memory import KV_TYPES
from corral.runtime.options import (
    OPTIONS,
    Options,
    advice,
    parse_options,
    parse_parameter,
    parse_parameters,
    unknown_names,
)


def test_defaults_are_those_of_the_registry() -> None:
    options = parse_options()
    assert options == Options()
    for name, option in OPTIONS.items():
        assert getattr(options, name) == option.default


def test_later_maps_win_nulls_and_unknown_names_are_skipped() -> None:
    options = parse_options({"temperature": 0, "top_k": 5.9, "stop": ["a"]}, {"temperature": 1, "top_k": None, "x": 1})
    assert (options.temperature, options.top_k, options.stop) == (1.0, 5, ("a",))
    assert unknown_names({"x": 1, "numa": True, "seed": 1}) == ("x",)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"num_ctx": "x"}, 'option "num_ctx" must be of type integer'),
        ({"num_ctx": True}, 'option "num_ctx" must be of type integer'),
        ({"temperature": []}, 'option "temperature" must be of type float32'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"stop": "x"}, 'option "stop" must be of type array'),
        ({"stop": [1]}, 'option "stop" must be of an array of strings'),
        ({"logit_bias": [1]}, 'option "logit_bias" must be of type object'),
        ({"logit_bias": {"1": "x"}}, 'option "logit_bias" must be of an object of numbers'),
        ({"logit_bias": {"1": math.inf}}, 'option "logit_bias" must be of an object of numbers'),
        ({"logit_bias": {"x" * 65: 1}}, 'option "logit_bias" takes 1024 texts of 64 bytes at most'),
        ({"logit_bias": {str(i): 1 for i in range(1025)}}, 'option "logit_bias" takes 1024 texts of 64 bytes at most'),
        ({"dry_sequence_breakers": ["x" * 9]}, 'option "dry_sequence_breakers" takes 8 texts of 8 bytes at most'),
        ({"grammar": 5}, 'option "grammar" must be of type string'),
        ({"temperature": math.nan}, 'option "temperature" must be a finite number'),
        ({"flash_attention": True}, 'option "flash_attention" must be of type string'),
        ({"flash_attention": "maybe"}, 'option "flash_attention" must be auto, on or off'),
        ({"split_mode": "sideways"}, 'option "split_mode" must be one of none, layer, row, tensor'),
        ({"tensor_split": "3,x"}, 'option "tensor_split" must be proportions of the GPUs, as in 3,1'),
        ({"tensor_split": "0,0"}, 'option "tensor_split" must give at least one GPU a part'),
        ({"override_tensor": ["CPU"] * 65}, None),
        ({"override_tensor": ["x=CPU"] * 65}, 'option "override_tensor" takes 64 texts of 256 bytes at most'),
        ({"override_tensor": ["x" * 300 + "=CPU"]}, None),
    ],
)
def test_wrong_types_are_refused_in_the_words_clients_know(value: dict[str, object], message: str | None) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_options(value)
    assert message is None or str(caught.value) == message


_ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text() | st.integers())
)


@given(st.dictionaries(st.sampled_from([*OPTIONS, "x"]), _ANYTHING))
def test_anything_is_either_refused_or_inside_the_bounds(given_options: dict[str, object]) -> None:
    try:
        options = parse_options(given_options)
    except InvalidOption:
        return
    for name, option in OPTIONS.items():
        value = getattr(options, name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and name in given_options:
            assert option.low <= value <= option.high


def test_weights_are_kept_in_order_and_in_bounds() -> None:
    options = parse_options({"logit_bias": {"5": -5000, "a": 1.5, "": 1}})
    assert options.logit_bias == (("5", -1000.0), ("a", 1.5))


def test_too_many_or_too_long_stops_are_refused() -> None:
    with pytest.raises(InvalidOption):
        parse_options({"stop": ["x"] * 1000})
    with pytest.raises(InvalidOption):
        parse_options({"stop": ["x" * 10_000]})


def test_parameter_lines() -> None:
    lines = [("stop", "a"), ("temperature", "0.5"), ("stop", "b"), ("top_k", "1"), ("top_k", "2"), ("low_vram", "1")]
    assert parse_parameters(lines) == {"stop": ["a", "b"], "temperature": 0.5, "top_k": 2}
    weights = [("logit_bias", "15 -5"), ("logit_bias", "New York 2.5"), ("regex", "[a b]+"), ("mirostat", "2")]
    assert parse_parameters(weights) == {"logit_bias": {"15": -5.0, "New York": 2.5}, "regex": "[a b]+", "mirostat": 2}
    assert parse_parameter("use_mmap", "true") is True
    placing = [("override_tensor", "a=CPU"), ("override_tensor", "b=CUDA0"), ("kv_cache_type", "q8_0,f16")]
    assert parse_parameters(placing) == {"override_tensor": ["a=CPU", "b=CUDA0"], "kv_cache_type": "q8_0,f16"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nope", "1", "unknown parameter 'nope'"),
        ("top_k", "many", "invalid int value [many]"),
        ("top_p", "x", "invalid float value [x]"),
        ("top_p", "nan", "invalid float value [nan]"),
        ("use_mmap", "maybe", "invalid bool value [maybe]"),
        (
            "kv_cache_type",
            "q9",
            'option "kv_cache_type" must be one of ' + ", ".join(KV_TYPES) + ", or two of them for keys and values",
        ),
        (
            "override_tensor",
            "ffn",
            'option "override_tensor" must be pattern=memory of 256 bytes at most, as in \\.ffn_up_exps=CPU',
        ),
        ("logit_bias", "15", "invalid token and bias [15]"),
        ("logit_bias", "15 x", "invalid token and bias [15 x]"),
        ("logit_bias", "15 nan", "invalid token and bias [15 nan]"),
    ],
)
def test_bad_parameter_lines(name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_parameter(name, text)
    assert str(caught.value) == message


def test_advice_on_values_without_effect() -> None:
    assert advice("top_p", 1.4) == "values above 1 have no effect"
    assert advice("top_p", 0.5) is None
