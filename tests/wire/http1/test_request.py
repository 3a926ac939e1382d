from __future__ import annotations

import pytest

from albkit.errors import Failure, FailureKind
from tests.wire.heads import HOST, Reading, get, head

_POST = b"POST"


# Targets (RFC 9112 section 3.2)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        pytest.param(b"/", "/", "", id="root"),
        pytest.param(b"/a/b?c=d&e", "/a/b", "c=d&e", id="query"),
        pytest.param(b"/a?", "/a", "", id="empty query"),
        pytest.param(b"/a?b?c", "/a", "b?c", id="question mark in the query"),
        pytest.param(b"//a//b", "//a//b", "", id="doubled slashes"),
        pytest.param(b"/a%2Fb", "/a%2Fb", "", id="escaped slash"),
        pytest.param(b"/a%2fb", "/a%2fb", "", id="escaped slash in lower case"),
        pytest.param(b"/%0A%00%0d", "/%0A%00%0d", "", id="escaped controls"),
        pytest.param(b"/%zz%", "/%zz%", "", id="escapes that are none"),
        pytest.param(b"/a;b=c", "/a;b=c", "", id="semicolon"),
        pytest.param(b"/a/../b/./c", "/a/../b/./c", "", id="dot segments"),
        pytest.param(b"/a+b,c@d:e!$&'()*=", "/a+b,c@d:e!$&'()*=", "", id="sub-delims"),
        pytest.param(b'/"<>\\^`{|}[]', '/"<>\\^`{|}[]', "", id="characters that want escaping"),
        pytest.param(b"/?a=//b/../c%zz", "/", "a=//b/../c%zz", id="anything in the query"),
        pytest.param(b"/http://b/c", "/http://b/c", "", id="a URL as a path"),
        pytest.param(b"/\xc3\xa9?\xc3\xa8", "/é", "è", id="alb 2.4 raw UTF-8"),
        pytest.param(b"/\xff\xfe", "/\udcff\udcfe", "", id="alb 2.4 bytes that are no UTF-8"),
        pytest.param(b"/~user/.hidden/a.b", "/~user/.hidden/a.b", "", id="unreserved"),
    ],
)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_origin_form_is_sent_on_byte_for_byte(reading: Reading, target: bytes, path: str, query: str, version: bytes) -> None:
    """Nothing is decoded, escaped, merged or resolved; the line speaks HTTP/1.1."""
    request = reading.request(head(b"GET " + target + b" " + version, HOST))
    assert request.lines[0] == b"GET " + target + b" HTTP/1.1"
    assert (request.path, request.query_string) == (path, query)


@pytest.mark.parametrize(
    ("target", "line", "path", "query", "host"),
    [
        pytest.param(b"http://other.example/a?b", b"/a?b", "/a", "b", b"other.example", id="whole"),
        pytest.param(b"http://other.example", b"/", "/", "", b"other.example", id="no path"),
        pytest.param(b"http://other.example?a=b", b"/?a=b", "/", "a=b", b"other.example", id="query without a path"),
        pytest.param(b"http://Other.Example:81/", b"/", "/", "", b"other.example", id="host normalised"),
        pytest.param(b"HTTP://other.example/", b"/", "/", "", b"other.example", id="scheme without case"),
        pytest.param(b"https://other.example/", b"/", "/", "", b"other.example", id="https"),
        pytest.param(b"http://other.example//a/../b%2F", b"//a/../b%2F", "//a/../b%2F", "", b"other.example", id="path untouched"),
        pytest.param(b"http://[::1]:81/a", b"/a", "/a", "", b"[::1]", id="v6"),
        pytest.param(b"http://other.example/http://b/", b"/http://b/", "/http://b/", "", b"other.example", id="URL in the path"),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"FROB"])
def test_absolute_form_outranks_host_and_is_sent_in_origin_form(
    reading: Reading, method: bytes, target: bytes, line: bytes, path: str, query: str, host: bytes
) -> None:
    """Its authority routes and becomes Host (RFC 9112 section 3.2.2)."""
    request = reading.request(head(method + b" " + target + b" HTTP/1.1", HOST, b"A: b"))
    assert request.lines == [method + b" " + line + b" HTTP/1.1", b"Host: " + host, b"A: b"]
    assert (request.path, request.query_string, request.host) == (path, query, host.decode())


def test_absolute_form_without_host_in_http_1_0_is_complete(reading: Reading) -> None:
    """The target says who is asked for."""
    request = reading.request(head(b"GET http://other.example/a HTTP/1.0", b"A: b"))
    assert request.lines == [b"GET /a HTTP/1.1", b"Host: other.example", b"A: b"]


@pytest.mark.parametrize("value", [b"", b"a, b", b"u@a", b"a/b", b"a:99999"])
@pytest.mark.parametrize("preserve", [False, True])
def test_absolute_form_does_not_excuse_a_bad_host(reading: Reading, value: bytes, preserve: bool) -> None:
    """A Host field that is no host is a 400 on any request (RFC 9112 section 3.2), and is never forwarded."""
    raw = head(b"GET http://other.example/ HTTP/1.1", b"Host: " + value)
    assert reading.refusal(raw, preserve_host_header=preserve) is FailureKind.REQUEST_HOST_INVALID


