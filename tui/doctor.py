"""What is well here and what is not: terminal, keys, service, machine, store. A line each, with what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corral.runtime.errors import RunError
from corral.store.errors import StoreError
from corral.tui.figures import percent, size
from corral.tui.widgets.glyphs import Glyphs

if TYPE_CHECKING:
    from corral.runtime.snapshot import Snapshot
    from corral.runtime.verbs import Client
    from corral.tui.app import WorkbenchApp

__all__ = ["Terminal", "examine", "is_ill", "machine", "service", "settings", "store", "terminal"]

_LITTLE_DISK = 5 * 10**9
_LABEL = 11


def _line(sign: str, label: str, text: str) -> str:
    return f"{sign} {label:<{_LABEL}}{text}"


@dataclass(frozen=True, slots=True)
class Terminal:
    """What is known of a terminal; `theme` and `has_mouse` are the screen's, "" and None where none is drawn."""

    environ: Mapping[str, str]
    width: int
    height: int
    colours: str
    glyphs: Glyphs
    first_glyphs: Glyphs
    is_remote: bool
    theme: str = ""
    has_mouse: bool | None = None


def is_ill(lines: Sequence[str]) -> bool:
    """Whether something does not work; what is only worth a look does not count."""
    return any(line.startswith("✗") for line in lines)


async def examine(app: WorkbenchApp) -> list[str]:
    """Look at everything from a screen; never fails."""
    seen = Terminal(
        app.environ, app.size.width, app.size.height, app.console.color_system or "none",
        app.glyphs, app.first_glyphs, app.is_remote, app.theme, app.has_mouse,
    )  # fmt: skip
    snapshot = app.link.latest()
    try:
        stored = await app.link.call(store)
    except RunError as error:  # the service has stopped
        stored = [_line("✗", "models", str(error))]
    problems = (*app.preferences.problems, *app.keys.problems)
    return [
        *terminal(seen),
        *settings(problems),
        *service(snapshot, is_there=bool(app.link.place)),
        *machine(snapshot),
        *stored,
    ]


def terminal(seen: Terminal) -> Iterator[str]:
    """What the terminal can do, and what keeps it from more."""
    environ = seen.environ
    term = environ.get("TERM", "")
    yield _line("✓" if term else "!", "terminal", f"TERM={term or 'not set'}, {seen.width}×{seen.height}")
    best = seen.colours == "truecolor"
    hint = "" if best else "; COLORTERM=truecolor where it can show more (ssh: SendEnv COLORTERM)"
    yield _line("✓", "colours", f"{seen.colours}{f', theme {seen.theme}' if seen.theme else ''}{hint}")
    encoding = getattr(sys.__stdout__, "encoding", None) or "unknown"
    is_plain = seen.first_glyphs is Glyphs.ASCII
    yield _line("!" if is_plain else "✓", "characters", f"{encoding}, graphs in {seen.glyphs}")
    way = "ssh" if seen.is_remote else "here"
    inside = next((name for name in ("TMUX", "STY", "ZELLIJ") if environ.get(name)), "")
    mouse = "" if seen.has_mouse is None else f", mouse {_on(seen.has_mouse)}"
    yield _line("✓", "way", f"{way}{f', inside {inside.lower()}' if inside else ''}{mouse}")
    passes = "; tmux needs: set -g set-clipboard on (or allow-passthrough)" if environ.get("TMUX") else ""
    yield _line("!" if passes else "✓", "clipboard", f"OSC 52, which the terminal may refuse{passes}")


def _on(is_on: bool) -> str:
    return "on" if is_on else "off"


def settings(problems: Sequence[str]) -> Iterator[str]:
    """What is wrong with the file of settings."""
    yield _line("!" if problems else "✓", "config", problems[0] if problems else "config.toml has no mistakes")
    yield from (_line("!", "", one) for one in problems[1:])


def service(snapshot: Snapshot, *, is_there: bool) -> Iterator[str]:
    """Whether it answers, where, and whom it lets in; `is_there` says that it is elsewhere."""
    if snapshot.trouble:
        yield _line("✗", "service", snapshot.trouble)
    elif not snapshot.serving:
        yield _line("!", "service", "nothing listens: only this screen is served")
    else:
        where = "there" if is_there else "here"
        yield _line("✓", "service", f"{where}, on {snapshot.serving}")
    for one in snapshot.listeners:
        is_open = not one.keys and not any(name in one.address for name in ("127.0.0.1", "localhost", "[::1]"))
        yield _line("!" if is_open else "✓", "keys", f"{one.keys or 'none'} for {one.address}")
    failed = [one for one in snapshot.events if one.kind == "crash"]
    if failed:
        yield _line("!", "crashes", failed[0].text)


def machine(snapshot: Snapshot) -> Iterator[str]:
    """What room there is in memory and on the disk, and which GPUs are seen."""
    host = snapshot.host
    if host is None:
        yield _line("!", "machine", "n/a: this server tells nothing of its machine")
        return
    cores = f"{len(host.cpu_per_core)} cores, " if host.cpu_per_core else ""
    yield _line("✓", "processor", f"{cores}{percent(host.cpu_percent)} busy")
    free = host.memory_total - host.memory_used
    yield _line(
        "✓" if free > host.memory_total // 10 else "!", "memory", f"{size(free)} of {size(host.memory_total)} free"
    )
    sign = "✓" if host.disk_free > _LITTLE_DISK else "!"
    yield _line(sign, "disk", f"{size(host.disk_free)} of {size(host.disk_total)} free where the models are")
    if not host.gpus:
        yield _line("✓", "GPU", "none is seen; models run on the processor")
    for gpu in host.gpus:
        total = size(gpu.memory_total) if gpu.memory_total is not None else "memory n/a"
        held = f", held back: {gpu.throttled}" if gpu.throttled else ""
        yield _line("!" if held else "✓", f"GPU {gpu.index}", f"{gpu.name}, {total}{held}")


async def store(client: Client) -> list[str]:
    """What models there are, and what lies about that none needs; never fails."""
    try:
        models = await client.list_models()
        left = await client.unfinished_pulls()
    except (StoreError, RunError) as error:
        return [_line("✗", "models", str(error))]
    lines = [_line("✓" if models else "!", "models", f"{len(models)}, {size(sum(one.size for one in models))}")]
    if left:
        pulls = f"{len(left)} pulls were" if len(left) > 1 else "1 pull was"
        lines.append(_line("!", "partial", f"{pulls} left: Models shows them, r goes on"))
    try:
        orphans = await client.plan_cleanup()
    except (StoreError, RunError):
        return lines
    if orphans.files:
        lines.append(_line("!", "orphans", f"{orphans.files} files no model needs, {size(orphans.frees)}: :gc"))
    return lines
