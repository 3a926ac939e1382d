from __future__ import annotations

import random
import re

import hpack
import pytest

from albkit.errors import Failure, FailureKind
from albkit.wire.http2.frames import ErrorCode, StreamError
from albkit.wire.http2.request import head_with_tail, request_block, request_head
from tests.support.effort import cases
from tests.wire.heads import Reading
from tests.wire.http2.test_fields import BAD_FIELDS

Field = tuple[bytes, bytes]

_GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/a?b=c"), (b":authority", b"example.com")]
_START = b"GET /a?b=c HTTP/1.1\r\nhost: example.com\r\n"
_WEBSOCKET = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"https"),
    (b":path", b"/chat"),
    (b":authority", b"example.com"),
]
_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def _head(*fields: Field, ended: bool = True, pseudo: list[Field] = _GET) -> bytes:
    return request_head([*pseudo, *fields], ended=ended).head


def _refused(fields: list[Field], *, ended: bool = True, key: bytes = b"") -> str:
    with pytest.raises(StreamError) as caught:
        request_head(fields, ended=ended, websocket_key=key)
    assert caught.value.code is ErrorCode.PROTOCOL_ERROR
    return caught.value.reason


def _with(name: bytes, value: bytes, fields: list[Field] = _GET) -> list[Field]:
    """The fields with another value for one of them."""
    return [(one, value if one == name else old) for one, old in fields]


def _without(name: bytes, fields: list[Field] = _GET) -> list[Field]:
    return [field for field in fields if field[0] != name]


# What becomes of a request.


def test_request_becomes_a_head() -> None:
    """Request line, Host, fields in their order, cookies, and how the body is framed."""
    found = request_head([*_GET, (b"user-agent", b"x"), (b"accept", b"*/*")], ended=True)
    assert found.head == _START + b"user-agent: x\r\naccept: */*\r\n\r\n"
    assert (found.content_length, found.is_connect) == (-1, False)
    assert _head() == _START + b"\r\n"


def test_order_of_pseudo_fields_does_not_matter() -> None:
    """RFC 9113 section 8.3 only wants them first."""
    assert _head(pseudo=_GET[::-1]) == _head()


@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE", b"PROPFIND", b"x!", b"TRACE"])
def test_method_is_passed_on(method: bytes) -> None:
    """The strict reader refuses TRACE."""
    assert _head(pseudo=_with(b":method", method)).startswith(method + b" /a?b=c HTTP/1.1\r\n")


@pytest.mark.parametrize("path", [b"/", b"//", b"/%20", b"/a\xc3\xa9\xff", b"/a?", b"/?a=b?c", b"/a:b@c", b"/\\", b'/"'])
def test_path_is_passed_on(path: bytes) -> None:
    """Every byte but controls, blanks and `#`."""
    assert _head(pseudo=_with(b":path", path)).startswith(b"GET " + path + b" HTTP/1.1\r\n")


def test_options_may_ask_about_the_whole_server() -> None:
    """RFC 9113 section 8.3.1."""
    pseudo = _with(b":method", b"OPTIONS", _with(b":path", b"*"))
    assert _head(pseudo=pseudo) == b"OPTIONS * HTTP/1.1\r\nhost: example.com\r\n\r\n"


def test_host_takes_the_place_of_authority() -> None:
    """Requests that were translated from HTTP/1.1 may come like this (RFC 9113 section 8.3.1)."""
    assert request_head([*_without(b":authority"), (b"host", b"example.com"), (b"a", b"b")], ended=True).head == _START + b"a: b\r\n\r\n"


@pytest.mark.parametrize("host", [b"example.com", b"EXAMPLE.com"])
def test_host_beside_an_equal_authority_is_dropped(host: bytes) -> None:
    """Case does not matter in a host."""
    assert _head((b"a", b"b"), (b"host", host)) == _START + b"a: b\r\n\r\n"