def test_absolute_form_replaces_host_where_hosts_are_preserved(reading: Reading) -> None:
    """What routed the request is what the target is told, never another host (RFC 9112 section 3.2.2)."""
    lines = reading.lines(head(b"GET http://Other.Example:81/ HTTP/1.1", b"Host: victim.example"), preserve_host_header=True)
    assert not [line for line in lines if b"victim" in line]


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        pytest.param(b"*", FailureKind.REQUEST_MALFORMED, id="asterisk for GET"),
        pytest.param(b"abc", FailureKind.REQUEST_MALFORMED, id="no slash"),
        pytest.param(b"?a", FailureKind.REQUEST_MALFORMED, id="query alone"),
        pytest.param(b"a:80", FailureKind.REQUEST_MALFORMED, id="authority-form for GET"),
        pytest.param(b"foo://b/x", FailureKind.REQUEST_MALFORMED, id="another scheme"),
        pytest.param(b"ftp://b/x", FailureKind.REQUEST_MALFORMED, id="ftp"),
        pytest.param(b"http:///x", FailureKind.REQUEST_HOST_INVALID, id="no host"),
        pytest.param(b"http://", FailureKind.REQUEST_HOST_INVALID, id="nothing behind the scheme"),
        pytest.param(b"http://b:99999/x", FailureKind.REQUEST_HOST_INVALID, id="port too large"),
        pytest.param(b"http://u@b/x", FailureKind.REQUEST_HOST_INVALID, id="userinfo"),
        pytest.param(b"http://u:p@b/x", FailureKind.REQUEST_HOST_INVALID, id="userinfo with password"),
        pytest.param(b"http://a,b/x", FailureKind.REQUEST_HOST_INVALID, id="list"),
        pytest.param(b"/a#b", FailureKind.REQUEST_MALFORMED, id="fragment"),
        pytest.param(b"http://b/x#y", FailureKind.REQUEST_MALFORMED, id="fragment behind absolute-form"),
    ],
)
def test_target_of_no_known_form_is_a_400(reading: Reading, target: bytes, kind: FailureKind) -> None:
    """RFC 9112 section 3.2 knows four forms, and each has its methods."""
    assert reading.refusal(get(target=target)) is kind
    assert kind.status == 400


def test_options_asterisk_is_sent_on_as_it_is(reading: Reading) -> None:
    """Forwarded as `OPTIONS *` (docs/alb.md 2.7)."""
    request = reading.request(get(method=b"OPTIONS", target=b"*"))
    assert request.lines[0] == b"OPTIONS * HTTP/1.1"
    assert request.path == "*"


def test_options_in_absolute_form_without_a_path_asks_the_whole_server(reading: Reading) -> None:
    """RFC 9112 section 3.2.4: an empty path and no query become `*`; a path stays one."""
    assert reading.lines(get(method=b"OPTIONS", target=b"http://other.example:80"))[0] == b"OPTIONS * HTTP/1.1"
    assert reading.lines(get(method=b"OPTIONS", target=b"http://other.example/"))[0] == b"OPTIONS / HTTP/1.1"
    assert reading.lines(get(method=b"OPTIONS", target=b"http://other.example?a"))[0] == b"OPTIONS /?a HTTP/1.1"


# Methods and versions


@pytest.mark.parametrize(
    "method", [b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"PURGE", b"FROB", b"get", b"X-CUSTOM_1", b"M-SEARCH"]
)
def test_method_is_sent_on_as_it_is(reading: Reading, method: bytes) -> None:
    """Custom methods pass (docs/alb.md 2.3), and case is kept."""
    request = reading.request(get(method=method))
    assert request.lines[0] == method + b" / HTTP/1.1"
    assert request.method == method.decode()


@pytest.mark.parametrize(
    ("method", "target"),
    [(b"TRACE", b"/"), (b"TRACE", b"http://a/"), (b"CONNECT", b"a.example:443"), (b"CONNECT", b"/x"), (b"CONNECT", b"\xff:443")],
)
@pytest.mark.parametrize("mode", ["monitor", "defensive", "strictest"])
def test_trace_and_connect_are_a_405(reading: Reading, method: bytes, target: bytes, mode: str) -> None:
    """Neither is served (docs/alb.md 2.3), in no mode."""
    kind = reading.refusal(get(method=method, target=target), desync_mitigation_mode=mode)
    assert kind is FailureKind.REQUEST_METHOD_REFUSED
    assert kind.status == 405


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/3.0", b"HTTP/9.9"])
def test_version_that_is_not_spoken_is_a_505(reading: Reading, version: bytes) -> None:
    """Only HTTP/1.0 and 1.1 are (docs/alb.md 2.3)."""
    assert reading.refusal(head(b"GET / " + version, HOST)) is FailureKind.REQUEST_VERSION_UNSUPPORTED


def test_request_line_without_a_version_is_a_400(reading: Reading) -> None:
    """HTTP/0.9 has no heads, and its answers have none either; a first line of such a kind is a 400 however it comes."""
    assert reading.refusal(head(b"GET /", HOST)) is FailureKind.REQUEST_MALFORMED


@pytest.mark.parametrize(
    "version",
    [
        b"HTTP/1.10",
        b"HTTP/01.1",
        b"http/1.1",
        b"HTTP/1",
        b"HTTP/1.",
        b"HTTP/x",
        b"HTTPS/1.1",
        b"HTTP/1.1x",
        b"RTSP/1.1",
        b"ICE/1.0",
        b"HTTP/ 1.1",
    ],
)
@pytest.mark.parametrize("mode", ["monitor", "defensive", "strictest"])
def test_version_that_is_none_is_a_400(reading: Reading, version: bytes, mode: str) -> None:
    """What is not the name of a version of HTTP is not well-formed, whatever the method."""
    for method in (b"GET", b"SOURCE", b"DESCRIBE"):
        raw = head(method + b" /x " + version, HOST)
        assert reading.refusal(raw, desync_mitigation_mode=mode) is FailureKind.REQUEST_MALFORMED


