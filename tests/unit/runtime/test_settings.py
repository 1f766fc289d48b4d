"""The environment, read by the rules of spec e."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.runtime import settings
from corral.runtime.durations import FOREVER, parse_keep_alive
from corral.runtime.errors import BadRequest
from corral.runtime.settings import Settings

HOME = Path("/home/someone")


def load(**environ: str) -> Settings:
    return settings.load(environ, HOME)


def test_defaults() -> None:
    found = load()
    assert found == Settings(models=HOME / ".ollama" / "models")
    assert found.loopback


@pytest.mark.parametrize(
    ("text", "host", "port", "url"),
    [
        ("1.2.3.4", "1.2.3.4", 11434, "http://1.2.3.4:11434"),
        (":8080", "127.0.0.1", 8080, "http://127.0.0.1:8080"),
        ("0.0.0.0", "0.0.0.0", 11434, "http://127.0.0.1:11434"),
        ("[::1]:1", "::1", 1, "http://[::1]:1"),
        ("::1", "::1", 11434, "http://[::1]:11434"),
        ("http://a.b", "a.b", 80, "http://a.b:80"),
        ("https://a.b/c/", "a.b", 443, "https://a.b:443/c"),
        ("a.b:99999", "a.b", 11434, "http://a.b:11434"),
        ("ollama.com", "ollama.com", 443, "https://ollama.com:443"),
        (' "localhost:9" ', "localhost", 9, "http://localhost:9"),
    ],
)
def test_the_forms_of_host(text: str, host: str, port: int, url: str) -> None:
    found = load(OLLAMA_HOST=text)
    assert (found.listen_host, found.listen_port, found.base_url) == (host, port, url)


def test_ours_wins_over_theirs() -> None:
    found = load(OLLAMA_HOST="a:1", CORRAL_HOST="b:2", OLLAMA_MODELS="/x", CORRAL_MODELS="/y")
    assert (found.listen_host, str(found.models)) == ("b", "/y")


def test_the_key_of_a_cloud_account_is_not_our_key() -> None:
    assert load(OLLAMA_API_KEY="secret").api_key == ""
    assert load(CORRAL_API_KEY="secret").api_key == "secret"


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300.0), ("90", 90.0), ("-1", FOREVER), ("0", 0.0), ("1h30m", 5400.0)]
)
def test_keep_alive(text: str, seconds: float) -> None:
    assert load(OLLAMA_KEEP_ALIVE=text).keep_alive_s == seconds


def test_what_cannot_be_read_keeps_its_default_and_is_named() -> None:
    found = load(OLLAMA_KEEP_ALIVE="soon", OLLAMA_MAX_QUEUE="many", OLLAMA_KV_CACHE_TYPE="q9", OLLAMA_HOST="a:x")
    assert (found.keep_alive_s, found.max_queue, found.kv_cache_type, found.listen_port) == (300.0, 512, "f16", 11434)
    assert len(found.warnings) == 4


@pytest.mark.parametrize(("text", "value"), [("1", True), ("yes", True), ("false", False), ("0", False)])
def test_flags_take_what_go_takes_and_anything_else_for_true(text: str, value: bool) -> None:
    assert load(OLLAMA_NOPRUNE=text).no_prune is value


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), (5, 5.0), (1.5, 1.5), (-1, FOREVER), ("5m0s", 300.0), ("-1m", FOREVER), ("0", 0.0)],
)
def test_keep_alive_of_a_request(value: object, seconds: float | None) -> None:
    assert parse_keep_alive(value) == seconds


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("-1", 'time: missing unit in duration "-1"'),
        ("soon", 'time: invalid duration "soon"'),
        ([], "Unsupported type: '[]interface {}'"),
        (True, "Unsupported type: 'bool'"),
    ],
)
def test_bad_keep_alive_of_a_request(value: object, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_keep_alive(value)
    assert str(caught.value) == message