def test_crumbs_of_a_cookie_are_joined() -> None:
    """RFC 9113 section 8.2.3. The cookie comes last."""
    assert _head((b"cookie", b"a=b"), (b"x", b"y"), (b"cookie", b"c=d; e=f")) == _START + b"x: y\r\ncookie: a=b; c=d; e=f\r\n\r\n"
    assert _head((b"cookie", b"a=b")) == _START + b"cookie: a=b\r\n\r\n"


def test_repeated_fields_are_passed_on() -> None:
    """Each on its own line."""
    assert _head((b"a", b"1"), (b"a", b"2"), (b"te", b"trailers")) == _START + b"a: 1\r\na: 2\r\nte: trailers\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "ended", "rest", "length"),
    [
        ([], True, b"", -1),
        ([], False, b"transfer-encoding: chunked\r\n", -1),
        ([(b"content-length", b"5")], False, b"content-length: 5\r\n", 5),
        ([(b"content-length", b"0")], False, b"content-length: 0\r\n", 0),
        ([(b"content-length", b"0")], True, b"content-length: 0\r\n", 0),
        ([(b"cookie", b"a=b")], False, b"cookie: a=b\r\ntransfer-encoding: chunked\r\n", -1),
    ],
    ids=repr,
)
def test_body_is_declared(fields: list[Field], ended: bool, rest: bytes, length: int) -> None:
    """Chunked if a body follows whose length is not declared."""
    found = request_head([*_GET, *fields], ended=ended)
    assert (found.head, found.content_length) == (_START + rest + b"\r\n", length)


def test_plain_connect_becomes_one_that_the_reader_refuses(reading: Reading) -> None:
    """RFC 9113 section 8.5. The client gets a 405."""
    found = request_head([(b":method", b"CONNECT"), (b":authority", b"example.com:443")], ended=False)
    assert found.head == b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\ntransfer-encoding: chunked\r\n\r\n"
    assert not found.is_connect
    assert reading.refusal(found.head) is FailureKind.REQUEST_METHOD_REFUSED


# What is malformed.


@pytest.mark.parametrize("field", BAD_FIELDS, ids=repr)
def test_malformed_field_is_refused(field: Field) -> None:
    """Before and behind good ones."""
    _refused([*_GET, field])
    _refused([*_GET, (b"a", b"b"), field, (b"c", b"d")])


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path", b":authority"])
def test_pseudo_field_that_is_missing_or_repeated_is_refused(name: bytes) -> None:
    """RFC 9113 section 8.3.1. Also if both values are equal."""
    _refused(_without(name))
    _refused([*_GET, (name, dict(_GET)[name])])
    _refused([*_without(name), (b"a", b"b"), (name, dict(_GET)[name])])
    _refused([*_GET, (b"a", b"b"), (name, dict(_GET)[name])])


@pytest.mark.parametrize("name", [b":status", b":", b":Method", b":path ", b":unknown", b":protocol"])
def test_unknown_pseudo_field_is_refused(name: bytes) -> None:
    """RFC 9113 section 8.3; `:protocol` is for CONNECT only."""
    _refused([*_GET, (name, b"200")])
    _refused([(name, b"200"), *_GET], key=_KEY)


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"a",
        b"*",
        b"http://example.com/",
        b"/a b",
        b"/a\tb",
        b"/a\r\nb: c",
        b"/a\n",
        b"/\0",
        b"/\x7f",
        b"/a#b",
        b"/ HTTP/1.1\r\nx: y\r\n",
        b"?a",
    ],
    ids=repr,
)
def test_malformed_path_is_refused(path: bytes) -> None:
    """An empty one, one without a slash, and anything that could end the request line."""
    _refused(_with(b":path", path))