@pytest.mark.parametrize("version", [b"HTTP/1.2", b"HTTP/1.9"])
def test_later_minor_version_is_read_as_1_1(reading: Reading, version: bytes) -> None:
    """The highest that is spoken here (RFC 9110 section 2.5); to ALB it is Acceptable."""
    request = reading.request(head(b"GET /a " + version, HOST))
    assert request.lines[0] == b"GET /a HTTP/1.1"
    assert request.classification == ("Acceptable", "NonCompliantVersion")


# Host


def test_host_is_normalised_in_its_place(reading: Reading) -> None:
    """Lower case and without its port on 80, where the client's field stood (docs/alb.md 2.7)."""
    request = reading.request(head(b"GET / HTTP/1.1", b"A: b", b"HOST:  Example.COM:81", b"C: d"))
    assert request.lines == [b"GET / HTTP/1.1", b"A: b", b"Host: example.com", b"C: d"]
    assert request.host == "example.com"


def test_host_gets_the_listeners_port(reading: Reading) -> None:
    """On another port than 80 and 443 the port is appended (docs/alb.md 2.7)."""
    assert reading.lines(get(), port=8080)[1] == b"Host: example.com:8080"


def test_host_is_preserved_where_wanted(reading: Reading) -> None:
    """Unmodified, while rules see the normal form (docs/alb.md 2.7)."""
    request = reading.request(head(b"GET / HTTP/1.1", b"host: Example.COM:81", b"A: b"), port=8080, preserve_host_header=True)
    assert request.lines == [b"GET / HTTP/1.1", b"Host: Example.COM:81", b"A: b"]
    assert request.host == "example.com"


@pytest.mark.parametrize("value", [b"", b" ", b"a, b", b"a b", b"u@a", b"a/b", b"a:99999", b"a:x", b"http://a", b"\xc3\xa9"])
@pytest.mark.parametrize("preserve", [False, True])
def test_host_that_is_none_is_a_400(reading: Reading, value: bytes, preserve: bool) -> None:
    """Preserved or not, HTTP/1.0 or 1.1 (RFC 9112 section 3.2)."""
    for version in (b"HTTP/1.1", b"HTTP/1.0"):
        raw = head(b"GET / " + version, b"Host: " + value)
        assert reading.refusal(raw, preserve_host_header=preserve) is FailureKind.REQUEST_HOST_INVALID


@pytest.mark.parametrize("fields", [(), (b"A: b",), (HOST, HOST), (HOST, b"Host: b"), (HOST, b"A: b", b"host: b")], ids=len)
def test_host_missing_or_twice_is_a_400(reading: Reading, fields: tuple[bytes, ...]) -> None:
    """RFC 9112 section 3.2: exactly one in HTTP/1.1."""
    kind = reading.refusal(head(b"GET / HTTP/1.1", *fields))
    assert kind is not None
    assert kind.status == 400


def test_host_twice_in_http_1_0_is_a_400(reading: Reading) -> None:
    """More than one Host is a 400 in any request (RFC 9112 section 3.2)."""
    kind = reading.refusal(head(b"GET / HTTP/1.0", HOST, HOST))
    assert kind is not None
    assert kind.status == 400


@pytest.mark.parametrize("preserve", [False, True])
def test_http_1_0_without_host_is_asked_of_the_load_balancer(reading: Reading, preserve: bool) -> None:
    """Host becomes the load balancer's name (docs/alb.md 2.7), in front of the other fields."""
    request = reading.request(head(b"GET / HTTP/1.0", b"A: b"), name="my-lb", preserve_host_header=preserve)
    assert request.lines == [b"GET / HTTP/1.1", b"Host: my-lb", b"A: b"]
    assert request.host == "my-lb"


# Keep-alive


@pytest.mark.parametrize(
    ("version", "fields", "stays"),
    [
        # RFC 9112 section 9.3
        pytest.param(b"HTTP/1.1", (), True, id="1.1"),
        pytest.param(b"HTTP/1.1", (b"Connection: close",), False, id="1.1 close"),
        pytest.param(b"HTTP/1.1", (b"Connection: CLOSE",), False, id="1.1 close in capitals"),
        pytest.param(b"HTTP/1.1", (b"Connection: keep-alive",), True, id="1.1 keep-alive"),
        pytest.param(b"HTTP/1.1", (b"Connection: keep-alive, close",), False, id="1.1 close wins"),
        pytest.param(b"HTTP/1.1", (b"Connection: keep-alive", b"Connection: close"), False, id="1.1 close on a second line"),
        pytest.param(b"HTTP/1.1", (b"Connection:",), True, id="1.1 empty"),
        pytest.param(b"HTTP/1.1", (b"Connection: x-foo",), True, id="1.1 another option"),
        pytest.param(b"HTTP/1.0", (), False, id="1.0"),
        pytest.param(b"HTTP/1.0", (b"Connection: keep-alive",), True, id="1.0 keep-alive"),
        pytest.param(b"HTTP/1.0", (b"Connection: Keep-Alive",), True, id="1.0 Keep-Alive"),
        pytest.param(b"HTTP/1.0", (b"Connection: keep-alive, close",), False, id="1.0 close wins"),
        pytest.param(b"HTTP/1.0", (b"Connection: x-foo",), False, id="1.0 another option"),
    ],
)
def test_connection_stays_as_the_client_says(reading: Reading, version: bytes, fields: tuple[bytes, ...], stays: bool) -> None:
    """HTTP/1.1 stays unless closed, HTTP/1.0 closes unless kept."""
    request = reading.request(head(b"GET / " + version, HOST, *fields))
    assert request.keep_alive is stays
    assert not [line for line in request.lines if line.lower().startswith(b"connection")]


# Fields that are copied, and those that are not


