from __future__ import annotations

import pytest

from corral.api.errors import InvalidOrigin
from corral.api.origins import HostPolicy, OriginPolicy, split_host


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost", True),
        ("https://localhost:8080", True),
        ("http://127.0.0.1:1", True),
        ("http://0.0.0.0:65535", True),
        ("HTTP://LOCALHOST:3000", True),
        ("app://obsidian.md", True),
        ("file://", True),
        ("tauri://localhost", True),
        ("vscode-webview://abc", True),
        ("vscode-file://vscode-app", True),
        ("http://[::1]:11434", False),
        ("http://localhost.evil.com", False),
        ("http://127.0.0.1.evil.com", False),
        ("http://localhost:80.evil.com", False),
        ("https://evil.com", False),
        ("null", False),
        ("chrome-extension://abc", False),
        ("", False),
    ],
)
def test_origins_that_may_always_call(origin: str, allowed: bool) -> None:
    assert OriginPolicy().allows(origin, "127.0.0.1:11434") is allowed


def test_own_host_is_an_origin_that_may_call() -> None:
    assert OriginPolicy().allows("https://box.example:11434", "box.example:11434")


def test_listed_origins() -> None:
    policy = OriginPolicy(("https://*.example.com", "chrome-extension://abc", "http://10.0.0.1"))
    assert policy.allows("https://a.example.com", "")
    assert policy.allows("chrome-extension://abc", "")
    assert policy.allows("http://10.0.0.1", "")
    assert not policy.allows("https://a.example.com.evil.org", "")
    assert not policy.allows("http://10.0.0.1:99", "")


def test_a_star_allows_everything() -> None:
    assert OriginPolicy(("*",)).allows("null", "")


@pytest.mark.parametrize("origin", ["example.com", "ftp://x", "https://*.*.com"])
def test_malformed_origins_are_refused(origin: str) -> None:
    with pytest.raises(InvalidOrigin, match="bad origin"):
        OriginPolicy((origin,))


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("localhost", True),
        ("LOCALHOST:11434", True),
        ("127.0.0.1:11434", True),
        ("127.3.2.1", True),
        ("[::1]:11434", True),
        ("[::1]", True),
        ("192.168.1.5:80", True),
        ("0.0.0.0", True),
        ("8.8.4.4", True),
        ("8.8.8.8", False),
        ("x.localhost", True),
        ("printer.local", True),
        ("svc.internal:1", True),
        ("mybox", True),
        ("MyBox:11434", True),
        ("evil.com", False),
        ("evil.com:11434", False),
        ("127.0.0.1.evil.com", False),
        ("localhost.evil.com", False),
        ("localhost:80.evil.com", False),
        ("[::1", False),
        ("[::1]evil.com", False),
        ("", False),
        (":11434", False),
    ],
)
def test_hosts(header: str, allowed: bool) -> None:
    policy = HostPolicy("127.0.0.1", hostname="mybox", own_addresses=lambda: ["8.8.4.4"])
    assert policy.allows(header) is allowed


def test_listed_origins_list_their_hosts() -> None:
    policy = HostPolicy("0.0.0.0", ("https://llm.example.com:8443",), loopback=False, hostname="mybox")
    assert policy.allows("llm.example.com:11434")
    assert not policy.allows("example.com")


def test_a_star_lists_every_name_only_where_others_can_reach_us_anyway() -> None:
    assert HostPolicy("0.0.0.0", ("*",), loopback=False).allows("anything.example")
    assert not HostPolicy("127.0.0.1", ("*",)).allows("anything.example")


def test_split_host() -> None:
    assert split_host(" A.B:1 ") == "a.b"
    assert split_host("[FE80::1]:80") == "fe80::1"
