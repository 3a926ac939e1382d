from __future__ import annotations

import time
from typing import Any

import pytest

import albkit as alb
from albkit.model.conditions import compile_condition
from tests.policy.requests import request_for


def _holds(condition: Any, *target: str, **request: Any) -> bool:
    return compile_condition(condition)(request_for(*target, **request))


@pytest.mark.parametrize(
    ("values", "host", "holds"),
    [
        pytest.param(["example.com"], "example.com", True, id="exact"),
        pytest.param(["EXAMPLE.com"], "example.com", True, id="alb 3.2 case is ignored"),
        pytest.param(["*.EXAMPLE.com"], "a.example.com", True, id="alb 3.2 case is ignored in wildcards"),
        pytest.param(["example.com"], "a.example.com", False, id="whole value"),
        pytest.param(["a.com", "b.com"], "b.com", True, id="alb 3.1 values are OR"),
        pytest.param(["a.com", "*.b.com"], "c.com", False, id="none of several"),
        pytest.param(["?.com"], "ab.com", False, id="one character"),
        pytest.param(["?.com"], "a.com", True, id="alb 3.1 ? is one character"),
        pytest.param(["a?c.com"], "ac.com", False, id="alb 3.1 ? is never none"),
        pytest.param(["*.example.com"], "example.com", False, id="alb 3.1 the bare domain is another host"),
        pytest.param(["*.example.com"], "a.b.example.com", True, id="alb 3.1 star crosses dots"),
        pytest.param(["*.example.com"], "a.example.com.evil.org", False, id="alb 3.1 the whole host, at its end"),
        pytest.param(["a.*"], "a.", True, id="alb 3.1 star is none as well"),
        pytest.param(["*b*"], "abc.com", True, id="star on both sides"),
        pytest.param(["a.c"], "abc", False, id="a dot is a dot"),
    ],
)
def test_host_header_holds_for_matching_hosts(values: list[str], host: str, holds: bool) -> None:
    """Whole host, without case, any of the values."""
    assert _holds(alb.HostHeader(values), host=host) is holds


@pytest.mark.parametrize(
    ("values", "path", "holds"),
    [
        pytest.param(["/a"], "/a", True, id="exact"),
        pytest.param(["/a"], "/A", False, id="alb 3.2 case counts"),
        pytest.param(["/a/*"], "/a/b/c", True, id="star crosses slashes"),
        pytest.param(["/a", "/b"], "/b", True, id="alb 3.1 values are OR"),
        pytest.param(["/a", "/b"], "/c", False, id="none of several"),
        pytest.param(["/admin/*"], "/public/../admin/x", True, id="dot segments do not hide a path"),
        pytest.param(["/public/*"], "/public/../admin/x", False, id="dot segments do not pretend one"),
        pytest.param(["/a"], "/%61", False, id="nothing is decoded"),
        pytest.param(["/a%2Fb"], "/a%2Fb", True, id="escapes compare raw"),
        pytest.param(["*"], "*", True, id="asterisk form"),
        pytest.param(["/a"], "/a?b=c", True, id="alb 3.2 the query is no part"),
        pytest.param(["/a*c"], "/a?c", False, id="alb 3.2 never the query, not for a star either"),
        pytest.param(["/a?b"], "/a/b", True, id="? is a slash as well"),
        pytest.param(["/a?b"], "/a?b", False, id="? is no query"),
        pytest.param(["/a"], "/a/", False, id="alb 3.1 whole path, at its end"),
        pytest.param(["?a"], "/b/a", False, id="alb 3.1 whole path, at its beginning"),
        pytest.param(["*.png"], "/x/y.png", True, id="ending"),
        pytest.param(["/a.c"], "/abc", False, id="a dot is a dot"),
        pytest.param(["/a+"], "/aa", False, id="a plus is a plus"),
        pytest.param(["/a$"], "/a", False, id="a dollar is a dollar"),
        pytest.param(["/a//b"], "/a/b", False, id="slashes are not merged"),
        pytest.param(["/pkg.Service/*"], "/pkg.Service/Method", True, id="alb 3.2 gRPC form"),
    ],
)
def test_path_pattern_holds_for_matching_paths(values: list[str], path: str, holds: bool) -> None:
    """Whole path, with case, any of the values, raw but for dot segments."""
    assert _holds(alb.PathPattern(values), path) is holds


