"""What a Modelfile or a create may say of servers, and which of them are asked and told what."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.errors import BadRequest
from corral.runtime.recipe import request_from_modelfile
from corral.runtime.remote.address import Remote, from_urls, parse_hosts
from corral.runtime.remote.allowed import Allowed, key_of, note
from corral.store.errors import ModelfileError
from corral.store.modelfile import parse


@pytest.mark.parametrize(
    ("text", "hosts", "model"),
    [
        ("http://10.0.0.5:8000/m", ("http://10.0.0.5:8000",), "m"),
        ("https://gpu/Qwen/Qwen3-8B", ("https://gpu:443",), "Qwen/Qwen3-8B"),
        ("http://gpu:8000/v1/org/m", ("http://gpu:8000",), "org/m"),
        ("http://a:1,http://b:2/m", ("http://a:1", "http://b:2"), "m"),
        ("http://a:1/m, http://b:2/m", ("http://a:1", "http://b:2"), "m"),
        ("HTTP://[::1]:8000/m:tag", ("http://[::1]:8000",), "m:tag"),
    ],
)
def test_a_from_that_names_servers(text: str, hosts: tuple[str, ...], model: str) -> None:
    assert from_urls(text) == Remote(hosts, model)


@pytest.mark.parametrize(
    "text",
    ["m", "./m.gguf", "https://x/m.gguf", "https://x/m.gguf?download=true", "https://huggingface.co/a/b", "ftp://x/m"],
)
def test_a_from_that_names_none(text: str) -> None:
    assert from_urls(text) is None


@pytest.mark.parametrize("text", ["http://a:1", "http://a:1/m,http://b:1/n", "http://u:p@a:1/m", "http:///m"])
def test_a_from_that_is_wrong(text: str) -> None:
    with pytest.raises(BadRequest):
        from_urls(text)
    with pytest.raises(ModelfileError, match="line 1"):
        request_from_modelfile("m", parse(f"FROM {text}"), Path())


def test_a_modelfile_of_a_server_is_a_stub_and_has_no_files() -> None:
    recipe = request_from_modelfile("m", parse("FROM http://gpu:8000/org/m\nSYSTEM Be brief."), Path())
    assert (recipe.request.base, recipe.request.remote_host) == ("org/m", "http://gpu:8000")
    assert recipe.request.system == "Be brief."
    with pytest.raises(ModelfileError, match="one FROM line"):
        request_from_modelfile("m", parse("FROM http://gpu:8000/m\nFROM other"), Path())


def test_hosts_are_written_as_ollamas_are() -> None:
    assert parse_hosts("gpu, http://b, gpu:11434") == ("http://gpu:11434", "http://b:80")
    assert parse_hosts("http://b/, http://c:8000/v1,https://[::1]/v1/") == (
        *("http://b:80", "http://c:8000", "https://[::1]:443"),
    )


@given(st.text(max_size=60))
def test_no_text_makes_anything_but_addresses_or_our_error(text: str) -> None:
    try:
        hosts = parse_hosts(text)
    except BadRequest:
        return
    for host in hosts:
        assert parse_hosts(host) == (host,)
        assert "@" not in host


def test_noted_servers_are_allowed(tmp_path: Path) -> None:
    file = tmp_path / "corral" / "remotes"
    remote = Remote(("http://a:1", "http://b:2"), "m")
    allowed = Allowed(("A",), file)
    with pytest.raises(BadRequest, match="cannot run this remote model"):
        allowed.check(remote)
    note(file, ("http://b:2",))
    note(file, ("http://b:2",))
    allowed.check(remote)
    assert file.read_text() == "http://b:2\n"
    with pytest.raises(BadRequest):
        allowed.check(Remote(("http://b:3",), "m"))


@pytest.mark.parametrize("host", ["::1", "[::1]", "[::1]:8000"])
def test_an_ipv6_address_is_allowed_and_has_a_key_however_it_is_written(host: str) -> None:
    url = "http://[::1]:8000"
    Allowed((host,)).check(Remote((url,), "m"))
    assert key_of(((host, "one"),), url) == "one"
    with pytest.raises(BadRequest):
        Allowed((host,)).check(Remote(("http://[::2]:8000",), "m"))


def test_a_key_is_for_its_server_alone() -> None:
    keys = (("a", "one"), ("a:8000", "two"))
    found = [key_of(keys, url) for url in ("http://a:8000", "https://a:443", "http://b:8000", "http://a.b:80")]
    assert found == ["two", "one", "", ""]
