"""From a published folder to a GGUF file: what is written, and what is refused with which words."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.store.convert import FloatType, convert, convert_adapter
from corral.store.convert.bpe import pre_tokenizer
from corral.store.convert.checkpoint import Checkpoint, Config
from corral.store.convert.sentencepiece import sentencepiece_vocabulary, vocabulary_from_merges
from corral.store.convert.vocabulary import AddedToken, TokenKind, TokenTable
from corral.store.errors import ConversionError, UnsupportedArchitecture
from corral.store.gguf import GgufArray, read_header
from tests.checkpoints import LLAMA3_SPLIT, byte_level_tokenizer, sentencepiece_model, write_json, write_safetensors
from tests.tiny_checkpoints import HEAD, HEADS, KV_HEADS, PIECES, WIDTH, write_encoder, write_family


def changed(path: Path, **changes: object) -> None:
    """Change keys of a JSON file; None takes one away."""
    values = {**json.loads(path.read_text()), **changes}
    write_json(path, {key: value for key, value in values.items() if value is not None})


@pytest.mark.parametrize("float_type", list(FloatType))
def test_the_file_is_what_the_header_reader_takes(tmp_path: Path, float_type: FloatType) -> None:
    _, weights = write_family(tmp_path / "a", "mixtral", "BF16")
    seen: list[tuple[int, int]] = []
    made = convert(
        tmp_path / "a", tmp_path / "m.gguf", float_type=float_type, on_progress=lambda *step: seen.append(step)
    )
    header = read_header(tmp_path / "m.gguf", arrays=True)
    assert (header.architecture, header.quantization) == ("llama", float_type)
    assert made.parameters == header.parameter_count == sum(tensor.size for tensor in weights.values())
    assert made.tensors == len(header.tensors)
    assert seen == sorted(seen)
    assert seen[-1] == (made.size, made.size) == ((tmp_path / "m.gguf").stat().st_size,) * 2
    kinds = {tensor.name: tensor.type for tensor in header.tensors}
    assert kinds["blk.0.attn_q.weight"] == float_type
    assert kinds["blk.0.attn_norm.weight"] == kinds["blk.0.ffn_gate_inp.weight"] == "F32"
    assert header.number("llama.expert_count") == 4
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    (down,) = (one for one in reader.tensors if one.name == "blk.1.ffn_down_exps.weight")
    expert = weights["model.layers.1.block_sparse_moe.experts.3.w2.weight"]
    assert np.allclose(gguf.quants.dequantize(down.data, down.tensor_type)[3], expert, rtol=1e-3, atol=1e-6)


def test_a_target_only_needs_to_take_bytes(tmp_path: Path) -> None:
    write_family(tmp_path / "a", "qwen3")
    target = io.BytesIO()
    made = convert(tmp_path / "a", target)
    convert(tmp_path / "a", tmp_path / "m.gguf")
    assert target.getvalue() == (tmp_path / "m.gguf").read_bytes()
    assert made.size == len(target.getvalue())


def test_what_the_callback_raises_ends_it(tmp_path: Path) -> None:
    write_family(tmp_path / "a", "llama")

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / "a", tmp_path / "m.gguf", on_progress=stop)


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    _, weights = write_family(tmp_path / "a", "llama")
    weights["lm_head.weight"] = np.ones((100_000, WIDTH), np.float32)
    write_safetensors(tmp_path / "a" / "model.safetensors", weights)

    class Nowhere:
        def write(self, data: bytes | memoryview, /) -> None:
            pass

    tracemalloc.start()
    try:
        convert(tmp_path / "a", Nowhere())
        assert tracemalloc.get_traced_memory()[1] < 12_000_000 < weights["lm_head.weight"].nbytes
    finally:
        tracemalloc.stop()


def test_ends_roles_and_template(tmp_path: Path) -> None:
    write_family(tmp_path / "a", "llama3-rope")
    end = 256 + 7 + 1
    write_json(tmp_path / "a" / "generation_config.json", {"eos_token_id": [end, 5, 6]})
    convert(tmp_path / "a", tmp_path / "m.gguf")
    header = read_header(tmp_path / "m.gguf", arrays=True)
    ids = [header.number(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos", "eot", "eom")]
    assert ids == [end - 1, end, 5, 6]
    assert header.text("tokenizer.ggml.pre") == "llama-bpe"
    assert header.metadata["tokenizer.ggml.add_bos_token"] is False
    assert header.chat_template
    tokens = header.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, GgufArray)
    assert tokens.values is not None
    assert tokens.values[-1] == f"[PAD{end + 3}]"


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("config.json", {"architectures": ["FalconForCausalLM"]}, 'unsupported architecture "FalconForCausalLM"'),
        ("config.json", {"architectures": None}, "names no architecture"),
        ("config.json", {"num_hidden_layers": None}, "config.json does not say num_hidden_layers"),
        ("config.json", {"num_hidden_layers": 10**9}, "says what cannot be under num_hidden_layers"),
        ("config.json", {"num_hidden_layers": 3}, "layer 2 has no"),
        ("config.json", {"num_hidden_layers": 1}, "tensor model.layers.1"),
        ("config.json", {"num_attention_heads": 0}, "num_attention_heads"),
        ("config.json", {"rope_scaling": {"type": "odd", "factor": 2}}, "the rope scaling 'odd' is not supported"),
        ("config.json", {"quantization_config": {"quant_method": "gptq"}}, "quantized already"),
        ("config.json", {"rms_norm_eps": "x"}, "rms_norm_eps"),
    ],
)
def test_what_cannot_be_converted_is_named(tmp_path: Path, file: str, changes: dict[str, object], message: str) -> None:
    write_family(tmp_path / "a", "llama")
    changed(tmp_path / "a" / file, **changes)
    with pytest.raises(ConversionError) as raised:
        convert(tmp_path / "a", io.BytesIO())
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("config.json", "config.json is missing"),
        ("tokenizer.model", "tokenizer.json and tokenizer.model are missing"),
        ("model-00002-of-00003.safetensors", "model-00002-of-00003.safetensors is missing"),
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, gone: str, message: str) -> None:
    write_family(tmp_path / "a", "mixtral")
    (tmp_path / "a" / gone).unlink()
    with pytest.raises(ConversionError) as raised:
        convert(tmp_path / "a", io.BytesIO())
    assert message in str(raised.value)


def test_numbers_too_large_for_half_precision(tmp_path: Path) -> None:
    _, weights = write_family(tmp_path / "a", "llama")
    weights["lm_head.weight"][3, 4] = 70_000
    write_safetensors(tmp_path / "a" / "model.safetensors", weights)
    with pytest.raises(ConversionError, match=r"output\.weight has numbers too large for F16"):
        convert(tmp_path / "a", io.BytesIO())
    convert(tmp_path / "a", io.BytesIO(), float_type=FloatType.BF16)


def tokenizer(*steps: dict[str, object], ignore_merges: bool = False) -> Config:
    values = {"pre_tokenizer": {"type": "Sequence", "pretokenizers": list(steps)}}
    return Config({**values, "model": {"ignore_merges": ignore_merges}}, "tokenizer.json")


def test_how_text_is_cut_has_a_name_or_is_refused() -> None:
    split: dict[str, object] = {"type": "Split", "pattern": {"Regex": LLAMA3_SPLIT}}
    rest: dict[str, object] = {"type": "ByteLevel", "use_regex": False}
    assert pre_tokenizer(tokenizer(split, rest, ignore_merges=True)) == "llama-bpe"
    assert pre_tokenizer(tokenizer(split, rest)) == "dbrx"
    assert pre_tokenizer(tokenizer({"type": "ByteLevel"})) == "gpt-2"
    assert pre_tokenizer(tokenizer({"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"})) == "smollm"
    with pytest.raises(ConversionError, match="cuts text in a way that is not supported: x then bytes"):
        pre_tokenizer(tokenizer({"type": "Split", "pattern": {"Regex": "x"}}, {"type": "ByteLevel"}))


def test_pieces_of_a_sentencepiece_model() -> None:
    data = sentencepiece_model(PIECES, prefixes=False)
    made = sentencepiece_vocabulary(Checkpoint({}), data, len(PIECES) + 2)
    assert (made.model, made.flags) == ("llama", {"add_space_prefix": False})
    assert made.tokens[:4] == ["<unk>", "<s>", "</s>", "<0x00>"]
    assert made.kinds[:4] == [TokenKind.UNKNOWN, TokenKind.CONTROL, TokenKind.CONTROL, TokenKind.BYTE]
    assert made.kinds[-1] is TokenKind.UNUSED
    assert made.scores is not None
    assert made.scores[made.numbers["▁fox"]] == -12.0
    with pytest.raises(ConversionError, match="only BPE"):
        sentencepiece_vocabulary(Checkpoint({}), sentencepiece_model(PIECES, kind=1), 300)
    with pytest.raises(ConversionError, match="cut off"):
        sentencepiece_vocabulary(Checkpoint({}), data[:-1], 300)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_sentencepiece_model_or_refused(data: bytes) -> None:
    try:
        sentencepiece_vocabulary(Checkpoint({}), data, 10)
    except ConversionError:
        return


def test_scores_come_from_the_order_of_merges() -> None:
    vocab = {"<unk>": 0, "<0x41>": 1, "▁": 2, "a": 3, "b": 4, "ab": 5, "▁ab": 6}
    model = {"type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "vocab": vocab}
    model["merges"] = [["a", "b"], ["▁", "ab"]]
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}]}
    made = vocabulary_from_merges(Checkpoint({}), Config({"model": model, "normalizer": normalizer}, "t"), 8)
    assert made.scores is not None
    assert made.scores[5] > made.scores[6] > made.scores[3]
    assert made.kinds[:2] == [TokenKind.UNKNOWN, TokenKind.BYTE]
    assert made.flags == {"add_space_prefix": True}


def test_tokens_that_clash_are_refused(tmp_path: Path) -> None:
    write_family(tmp_path / "a", "qwen2")
    value: dict[str, Any] = byte_level_tokenizer(LLAMA3_SPLIT, [], [])
    value["model"]["merges"] = ["a b c"]
    write_json(tmp_path / "a" / "tokenizer.json", value)
    with pytest.raises(ConversionError, match="a merge that is no pair"):
        convert(tmp_path / "a", io.BytesIO())


def test_how_an_embedder_pools(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    write_encoder(folder, "bert")
    (folder / "1_Pooling").mkdir()
    for pooling, number in (({"pooling_mode_cls_token": True}, 2), ({"pooling_mode_mean_tokens": True}, 1)):
        write_json(folder / "1_Pooling" / "config.json", pooling)
        convert(folder, tmp_path / "m.gguf")
        assert read_header(tmp_path / "m.gguf").number("bert.pooling_type") == number
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_max_tokens": True})
    with pytest.raises(ConversionError, match="pools in a way"):
        convert(folder, io.BytesIO())
    write_json(folder / "modules.json", [{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}])
    with pytest.raises(ConversionError, match="a dense layer after pooling"):
        convert(folder, io.BytesIO())


def test_added_tokens_stand_where_they_say() -> None:
    table = TokenTable(8)
    for number, text in enumerate(["a", "▁▁", " ", "b"]):
        table.put(number, text, TokenKind.NORMAL)
    table.put_added(AddedToken(1, "▁▁", False))  # the user's own spaces
    table.put_added(AddedToken(3, "▁", False))  # a space is there already
    table.put_added(AddedToken(5, "<|end|>", False))
    table.put_added(AddedToken(9, "<|far|>", True))  # behind the last embedding
    assert table.filled() == ["a", "  ", " ", "b", "[PAD4]", "<|end|>", "[PAD6]", "[PAD7]"]
    assert table.kinds[1] is TokenKind.USER_DEFINED
    assert table.kinds[5] is TokenKind.CONTROL
    with pytest.raises(ConversionError, match="the token 'a' twice: 0 and 6"):
        table.put(6, "a", TokenKind.NORMAL)


def write_adapter(folder: Path, rank: int = 4, rows: int = HEADS * HEAD) -> dict[str, np.ndarray[Any, Any]]:
    folder.mkdir()
    random = np.random.default_rng(1)
    made = {}
    for part, height in (("q", rows), ("k", KV_HEADS * HEAD)):
        name = f"base_model.model.model.layers.0.self_attn.{part}_proj"
        made[f"{name}.lora_A.weight"] = random.normal(0, 1, (rank, WIDTH)).astype(np.float32)
        made[f"{name}.lora_B.weight"] = random.normal(0, 1, (height, rank)).astype(np.float32)
    write_safetensors(folder / "adapter_model.safetensors", made)
    write_json(folder / "adapter_config.json", {"peft_type": "LORA", "r": rank, "lora_alpha": 8})
    return made


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2"])
def test_an_adapter_changes_what_the_merged_weights_would(tmp_path: Path, family: str) -> None:
    _, weights = write_family(tmp_path / "a", family)
    made = write_adapter(tmp_path / "lora")
    convert(tmp_path / "a", tmp_path / "base.gguf", float_type=FloatType.F32)
    base = read_header(tmp_path / "base.gguf")
    convert_adapter(tmp_path / "lora", tmp_path / "lora.gguf", base=base, float_type=FloatType.F32)
    header = read_header(tmp_path / "lora.gguf")
    assert (header.kind, header.architecture, header.metadata["adapter.lora.alpha"]) == ("adapter", family, 8.0)
    halves = {one.name: np.asarray(one.data) for one in gguf.GGUFReader(tmp_path / "lora.gguf").tensors}
    plain = {one.name: np.asarray(one.data) for one in gguf.GGUFReader(tmp_path / "base.gguf").tensors}
    for part in ("q", "k"):
        name = f"model.layers.0.self_attn.{part}_proj"
        first, second = (made[f"base_model.model.{name}.lora_{half}.weight"] for half in "AB")
        weights[f"{name}.weight"] = weights[f"{name}.weight"] + second @ first
    write_safetensors(tmp_path / "a" / "model.safetensors", weights)
    convert(tmp_path / "a", tmp_path / "merged.gguf", float_type=FloatType.F32)
    merged = {one.name: np.asarray(one.data) for one in gguf.GGUFReader(tmp_path / "merged.gguf").tensors}
    for name in ("blk.0.attn_q.weight", "blk.0.attn_k.weight"):
        product = halves[f"{name}.lora_b"] @ halves[f"{name}.lora_a"]
        assert np.allclose(plain[name] + product, merged[name], atol=1e-4)


def test_an_adapter_for_another_model_is_refused(tmp_path: Path) -> None:
    write_family(tmp_path / "a", "llama")
    convert(tmp_path / "a", tmp_path / "base.gguf")
    base = read_header(tmp_path / "base.gguf")
    write_adapter(tmp_path / "lora", rows=2 * HEADS * HEAD)
    with pytest.raises(ConversionError, match="it is for another model"):
        convert_adapter(tmp_path / "lora", io.BytesIO(), base=base)
    write_family(tmp_path / "phi", "phi3")
    convert(tmp_path / "phi", tmp_path / "phi.gguf")
    with pytest.raises(UnsupportedArchitecture, match="phi3"):
        convert_adapter(tmp_path / "lora", io.BytesIO(), base=read_header(tmp_path / "phi.gguf"))
