from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.store.errors import InvalidDigest, InvalidName
from corral.store.names import Digest, ModelName
from corral.store.paths import StorePaths, default_root

PATHS = StorePaths(Path("/store"))


@pytest.mark.parametrize(
    ("text", "full", "short"),
    [
        ("smollm2", "registry.ollama.ai/library/smollm2:latest", "smollm2:latest"),
        ("smollm2:135m", "registry.ollama.ai/library/smollm2:135m", "smollm2:135m"),
        ("me/x:1", "registry.ollama.ai/me/x:1", "me/x:1"),
        ("hf.co/me/x.GGUF:Q4_K_M", "hf.co/me/x.GGUF:Q4_K_M", "hf.co/me/x.GGUF:Q4_K_M"),
        ("localhost:5000/library/x", "localhost:5000/library/x:latest", "localhost:5000/library/x:latest"),
        ("https://Registry.Ollama.AI/Library/X:Y", "Registry.Ollama.AI/Library/X:Y", "X:Y"),
    ],
)
def test_names_are_completed_and_shortened(text: str, full: str, short: str) -> None:
    name = ModelName.parse(text)
    assert (name.full, name.short, str(name)) == (full, short, short)
    assert ModelName.parse(short.upper()).key == name.key or "hf.co" in text or "localhost" in text


BAD_NAMES = ["", "a//b", "x:", ":x", "../x", "..", "a/../b", "/etc/passwd", "x:../../y", "a\0b", "C:\\x", "%2e%2e/x"]
BAD_NAMES += ["a/b/c/d", "n.s/x", "-x", ".x", "x" * 81, "x:" + "y" * 81, "x" * 10_000, "x\n", "x y", "ü", "host/ns/"]


@pytest.mark.parametrize("text", BAD_NAMES)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidName) as caught:
        ModelName.parse(text)
    assert caught.value.text == text


def test_no_name_can_be_made_around_the_parser() -> None:
    with pytest.raises(InvalidName):
        ModelName("..", "..", "x", "y")
    with pytest.raises(InvalidDigest):
        Digest("../../etc/passwd")


@given(st.text() | st.from_regex(r"[A-Za-z0-9_./:\\-]{1,40}", fullmatch=True))
def test_every_name_stays_in_the_store_and_reads_back(text: str) -> None:
    try:
        name = ModelName.parse(text)
    except InvalidName:
        return
    assert PATHS.manifest(name).relative_to(PATHS.manifests).parts == (name.host, name.namespace, name.model, name.tag)
    assert ".." not in PATHS.manifest(name).parts
    assert ModelName.parse(name.full) == name
    assert ModelName.parse(name.short).key == name.key


HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha256-{HEX}", f"sha256:{HEX.upper()}"])
def test_digests_are_read(text: str) -> None:
    digest = Digest.parse(text)
    assert (digest.hex, str(digest), digest.short) == (HEX, f"sha256:{HEX}", HEX[:12])
    assert PATHS.blob(digest) == Path(f"/store/blobs/sha256-{HEX}")


@pytest.mark.parametrize(
    "text", ["", HEX, f"sha256:{HEX[1:]}", f"sha256:{HEX}0", f"sha256:{HEX}\n", "sha256:../..", f"sha1:{HEX}"]
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidDigest):
        Digest.parse(text)


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({}, "/home/me/.ollama/models"),
        ({"OLLAMA_MODELS": "/data"}, "/data"),
        ({"OLLAMA_MODELS": "/data", "CORRAL_MODELS": '"~/own"'}, "/home/me/own"),
        ({"CORRAL_MODELS": "  "}, "/home/me/.ollama/models"),
    ],
)
def test_the_store_lies_where_the_user_says(environ: dict[str, str], root: str) -> None:
    assert default_root(environ, Path("/home/me")) == Path(root)