@pytest.mark.parametrize(
    "method", [b"", b"G T", b"GET ", b"GET\r\n", b"G\0", b"GE:T", b"G\xe9T", b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET"], ids=repr
)
def test_malformed_method_is_refused(method: bytes) -> None:
    """It is a token."""
    _refused(_with(b":method", method))


@pytest.mark.parametrize("scheme", [b"", b"ftp", b"HTTPS", b"https:", b"http\r\n"], ids=repr)
def test_other_schemes_are_refused(scheme: bytes) -> None:
    """Nothing here could forward them."""
    _refused(_with(b":scheme", scheme))


@pytest.mark.parametrize(
    "authority",
    [b"", b"a b", b" a", b"a ", b"user@example.com", b"@", b"a/b", b"/", b"a\r\nx: y", b"a\n", b"a\0", b"a\t", b"a\x7f"],
    ids=repr,
)
def test_malformed_authority_is_refused(authority: bytes) -> None:
    """No userinfo (RFC 9113 section 8.3.1), no path and nothing that could end the line; in Host alone as well."""
    _refused(_with(b":authority", authority))
    _refused([*_without(b":authority"), (b"host", authority)])
    _refused([(b":method", b"CONNECT"), (b":authority", authority)])
    _refused(_with(b":authority", authority, _WEBSOCKET), ended=False, key=_KEY)
    _refused(_with(b":method", b"OPTIONS", _with(b":path", b"*", _with(b":authority", authority))))


@pytest.mark.parametrize("host", [b"", b"other.com", b"example.com:443", b"example.com.", b"example.com, example.com"], ids=repr)
def test_host_that_differs_from_authority_is_refused(host: bytes) -> None:
    """Targets could look at either (RFC 9113 section 8.3.1)."""
    assert "is not the host" in _refused([*_GET, (b"host", host)])


def test_several_hosts_are_refused() -> None:
    """Also if they are equal, and with or without `:authority`."""
    _refused([*_GET, (b"host", b"example.com"), (b"host", b"example.com")])
    _refused([*_without(b":authority"), (b"host", b"example.com"), (b"host", b"example.com")])


@pytest.mark.parametrize("value", [b"", b"x", b"+5", b"-5", b"05", b"5,5", b"5, 5", b"0x5", b"5.0", b"1" * 19], ids=repr)
def test_malformed_content_length_is_refused(value: bytes) -> None:
    """It decides where the body of an HTTP/1.1 request ends."""
    _refused([*_GET, (b"content-length", value)], ended=False)


def test_several_content_lengths_are_refused() -> None:
    """Also if they are equal."""
    for other in (b"5", b"6"):
        _refused([*_GET, (b"content-length", b"5"), (b"content-length", other)], ended=False)


def test_content_length_without_body_is_refused() -> None:
    """RFC 9113 section 8.1.1. The end of the stream is known here already."""
    assert "END_STREAM" in _refused([*_GET, (b"content-length", b"5")])


@pytest.mark.parametrize("extra", [(b":scheme", b"https"), (b":path", b"/"), (b":protocol", b"websocket"), (b":protocol", b"x")], ids=repr)
def test_connect_with_other_pseudo_fields_is_refused(extra: Field) -> None:
    """RFC 9113 section 8.5; `:protocol` needs the setting (RFC 8441 section 4)."""
    _refused([(b":method", b"CONNECT"), (b":authority", b"example.com:443"), extra])
    _refused([(b":method", b"CONNECT"), extra])


# WebSocket.


def test_websocket_becomes_a_handshake(reading: Reading) -> None:
    """RFC 8441 section 5. The client's own key and accept mean nothing in HTTP/2."""
    fields = [
        *_WEBSOCKET,
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", b"theirs"),
        (b"sec-websocket-accept", b"theirs"),
        (b"sec-websocket-protocol", b"chat"),
        (b"origin", b"https://example.com"),
        (b"cookie", b"a=b"),
    ]
    found = request_head(fields, ended=False, websocket_key=_KEY)
    assert found.is_connect
    assert found.content_length == -1
    assert found.head == (
        b"GET /chat HTTP/1.1\r\nhost: example.com\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-protocol: chat\r\norigin: https://example.com\r\ncookie: a=b\r\n"
        b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: " + _KEY + b"\r\n\r\n"
    )
    request = reading.request(found.head)
    assert (request.method, request.path, request.upgrade, request.content_length) == ("GET", "/chat", b"websocket", 0)
    assert request.headers["Sec-WebSocket-Key"] == _KEY.decode()


def test_websocket_without_the_setting_is_refused() -> None:
    """RFC 8441 section 4."""
    assert "not enabled" in _refused(_WEBSOCKET, ended=False)


@pytest.mark.parametrize("name", [b":scheme", b":path", b":authority", b":method"])
def test_websocket_without_a_pseudo_field_is_refused(name: bytes) -> None:
    """RFC 8441 section 4 wants all five."""
    _refused(_without(name, _WEBSOCKET), ended=False, key=_KEY)


def test_websocket_with_a_length_or_an_end_is_refused() -> None:
    """The stream is a tunnel."""
    _refused([*_WEBSOCKET, (b"content-length", b"0")], ended=False, key=_KEY)
    _refused(_WEBSOCKET, key=_KEY)
    _refused(_with(b":path", b"*", _WEBSOCKET), ended=False, key=_KEY)
    _refused([*_WEBSOCKET, (b"upgrade", b"websocket")], ended=False, key=_KEY)


def test_other_protocols_become_a_connect_that_the_reader_refuses(reading: Reading) -> None:
    """The client gets a 405, as for a plain CONNECT."""
    found = request_head(_with(b":protocol", b"connect-udp", _WEBSOCKET), ended=False, websocket_key=_KEY)
    assert not found.is_connect
    assert reading.refusal(found.head) is FailureKind.REQUEST_METHOD_REFUSED
    _refused(_without(b":path", _with(b":protocol", b"connect-udp", _WEBSOCKET)), ended=False, key=_KEY)


# A known tail.


def test_known_tail_is_put_behind_other_pseudo_fields() -> None:
    """The result is that of `request_head`."""
    tail = _head((b"a", b"b"))[len(_START) - 2 :]
    other = _with(b":path", b"/other", _with(b":authority", b"other.example"))
    assert head_with_tail(other, tail) == _head((b"a", b"b"), pseudo=other)


@pytest.mark.parametrize(
    "pseudo",
    [
        _without(b":method"),
        _without(b":authority"),
        [*_GET, (b":path", b"/")],
        [*_without(b":path"), (b":method", b"GET")],
        [*_without(b":path"), (b":status", b"200")],
        _with(b":method", b"CONNECT"),
        _with(b":method", b"OPTIONS", _with(b":path", b"*")),
        _with(b":path", b"/a b"),
        _with(b":path", b"/\r\nx: y"),
        _with(b":path", b""),
        _with(b":scheme", b"ftp"),
        _with(b":method", b""),
        _with(b":method", b"G T"),
        _with(b":authority", b"a@b"),
        _with(b":authority", b""),
        _WEBSOCKET,
        [],
    ],
    ids=repr,
)
def test_known_tail_is_not_put_behind_anything_unusual(pseudo: list[Field]) -> None:
    """`request_head` decides about those."""
    assert head_with_tail(pseudo, b"\r\n\r\n") is None


# Against the strict reader.

_PARTS = (
    b"a",
    b"B",
    b"/",
    b":",
    b" ",
    b"\r\n",
    b"\n",
    b"\0",
    b"\t",
    b"#",
    b"?",
    b"@",
    b"*",
    b",",
    b"1",
    b"0",
    b"host",
    b"\xff",
    b"%0d",
    b"[::1]",
)
_NAMES = (
    b"a",
    b"host",
    b"cookie",
    b"content-length",
    b"transfer-encoding",
    b"te",
    b"x-forwarded-for",
    b"content_length",
    b"expect",
    b"A",
    b"",
)


def _random_value(rnd: random.Random) -> bytes:
    return b"".join(rnd.choice(_PARTS) for _ in range(rnd.choice((0, 1, 1, 2, 3))))


def _random_request(rnd: random.Random) -> list[Field]:
    fields = [
        (b":method", rnd.choice((b"GET", b"POST", b"OPTIONS", b"CONNECT", _random_value(rnd)))),
        (b":scheme", rnd.choice((b"http", b"http", b"https", _random_value(rnd)))),
        (b":path", rnd.choice((b"/", b"/a", b"/" + _random_value(rnd), _random_value(rnd)))),
        (b":authority", rnd.choice((b"a", b"a:1", _random_value(rnd)))),
    ]
    fields += [
        (rnd.choice((*_NAMES, _random_value(rnd))), rnd.choice((b"1", b"a", b"trailers", _random_value(rnd))))
        for _ in range(rnd.randint(0, 3))
    ]
    if rnd.random() < 0.3:
        rnd.shuffle(fields)
    if rnd.random() < 0.1:
        fields.pop(rnd.randrange(len(fields)))
    return fields


@pytest.mark.parametrize("seed", range(4))
def test_what_passes_means_the_same_to_the_strict_reader(seed: int) -> None:
    """Or the reader refuses it: it never finds another method, path, length, or more fields than the client has sent."""
    rnd = random.Random(seed)
    read = Reading().reader().read
    passed = 0
    for _ in range(cases(20_000)):
        fields = _random_request(rnd)
        ended = rnd.random() < 0.5
        try:
            found = request_head(fields, ended=ended)
        except StreamError:
            continue
        assert re.fullmatch(rb"(?:[^\r\n\0]+\r\n)+\r\n", found.head), fields
        sent = dict(fields)
        try:
            request = read(found.head)
        except Failure:
            continue
        passed += 1
        assert request.method == sent[b":method"].decode()
        assert request.path.partition("?")[0] == sent[b":path"].decode("utf-8", "surrogateescape").partition("?")[0]
        assert request.headers["host"] == sent.get(b":authority", sent.get(b"host", b"")).decode()
        assert request.chunked == (not ended and b"content-length" not in sent)
        assert request.content_length == (-1 if request.chunked else int(sent.get(b"content-length", b"0")))
        regular = [field for field in fields if field[0][:1] != b":" and field[0] not in (b"host", b"cookie")]
        read_fields = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in request.headers.items()]
        assert [field for field in read_fields if field[0] not in (b"host", b"cookie", b"transfer-encoding")] == regular
    assert passed > cases(20_000) // 20