@pytest.mark.parametrize(
    ("values", "fields", "holds"),
    [
        pytest.param(["yes"], [("X-A", "yes")], True, id="exact"),
        pytest.param(["YES"], [("x-a", "yEs")], True, id="alb 3.2 name and value without case"),
        pytest.param(["yes"], [], False, id="no such field"),
        pytest.param(["*"], [], False, id="a star is a value, not its absence"),
        pytest.param(["*"], [("X-A", "")], True, id="an empty value is a value"),
        pytest.param(["Chrome"], [("X-A", "Mozilla Chrome/1")], False, id="alb 3.1 whole value"),
        pytest.param(["*Chrome*"], [("X-A", "Mozilla chrome/1")], True, id="alb 3.1 stars"),
        pytest.param(["a?c"], [("X-A", "abc")], True, id="one character"),
        pytest.param(["a", "b"], [("X-A", "b")], True, id="alb 3.1 values are OR"),
        pytest.param(["b"], [("X-A", "a"), ("X-A", "b")], True, id="alb 3.2 repeated fields one by one"),
        pytest.param(["a, b"], [("X-A", "a"), ("X-A", "b")], False, id="alb 3.2 never joined"),
        pytest.param(["a*b"], [("X-A", "a"), ("X-A", "b")], False, id="alb 3.2 never joined for a star"),
        pytest.param(["a,b"], [("X-A", "a,b")], True, id="a list in one line is one value"),
        pytest.param(["a"], [("X-B", "a")], False, id="another field"),
        pytest.param(["k"], [("X-A", "\u212a")], False, id="alb 3.1 only ASCII: a Kelvin sign is no k"),
        pytest.param(["?a"], [("X-A", "\u0130A")], True, id="another letter is one character in any case"),
        pytest.param(["a\\*"], [("X-A", "a*")], False, id="alb 3.1 no escapes outside query strings"),
        pytest.param(["a\\*"], [("X-A", "a\\b")], True, id="a backslash is a backslash"),
    ],
)
def test_http_header_holds_for_matching_fields(values: list[str], fields: list[tuple[str, str]], holds: bool) -> None:
    """One line of the named field matches one of the values as a whole, without case."""
    assert _holds(alb.HttpHeader("X-A", values), fields=fields) is holds


@pytest.mark.parametrize(
    ("values", "method", "holds"),
    [
        (["GET"], "GET", True),
        (["GET"], "get", False),
        (["GET"], "HEAD", False),
        (["GET", "HEAD"], "HEAD", True),
        (["PURGE_ALL-NOW"], "PURGE_ALL-NOW", True),
        (["GET"], "GETS", False),
    ],
)
def test_http_request_method_holds_for_the_same_token(values: list[str], method: str, holds: bool) -> None:
    """The exact token, with case, any of the values (docs/alb.md 3.2)."""
    assert _holds(alb.HttpRequestMethod(values), method=method) is holds


