"""A model as its makers publish it: a config, a tokenizer, and tensors in one file or in several with an index."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from corral.store.convert.safetensors import StoredTensor, read_tensors
from corral.store.errors import ConversionError

_LARGEST_JSON = 128 << 20
_LARGEST_NUMBER = 2**31 - 1
_INDEX = "model.safetensors.index.json"


class Config:
    """A JSON object of a checkpoint, read with its types checked; `shown` is what messages call it."""

    def __init__(self, values: Mapping[str, object], shown: str) -> None:
        self.values = values
        self.shown = shown

    def has(self, *keys: str) -> bool:
        """Whether one of these is there and not null."""
        return any(self.values.get(key) is not None for key in keys)

    def _first(self, keys: tuple[str, ...]) -> object:
        return next((self.values[key] for key in keys if self.values.get(key) is not None), None)

    def number(self, *keys: str, default: int | None = None, least: int = 0, most: int = _LARGEST_NUMBER) -> int:
        """A whole number under the first of these keys that is there.

        Raises:
            ConversionError: it is missing without a default, no number, or out of bounds.
        """
        value = self._first(keys)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self._wrong(keys, value)
        return value

    def real(self, *keys: str, default: float | None = None) -> float:
        """A finite number, which may be a whole one.

        Raises:
            ConversionError: as `number`.
        """
        value = self._first(keys)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(keys, value)
        if abs(value) > 3e38:
            raise self._wrong(keys, value)
        return float(value)

    def text(self, *keys: str) -> str:
        """A string; empty where there is none."""
        value = self._first(keys)
        return value if isinstance(value, str) else ""

    def flag(self, key: str, default: bool = False) -> bool:
        """Whether a key is true."""
        value = self.values.get(key)
        return value if isinstance(value, bool) else default

    def reals(self, key: str) -> list[float]:
        """A list of finite numbers.

        Raises:
            ConversionError: it is none.
        """
        value = self.values.get(key)
        if not isinstance(value, list) or not all(
            isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in value
        ):
            raise self._wrong((key,), value)
        return [float(one) for one in value]

    def items(self, key: str) -> list[object]:
        """A list; empty where there is none."""
        value = self.values.get(key)
        return value if isinstance(value, list) else []

    def section(self, *keys: str) -> Config:
        """An object inside; empty where there is none."""
        value = self._first(keys)
        return Config(value if isinstance(value, dict) else {}, f"{self.shown}: {keys[0]}")

    def _wrong(self, keys: tuple[str, ...], value: object) -> ConversionError:
        if value is None:
            return ConversionError(f"{self.shown} does not say {keys[0]}")
        return ConversionError(f"{self.shown} says what cannot be under {keys[0]}: {str(value)[:40]}")


class Checkpoint:
    """The files of a model by their names in its folder; every file is read when it is asked for."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self.files = files
        self._parsed: dict[str, Config | None] = {}

    def json(self, name: str) -> Config | None:
        """The object a file holds, read once; None where there is no such file.

        Raises:
            ConversionError: the file is no JSON object, or too large.
        """
        if name not in self._parsed:
            self._parsed[name] = self._parse(name)
        return self._parsed[name]

    def _parse(self, name: str) -> Config | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise ConversionError(f"{name} is not JSON") from None
        if not isinstance(value, dict):
            raise ConversionError(f"{name} holds no JSON object")
        return Config(value, name)

    def text(self, name: str) -> str | None:
        """The text of a file; None where there is no such file.

        Raises:
            ConversionError: it is no text, or too large.
        """
        data = self.bytes(name)
        try:
            return None if data is None else data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ConversionError(f"{name} is not text") from None

    def bytes(self, name: str) -> bytes | None:
        """The content of a small file; None where there is no such file.

        Raises:
            ConversionError: it cannot be read, or is too large.
        """
        path = self.files.get(name)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                # A buffer is made for as much as may be asked for, so the size is looked at first.
                if (size := os.fstat(file.fileno()).st_size) > _LARGEST_JSON:
                    raise ConversionError(f"{name} is too large")
                return file.read(size)
        except OSError as error:
            raise ConversionError(f"cannot read {name}: {error.strerror}") from error

    def need(self, name: str) -> Config:
        """The object a file holds that must be there.

        Raises:
            ConversionError: it is missing or broken.
        """
        found = self.json(name)
        if found is None:
            raise ConversionError(f"{name} is missing: a model is converted from its whole folder")
        return found

    @cached_property
    def config(self) -> Config:
        """What the model is: `config.json`."""
        return self.need("config.json")

    @cached_property
    def tensors(self) -> Mapping[str, StoredTensor]:
        """All tensors by name, from all files.

        Raises:
            ConversionError: a file is missing, is no safetensors, or has what the index or another file has too.
        """
        names = sorted(name for name in self.files if name.endswith(".safetensors"))
        index = self.json(_INDEX)
        listed = index.section("weight_map").values if index is not None else {}
        for file in {str(file) for file in listed.values()}:
            if file not in self.files:
                raise ConversionError(f"{file} is missing: {_INDEX} lists it")
        if listed:
            names = sorted({str(file) for file in listed.values()})
        found: dict[str, StoredTensor] = {}
        for name in names:
            for tensor in read_tensors(self.files[name], name):
                if tensor.name in found:
                    raise ConversionError(f"tensor {tensor.name} is in two files")
                found[tensor.name] = tensor
        for tensor_name in listed:
            if tensor_name not in found:
                raise ConversionError(f"tensor {tensor_name} is missing: {_INDEX} lists it")
        if not found:
            raise ConversionError("no safetensors files: weights of other formats (PyTorch's .bin) are not converted")
        return MappingProxyType(found)


def files_of(folder: Path) -> dict[str, Path]:
    """The files of a folder that a model is converted from, by their names in it (spec f.3).

    Raises:
        ConversionError: the folder cannot be read or has no weights, or a link in it leads elsewhere.
    """
    root = folder.resolve()
    weights = _matching(folder, "model*.safetensors") or _matching(folder, "adapter_model.safetensors")
    if not weights:
        raise ConversionError("no model*.safetensors in the folder: weights of other formats are not converted")
    others = _matching(folder, "*.json", "*/*.json", "chat_template.jinja", "tokenizer.model", "vocab.txt")
    found: dict[str, Path] = {}
    for path in (*weights, *others):
        name = path.relative_to(folder).as_posix()
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(root):
            raise ConversionError(f"insecure path: {name} is a link that leaves the folder")
        if real.is_file():
            found[name] = path
    return found


def _matching(folder: Path, *patterns: str) -> list[Path]:
    try:
        return sorted({path for pattern in patterns for path in folder.glob(pattern)})
    except OSError as error:
        raise ConversionError(f"cannot read the folder: {error.strerror}") from error
