from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from yarl import URL

import albkit as alb
from albkit.control import explain

_LISTENER: Any = SimpleNamespace(listener=alb.Listener(80, alb.FixedResponse(404)))


@pytest.mark.parametrize(
    ("url", "fields", "host"),
    [
        ("http://Example.COM:8080/", {}, "example.com"),
        ("http://a/", {"Host": "B.example:80"}, "b.example"),
        ("http://a/", {"host": "b"}, "b"),
        ("http://[::1]:8080/", {}, "[::1]"),
        ("http://a/", {"Host": "[2001:DB8::1]:80"}, "[2001:db8::1]"),
        ("http://a/", {"Host": "[2001:db8::1]"}, "[2001:db8::1]"),
        ("/x", {}, ""),
    ],
)
def test_explained_request_has_the_host_that_rules_would_see(url: str, fields: dict[str, str], host: str) -> None:
    """Lower case, without a port, an IPv6 address in its brackets, and Host before the URL: as of a request that came in."""
    assert explain._request("GET", URL(url, encoded=True), fields, "192.0.2.1", _LISTENER).host == host


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("http://a", "/", ""),
        ("http://a/x/../y", "/x/../y", ""),
        ("http://a/%41?b=%20&c", "/%41", "b=%20&c"),
        ("http://a/x?b?c", "/x", "b?c"),
        ("http://a?b", "/", "b"),
    ],
)
def test_explained_request_has_path_and_query_as_they_came(url: str, path: str, query: str) -> None:
    """Nothing is decoded or resolved; the first `?` begins the query."""
    request = explain._request("GET", URL(url, encoded=True), {}, "192.0.2.1", _LISTENER)
    assert (request.path, request.query_string) == (path, query)


def test_explained_request_has_fields_cookies_and_client() -> None:
    """What conditions and sessions look at is there, repeated fields too."""
    fields = [("X", "a"), ("x", "b"), ("Cookie", "a=1"), ("cookie", "b=2")]
    request = explain._request("PUT", URL("http://a/"), fields, "2001:db8::1", _LISTENER)
    assert request.method == "PUT"
    assert request.headers.getall("X") == ["a", "b"]
    assert request.cookie == b"a=1; b=2"
    assert request.client.host == "2001:db8::1"
    assert request.listener is _LISTENER.listener
