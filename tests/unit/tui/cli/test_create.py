from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import pytest

from corral.runtime.verbs import CreateRequest, Message
from corral.store.names import Digest
from tests.unit.store.handmade import Gguf
from tests.unit.tui.cli.driving import Driver


def request_of(corral: Driver) -> CreateRequest:
    return next(one for one in corral.fake.asked if isinstance(one, CreateRequest))


def test_a_model_from_another(corral: Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "Modelfile"
    file.write_text("FROM smollm2:135m\nPARAMETER seed 1\nSYSTEM Be brief\nMESSAGE user hi\n")
    assert corral("create", "mine", "-f", str(file)) == 0
    assert request_of(corral) == CreateRequest(
        "mine", base="smollm2:135m", system="Be brief", parameters={"seed": 1}, messages=(Message("user", "hi"),)
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-2:] == ["writing manifest", "success"]


def test_a_model_from_a_file_beside_the_modelfile(corral: Driver, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    weights = bytes(Gguf())
    (tmp_path / "sub" / "model.gguf").write_bytes(weights)
    (tmp_path / "sub" / "Recipe").write_text("FROM ./model.gguf\n")
    assert corral("create", "mine", "--file", str(tmp_path / "sub" / "Recipe")) == 0
    ((name, digest),) = request_of(corral).files.items()
    assert name == "model.gguf"
    assert corral.fake.blobs[str(Digest.parse(digest))] == weights


def test_a_draft_model_is_sent_along(corral: Driver, tmp_path: Path) -> None:
    small = bytes(Gguf())
    (tmp_path / "small.gguf").write_bytes(small)
    (tmp_path / "Modelfile").write_text("FROM smollm2:135m\nDRAFT ./small.gguf\n")
    assert corral("create", "mine", "-f", str(tmp_path / "Modelfile")) == 0
    request = request_of(corral)
    ((name, digest),) = request.draft_files.items()
    assert (request.base, request.files, name) == ("smollm2:135m", {}, "small.gguf")
    assert corral.fake.blobs[str(Digest.parse(digest))] == small


def test_type_and_importance_matrix_are_sent(
    corral: Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.gguf").write_bytes(bytes(Gguf()))
    (tmp_path / "imatrix.gguf").write_bytes(b"whatever it is, the server says")
    (tmp_path / "Modelfile").write_text(
        "FROM ./model.gguf\nRENDERER qwen3-coder\nPARSER qwen3-coder\nREQUIRES 0.14.0\n"
    )
    words = ("create", "mine", "-f", str(tmp_path / "Modelfile"), "-q", "q4_K_M")
    assert corral(*words, "--imatrix", str(tmp_path / "imatrix.gguf")) == 0
    request = request_of(corral)
    assert (request.quantize, list(request.imatrix)) == ("q4_K_M", ["imatrix.gguf"])
    assert (request.renderer, request.parser, request.requires) == ("qwen3-coder", "qwen3-coder", "0.14.0")
    capsys.readouterr()
    assert corral(*words, "--imatrix", str(tmp_path / "nope")) == 1
    assert capsys.readouterr().err == f"Error: {tmp_path / 'nope'} is not a regular file\n"


def test_without_a_modelfile_the_folder_is_the_model(
    corral: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.gguf").write_bytes(bytes(Gguf()))
    monkeypatch.chdir(tmp_path)
    assert corral("create", "mine") == 0
    assert list(request_of(corral).files) == ["model.gguf"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PARAMETER seed 1\n", "no FROM line"),
        ("FROM a\nPARAMETER nope 1\n", "(line 2): unknown parameter 'nope'"),
        (
            "FROM a\n\nBOGUS x\n",
            '(line 3): command must be one of "from", "license", "template", "system", "adapter", "draft", '
            '"renderer", "parser", "parameter", "message", or "requires"',
        ),
        ("SYSTEM x\nFROM ./nope.gguf\n", "(line 2): ./nope.gguf is neither a file nor a model's name"),
        ("FROM a\nDRAFT ./nope.gguf\n", "(line 2): ./nope.gguf is no file"),
        ("FROM a\nMESSAGE robot hi\n", '(line 2): message role must be one of "system", "user", or "assistant"'),
    ],
)
def test_a_mistake_is_told_with_its_line(
    corral: Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (tmp_path / "Modelfile").write_text(text)
    assert corral("create", "mine", "-f", str(tmp_path / "Modelfile")) == 1
    assert capsys.readouterr() == ("", f"Error: {message}\n")
    assert not corral.sessions


def test_a_modelfile_that_is_not_there(corral: Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("create", "mine", "-f", str(tmp_path / "nope")) == 1
    assert capsys.readouterr().err == "Error: specified Modelfile wasn't found\n"


@pytest.mark.parametrize("kind", ["named", "of the shell", "-"])
def test_a_modelfile_comes_through_a_pipe(
    corral: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "model.gguf").write_bytes(bytes(Gguf()))
    monkeypatch.chdir(tmp_path)
    text = b"FROM ./model.gguf\nSYSTEM Be brief.\n"
    if kind == "named":
        os.mkfifo("pipe")
        writer = threading.Thread(target=lambda: Path("pipe").write_bytes(text))
        writer.start()
        assert corral("create", "mine", "-f", "pipe") == 0
        writer.join()
    else:
        output, end = os.pipe()
        os.write(end, text)
        os.close(end)
        kept = os.dup(0)
        os.dup2(output, 0)
        try:
            assert corral("create", "mine", "-f", "-" if kind == "-" else f"/dev/fd/{output}") == 0
        finally:
            os.dup2(kept, 0)
            os.close(kept)
            os.close(output)
    request = request_of(corral)
    assert (list(request.files), request.system) == (["model.gguf"], "Be brief.")


def test_a_pipe_that_says_too_much_is_not_read_to_its_end(
    corral: Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), (tmp_path / "pipe").open("wb", buffering=0) as pipe:
            for _ in range(20):
                pipe.write(b"#" * (1 << 20))

    writer = threading.Thread(target=write)
    writer.start()
    assert corral("create", "mine", "-f", str(tmp_path / "pipe")) == 1
    writer.join()
    assert capsys.readouterr().err == f"Error: {tmp_path / 'pipe'} is too large for a Modelfile\n"


@pytest.mark.parametrize("kind", ["device", "folder"])
def test_what_is_no_file_is_refused_at_once(
    corral: Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = Path("/dev/zero")
    if kind == "folder":
        path = tmp_path
    assert corral("create", "mine", "-f", str(path)) == 1
    assert capsys.readouterr().err.startswith("Error: ")
    assert not corral.sessions


def test_weights_that_are_no_file_are_refused_at_once(
    corral: Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Modelfile").write_text("FROM /dev/zero\n")
    assert corral("create", "mine", "-f", str(tmp_path / "Modelfile")) == 1
    assert capsys.readouterr().err == "Error: (line 1): /dev/zero is not a regular file\n"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (b"import this\n" * 9, "not a GGUF file"),
        (bytes(Gguf())[:-1], "this GGUF file is cut off: it is shorter than its tensors"),
    ],
)
def test_weights_that_are_no_gguf_are_refused_before_they_are_sent(
    corral: Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str], weights: bytes, message: str
) -> None:
    (tmp_path / "model.gguf").write_bytes(weights)
    (tmp_path / "Modelfile").write_text("# ours\nFROM ./model.gguf\n")
    assert corral("create", "mine", "-f", str(tmp_path / "Modelfile")) == 1
    assert capsys.readouterr().err == f"Error: (line 2): ./model.gguf: {message}\n"
    assert not corral.sessions


def test_a_name_that_is_none_is_told_before_the_file_is_sent(
    corral: Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Modelfile").write_text("FROM smollm2:135m\n")
    assert corral("create", "a//b", "-f", str(tmp_path / "Modelfile")) == 1
    assert capsys.readouterr().err == "Error: invalid model name\n"
    assert not corral.sessions


def test_a_folder_is_named_as_such(corral: Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("create", "mine", "-f", str(tmp_path)) == 1
    assert capsys.readouterr().err == f"Error: {tmp_path} is not a regular file\n"