# To a target.


def _decoded(block: bytes) -> list[Field]:
    return [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(block, raw=True)]


def test_request_is_encoded_for_a_target() -> None:
    """Pseudo-fields first, Host as `:authority`; items may hold several lines."""
    lines = [
        b"POST /a?b HTTP/1.1",
        b"Accept: */*",
        b"Host: example.com:8080",
        b"Content-Length: 5",
        b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Amzn-Trace-Id: Root=1",
    ]
    assert _decoded(request_block(lines, b"http")) == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/a?b"),
        (b":authority", b"example.com:8080"),
        (b"accept", b"*/*"),
        (b"content-length", b"5"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"x-forwarded-proto", b"https"),
        (b"x-amzn-trace-id", b"Root=1"),
    ]


def test_host_within_an_item_becomes_authority() -> None:
    """The first one counts."""
    lines = [b"GET / HTTP/1.1", b"A: b\r\nhOsT:x ", b"C: d"]
    assert _decoded(request_block(lines, b"https"))[3:] == [(b":authority", b"x"), (b"a", b"b"), (b"c", b"d")]


def test_request_without_host_has_no_authority() -> None:
    """An empty one would be malformed."""
    assert _decoded(request_block([b"OPTIONS * HTTP/1.1", b"Host:"], b"http")) == [
        (b":method", b"OPTIONS"),
        (b":scheme", b"http"),
        (b":path", b"*"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"Connection: close",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: close",
        b"Transfer-Encoding: chunked",
        b"Upgrade: websocket",
        b"HTTP2-Settings: x",
        b"TE: gzip",
        b"TE: trailers, gzip",
    ],
    ids=repr,
)
def test_connection_specific_fields_are_left_out(line: bytes) -> None:
    """RFC 9113 section 8.2.2."""
    assert _decoded(request_block([b"GET / HTTP/1.1", b"Host: x", line, b"A: b"], b"http"))[4:] == [(b"a", b"b")]


