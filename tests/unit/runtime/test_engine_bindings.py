"""llama.cpp's bindings without the package around them, which stays there for whoever wants it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ENGINE = "from corral.runtime.engine.bindings import import_bindings; import_bindings()\n"
FOR_LOADS = "import corral.runtime.engine.devices, corral.runtime.engine.loading, sys\n"


def said(code: str, path: Path | None = None) -> list[str]:
    """The lines a process of its own prints; `path` comes first where modules are looked for."""
    kept = os.environ.get("PYTHONPATH", "")
    environ = os.environ | ({"PYTHONPATH": f"{path}{os.pathsep}{kept}"} if path else {})
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_runner_loads_without_the_packages_own_way_to_run_models() -> None:
    modules = said(f"{ENGINE}{FOR_LOADS}print(*sys.modules, sep='\\n')")
    assert {"llama_cpp.llama_cpp", "llama_cpp.mtmd_cpp"} <= set(modules)
    assert not {"llama_cpp.llama", "jinja2", "gotpl", "PIL"} & set(modules)


def test_the_package_is_whole_for_who_asks_for_more() -> None:
    code = (
        "import sys, llama_cpp, llama_cpp.llama_cpp as c\n"
        "print(llama_cpp.llama_decode is c.llama_decode, 'llama_cpp.llama' in sys.modules, llama_cpp.llama_cpp is c)\n"
        "from llama_cpp import Llama, llama_decode\n"
        "print(Llama.__module__, llama_cpp.Llama is Llama, llama_cpp.llama_cpp is c, llama_decode is c.llama_decode)\n"
        "print(llama_cpp.__version__, hasattr(llama_cpp, 'no such name'), type(llama_cpp).__name__)\n"
    )
    before, after, more = (line.split() for line in said(ENGINE + code))
    assert before == ["True", "False", "True"]
    assert after == ["llama_cpp.llama", "True", "True", "True"]
    assert more == [version("llama-cpp-python"), "False", "module"]


def test_a_package_that_was_imported_before_stays() -> None:
    assert said(f"import llama_cpp as before\n{ENGINE}import llama_cpp\nprint(llama_cpp is before)") == ["True"]


def test_a_package_of_another_layout_is_imported_as_a_whole(tmp_path: Path) -> None:
    package = tmp_path / "llama_cpp"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import sys\nfrom . import built\n"
        "sys.modules['llama_cpp.llama_cpp'] = sys.modules['llama_cpp.mtmd_cpp'] = built\n"
    )
    (package / "built.py").write_text("print('built')\n")
    code = "import llama_cpp.llama_cpp as c, llama_cpp.mtmd_cpp as m; print(c.__name__, c is m)"
    assert said(ENGINE + code, tmp_path) == ["built", "llama_cpp.built True"]


def test_a_package_that_is_broken_says_why(tmp_path: Path) -> None:
    package = tmp_path / "llama_cpp"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('no library')\n")
    code = "try: import_bindings()\nexcept RuntimeError as error: print(error)"
    assert said("from corral.runtime.engine.bindings import import_bindings\n" + code, tmp_path) == ["no library"]
