"""llama-cpp-python's bindings of llama.cpp's C API, without the rest of that package.

Its `__init__` imports its own way to run models (`llama_cpp.llama`, with chat formats, a cache on disk, jinja2), of
which nothing is used here and which is a third of what a runner's start takes.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any, Final

_PACKAGE: Final = "llama_cpp"
_API: Final = "llama_cpp.llama_cpp"
_USED: Final = (_API, "llama_cpp.mtmd_cpp")


class _UnreadPackage(ModuleType):
    """A package whose `__init__` runs when somebody asks for a name that only it makes.

    Its submodules need none of it, and the C API's names, for which llguidance asks here, are those of one of them.
    """

    def __getattr__(self, name: str) -> Any:
        api = sys.modules.get(_API)
        if not name.startswith("__") and hasattr(api, name):
            setattr(self, name, getattr(api, name))
        else:
            spec = self.__spec__
            assert spec is not None
            assert spec.loader is not None, "who makes it has looked"
            self.__class__ = ModuleType  # type: ignore[assignment]
            spec.loader.exec_module(self)
        return getattr(self, name)


def import_bindings() -> None:
    """Import the bindings, before anything else imports `llama_cpp`; what is there already stays.

    A package that is laid out otherwise than those known is imported as a whole.

    Raises:
        ImportError: there is none, or it is broken.
    """
    if _PACKAGE in sys.modules:
        return
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is not None and spec.loader is not None and spec.submodule_search_locations is not None:
        package = importlib.util.module_from_spec(spec)
        package.__class__ = _UnreadPackage
        sys.modules[_PACKAGE] = package
        try:
            for name in _USED:
                importlib.import_module(name)
        except Exception:
            for name in [one for one in sys.modules if one.partition(".")[0] == _PACKAGE]:
                del sys.modules[name]
        else:
            return
    for name in _USED:
        importlib.import_module(name)