def test_fields_keep_order_case_and_repeats(reading: Reading) -> None:
    """What is not ours to change goes on as the client wrote it (docs/alb.md 2.7)."""
    fields = [
        b"accept:*/*",
        b"ACCEPT:  b ",
        b"X-a: 1",
        b"x-A: 2",
        b"Cookie: a=b",
        b"cookie: c",
        b"X-Empty:",
        b"X-High: \xff\xc3\xa9",
        b"A_b: c",
    ]
    assert reading.lines(get(*fields)) == [b"GET / HTTP/1.1", HOST, *fields]


def test_cookies_are_joined_for_stickiness_and_sent_on_apart(reading: Reading) -> None:
    """Several Cookie lines are one list of cookies (RFC 6265 section 5.4)."""
    request = reading.request(get(b"Cookie: a=b", b"X: y", b"cookie: c=d"))
    assert request.cookie == b"a=b; c=d"
    assert reading.request(get()).cookie == b""


@pytest.mark.parametrize(
    "field",
    [
        b"Connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic x",
        b"TE: gzip",
        b"Upgrade: websocket",
        b"HTTP2-Settings: AAA",
        b"Expect: 100-continue",
        b"X-Forwarded-For: 10.0.0.1",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Port: 1",
        b"X_Forwarded_For: 10.0.0.1",
        b"X.Forwarded.Proto: https",
        b"X-Forwarded_Port: 1",
        b"X_Forwarded_Host: a",
        b"X_Amzn_Trace_Id: Root=1",
        b"X-Amzn-Trace-Id: Root=1",
        b"X-Amzn-Mtls-Clientcert: forged",
        b"x-amzn-mtls-clientcert-subject: forged",
        b"X-AMZN-MTLS-CLIENTCERT-LEAF: forged",
        b"X-Amzn-Tls-Version: forged",
        b"X-Amzn-Oidc-Identity: forged",
    ],
)
def test_field_that_ends_here_is_not_copied(reading: Reading, field: bytes) -> None:
    """Hop-by-hop fields (RFC 9110 section 7.6.1), and those by which a target trusts the load balancer (docs/alb.md 1.11, 2.7)."""
    for spelling in (field, field.replace(b": ", b":"), field.upper()):
        assert reading.lines(get(b"A: b", spelling, b"C: d", spelling)) == [b"GET / HTTP/1.1", HOST, b"A: b", b"C: d"]


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        pytest.param([b"Connection: x-foo", b"X-Foo: 1", b"A: b"], [b"A: b"], id="one"),
        pytest.param([b"X-Foo: 1", b"A: b", b"x-fOO: 2", b"Connection: X-FOO"], [b"A: b"], id="before, twice, any case"),
        pytest.param([b"Connection: x-foo , close,x-bar", b"X-Foo: 1", b"X-Bar: 2"], [], id="a list"),
        pytest.param([b"Connection: x-foo", b"X-Foo: 1", b"X-Bar: 2", b"connection: x-bar"], [], id="checklist 12 every line"),
        pytest.param([b"Connection:", b"Connection: x-foo", b"X-Foo: 1"], [], id="checklist 12 an empty line before"),
        pytest.param([b"Connection: x-fo", b"X-Foo: 1"], [b"X-Foo: 1"], id="another name"),
        pytest.param([b"Connection: cookie, authorization", b"Cookie: a=b", b"Authorization: x"], [], id="RFC 9110 7.6.1 any field"),
        pytest.param(
            [b"Connection: host, content-type, content-encoding", b"Content-Type: a"], [b"Content-Type: a"], id="not what it means"
        ),
    ],
)
def test_field_named_by_connection_is_not_copied(reading: Reading, fields: list[bytes], left: list[bytes]) -> None:
    """Every Connection line is honoured (RFC 9110 section 7.6.1)."""
    assert reading.lines(get(*fields)) == [b"GET / HTTP/1.1", HOST, *left]


@pytest.mark.parametrize("named", [b"transfer-encoding", b"Transfer-Encoding", b"close, transfer-encoding", b"te, transfer-encoding"])
def test_framing_named_by_connection_stays_for_a_chunked_body(reading: Reading, named: bytes) -> None:
    """A chunked body sent on without its framing field would be read as further requests."""
    request = reading.request(get(b"Transfer-Encoding: chunked", b"Connection: " + named, method=_POST))
    assert request.chunked
    assert b"Transfer-Encoding: chunked" in request.lines


def test_framing_named_by_connection_stays_for_a_sized_body(reading: Reading) -> None:
    """A length that a Connection line names is a length all the same."""
    request = reading.request(get(b"Content-Length: 5", b"Connection: content-length", method=_POST))
    assert request.content_length == 5
    assert b"Content-Length: 5" in request.lines


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        (b"trailers", True),
        (b"Trailers", True),
        (b"gzip, trailers", True),
        (b"trailers, deflate;q=0.5", True),
        (b"gzip", False),
        (b"trailersx", False),
        (b"", False),
    ],
)
def test_te_passes_trailers_only(reading: Reading, value: bytes, passes: bool) -> None:
    """And then it is named in Connection, or whoever reads it would not heed it (RFC 9110 section 10.1.4)."""
    left = [b"Connection: TE", b"TE: trailers"] if passes else []
    for fields in ((b"TE: " + value,), (b"TE: " + value, b"Connection: TE")):
        assert b"\r\n".join(reading.lines(get(*fields))).split(b"\r\n")[2:] == left


def test_te_does_not_stand_beside_an_upgrade(reading: Reading) -> None:
    """There is one Connection field: some servers look at the first alone."""
    lines = reading.lines(get(b"TE: trailers", b"Connection: Upgrade, TE", b"Upgrade: websocket"))
    assert lines == [b"GET / HTTP/1.1", HOST]


