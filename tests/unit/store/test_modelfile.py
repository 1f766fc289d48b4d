from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.store.errors import ModelfileError
from corral.store.modelfile import COMMANDS, ROLES, Command, in_order, parse, quote, render

ONE_OF = (
    'command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", '
    '"parameter", "message", or "requires"'
)


def bare(text: str | bytes) -> list[tuple[str, ...]]:
    return [(command.name, *command.args) for command in parse(text, require_from=False).commands]


def test_all_directives_and_their_places() -> None:
    text = """
# a comment
FROM llama3.2
  parameter temperature 0.7
Parameter stop <|end|>
TEMPLATE \"\"\"{{ .System }}
{{ .Prompt }}\"\"\"
SYSTEM You are # not a comment
MESSAGE user hello there
LICENSE "MIT"
ADAPTER ./lora.gguf
RENDERER qwen3
PARSER qwen3
REQUIRES v0.14.0
DRAFT ./small.gguf"""
    modelfile = parse(text)
    assert bare(text) == [
        ("from", "llama3.2"),
        ("parameter", "temperature", "0.7"),
        ("parameter", "stop", "<|end|>"),
        ("template", "{{ .System }}\n{{ .Prompt }}"),
        ("system", "You are # not a comment"),
        ("message", "user", "hello there"),
        ("license", "MIT"),
        ("adapter", "./lora.gguf"),
        ("renderer", "qwen3"),
        ("parser", "qwen3"),
        ("requires", "v0.14.0"),
        ("draft", "./small.gguf"),
    ]
    assert [command.line for command in modelfile.commands[:5]] == [3, 4, 5, 6, 8]
    assert (modelfile.commands[1].column, modelfile.commands[1].value_column) == (3, 25)
    assert modelfile.from_ == "llama3.2"
    assert modelfile.last("system") == "You are # not a comment"
    assert modelfile.last("nothing") is None
    assert modelfile.parameters == (("temperature", "0.7"), ("stop", "<|end|>"))
    assert modelfile.messages == (("user", "hello there"),)


@pytest.mark.parametrize(
    "data",
    [
        "FROM x\nSYSTEM ü\n".encode(),
        b"\xef\xbb\xbf" + "FROM x\nSYSTEM ü\n".encode(),
        "FROM x\nSYSTEM ü\n".encode("utf-16"),
        b"\xfe\xff" + "FROM x\nSYSTEM ü\n".encode("utf-16-be"),
        "FROM x\r\nSYSTEM ü\r\n".encode(),
        "\ufeffFROM x\rSYSTEM ü",
    ],
)
def test_encodings_and_newlines(data: str | bytes) -> None:
    commands = parse(data).commands
    assert [(command.name, *command.args, command.line) for command in commands] == [
        ("from", "x", 1),
        ("system", "ü", 2),
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("SYSTEM   padded \t ", "padded"),
        ('SYSTEM "  kept  "', "  kept  "),
        ('SYSTEM "one\ntwo"', "one\ntwo"),
        ('SYSTEM """say "hi" now"""', 'say "hi" now'),
        ('SYSTEM """say "hi""""', 'say "hi"'),
        ('SYSTEM "closed"   \n', "closed"),
        ('SYSTEM "a" and "b"', 'a" and "b'),
        ("SYSTEM 'single'", "'single'"),
        ('SYSTEM say "hi"', 'say "hi"'),
        ('SYSTEM """\nabc\n"""', "\nabc\n"),
        ("SYSTEM a\x00b\x1b[31mc\u200b", "ab[31mc"),
        ('SYSTEM "a\tb\r\nc"', "a\tb\r\nc"),
        ('SYSTEM ""', ""),
        ("SYSTEM ", ""),
        ("SYSTEM \n", ""),
        (r'SYSTEM "a\n"', r"a\n"),
    ],
)
def test_values(text: str, value: str) -> None:
    assert bare(text) == [("system", value)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FROM line"),
        ("SYSTEM hi", "no FROM line"),
        ("# FROM x", "no FROM line"),
        ("FROM x\nFROMAGE y", f"(line 2): {ONE_OF}"),
        ("FROM\nx", f"(line 1): {ONE_OF}"),
        ("FROM: x", f"(line 1): {ONE_OF}"),
        ("FROM x\n\n1 y", f"(line 3): {ONE_OF}"),
        ('FROM x\nSYSTEM "open\nand more', "(line 2): unexpected EOF"),
        ('FROM x\nSYSTEM """', "(line 2): unexpected EOF"),
        ("FROM x\nSYSTEM", "(line 2): unexpected EOF"),
        ("FROM x\nPARAMETER top_k\n", "(line 2): unexpected EOF: top_k"),
        ("FROM x\nPARAMETER top-k 1", "(line 2): unexpected EOF: top"),
        ("FROM x\nPARAMETER\ttop_k", "(line 2): unexpected EOF"),
        ("FROM x\r\n\r\nMESSAGE bot hi", '(line 3): message role must be one of "system", "user", or "assistant"'),
        ("FROM x\nMESSAGE User hi", '(line 2): message role must be one of "system", "user", or "assistant"'),
        ("FROM x\nREQUIRES new", "(line 2): requires must be a valid semver (e.g. 0.14.0)"),
        ("FROM ./a\nDRAFT ./a", "(line 2): DRAFT must not reference the same local path as FROM: ./a"),
    ],
)
def test_errors_have_their_line(text: str, message: str) -> None:
    with pytest.raises(ModelfileError) as caught:
        parse(text)
    assert str(caught.value) == message
    assert message.startswith(f"(line {caught.value.line})") or caught.value.line == 0


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("a\nb", '"a\nb"'),
        (" padded", '" padded"'),
        ('say "hi"\nnow', '"""say "hi"\nnow"""'),
        ('"quoted"', '""""quoted""""'),
        ("", '""'),
        ('5" wide', '5" wide'),
    ],
)
def test_quoting(value: str, written: str) -> None:
    assert quote(value) == written


def test_order_of_writing_back() -> None:
    shuffled = [Command(name, ("1.0.0",)) for name in reversed(COMMANDS)]
    assert [command.name for command in in_order(shuffled)] == list(COMMANDS)


def test_what_has_no_form_is_written_as_ollama_does() -> None:
    assert quote('"""\n') == '""""""\n"""'


values = st.text(st.characters(codec="utf-8").filter(lambda c: c.isprintable() or c in " \t\n\r"), max_size=30).filter(
    lambda value: '"' not in value
) | st.sampled_from(['a"b', '"', 'say "hi"\nx', '"x" y'])
keys = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=12)
commands = st.one_of(
    st.builds(lambda v: ("from", v), values),
    st.builds(lambda n, v: (n, v), st.sampled_from(["system", "template", "license", "adapter"]), values),
    st.builds(lambda k, v: ("parameter", k, v), keys, values),
    st.builds(lambda r, v: ("message", r, v), st.sampled_from(ROLES), values),
)


@given(st.lists(commands, max_size=8))
def test_what_is_written_reads_back(many: list[tuple[str, ...]]) -> None:
    assert bare(render(Command(name, tuple(args)) for name, *args in many)) == many


@given(st.text() | st.binary())
def test_any_text_parses_or_says_why(text: str | bytes) -> None:
    with contextlib.suppress(ModelfileError):
        parse(text)
