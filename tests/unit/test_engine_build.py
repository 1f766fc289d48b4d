"""What llama.cpp is built for follows from what the machine has; the commands are stand-ins that note their call."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "engine-build.sh"
GPU = 'case "$1" in -L) echo "GPU 0";; *) printf "9.0\\n8.6\\n9.0\\n";; esac'
TOOLS = ("sh", "env", "sort", "tr", "paste", "echo", "printf")


def build(tmp_path: Path, **commands: str) -> tuple[str, str]:
    """Run the script with these commands on its PATH; returns what it said and what python was called with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        source = next(path for part in ("/usr/bin", "/bin") if (path := Path(part) / tool).exists())
        (folder / tool).symlink_to(source)
    commands.setdefault("uname", "echo Linux")
    commands["python"] = 'echo "$CMAKE_ARGS|$PIP_CACHE_DIR|$*" > "$CALL"'
    for name, body in commands.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    environ = {"PATH": str(folder), "HOME": "/h", "CALL": str(tmp_path / "call"), "PYTHON": str(folder / "python")}
    done = subprocess.run(["sh", str(SCRIPT)], env=environ, capture_output=True, text=True, check=True)
    return done.stdout, (tmp_path / "call").read_text()


@pytest.mark.parametrize(
    "commands",
    [{}, {"nvidia_smi": "exit 9", "nvcc": ""}, {"nvidia_smi": GPU}],
    ids=["nothing", "no GPU answers", "no compiler"],
)
def test_the_cpu_is_what_remains(tmp_path: Path, commands: dict[str, str]) -> None:
    said, called = build(tmp_path, **commands)
    assert "for the CPU" in said
    assert called.startswith("||-m pip install")


def test_cuda_where_a_gpu_answers_and_its_compiler_is_there(tmp_path: Path) -> None:
    said, called = build(tmp_path, nvidia_smi=GPU, nvcc="exit 0")
    assert "for CUDA (architecture 86;90)" in said
    assert "-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=86;90" in called
    assert "pip-cuda-86-90" in called, "a wheel built for the CPU must not be taken from pip's cache"


def test_metal_on_a_mac(tmp_path: Path) -> None:
    said, called = build(tmp_path, uname="echo Darwin")
    assert "for Metal" in said
    assert called.startswith("-DGGML_METAL=on")


def test_it_is_a_plain_shell_script() -> None:
    assert subprocess.run(["sh", "-n", str(SCRIPT)], check=False).returncode == 0
    assert os.access(SCRIPT, os.R_OK)
