"""A request as a curl command a person can change and send again."""

from __future__ import annotations

import json
import shlex

from corral.runtime.snapshot import RequestView
from corral.tui.text import clean, clean_line

_EXAMPLE = [{"role": "user", "content": "hello"}]
_BODIES: dict[str, dict[str, object]] = {
    "/api/chat": {"messages": _EXAMPLE},
    "/v1/chat/completions": {"messages": _EXAMPLE},
    "/api/generate": {"prompt": "hello"},
}


def base_url(serving: str) -> str:
    """What a client on this machine puts before a path; `serving` may be an address without scheme, or empty."""
    address = clean_line(serving).rstrip("/") or "127.0.0.1:11434"
    address = address.replace("0.0.0.0", "127.0.0.1").replace("[::]:", "[::1]:")
    return address if "://" in address else f"http://{address}"


def curl_command(request: RequestView, serving: str, body: str = "") -> str:
    """The command, safe to paste: what came from outside is quoted. Where `body` was not kept it is an example."""
    path = clean_line(request.path)
    url = base_url(serving) + (path if path.startswith("/") else f"/{path}")
    words = ["curl", "-X", clean_line(request.method) or "POST", url]
    if body:
        # In quotes a shell obeys nothing, but a terminal obeys an escape sequence that is pasted.
        words += ["-H", "Content-Type: application/json", "-d", clean(body)]
    elif request.model:
        example = {"model": clean_line(request.model), **_BODIES.get(path, {})}
        words += ["-H", "Content-Type: application/json", "-d", json.dumps(example, ensure_ascii=False)]
    return shlex.join(words)