@pytest.mark.parametrize(
    ("values", "query", "holds"),
    [
        pytest.param([("version", "v1")], "version=v1", True, id="pair"),
        pytest.param([("version", "v1")], "a=b&version=v1&c", True, id="pair among others"),
        pytest.param([("version", "v1")], "VERSION=V1", True, id="alb 3.2 key and value without case"),
        pytest.param([("VERSION", "V1")], "version=v1", True, id="alb 3.2 pattern without case"),
        pytest.param([("version", "v1")], "version=v2", False, id="another value"),
        pytest.param([("version", "v1")], "vers=v1", False, id="another key"),
        pytest.param([("version", "v1")], "version=x&other=v1", False, id="key and value of one parameter"),
        pytest.param([("version", "v1")], "version=v2&version=v1", True, id="any of the same key"),
        pytest.param(["v1"], "version=v1", True, id="alb 3.2 value alone, whatever its key"),
        pytest.param(["v1"], "v1=x", False, id="value alone is no key"),
        pytest.param(["*example*"], "a=my-example-x", True, id="value alone with stars"),
        pytest.param([("a", "*")], "a", True, id="a key without = has an empty value"),
        pytest.param([("a", "*")], "a=", True, id="a key with an empty value"),
        pytest.param([("a", "?")], "a=", False, id="? is never none"),
        pytest.param([("a", "b=c")], "a=b=c", True, id="alb 3.2 at the first ="),
        pytest.param([("a*", "b")], "abc=b", True, id="alb 3.1 stars in keys"),
        pytest.param([("a?", "b")], "ab=b", True, id="alb 3.1 ? in keys"),
        pytest.param(["a", ("b", "c")], "b=c", True, id="alb 3.2 one of several suffices"),
        pytest.param([("a", "b?c")], "a=b?c", True, id="alb 3.2 only the first ? begins the query"),
        pytest.param([("a", "b/c")], "a=b/c", True, id="slash"),
        pytest.param([("a", "b+c")], "a=b%20c", False, id="alb 3.2 nothing is decoded"),
        pytest.param([("a", "b")], "a=%62", False, id="alb 3.2 no percent-decoding"),
        pytest.param([("a", "b;c")], "a=b;c", True, id="a semicolon separates nothing"),
        pytest.param([("a", "\\*")], "a=*", True, id="alb 3.1 an escaped star is a star"),
        pytest.param([("a", "\\*")], "a=b", False, id="alb 3.1 and nothing else"),
        pytest.param([("a", "\\?")], "a=?", True, id="alb 3.1 an escaped ? is a ?"),
        pytest.param([("a", "\\?")], "a=b", False, id="alb 3.1 and nothing else than ?"),
        pytest.param([("a", "\\\\")], "a=\\", True, id="alb 3.1 an escaped backslash"),
        pytest.param([("\\*", "b")], "*=b", True, id="alb 3.1 escapes in keys"),
        pytest.param(["*"], "", False, id="no query has no value"),
        pytest.param([("*", "*")], "", False, id="no query has no parameter"),
        pytest.param(["*"], "&&", False, id="nothing between separators is no parameter"),
        pytest.param(["*"], "a", True, id="any parameter"),
        pytest.param([("k", "v")], "\u212a=v", False, id="alb 3.1 only ASCII: a Kelvin sign is no k"),
    ],
)
def test_query_string_holds_for_matching_parameters(values: list[Any], query: str, holds: bool) -> None:
    """One parameter has the key and the value, as they came and without case."""
    assert _holds(alb.QueryString(*values), f"/?{query}") is holds


def test_query_string_does_not_hold_for_what_stands_in_the_path() -> None:
    """Only what follows the first `?` is the query."""
    assert not _holds(alb.QueryString(("a", "b")), "/a=b")


@pytest.mark.parametrize(
    ("values", "client", "holds"),
    [
        (["10.0.0.0/8"], "10.255.255.255", True),
        (["10.0.0.0/8"], "11.0.0.0", False),
        (["192.0.2.1/32"], "192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.2", False),
        (["0.0.0.0/0"], "203.0.113.9", True),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["2001:db8::/32"], "2001:db8:ffff::1", True),
        (["2001:db8::/32"], "2001:DB8:0:0::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["::/0"], "2001:db8::1", True),
        (["::/0"], "192.0.2.1", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["10.0.0.0/8", "2001:db8::/32"], "2001:db8::1", True),
        (["0.0.0.0/0", "::/0"], "", False),
        (["10.1.2.3"], "::a01:203", False),
        (["::/128"], "0.0.0.0", False),
        (["0.0.0.0"], "0.0.0.0", True),
        (["255.255.255.254"], "255.255.255.255", False),
        (["ffff::/16"], "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", True),
        (["10.1.0.0/16", "10.0.0.0/8"], "10.1.2.3", True),
        (["10.1.0.0/16", "10.0.0.0/8"], "10.2.0.0", True),
        (["10.0.1.0/24", "10.0.2.0/23"], "10.0.2.0", True),
        (["10.0.1.0/24", "10.0.2.0/23"], "10.0.0.255", False),
        (["10.0.1.0/24", "10.0.3.0/24"], "10.0.2.0", False),
    ],
)
def test_source_ip_holds_for_peers_in_the_network(values: list[str], client: str, holds: bool) -> None:
    """IPv4 and IPv6 networks apart, any of them; a unix socket's client is in none (docs/alb.md 3.2)."""
    condition = compile_condition(alb.SourceIp(values))
    assert [condition(request_for(client=client)) for _ in range(2)] == [holds, holds]


