"""Modules that the workbench's first frame can do without, read in behind it.

asyncio and Textual import them at their top for what a first frame never does: TLS, folders, trees of files.
A stand-in lies where such a module would be found, and becomes the real one as soon as anybody asks it for something
it has not at hand. So nothing breaks where a later version asks sooner; it only starts later, which a test notices.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["LateModule", "bring", "put_off"]

_PUT_OFF: Mapping[str, Sequence[str]] = {
    "ssl": (),
    "asyncio.sslproto": (),
    "tokenize": (),
    "tempfile": (),
    "difflib": ("get_close_matches",),
    "platformdirs": ("user_downloads_path",),
    "textual.types": (),
}
"""What is put off, with the functions that others take out of it as they are imported."""
_TYPES = {"textual.types": {"IgnoreReturnCallbackType": "textual._types"}}
"""What others take for their annotations only, and where it really is."""
_taking_away = threading.Lock()


class LateModule(ModuleType):
    """Stands in for a module. `functions` are handed out without it, `elsewhere` are names that another module has."""

    def __init__(self, name: str, functions: Sequence[str] = (), elsewhere: Mapping[str, str] | None = None) -> None:
        super().__init__(name)
        self.__dict__["_elsewhere"] = elsewhere or {}
        for function in functions:
            self.__dict__[function] = self._calling(function)

    def _calling(self, function: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(real(self), function)(*args, **kwargs)

        return call

    def __getattr__(self, name: str) -> Any:
        """Whatever is asked for, of the real module."""
        if name == "__path__":  # asked by every import out of it, which for a package means modules of its own
            raise AttributeError(name)
        if name in self._elsewhere:
            return getattr(import_module(self._elsewhere[name]), name)
        return getattr(real(self), name)


def real(module: ModuleType) -> ModuleType:
    """Return the module that a stand-in stands for, read in now if it has not been."""
    with _taking_away:
        if sys.modules.get(module.__name__) is module:
            del sys.modules[module.__name__]
    return import_module(module.__name__)  # whose lock lets no thread see half of it


def put_off() -> None:
    """Put stand-ins where none of these modules has been read in yet."""
    for name, functions in _PUT_OFF.items():
        if name not in sys.modules:
            sys.modules[name] = LateModule(name, functions, _TYPES.get(name))


def bring() -> None:
    """Read in what was put off, for whoever imports it from now on."""
    for name in _PUT_OFF:
        module = sys.modules.get(name)
        if isinstance(module, LateModule):
            real(module)
