"""Long and odd input to every parser of the store: no crash, time as its length, bounded memory."""

from __future__ import annotations

import contextlib
import json
import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.store.errors import BrokenManifest, InvalidDigest, InvalidName, ModelfileError, SourceError, StoreError
from corral.store.manifests import decode_config, decode_manifest
from corral.store.modelfile import parse, render
from corral.store.names import Digest, ModelName
from corral.store.registries import Identity
from corral.store.registry import checked
from corral.store.registry_auth import Login
from corral.store.web import Refused, Web

LONG = 1 << 18
MOST_S = 1.0  # many times what is needed; what grows with the square takes minutes
MOST_BYTES = 64 << 20

PARSERS: dict[str, Callable[[str], object]] = {
    "name": ModelName.parse,
    "digest": Digest.parse,
    "manifest": lambda text: decode_manifest(text.encode()),
    "config": lambda text: decode_config(text.encode()),
    "stranger's manifest": lambda text: checked(text.encode()),
    "modelfile": lambda text: render(parse(text).commands),
}
LONG_TEXTS = {
    "letters": "a" * LONG,
    "slashes": "/" * LONG,
    "colons": "a:" * (LONG // 2),
    "schemes": "://" * (LONG // 3),
    "digest": "sha256:" + "a" * LONG,
    "brackets": "[" * LONG,
    "objects": '{"a":' * (LONG // 5),
    "quotes": '"' * LONG,
    "open quote": 'FROM x\nSYSTEM """' + '" ""' * (LONG // 4),
    "many lines": "FROM x\n" + "PARAMETER stop a\n" * (LONG // 17),
    "comments": "#\n" * (LONG // 2),
    "blanks": "FROM" + " " * LONG + "x",
    "escapes": '{"layers":"' + "\\u0000" * (LONG // 6) + '"}',
    "number": '{"config":' + "9" * LONG + "}",
    "layers": '{"config":{},"layers":[' + "{}," * (LONG // 3) + "{}]}",
    "keys": "{" + ",".join(f'"k{one}":1' for one in range(LONG // 12)) + "}",
}


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
@pytest.mark.parametrize("parser", PARSERS)
def test_a_long_text_of_any_kind_is_soon_dealt_with(parser: str, text: str) -> None:
    tracemalloc.start()
    try:
        began = time.process_time()
        with contextlib.suppress(StoreError):
            PARSERS[parser](text)
        took_s = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Being watched makes it several times slower.
    assert took_s < 10 * MOST_S
    assert peak < MOST_BYTES


@pytest.mark.parametrize(
    "challenge", ["Bearer " + 'a="' * (LONG // 3), "Bearer " + "a" * LONG, 'Bearer realm="' * 70_000]
)
async def test_a_long_challenge_is_soon_dealt_with(challenge: str) -> None:
    web = Web()
    began = time.process_time()
    with pytest.raises((Refused, SourceError)):
        await Login(web, "http://127.0.0.1:9", Identity()).answer(Refused(401, "", challenge))
    await web.close()
    assert time.process_time() - began < MOST_S


_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
_digests = st.from_regex(r"sha256[:-][0-9a-fA-F]{63,65}", fullmatch=True) | st.text(max_size=80)
_parts = st.fixed_dictionaries(
    {},
    optional={
        "mediaType": st.sampled_from(["application/vnd.ollama.image.model", "x", "\x1b"]) | _scalars,
        "digest": _digests | _scalars,
        "size": st.integers() | _scalars,
        "from": _scalars,
        "name": _scalars,
        "new": _scalars,
    },
)
_manifests = st.fixed_dictionaries(
    {}, optional={"config": _parts | _scalars, "layers": st.lists(_parts | _scalars, max_size=5) | _scalars}
)


@given(_manifests)
def test_what_looks_like_a_manifest_is_one_or_is_refused(wire: dict[str, object]) -> None:
    data = json.dumps(wire).encode()
    try:
        manifest = decode_manifest(data)
    except BrokenManifest:
        with pytest.raises(SourceError):
            checked(data)
        return
    assert all(len(digest.hex) == 64 for digest in manifest.digests)
    assert manifest.size >= 0


@given(
    st.lists(st.sampled_from(["FROM", "system", "PARAMETER", "MESSAGE", '"', '"""', " ", "\n", "#", "\ufeff", "stop"]))
)
def test_pieces_of_modelfiles_parse_or_say_why(pieces: list[str]) -> None:
    with contextlib.suppress(ModelfileError):
        parse(render(parse("".join(pieces)).commands))


@given(
    st.lists(st.sampled_from(["a", "Z", "9", "_", "-", ".", ":", "/", "//", "://", "sha256", "\0", "%2e", "\\", "ß"]))
)
def test_pieces_of_names_stay_in_their_place(pieces: list[str]) -> None:
    text = "".join(pieces)
    with contextlib.suppress(InvalidName):
        name = ModelName.parse(text)
        assert not {"", ".", ".."} & {name.host, name.namespace, name.model, name.tag}
        assert "/" not in "".join((name.host, name.namespace, name.model, name.tag))
    with contextlib.suppress(InvalidDigest):
        Digest.parse(text)
