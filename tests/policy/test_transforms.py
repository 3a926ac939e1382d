from __future__ import annotations

from collections.abc import Iterable

import pytest

import albkit as alb
from albkit.errors import Failure, FailureKind
from albkit.policy.transforms import compile_transforms
from albkit.state.record import Transformation
from tests.policy.requests import request_for


def _rewritten(
    *transforms: alb.UrlRewrite | alb.HostHeaderRewrite,
    target: str = "/",
    host: str = "example.com",
    fields: Iterable[tuple[str, str]] = (),
) -> tuple[str, str]:
    """Request target and host as they go out."""
    rewrite = compile_transforms(transforms)
    assert rewrite is not None
    request = request_for(target, host=host, fields=fields)
    rewrite(request, Transformation())
    line, field = (line.decode("utf-8", "surrogateescape") for line in request.lines[:2])
    method, url, version = line.split(" ")
    assert (method, version) == ("GET", "HTTP/1.1")
    return url, field.removeprefix("Host: ")


@pytest.mark.parametrize(
    ("regex", "replace", "target", "expected"),
    [
        pytest.param("^/dp/([A-Za-z0-9]+)/?$", "/product.php?id=$1", "/dp/B09", "/product.php?id=B09", id="alb 2.6 example"),
        pytest.param("^/dp/([A-Za-z0-9]+)/?$", "/product.php?id=$1", "/other", "/other", id="alb 2.6 no match, no change"),
        pytest.param("^/v2/(.*)$", "/$1", "/v2/a/b?c=d", "/a/b?c=d", id="prefix taken off"),
        pytest.param("a", "b", "/aaa", "/baa", id="alb 2.6 first match only"),
        pytest.param("b", "X", "/abc", "/aXc", id="found anywhere"),
        pytest.param("^b", "X", "/abc", "/abc", id="unless anchored"),
        pytest.param("A", "b", "/a", "/a", id="case counts"),
        pytest.param(r"\?.*$", "", "/a?b=c", "/a", id="alb 2.6 the query is part of it"),
        pytest.param("x=1", "x=2", "/a?x=1", "/a?x=2", id="in the query"),
        pytest.param("^http", "X", "/a", "/a", id="alb 2.6 never the scheme"),
        pytest.param(":80", "X", "/a", "/a", id="alb 2.6 never the port"),
        pytest.param("^/(a)/(b)$", "/$2/$1", "/a/b", "/b/a", id="two groups"),
        pytest.param("^/(a)/(b)$", "/$2$2$1", "/a/b", "/bba", id="groups again and side by side"),
        pytest.param("^/(a)(x)?$", "/$1-$2", "/a", "/a-", id="a group that matched nothing is empty"),
        pytest.param("^/(a)$", "/$0/$1", "/a", "//a/a", id="$0 is the whole match"),
        pytest.param("^/a$", "/$", "/a", "/$", id="a dollar alone is one"),
        pytest.param("^/a$", "/$x", "/a", "/$x", id="a dollar before a letter is one"),
        pytest.param("^/a$", r"/\1", "/a", r"/\1", id="a backslash names no group"),
        pytest.param("^/a$", "/b%20c", "/a", "/b%20c", id="nothing is decoded"),
        pytest.param("c", "X", "/é/c", "/é/X", id="behind other characters"),
        pytest.param("c", "X", "/\udcff\udcfe/c", "/\udcff\udcfe/X", id="behind bytes that are no text"),
        pytest.param("^(.*)$", "$1", "/a/../b", "/a/../b", id="the path as it came"),
    ],
)
def test_url_rewrite_replaces_the_first_match(regex: str, replace: str, target: str, expected: str) -> None:
    """Path and query, RE2's search, `$1` for what a group matched; no match leaves the request as it came (docs/alb.md 2.6)."""
    assert _rewritten(alb.UrlRewrite(regex, replace), target=target) == (expected, "example.com")


@pytest.mark.parametrize(
    ("regex", "replace", "host", "expected"),
    [
        pytest.param(
            "^mywebsite-(.+).com$", "internal.dev.$1.myweb.com", "mywebsite-shop.com", "internal.dev.shop.myweb.com", id="alb 2.6 example"
        ),
        pytest.param("^a$", "b", "c", "c", id="alb 2.6 no match, no change"),
        pytest.param("^EXAMPLE", "b", "example.com", "b.com", id="without case"),
        pytest.param("com", "org", "com.com", "org.com", id="alb 2.6 first match only"),
        pytest.param("^a$", "[::1]:80", "a", "[::1]:80", id="to a v6 address"),
        pytest.param("^(.*)$", "b.$1", "[::1]", "500", id="a v6 address is one host"),
    ],
)
def test_host_header_rewrite_replaces_the_first_match(regex: str, replace: str, host: str, expected: str) -> None:
    """The Host value, without case (docs/alb.md 2.6)."""
    if expected == "500":
        with pytest.raises(Failure):
            _rewritten(alb.HostHeaderRewrite(regex, replace), host=host)
    else:
        assert _rewritten(alb.HostHeaderRewrite(regex, replace), host=host) == ("/", expected)


