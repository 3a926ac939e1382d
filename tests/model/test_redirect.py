from __future__ import annotations

from typing import Any

import pytest

import albkit as alb
from albkit.model.actions.redirect import location
from tests.policy.requests import request_for


@pytest.mark.parametrize(
    ("parts", "target", "expected"),
    [
        pytest.param({"protocol": "HTTPS"}, "/a?b=c", "https://example.com:8080/a?b=c", id="alb 4.2 the port is the listener's"),
        pytest.param({"protocol": "HTTPS", "port": 443}, "/", "https://example.com:443/", id="alb 4.2 an explicit port is written"),
        pytest.param({"protocol": "HTTPS", "port": "443"}, "/", "https://example.com:443/", id="port as text"),
        pytest.param({"host": "www.example.org"}, "/a", "http://www.example.org:8080/a", id="host"),
        pytest.param({"host": "www.#{host}"}, "/a", "http://www.example.com:8080/a", id="#{host} in host"),
        pytest.param({"host": "[2001:db8::1]"}, "/a", "http://[2001:db8::1]:8080/a", id="v6 host"),
        pytest.param({"port": "80"}, "/a", "http://example.com:80/a", id="port 80 is written too"),
        pytest.param({"path": "/new/#{path}"}, "/old/x", "http://example.com:8080/new/old/x", id="#{path} has no leading slash"),
        pytest.param({"path": "/new/#{path}"}, "/", "http://example.com:8080/new/", id="#{path} of the root is empty"),
        pytest.param({"path": "/#{host}/#{port}/#{path}"}, "/x", "http://example.com:8080/example.com/8080/x", id="all of path"),
        pytest.param({"path": "/#{path}/#{path}"}, "/x", "http://example.com:8080/x/x", id="twice"),
        pytest.param({"path": "/a"}, "/x", "http://example.com:8080/a", id="alb 4.2 no ? for an empty query"),
        pytest.param({"path": "/a"}, "/x?", "http://example.com:8080/a", id="no ? for an empty query with its ?"),
        pytest.param({"path": "/a", "query": ""}, "/x?b=c", "http://example.com:8080/a", id="query dropped"),
        pytest.param({"path": "/a", "query": "#{query}&d=e"}, "/x?b=c", "http://example.com:8080/a?b=c&d=e", id="#{query} has no ?"),
        pytest.param(
            {"path": "/a", "query": "#{protocol}-#{host}-#{port}-#{path}-#{query}"},
            "/x/y?q",
            "http://example.com:8080/a?http-example.com-8080-x/y-q",
            id="alb 4.2 all placeholders in query",
        ),
        pytest.param({"protocol": "#{protocol}", "path": "/a"}, "/", "http://example.com:8080/a", id="#{protocol}"),
        pytest.param({"port": "#{port}", "path": "/a"}, "/", "http://example.com:8080/a", id="#{port}"),
        pytest.param({"protocol": "HTTP", "host": "a"}, "/", "http://a:8080/", id="http"),
        pytest.param({"port": 1}, "/%41?%42=#", "http://example.com:1/%41?%42=#", id="nothing is decoded or encoded"),
        pytest.param({"port": 1}, "/#{host}?#{port}", "http://example.com:1/#{host}?#{port}", id="a request's own text is not filled in"),
        pytest.param({"port": 1}, "//evil.org/x", "http://example.com:1//evil.org/x", id="a path that looks like a host stays a path"),
        pytest.param({"port": 1}, "/a/../b", "http://example.com:1/a/../b", id="the path as it came"),
    ],
)
def test_redirect_location_is_albs(parts: dict[str, Any], target: str, expected: str) -> None:
    """Each part as given, with the request's own for its placeholders, and always a port (docs/alb.md 4.2)."""
    assert location(alb.Redirect(**parts), request_for(target), "http", 8080) == expected