# Expect


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue"])
def test_expect_continue_is_answered_here_and_not_sent_on(reading: Reading, value: bytes) -> None:
    """The load balancer answers 100 itself (docs/alb.md 2.3)."""
    request = reading.request(get(b"Expect: " + value, b"Content-Length: 5", method=_POST))
    assert request.expects_continue
    assert request.lines == [b"POST / HTTP/1.1", HOST, b"Content-Length: 5"]
    assert reading.request(get(b"Expect: " + value, b"Transfer-Encoding: chunked", method=_POST)).expects_continue


def test_expect_continue_in_http_1_0_is_ignored(reading: Reading) -> None:
    """RFC 9110 section 10.1.1: an HTTP/1.0 client must get no 100."""
    request = reading.request(head(b"POST / HTTP/1.0", HOST, b"Expect: 100-continue", b"Content-Length: 5"))
    assert not request.expects_continue
    assert not [line for line in request.lines if line.lower().startswith(b"expect")]


@pytest.mark.parametrize("value", [b"magic", b"200-ok", b"100-continue, magic", b""])
def test_expect_of_something_else_is_a_417(reading: Reading, value: bytes) -> None:
    """Nothing else is known (RFC 9110 section 10.1.1); in HTTP/1.0 the field means nothing."""
    kind = reading.refusal(get(b"Expect: " + value, b"Content-Length: 5", method=_POST))
    assert kind is FailureKind.REQUEST_EXPECTATION_UNKNOWN
    assert kind.status == 417
    assert reading.lines(head(b"POST / HTTP/1.0", HOST, b"Expect: " + value)) == [b"POST / HTTP/1.1", HOST]


