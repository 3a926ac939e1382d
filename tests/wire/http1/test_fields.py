from __future__ import annotations

from collections.abc import Iterator

import pytest

from albkit.wire.http1 import fields
from albkit.wire.http1.fields import REQUEST_FIELDS, RESERVED, RESPONSE_FIELDS, connection_options, drop_named, kinds_reserving


@pytest.fixture(autouse=True)
def _tables_as_before() -> Iterator[None]:
    """What a test has the tables remember is forgotten behind it."""
    before = dict(REQUEST_FIELDS), dict(RESPONSE_FIELDS)
    yield
    for table, kept in zip((REQUEST_FIELDS, RESPONSE_FIELDS), before, strict=True):
        table.clear()
        table.update(kept)


_REQUEST = [
    (b"Host", fields.HOST),
    (b"Connection", fields.CONNECTION),
    (b"Content-Length", fields.CONTENT_LENGTH),
    (b"Transfer-Encoding", fields.TRANSFER_ENCODING),
    (b"Cookie", fields.COOKIE),
    (b"Upgrade", fields.UPGRADE),
    (b"TE", fields.TE),
    (b"Expect", fields.EXPECT),
    (b"X-Forwarded-For", fields.FORWARDED_FOR),
    (b"X-Amzn-Trace-Id", fields.TRACE_ID),
    # hop-by-hop (RFC 9110 section 7.6.1)
    (b"Keep-Alive", fields.DROP),
    (b"Proxy-Connection", fields.DROP),
    (b"Proxy-Authorization", fields.DROP),
    (b"HTTP2-Settings", fields.DROP),
    # only the load balancer may set them (docs/alb.md 1.11, 2.7, 4.4)
    (b"X-Forwarded-Proto", fields.FORWARDED_PROTO),
    (b"X-Forwarded-Port", fields.FORWARDED_PORT),
    (b"X-Forwarded-Host", fields.FORWARDED_HOST),
    (b"X_Forwarded_For", fields.IRREGULAR_FORWARDED),
    (b"X.Forwarded-Proto", fields.IRREGULAR_FORWARDED),
    (b"x_amzn_trace_id", fields.IRREGULAR_FORWARDED),
    (b"X-Amzn-Mtls-Clientcert", fields.RESERVED),
    (b"X-Amzn-Mtls-Clientcert-Serial-Number", fields.RESERVED),
    (b"X-Amzn-Mtls-Clientcert-Anything", fields.RESERVED),
    (b"X-Amzn-Tls-Version", fields.RESERVED),
    (b"X-Amzn-Tls-Cipher-Suite", fields.RESERVED),
    (b"X-Amzn-Oidc-Data", fields.RESERVED),
    (b"X-Amzn-Oidc-Identity", fields.RESERVED),
    (b"X-Amzn-Oidc-Accesstoken", fields.RESERVED),
    # end to end
    (b"Accept", fields.PLAIN),
    (b"Authorization", fields.PLAIN),
    (b"Trailer", fields.PLAIN),
    (b"Forwarded", fields.PLAIN),
    (b"Sec-WebSocket-Key", fields.PLAIN),
    (b"X-Amzn-Requestid", fields.PLAIN),
    (b"ContentLength", fields.PLAIN),
    (b"Content-Length2", fields.PLAIN),
    (b"X-Content-Length", fields.PLAIN),
    (b"0", fields.PLAIN),
    # docs/alb.md 1.2: fails [-A-Za-z0-9]+
    (b"X_Custom", fields.IRREGULAR),
    (b"X.Custom", fields.IRREGULAR),
    (b"X!", fields.IRREGULAR),
    # docs/alb.md 2.4, SuspiciousHeader
    (b"Transfer_Encoding", fields.IRREGULAR_LOOKALIKE),
    (b"transfer.encoding", fields.IRREGULAR_LOOKALIKE),
    (b"Transfer--Encoding", fields.LOOKALIKE),
    (b"Content_Length", fields.IRREGULAR_LOOKALIKE),
    (b"-Content.Length-", fields.IRREGULAR_LOOKALIKE),
    (b"_Content-Length", fields.IRREGULAR_LOOKALIKE),
    # no tokens
    (b"", fields.BAD),
    (b"A B", fields.BAD),
    (b"A ", fields.BAD),
    (b"A\0", fields.BAD),
    (b"A(", fields.BAD),
    (b"Content-Length ", fields.BAD),
    (b"\xc3\xa9", fields.BAD),
]

_RESPONSE = [
    (b"Connection", fields.CONNECTION),
    (b"Content-Length", fields.CONTENT_LENGTH),
    (b"Transfer-Encoding", fields.TRANSFER_ENCODING),
    (b"Upgrade", fields.UPGRADE),
    (b"Keep-Alive", fields.KEEP_ALIVE),
    (b"Proxy-Connection", fields.DROP),
    (b"TE", fields.DROP),
    (b"Set-Cookie", fields.PLAIN),
    (b"Server", fields.PLAIN),
    (b"Content-Type", fields.PLAIN),
    (b"ETag", fields.PLAIN),
    (b"Trailer", fields.PLAIN),
    (b"X_Custom", fields.PLAIN),
    (b"Content-Length ", fields.BAD),
    (b"A\t", fields.BAD),
    (b"", fields.BAD),
]


