"""`make torture`: engines elsewhere: llama.cpp's own server, built once, and servers that fail under many requests."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from corral.runtime.engine.process import default_threads
from corral.runtime.workbench import Workbench
from tests.bench.peer import serving_peer
from tests.conftest import STARTER_MODEL, LiveServer
from tests.programs import serving
from tests.unit.runtime.stubs import lose_none, outlive_kills, workbench

__all__ = ["workbench"]
pytestmark = [pytest.mark.torture, pytest.mark.model, pytest.mark.timeout(3900)]
REQUESTS = 1000
ASK = [{"role": "user", "content": "Write one sentence about the sea."}]


def test_llama_cpps_server_tells_of_tokens_and_prompts(
    starter_gguf: Path, live_server: LiveServer, tmp_path: Path
) -> None:
    """It cuts texts and writes conversations as our runner does with the same file."""
    peer = serving_peer(starter_gguf, threads=default_threads(), parallel=1, num_cells=1024, options=("--jinja",))
    with peer as port, serving(tmp_path / "front", tmp_path, CORRAL_REMOTES="127.0.0.1") as front:
        url = f"http://127.0.0.1:{port}"
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{front}", timeout=60, trust_env=False) as there,
            httpx.Client(base_url=live_server.base_url, timeout=60, trust_env=False) as here,
        ):
            stub = {"model": "far", "from": STARTER_MODEL, "remote_host": url, "stream": False}
            assert there.post("/api/create", json=stub).status_code == 200
            for path, body, told in (
                ("/api/tokenize", {"content": "Grüße, <|im_start|>world"}, "tokens"),
                ("/api/tokenize", {"content": "x", "add_special": True}, "tokens"),
                ("/api/tokenize", {"messages": ASK}, "tokens"),
                ("/api/detokenize", {"tokens": [504, 1343, 216]}, "content"),
                ("/api/chat", {"messages": ASK, "_debug_render_only": True}, "_debug_info"),
                ("/api/generate", {"prompt": "Hi", "_debug_render_only": True}, "_debug_info"),
            ):
                through = there.post(path, json={"model": "far", **body})
                assert through.status_code == 200, through.text
                direct = here.post(path, json={"model": STARTER_MODEL, **body}).json()
                assert through.json()[told] == direct[told]


@pytest.mark.parametrize("fault", ["status", "close", "truncate"])
async def test_none_of_a_thousand_is_lost_that_had_not_begun(workbench: Workbench, fault: str) -> None:
    await lose_none(workbench, fault, REQUESTS)


async def test_none_of_a_thousand_is_lost_while_servers_are_killed(workbench: Workbench) -> None:
    assert await outlive_kills(workbench, REQUESTS) >= 10
