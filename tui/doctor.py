"""What is well here and what is not: terminal, keys, service, machine, store. A line each, with what to do about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from corral.runtime.errors import RunError
from corral.store.errors import StoreError
from corral.tui.figures import size
from corral.tui.widgets.glyphs import Glyphs

if TYPE_CHECKING:
    from corral.tui.app import WorkbenchApp

__all__ = ["examine"]

_LITTLE_DISK = 5 * 10**9
_LABEL = 11


def _line(sign: str, label: str, text: str) -> str:
    return f"{sign} {label:<{_LABEL}}{text}"


async def examine(app: WorkbenchApp) -> list[str]:
    """Look at everything; never fails."""
    return [*_terminal(app), *_keys(app), *_service(app), *_machine(app), *await _store(app)]


def _terminal(app: WorkbenchApp) -> Iterator[str]:
    environ = app.environ
    term, colours = environ.get("TERM", ""), app.console.color_system or "none"
    yield _line("✓" if term else "!", "terminal", f"TERM={term or 'not set'}, {app.size.width}×{app.size.height}")
    hint = "" if colours == "truecolor" else "; COLORTERM=truecolor where it can show more (ssh: SendEnv COLORTERM)"
    yield _line("✓", "colours", f"{colours}, theme {app.theme}{hint}")
    encoding = getattr(sys.__stdout__, "encoding", None) or "unknown"
    is_plain = app.first_glyphs is Glyphs.ASCII
    yield _line("!" if is_plain else "✓", "characters", f"{encoding}, graphs in {app.glyphs}")
    way = "ssh" if app.is_remote else "here"
    inside = next((name for name in ("TMUX", "STY", "ZELLIJ") if environ.get(name)), "")
    yield _line("✓", "way", f"{way}{f', inside {inside.lower()}' if inside else ''}, mouse {_on(app.has_mouse)}")
    passes = "; tmux needs: set -g allow-passthrough on" if environ.get("TMUX") else ""
    yield _line("!" if passes else "✓", "clipboard", f"OSC 52, which the terminal may refuse{passes}")


def _on(is_on: bool) -> str:
    return "on" if is_on else "off"


def _keys(app: WorkbenchApp) -> Iterator[str]:
    problems = (*app.preferences.problems, *app.keys.problems)
    yield _line("!" if problems else "✓", "config", problems[0] if problems else "config.toml has no mistakes")
    yield from (_line("!", "", one) for one in problems[1:])


def _service(app: WorkbenchApp) -> Iterator[str]:
    snapshot = app.link.latest()
    if snapshot.trouble:
        yield _line("✗", "service", snapshot.trouble)
    elif not snapshot.serving:
        yield _line("!", "service", "nothing listens: only this screen is served")
    else:
        where = "there" if app.link.place else "here"
        yield _line("✓", "service", f"{where}, on {snapshot.serving}")
    for one in snapshot.listeners:
        is_open = not one.keys and not any(name in one.address for name in ("127.0.0.1", "localhost", "[::1]"))
        yield _line("!" if is_open else "✓", "keys", f"{one.keys or 'none'} for {one.address}")
    failed = [one for one in snapshot.events if one.kind == "crash"]
    if failed:
        yield _line("!", "crashes", failed[0].text)


def _machine(app: WorkbenchApp) -> Iterator[str]:
    host = app.link.latest().host
    if host is None:
        yield _line("!", "machine", "n/a: this server tells nothing of its machine")
        return
    yield _line("✓", "processor", f"{len(host.cpu_per_core) or os.cpu_count()} cores, {host.cpu_percent:.0f} % busy")
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


async def _store(app: WorkbenchApp) -> list[str]:
    try:
        models = await app.link.call(lambda client: client.list_models())
        left = await app.link.call(lambda client: client.unfinished_pulls())
    except (StoreError, RunError) as error:
        return [_line("✗", "models", str(error))]
    lines = [_line("✓" if models else "!", "models", f"{len(models)}, {size(sum(one.size for one in models))}")]
    if left:
        lines.append(_line("!", "partial", f"{len(left)} pulls were left: Models shows them, r goes on"))
    try:
        orphans = await app.link.call(lambda client: client.plan_cleanup())
    except (StoreError, RunError):
        return lines
    if orphans.files:
        lines.append(_line("!", "orphans", f"{orphans.files} files no model needs, {size(orphans.frees)}: :gc"))
    return lines