@pytest.mark.parametrize(("name", "kind"), _REQUEST, ids=lambda value: repr(value)[1:])
def test_request_field_is_of_its_kind_in_every_case(name: bytes, kind: int) -> None:
    """Names have no case (RFC 9110 section 5.1)."""
    for spelling in (name, name.lower(), name.upper(), name.swapcase()):
        assert REQUEST_FIELDS[spelling] == kind


@pytest.mark.parametrize(("name", "kind"), _RESPONSE, ids=lambda value: repr(value)[1:])
def test_response_field_is_of_its_kind_in_every_case(name: bytes, kind: int) -> None:
    """Names have no case (RFC 9110 section 5.1)."""
    for spelling in (name, name.lower(), name.upper(), name.swapcase()):
        assert RESPONSE_FIELDS[spelling] == kind


@pytest.mark.parametrize("table", [REQUEST_FIELDS, RESPONSE_FIELDS], ids=["request", "response"])
def test_spellings_remembered_are_bounded_and_the_rest_judged_right(table: dict[bytes, int]) -> None:
    """Names are an adversary's to choose: memory stays small, and judgement does not depend on it."""
    for number in range(60_000):
        assert table[b"x-made-up-%d" % number] == fields.PLAIN
    assert len(table) < 30_000
    for number in range(1_000):
        assert table[b"x-%d" % number + b"y" * 1_000] == fields.PLAIN
    assert not [name for name in table if len(name) > 64]
    spellings = [bytes(byte ^ 0x20 if mask >> index & 1 else byte for index, byte in enumerate(b"connection")) for mask in range(1024)]
    assert all(table[spelling] == fields.CONNECTION for spelling in spellings)


@pytest.mark.parametrize(
    ("value", "close", "keep_alive", "upgrade", "named"),
    [
        pytest.param(b"close", True, False, False, set(), id="close"),
        pytest.param(b"Close", True, False, False, set(), id="case"),
        pytest.param(b"keep-alive", False, True, False, set(), id="keep-alive"),
        pytest.param(b"keep-alive, Upgrade", False, True, True, set(), id="keep-alive and upgrade"),
        pytest.param(b"close,keep-alive", True, True, False, set(), id="both"),
        pytest.param(b"X-Foo", False, False, False, {b"x-foo"}, id="a field"),
        pytest.param(b" X-Foo \t,\tclose ,,", True, False, False, {b"x-foo"}, id="blanks and empty items"),
        pytest.param(b"", False, False, False, set(), id="empty"),
        pytest.param(b", ,", False, False, False, set(), id="commas"),
        pytest.param(b"closed", False, False, False, {b"closed"}, id="longer word"),
        pytest.param(b"close-x", False, False, False, {b"close-x"}, id="other word"),
    ],
)
def test_connection_options_are_read_without_case_and_blanks(
    value: bytes, close: bool, keep_alive: bool, upgrade: bool, named: set[bytes]
) -> None:
    """A list of tokens (RFC 9110 section 7.6.1)."""
    options = connection_options(value)
    assert (options.close, options.keep_alive, options.upgrade, set(options.named)) == (close, keep_alive, upgrade, named)


def test_fields_named_by_connection_are_dropped_in_every_case() -> None:
    """All lines of a named field are removed, in any case. The first line stays."""
    lines = [b"x-foo: is a start line", b"Host: a", b"X-Foo: 1", b"Bar: x-foo", b"x-FOO:2", b"X-Foot: 3"]
    drop_named(lines, frozenset((b"x-foo",)))
    assert lines == [b"x-foo: is a start line", b"Host: a", b"Bar: x-foo", b"X-Foot: 3"]


@pytest.mark.parametrize("name", [b"Host", b"Content-Length", b"Transfer-Encoding", b"Content-Type", b"Content-Encoding"])
def test_fields_that_say_what_a_message_is_are_never_dropped(name: bytes) -> None:
    """A Connection line must not be able to change framing, routing or meaning."""
    lines = [b"GET / HTTP/1.1", name + b": x"]
    drop_named(lines, frozenset((name.lower(),)))
    assert lines == [b"GET / HTTP/1.1", name + b": x"]


@pytest.mark.parametrize(
    "spelling", [b"X-Amzn-Mtls-Clientcert", b"x_amzn_mtls_clientcert", b"X.Amzn.Mtls.Clientcert", b"X-Amzn~Mtls-Clientcert"]
)
def test_field_that_only_the_load_balancer_sets_is_dropped_in_every_spelling(spelling: bytes) -> None:
    """Servers take an underscore for a hyphen, and those that speak CGI anything but letters and digits."""
    assert REQUEST_FIELDS[spelling] == RESERVED


@pytest.mark.parametrize("reserved", [b"x-client-cert", b"x_client_cert"])
@pytest.mark.parametrize("spelling", [b"X-Client-Cert", b"x_client_cert", b"X.Client.Cert"])
def test_field_that_was_given_another_name_is_dropped_in_every_spelling(reserved: bytes, spelling: bytes) -> None:
    """The same for names of the program's own, however it spells them."""
    assert kinds_reserving([reserved])[spelling] == RESERVED
