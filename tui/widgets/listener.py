"""Where others reach the server, what they speak, and whom it lets in."""

from __future__ import annotations

from corral.runtime.snapshot import ListenerView, Snapshot
from corral.tui.figures import size, span
from corral.tui.text import clean_line

_SPEAKS = "  Ollama /api · OpenAI /v1 · Anthropic /v1/messages"
_MORE = "  /metrics · /api/openapi.json"


def listener_lines(now: Snapshot) -> list[str]:
    """A few lines, the most asked for first; of a server elsewhere that does not answer, why."""
    if now.trouble:
        return [f"✗ {clean_line(now.trouble)}"]
    if not now.serving:
        return ["○ nothing listens: only this workbench is served"]
    if not now.listeners:
        return [f"● {clean_line(now.serving)}", "  n/a: it tells nothing of itself, as Ollama's own server"]
    disk = f" · disk {size(now.host.disk_free)} free" if now.host is not None else ""
    lines = [line for one in now.listeners for line in _address(one, now.wall_s)]
    return [*lines, _SPEAKS, f"{_MORE}{disk}"]


def _address(one: ListenerView, now_s: float) -> list[str]:
    keys = f"one of {one.keys} API keys" if one.keys > 1 else "the API key" if one.keys else "anybody"
    pages = f" · pages of {', '.join(map(clean_line, one.origins))}" if one.origins else ""
    up = span(max(0.0, now_s - one.since_wall_s))
    return [f"● {clean_line(one.address)} · up {up}", f"  lets in {keys}{pages}"]