# Upgrade


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        pytest.param((b"Connection: Upgrade", b"Upgrade: websocket"), b"websocket", id="websocket"),
        pytest.param((b"Upgrade: WebSocket", b"Connection: keep-alive, upgrade"), b"WebSocket", id="list of options"),
        pytest.param((b"Connection: keep-alive", b"Upgrade: foo/2", b"connection: UPGRADE"), b"foo/2", id="two Connection lines"),
        pytest.param((b"Connection: Upgrade", b"Upgrade: foo, bar"), b"foo, bar", id="list of protocols"),
        pytest.param((b"Connection: Upgrade", b"Upgrade: foo", b"Upgrade: bar"), b"foo, bar", id="two Upgrade lines"),
        pytest.param((b"Connection: Upgrade", b"Upgrade: h2c, websocket"), b"websocket", id="never h2c"),
        pytest.param((b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 0"), b"websocket", id="with a body of nothing"),
        pytest.param((b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAA"), b"", id="h2c alone"),
        pytest.param((b"Upgrade: websocket",), b"", id="no Connection"),
        pytest.param((b"Connection: keep-alive", b"Upgrade: websocket"), b"", id="Connection without upgrade"),
        pytest.param((b"Connection: Upgrade",), b"", id="no Upgrade"),
        pytest.param((b"Connection: Upgrade", b"Upgrade:"), b"", id="empty Upgrade"),
        pytest.param((b"Connection: Upgrade", b"Upgrade: tcp", b"Content-Length: 5"), b"tcp", id="with a body of known length"),
        pytest.param((b"Connection: Upgrade", b"Upgrade: websocket", b"Transfer-Encoding: chunked"), b"", id="with a chunked body"),
    ],
)
def test_upgrade_is_asked_for_or_the_request_is_an_ordinary_one(reading: Reading, fields: tuple[bytes, ...], offered: bytes) -> None:
    """Neither field is copied: they are rebuilt for an upgrade, and gone for an ordinary request (docs/alb.md 2.7)."""
    request = reading.request(get(b"Sec-WebSocket-Key: x", *fields))
    assert request.upgrade == offered
    assert not [line for line in request.lines if line.lower().startswith((b"connection", b"upgrade"))]
    assert b"Sec-WebSocket-Key: x" in request.lines


def test_upgrade_in_http_1_0_is_ignored(reading: Reading) -> None:
    """RFC 9110 section 7.8: there is no upgrade from HTTP/1.0."""
    request = reading.request(head(b"GET / HTTP/1.0", HOST, b"Connection: Upgrade", b"Upgrade: websocket"))
    assert request.upgrade == b""
    assert request.lines == [b"GET / HTTP/1.1", HOST]


# X-Forwarded-For and the trace id


def test_forwarded_for_of_several_lines_is_joined(reading: Reading) -> None:
    """Repeated fields are one list (RFC 9110 section 5.3)."""
    request = reading.request(get(b"X-Forwarded-For: a", b"B: c", b"x-forwarded-for: d, e"))
    assert request.forwarded_for == b"a, d, e"


def test_forwarded_for_is_preserved_where_wanted(reading: Reading) -> None:
    """`preserve`: untouched, in its place (docs/alb.md 2.7)."""
    lines = reading.lines(get(b"x-forwarded-for: a ", b"B: c", b"X-Forwarded-For: d"), xff_header_processing="preserve")
    assert lines == [b"GET / HTTP/1.1", HOST, b"x-forwarded-for: a ", b"B: c", b"X-Forwarded-For: d"]


@pytest.mark.parametrize("mode", ["append", "preserve", "remove"])
def test_forwarded_for_of_more_than_30_addresses_is_a_463(reading: Reading, mode: str) -> None:
    """30 pass, 31 do not (docs/alb.md 2.3), on one line or several."""
    assert reading.refusal(get(b"X-Forwarded-For: " + b", ".join([b"10.0.0.1"] * 30)), xff_header_processing=mode) is None
    for raw in (
        get(b"X-Forwarded-For: " + b", ".join([b"10.0.0.1"] * 31)),
        get(b"X-Forwarded-For: " + b",".join([b"10.0.0.1"] * 31)),
        get(*[b"X-Forwarded-For: 10.0.0.1"] * 31),
    ):
        kind = reading.refusal(raw, xff_header_processing=mode)
        assert kind is FailureKind.REQUEST_FORWARDED_FOR_TOO_LONG
        assert kind.status == 463


def test_trace_id_is_kept_for_what_follows_from_it(reading: Reading) -> None:
    """It is written anew, so it is not copied."""
    request = reading.request(get(b"x-amzn-trace-id: Root=1-0-a"))
    assert request.trace_id == b"Root=1-0-a"
    assert request.lines == [b"GET / HTTP/1.1", HOST]


# Invalid names


def test_invalid_names_are_sent_on_and_noticed(reading: Reading) -> None:
    """`drop_invalid_header_fields` off: forwarded (docs/alb.md 2.7)."""
    request = reading.request(get(b"A_b: c", b"D: e"))
    assert request.lines == [b"GET / HTTP/1.1", HOST, b"A_b: c", b"D: e"]
    assert request.irregular_names
    assert not reading.request(get(b"A-b: c")).irregular_names


def test_invalid_names_are_dropped_where_wanted(reading: Reading) -> None:
    """`drop_invalid_header_fields` on: removed, each of them (docs/alb.md 1.2)."""
    request = reading.request(get(b"A_b: c", b"D: e", b"f.g: h", b"A_b: i"), drop_invalid_header_fields=True)
    assert request.lines == [b"GET / HTTP/1.1", HOST, b"D: e"]
    assert request.irregular_names


@pytest.mark.parametrize(
    "field", [b"Transfer_Encoding: chunked", b"Content_Length: 5", b"-Content.Length-: 5", b"transfer.encoding: chunked"]
)
def test_invalid_name_that_looks_like_framing_is_dropped_where_wanted(reading: Reading, field: bytes) -> None:
    """The most dangerous of invalid names fail [-A-Za-z0-9]+ like the others (docs/alb.md 1.2)."""
    request = reading.request(get(field, b"D: e"), drop_invalid_header_fields=True, desync_mitigation_mode="monitor")
    assert request.lines == [b"GET / HTTP/1.1", HOST, b"D: e"]
    assert request.irregular_names


# Bodies and framing (RFC 9112 section 6)


@pytest.mark.parametrize(
    ("field", "chunked", "length", "line"),
    [
        (b"Content-Length: 0", False, 0, b"Content-Length: 0"),
        (b"content-length:5", False, 5, b"content-length:5"),
        (b"Content-Length: 9223372036854775807", False, 2**63 - 1, b"Content-Length: 9223372036854775807"),
        (b"Transfer-Encoding: chunked", True, -1, b"Transfer-Encoding: chunked"),
        (b"transfer-encoding:\tCHUNKED", True, -1, b"Transfer-Encoding: chunked"),
    ],
)
def test_body_is_framed_by_one_field(reading: Reading, field: bytes, chunked: bool, length: int, line: bytes) -> None:
    """A length goes on as it came, the chunked coding in its plain form."""
    request = reading.request(get(b"A: b", field, method=_POST))
    assert (request.chunked, request.content_length) == (chunked, length)
    assert sorted(request.lines) == sorted([b"POST / HTTP/1.1", HOST, b"A: b", line])


def test_body_without_a_framing_field_is_none(reading: Reading) -> None:
    """RFC 9112 section 6.3: a request without either has no body, and none is invented."""
    request = reading.request(get(method=_POST))
    assert (request.chunked, request.content_length, request.has_body) == (False, 0, False)
    assert request.lines == [b"POST / HTTP/1.1", HOST]


@pytest.mark.parametrize("mode", ["monitor", "defensive", "strictest"])
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((b"Content-Length: +5",), id="sign"),
        pytest.param((b"Content-Length: -5",), id="negative"),
        pytest.param((b"Content-Length: 0x5",), id="hexadecimal"),
        pytest.param((b"Content-Length: 5_0",), id="underscore"),
        pytest.param((b"Content-Length: 5 5",), id="blank"),
        pytest.param((b"Content-Length: 5, 5",), id="list"),
        pytest.param((b"Content-Length: 5.0",), id="fraction"),
        pytest.param((b"Content-Length:",), id="empty"),
        pytest.param((b"Content-Length: abc",), id="letters"),
        pytest.param(("Content-Length: \u0665".encode(),), id="digits of another script"),
        pytest.param((b"Content-Length: 9223372036854775808",), id="2^63"),
        pytest.param((b"Content-Length: 18446744073709551615",), id="2^64-1"),
        pytest.param((b"Content-Length: 18446744073709551616",), id="2^64"),
        pytest.param((b"Content-Length: " + b"9" * 100,), id="endless"),
        pytest.param((b"Content-Length: 5", b"Content-Length: 6"), id="two lengths"),
        pytest.param((b"Content-Length : 5",), id="blank before the colon"),
        pytest.param((b"Transfer-Encoding: identity", b"Content-Length: 5"), id="identity and CL"),
        pytest.param((b"Transfer-Encoding:", b"Content-Length: 5"), id="empty TE and CL"),
        pytest.param((b"Transfer-Encoding:",), id="empty TE"),
        pytest.param((b"Transfer-Encoding: ,",), id="TE of a comma"),
        pytest.param((b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), id="chunked on two lines"),
        pytest.param((b"Transfer-Encoding: chunked, chunked",), id="chunked twice"),
        pytest.param((b"Transfer-Encoding: chunked, identity",), id="chunked, identity"),
        pytest.param((b"Transfer-Encoding: chunked, gzip",), id="chunked not last"),
        pytest.param((b"Transfer-Encoding: identity, chunked",), id="identity, chunked"),
        pytest.param((b"Transfer-Encoding: xchunked",), id="xchunked"),
        pytest.param((b"Transfer-Encoding: chunkedx",), id="chunkedx"),
        pytest.param((b"Transfer-Encoding: chunked;a=b",), id="parameter"),
        pytest.param((b'Transfer-Encoding: "chunked"',), id="quoted"),
        pytest.param((b"Transfer-Encoding: \x0bchunked",), id="vertical tab"),
        pytest.param((b"Transfer-Encoding : chunked",), id="TE with a blank before the colon"),
        pytest.param((b"Transfer-Encoding:", b" chunked"), id="folded"),
        pytest.param((b"Transfer-Encoding: foo",), id="unknown coding"),
        pytest.param((b"Transfer-Encoding: identity",), id="identity: its end cannot be known (RFC 9112 section 6.3)"),
        pytest.param((b"Transfer-Encoding: gzip, identity",), id="identity behind another"),
        pytest.param((b"Content-Length: 5", b"Content-Length: 05"), id="two spellings of a length"),
        pytest.param((b"Content-Length: 5", b"Transfer-Encoding: gzip"), id="CL and another coding"),
        pytest.param((b"Content-Length: 5, 5", b"Content-Length: 5"), id="a list and a length"),
    ],
)
def test_body_framed_in_two_ways_is_a_400(reading: Reading, fields: tuple[bytes, ...], mode: str) -> None:
    """What cannot be written anew with one reading is a 400 in every mode (docs/desync.md)."""
    kind = reading.refusal(get(*fields, method=_POST), desync_mitigation_mode=mode)
    assert kind is not None
    assert kind.status == 400