def test_source_ip_looks_at_the_peer_and_not_at_forwarded_for() -> None:
    """Never X-Forwarded-For (docs/alb.md 3.2)."""
    fields = [("X-Forwarded-For", "10.0.0.1")]
    assert not _holds(alb.SourceIp("10.0.0.0/8"), client="192.0.2.1", fields=fields)
    assert _holds(alb.SourceIp("192.0.2.0/24"), client="192.0.2.1", fields=fields)


@pytest.mark.parametrize(
    ("condition", "request_", "holds"),
    [
        pytest.param(alb.PathPattern(regex="b+"), {"target": "/abbc"}, True, id="alb 3.1 found anywhere"),
        pytest.param(alb.PathPattern(regex="^b+"), {"target": "/abbc"}, False, id="alb 3.1 patterns anchor themselves"),
        pytest.param(alb.PathPattern(regex="^/a.$"), {"target": "/abc"}, False, id="anchored at the end"),
        pytest.param(alb.PathPattern(regex="/A"), {"target": "/a"}, False, id="alb 3.2 a path has case"),
        pytest.param(alb.PathPattern(regex="(?i)/A"), {"target": "/a"}, True, id="unless the pattern says otherwise"),
        pytest.param(alb.PathPattern(regex=["^/a$", "^/b$"]), {"target": "/b"}, True, id="alb 3.1 several are OR"),
        pytest.param(alb.PathPattern(regex="x=1"), {"target": "/a?x=1"}, False, id="alb 3.2 never the query"),
        pytest.param(alb.PathPattern(regex="^/b$"), {"target": "/a/../b"}, True, id="dot segments are resolved"),
        pytest.param(alb.PathPattern(regex="^/.$"), {"target": "/\udcff"}, True, id="a byte that is no UTF-8 is one character"),
        pytest.param(alb.HostHeader(regex=r"^A[0-9]+\.com$"), {"host": "a12.com"}, True, id="alb 3.2 a host has no case"),
        pytest.param(alb.HostHeader(regex="example"), {"host": "www.example.com"}, True, id="host found anywhere"),
        pytest.param(alb.HostHeader(regex="^example"), {"host": "www.example.com"}, False, id="host anchored"),
        pytest.param(alb.HttpHeader("X", regex="^V[12]$"), {"fields": [("x", "v2")]}, True, id="alb 3.2 a field has no case"),
        pytest.param(alb.HttpHeader("X", regex="^b$"), {"fields": [("X", "a"), ("X", "b")]}, True, id="line by line"),
        pytest.param(alb.HttpHeader("X", regex="a.*b"), {"fields": [("X", "a"), ("X", "b")]}, False, id="never joined"),
        pytest.param(alb.HttpHeader("X", regex=".*"), {}, False, id="no such field"),
    ],
)
def test_regex_holds_where_it_is_found(condition: Any, request_: dict[str, Any], holds: bool) -> None:
    """RE2's search: anywhere unless anchored, with the case rule of its condition (docs/alb.md 3.1, 3.2)."""
    given = dict(request_)
    assert _holds(condition, given.pop("target", "/"), **given) is holds


def test_callable_is_a_condition_as_it_is() -> None:
    """A callable of the program's own gets the request and decides."""

    def on_monday(request: alb.Request) -> bool:
        return request.headers.get("Day") == "monday"

    assert compile_condition(on_monday) is on_monday
    assert _holds(on_monday, fields=[("day", "monday")])


@pytest.mark.parametrize("pattern", ["^/(a+)+$", "^/(a|aa)+$", "^/(a|a?)+$", "^/(.*)*x$"])
def test_regex_takes_time_in_proportion_to_what_it_looks_at(pattern: str) -> None:
    """Expressions on which a matcher that tries one way after the other takes for ever, on the longest path that is taken."""
    holds = compile_condition(alb.PathPattern(regex=pattern))
    request = request_for("/" + "a" * 16_000 + "!")
    request.path_to_match = request.path
    begin = time.thread_time()
    assert not holds(request)
    assert time.thread_time() - begin < 0.5