@pytest.mark.parametrize(
    ("regex", "replace", "appended", "sent"),
    [
        pytest.param("^a$", "b", "b:8080", "b:8080", id="anchored"),
        pytest.param("^(.*)$", "$1.internal", "a.internal:8080", "a.internal:8080", id="the whole host"),
        pytest.param("$", ".internal", "a.internal:8080", "a.internal:8080", id="its end"),
        pytest.param("^a$", "b:90", "b:90", "b:90", id="to another port"),
        pytest.param("^a$", "[::1]", "[::1]:8080", "[::1]:8080", id="to a v6 address"),
        pytest.param("^c$", "b", "a:8080", "a:8080", id="no match"),
        pytest.param(":8080$", "", "a:8080", "a", id="the port alone"),
        pytest.param("^a:8080$", "b:90", "a:8080", "b:90", id="host and port"),
        pytest.param("^A:80", "b:90", "a:8080", "b:9080", id="host and port in part"),
        pytest.param("8080", "x", "a:8080", "500", id="port that becomes none"),
    ],
)
@pytest.mark.parametrize("preserved", [False, True])
def test_host_header_rewrite_sees_no_port_that_was_appended(regex: str, replace: str, appended: str, sent: str, preserved: bool) -> None:
    """The host alone, then what the client has sent; the result has the port that the request would have had (docs/alb.md 2.6, 2.7)."""
    transform = alb.HostHeaderRewrite(regex, replace)
    assert _rewritten(transform, host="a:8080", fields=[("Host", "A")]) == ("/", appended)
    assert _rewritten(transform, host="a:8080", fields=[]) == ("/", appended)
    host = "A:8080" if preserved else "a:8080"
    if sent == "500":
        with pytest.raises(Failure):
            _rewritten(transform, host=host, fields=[("Host", "A:8080")])
    else:
        assert _rewritten(transform, host=host, fields=[("Host", "A:8080")])[1].lower() == sent


@pytest.mark.parametrize(
    ("host", "expected"),
    [("[::1]", "[::2]"), ("[::1]:80", "[::2]:80"), ("[::1]:", "[::2]")],
)
def test_host_header_rewrite_of_an_address_keeps_its_port(host: str, expected: str) -> None:
    """The colons of the address are none of a port."""
    assert _rewritten(alb.HostHeaderRewrite(r"^\[::1\]$", "[::2]"), host=host, fields=[("Host", host)]) == ("/", expected)


def test_transforms_of_both_kinds_are_both_made() -> None:
    """One of each, whichever stands first."""
    url, host = alb.UrlRewrite("^/a", "/b"), alb.HostHeaderRewrite("^example", "internal")
    assert _rewritten(url, host, target="/a/x") == _rewritten(host, url, target="/a/x") == ("/b/x", "internal.com")


def test_transforms_do_not_change_what_rules_and_log_see() -> None:
    """They concern only what the target receives (docs/alb.md 2.6)."""
    rewrite = compile_transforms([alb.UrlRewrite("^.*$", "/b?c"), alb.HostHeaderRewrite("^.*$", "b")])
    assert rewrite is not None
    request = request_for("/a?x=y")
    rewrite(request, Transformation())
    assert (request.path, request.query_string, request.host) == ("/a", "x=y", "example.com")


def test_no_transforms_are_nothing_to_do() -> None:
    """A rule without transforms costs its requests nothing."""
    assert compile_transforms([]) is None


@pytest.mark.parametrize(
    ("transform", "target"),
    [
        pytest.param(alb.UrlRewrite("^/a$", ""), "/a", id="empty URL"),
        pytest.param(alb.UrlRewrite("^/", ""), "/a", id="no leading slash"),
        pytest.param(alb.UrlRewrite("^/(.*)$", "http://x/$1"), "/a", id="absolute URL"),
        pytest.param(alb.UrlRewrite("^/a$", "/b#c"), "/a", id="fragment"),
        pytest.param(alb.UrlRewrite("^/", "?"), "/a", id="query alone"),
        pytest.param(alb.HostHeaderRewrite("^.*$", ""), "/", id="empty host"),
        pytest.param(alb.HostHeaderRewrite("^", "http://"), "/", id="scheme in the host"),
        pytest.param(alb.HostHeaderRewrite("$", "/x"), "/", id="path in the host"),
        pytest.param(alb.HostHeaderRewrite("$", ":99999999"), "/", id="port too long"),
        pytest.param(alb.HostHeaderRewrite("$", ":99999"), "/", id="port too great"),
        pytest.param(alb.HostHeaderRewrite("^", "a,"), "/", id="list of hosts"),
        pytest.param(alb.HostHeaderRewrite("^", "u@"), "/", id="userinfo"),
    ],
)
def test_transform_with_an_unusable_result_fails_the_exchange(transform: alb.UrlRewrite | alb.HostHeaderRewrite, target: str) -> None:
    """A match whose result is no path and no host is a 500 (docs/alb.md 2.6)."""
    with pytest.raises(Failure) as raised:
        _rewritten(transform, target=target)
    assert raised.value.kind is FailureKind.TRANSFORM_FAILED