@pytest.mark.parametrize("coding", [b"gzip", b"compress", b"deflate", b"gzip, chunked", b"GZIP,chunked", b"x-gzip"])
def test_body_in_another_real_coding_is_a_501(reading: Reading, coding: bytes) -> None:
    """Transfer-Encoding other than chunked and identity (docs/alb.md 2.3)."""
    kind = reading.refusal(get(b"Transfer-Encoding: " + coding, method=_POST))
    assert kind is FailureKind.REQUEST_TRANSFER_CODING_UNSUPPORTED
    assert kind.status == 501


def test_body_in_chunks_in_http_1_0_is_a_400(reading: Reading) -> None:
    """RFC 9112 section 6.1: the framing of such a message is faulty."""
    assert reading.refusal(head(b"POST / HTTP/1.0", HOST, b"Transfer-Encoding: chunked")) is FailureKind.REQUEST_MALFORMED


# Desync classes and modes (docs/alb.md 2.4)

_EVIDENCE = [
    pytest.param(head(b"GET  / HTTP/1.1", HOST), "Acceptable", "NonCompliantVersion", id="two blanks before the target"),
    pytest.param(head(b"GET /  HTTP/1.1", HOST), "Acceptable", "NonCompliantVersion", id="two blanks before the version"),
    pytest.param(get(b"Content-Length: 0"), "Acceptable", "GetHeadZeroContentLength", id="GET with length 0"),
    pytest.param(get(b"Content-Length: 0", method=b"HEAD"), "Acceptable", "GetHeadZeroContentLength", id="HEAD with length 0"),
    pytest.param(get(b"Content-Length: 5"), "Ambiguous", "UndefinedContentLengthSemantics", id="GET with a length"),
    pytest.param(get(b"Content-Length: 5", method=b"HEAD"), "Ambiguous", "UndefinedContentLengthSemantics", id="HEAD with a length"),
    pytest.param(get(b"Transfer-Encoding: chunked"), "Ambiguous", "UndefinedTransferEncodingSemantics", id="GET with TE"),
    pytest.param(get(b"Transfer-Encoding: chunked", method=b"HEAD"), "Ambiguous", "UndefinedTransferEncodingSemantics", id="HEAD with TE"),
    pytest.param(get(b"Content-Length: 5", b"Content-Length: 5", method=_POST), "Ambiguous", "DuplicateContentLength", id="a length twice"),
    pytest.param(head(b"GET / HTTP/1.1  ", HOST), "Acceptable", "NonCompliantVersion", id="blanks behind the version"),
    pytest.param(head(b"GET / HTTP/1.3", HOST), "Acceptable", "NonCompliantVersion", id="a later minor version"),
    pytest.param(get(b"Transfer_Encoding: chunked", method=_POST), "Ambiguous", "SuspiciousHeader", id="Transfer_Encoding"),
    pytest.param(get(b"Transfer--Encoding: chunked", method=_POST), "Ambiguous", "SuspiciousHeader", id="Transfer--Encoding"),
    pytest.param(get(b"-Content.Length-: 5", method=_POST), "Ambiguous", "SuspiciousHeader", id="-Content.Length-"),
    pytest.param(
        head(b"GET  / HTTP/1.1", HOST, b"Content-Length: 5"), "Ambiguous", "UndefinedContentLengthSemantics", id="the higher class wins"
    ),
    pytest.param(
        get(b"Content_Length: 5", b"Content-Length: 0"), "Ambiguous", "SuspiciousHeader", id="the higher class wins over an earlier one"
    ),
]


@pytest.mark.parametrize(("raw", "level", "reason"), _EVIDENCE)
def test_evidence_is_judged_by_the_mode(reading: Reading, raw: bytes, level: str, reason: str) -> None:
    """Monitor allows all, defensive closes behind Ambiguous, strictest blocks both classes."""
    monitored = reading.request(raw, desync_mitigation_mode="monitor")
    assert (monitored.classification, monitored.close_after) == ((level, reason), False)
    defended = reading.request(raw)
    assert (defended.classification, defended.close_after) == ((level, reason), level == "Ambiguous")
    kind = reading.refusal(raw, desync_mitigation_mode="strictest")
    assert kind is FailureKind.REQUEST_AMBIGUOUS
    assert kind.status == 400