def test_te_trailers_stays() -> None:
    """gRPC needs it. The reader adds it with its Connection option."""
    assert _decoded(request_block([b"GET / HTTP/1.1", b"Host: x", b"Connection: TE\r\nTE: trailers"], b"http"))[4:] == [
        (b"te", b"trailers")
    ]


def test_websocket_is_encoded_for_a_target() -> None:
    """RFC 8441 section 5. The key is not sent; without extended CONNECT it is."""
    lines = [
        b"GET /chat HTTP/1.1",
        b"Host: x",
        b"Sec-WebSocket-Key: k",
        b"Sec-WebSocket-Version: 13",
        b"Connection: Upgrade\r\nUpgrade: websocket",
    ]
    assert _decoded(request_block(lines, b"https", connect_protocol=b"websocket")) == [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https"),
        (b":path", b"/chat"),
        (b":authority", b"x"),
        (b"sec-websocket-version", b"13"),
    ]
    assert (b"sec-websocket-key", b"k") in _decoded(request_block(lines, b"https"))


@pytest.mark.parametrize(
    "lines",
    [
        [b"GET /"],
        [b"GET /a b HTTP/1.1"],
        [b"GET /a\r\nb HTTP/1.1"],
        [b"GET /a\0 HTTP/1.1"],
        [b"GET /\x7f HTTP/1.1"],
        [b"G:T / HTTP/1.1"],
        [b" / HTTP/1.1"],
        [b"GET / HTTP/1.1", b"Host: a\nb"],
        [b"GET / HTTP/1.1", b"Host: a\0"],
        [b"GET / HTTP/1.1", b"Host: a b"],
        [b"GET / HTTP/1.1", b"A: b\nc"],
        [b"GET / HTTP/1.1", b"A: b\rc"],
        [b"GET / HTTP/1.1", b"A: b\0c"],
        [b"GET / HTTP/1.1", b":path: /admin"],
        [b"GET / HTTP/1.1", b"A: b\r\n:authority: x"],
        [b"GET / HTTP/1.1", b"A B: c"],
        [b"GET / HTTP/1.1", b"Connection: a\nb"],
    ],
    ids=repr,
)
def test_lines_that_cannot_be_sent_are_refused(lines: list[bytes]) -> None:
    """Hooks and transforms may have written them."""
    with pytest.raises(ValueError, match=r"cannot be sent|not a field line|CR, LF or NUL|unpack"):
        request_block(lines, b"http")


def test_request_survives_the_way_to_a_target(reading: Reading) -> None:
    """From a client's fields through the strict reader into a block: the same fields arrive."""
    fields = [*_GET, (b"user-agent", b"x"), (b"te", b"trailers"), (b"cookie", b"a=b"), (b"cookie", b"c=d"), (b"content-length", b"3")]
    request = reading.request(request_head(_with(b":method", b"POST", fields), ended=False).head)
    assert sorted(_decoded(request_block(request.lines, b"https"))) == sorted(
        [
            *_with(b":method", b"POST", _GET),
            (b"user-agent", b"x"),
            (b"te", b"trailers"),
            (b"cookie", b"a=b; c=d"),
            (b"content-length", b"3"),
        ]
    )
