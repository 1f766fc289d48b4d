"""What the settings say of one model: `[models."name"]` in `config.toml`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from corral.runtime.durations import FOREVER, parse_setting
from corral.runtime.errors import BadRequest, InvalidOption
from corral.runtime.options import OPTIONS, parse_options

MOST_PARALLEL = 256
"""As many sequences as one llama.cpp context can have (llama.cpp: LLAMA_MAX_SEQ)."""


class ModelTable(msgspec.Struct, frozen=True):
    """What holds for one model. `keep_alive_s` None and `num_parallel` 0: as for all.

    A `pinned` model is never put out for another and stays for ever unless `keep_alive_s` is given; a `preload` one is
    loaded when the server starts. `options` come before the model's own parameters and after a request's.
    """

    keep_alive_s: float | None = None
    pinned: bool = False
    preload: bool = False
    num_parallel: int = 0
    options: Mapping[str, object] = msgspec.field(default_factory=dict)

    @property
    def stays_s(self) -> float | None:
        """How long the model stays unless a request says; None where nothing is said of it."""
        return FOREVER if self.keep_alive_s is None and self.pinned else self.keep_alive_s


KEYS = ("keep_alive", "pinned", "preload", "num_parallel", "gpu", *OPTIONS)
"""What such a table may say."""


def read_table(entries: Mapping[str, object]) -> tuple[ModelTable, dict[str, str]]:
    """Read a table whose keys are all known; returns it with what is wrong, by key."""
    wrong: dict[str, str] = {}
    options: dict[str, object] = {}
    for name, value in entries.items():
        if name not in OPTIONS:
            continue
        try:
            parse_options({name: value})
        except InvalidOption as error:
            wrong[name] = str(error)
        else:
            options[name] = value
    flags = {name: entries.get(name, False) for name in ("pinned", "preload")}
    wrong |= {name: f"{name} must be true or false" for name, value in flags.items() if not isinstance(value, bool)}
    gpu = _whole(entries, "gpu", 0, wrong)
    if gpu is not None:
        # On one GPU alone; `main_gpu` without that is where what cannot be split lies.
        options = {"main_gpu": gpu, "split_mode": "none", **options}
    keep_alive_s = None
    if "keep_alive" in entries:
        given = entries["keep_alive"]
        try:
            if isinstance(given, bool) or not isinstance(given, (int, str)):
                raise BadRequest("no duration")
            keep_alive_s = parse_setting(str(given))
        except BadRequest as error:
            wrong["keep_alive"] = f"keep_alive must be seconds, or a text such as 5m ({error})"
    table = ModelTable(
        keep_alive_s=keep_alive_s,
        pinned=flags["pinned"] is True,
        preload=flags["preload"] is True,
        num_parallel=_whole(entries, "num_parallel", 1, wrong) or 0,
        options=options,
    )
    return table, wrong


def _whole(entries: Mapping[str, object], name: str, least: int, wrong: dict[str, str]) -> int | None:
    value = entries.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_PARALLEL:
        wrong[name] = f"{name} must be a whole number from {least} to {MOST_PARALLEL}"
        return None
    return value