@pytest.mark.parametrize("mode", ["monitor", "defensive", "strictest"])
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(get(), id="GET"),
        pytest.param(get(b"Content-Length: 5", method=_POST), id="POST with a length"),
        pytest.param(get(b"Content-Length: 0", method=_POST), id="POST with length 0"),
        pytest.param(get(b"Transfer-Encoding: chunked", method=_POST), id="POST in chunks"),
        pytest.param(get(b"Content-Length: 5", method=b"DELETE"), id="DELETE with a body"),
        pytest.param(get(b"ContentLength: 5"), id="a missing hyphen alone"),
        pytest.param(get(b"X-Content-Length: 5"), id="a longer name"),
        pytest.param(get(b"Content-Length2: 5"), id="another name"),
        pytest.param(get(b"A_b: c"), id="an irregular name"),
        pytest.param(get(target=b"/\xc3\xa9"), id="high bytes in the URI"),
        pytest.param(get(method=b"FROB"), id="a custom method"),
        pytest.param(get(b"A: \xff"), id="obs-text"),
        pytest.param(head(b"GET / HTTP/1.0", HOST), id="HTTP/1.0"),
    ],
)
def test_compliant_request_passes_in_every_mode(reading: Reading, raw: bytes, mode: str) -> None:
    """No class, no closing."""
    request = reading.request(raw, desync_mitigation_mode=mode)
    assert (request.classification, request.close_after) == (None, False)


def test_padded_request_line_is_sent_on_plain(reading: Reading) -> None:
    """What two servers might split in two ways leaves here in one."""
    assert reading.lines(head(b"GET   /a?b    HTTP/1.1", HOST))[0] == b"GET /a?b HTTP/1.1"


@pytest.mark.parametrize("field", [b"User-Agent", b"Content-Type", b"ETag", b"Content-Location", b"Max-Forwards", b"Server"])
def test_field_that_should_stand_once_may_stand_twice(reading: Reading, field: bytes) -> None:
    """As in ALB: what they say is for the target to judge, and none of them frames or routes anything."""
    fields = [field + b": a", b"A: b", field + b": c"]
    assert reading.lines(get(*fields)) == [b"GET / HTTP/1.1", HOST, *fields]


# What a hook sees


def test_no_line_of_a_request_is_empty(reading: Reading) -> None:
    """An empty line would end the head before the fields that the load balancer adds."""
    for raw in (get(), get(b"Transfer-Encoding: chunked", b"TE: trailers", method=_POST), head(b"GET / HTTP/1.0")):
        assert all(reading.request(raw).lines)


def test_headers_are_what_the_client_sent(reading: Reading) -> None:
    """By name without case, those among them that are not sent on."""
    headers = reading.request(get(b"X-Forwarded-For: a", b"Connection: close", b"A: b")).headers
    assert (headers["x-forwarded-for"], headers["CONNECTION"], headers["a"], headers["host"]) == ("a", "close", "b", "example.com")


def test_headers_are_read_when_they_are_asked_for(reading: Reading) -> None:
    """Most requests are routed and sent on without anybody looking at them by name."""
    request = reading.reader().read(get(b"A: b", b"a:\tc ", b"D: \xff\xc3\xa9"))
    assert not hasattr(request, "_headers")
    assert (request.headers.getall("A"), request.headers["d"]) == (["b", "c"], "\udcff\xe9")
    assert request.headers is request.headers


def test_field_that_is_dropped_decides_nothing(reading: Reading) -> None:
    """What does not reach a target must not choose a rule either (docs/alb.md 2.7)."""
    raw = get(b"A_b: c", b"D: e", b"Content_Length: 5", b"X_Forwarded_For: f")
    assert list(reading.request(raw).headers) == ["Host", "A_b", "D", "Content_Length", "X_Forwarded_For"]
    dropped = reading.request(raw, drop_invalid_header_fields=True, desync_mitigation_mode="monitor")
    assert list(dropped.headers) == ["Host", "D"]
    assert (dropped.irregular_names, dropped.dropped_names) == (True, True)


def test_forged_identity_decides_nothing(reading: Reading) -> None:
    """A rule or a hook that looks for the client's certificate finds what the load balancer has seen of it, or nothing."""
    assert list(reading.request(get(b"X-Amzn-Mtls-Clientcert-Subject: CN=root", b"x_amzn_oidc_data: x", b"A: b")).headers) == ["Host", "A"]


def test_requests_of_one_reader_share_nothing(reading: Reading) -> None:
    """A request with everything, then one with nothing."""
    full = get(b"Cookie: a=b", b"X-Forwarded-For: c", b"X-Amzn-Trace-Id: d", b"Expect: 100-continue", b"Content-Length: 5", b"A_b: c")
    reading.request(full)
    request = reading.request(get())
    assert (request.cookie, request.forwarded_for, request.trace_id, request.upgrade) == (b"", b"", b"", b"")
    assert (request.expects_continue, request.irregular_names, request.content_length) == (False, False, 0)


@pytest.mark.parametrize("name", [b"My(Cert", b"My Cert", b"My\xffCert", b"My\tCert"])
def test_name_that_is_no_token_is_refused_though_it_reads_as_one_of_ours(reading: Reading, name: bytes) -> None:
    """It is not taken for the field that the load balancer writes, and left out."""
    reader = reading.reader(reserved=("My-Cert",))
    assert b"My_Cert: a" not in reader.read(get(b"My_Cert: a")).lines
    with pytest.raises(Failure, match="NonCompliantHeader"):
        reader.read(get(name + b": a"))
