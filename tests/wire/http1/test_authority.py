from __future__ import annotations

import pytest

from albkit.errors import Failure, FailureKind
from albkit.wire.http1.authority import AuthorityReader

_GOOD = [
    # docs/alb.md 2.7: value, for rules, Host on port 80 or 443, Host on port 8080
    pytest.param(b"example.com", "example.com", b"example.com", b"example.com:8080", id="name"),
    pytest.param(b"EXAMPLE.Com", "example.com", b"example.com", b"example.com:8080", id="lower case"),
    pytest.param(b"example.com:80", "example.com", b"example.com", b"example.com:80", id="port stripped or kept"),
    pytest.param(b"example.com:8443", "example.com", b"example.com", b"example.com:8443", id="any port stripped or kept"),
    pytest.param(b"example.com:65535", "example.com", b"example.com", b"example.com:65535", id="greatest port"),
    pytest.param(b"example.com:", "example.com", b"example.com", b"example.com:8080", id="empty port"),
    pytest.param(b"10.0.0.1:81", "10.0.0.1", b"10.0.0.1", b"10.0.0.1:81", id="v4"),
    pytest.param(b"[::1]", "[::1]", b"[::1]", b"[::1]:8080", id="v6"),
    pytest.param(b"[2001:DB8::1]:81", "[2001:db8::1]", b"[2001:db8::1]", b"[2001:db8::1]:81", id="v6 with port"),
    pytest.param(b"[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]", b"[::ffff:10.0.0.1]", b"[::ffff:10.0.0.1]:8080", id="v6 with v4 in it"),
    pytest.param(b"localhost", "localhost", b"localhost", b"localhost:8080", id="one label"),
    pytest.param(b"my_service.internal", "my_service.internal", b"my_service.internal", b"my_service.internal:8080", id="underscore"),
    pytest.param(b"xn--bcher-kva.example", "xn--bcher-kva.example", b"xn--bcher-kva.example", b"xn--bcher-kva.example:8080", id="IDNA"),
    pytest.param(b"Example.com.", "example.com", b"example.com", b"example.com:8080", id="final dot"),
]

_BAD = [
    pytest.param(b"", id="empty"),
    pytest.param(b":80", id="port alone"),
    pytest.param(b"a.com, b.com", id="list"),
    pytest.param(b"a.com,b.com", id="list without blank"),
    pytest.param(b"user@example.com", id="userinfo"),
    pytest.param(b"user:pass@example.com:80", id="userinfo with password"),
    pytest.param(b"example.com/", id="slash"),
    pytest.param(b"example.com/path", id="path"),
    pytest.param(b"example.com?query", id="query"),
    pytest.param(b"example.com#x", id="fragment"),
    pytest.param(b"http://example.com", id="scheme"),
    pytest.param(b"example.com:65536", id="port too large"),
    pytest.param(b"example.com:99999", id="port much too large"),
    pytest.param(b"example.com:080080", id="port of six digits"),
    pytest.param(b"example.com:8a", id="port with letters"),
    pytest.param(b"example.com:-1", id="negative port"),
    pytest.param(b"example.com:+1", id="signed port"),
    pytest.param(b"example.com: 80", id="blank before port"),
    pytest.param(b"example.com :80", id="blank behind host"),
    pytest.param(b"example com", id="blank"),
    pytest.param(b"example.com\tx", id="tab"),
    pytest.param(b"example.com:80:80", id="two ports"),
    pytest.param(b"::1", id="v6 without brackets"),
    pytest.param(b"[::1", id="bracket open"),
    pytest.param(b"::1]", id="bracket closed"),
    pytest.param(b"[]", id="brackets empty"),
    pytest.param(b"[::1]x", id="text behind brackets"),
    pytest.param(b"[::1]80", id="port without colon"),
    pytest.param(b"[zz]", id="v6 with other letters"),
    pytest.param(b"[::1%25eth0]", id="v6 with zone"),
    pytest.param(b"[:]", id="v6 of one colon"),
    pytest.param(b"[1.2.3.4]", id="v4 in brackets"),
    pytest.param(b"[1::2::3]", id="v6 with two gaps"),
    pytest.param(b"ex\xc3\xa4mple.com", id="raw UTF-8"),
    pytest.param(b"example.com\0", id="NUL"),
    pytest.param(b"<script>", id="angle brackets"),
    pytest.param(b'"example.com"', id="quotes"),
    pytest.param(b"a\\b", id="backslash"),
    pytest.param(b"a" * 10_000, id="endless"),
]


@pytest.mark.parametrize(("value", "host", "bare", "with_port"), _GOOD)
def test_authority_takes_albs_normal_form(value: bytes, host: str, bare: bytes, with_port: bytes) -> None:
    """Lower case; on 80 and 443 any port stripped, elsewhere the listener's appended where none is (docs/alb.md 2.7)."""
    for port in (80, 443):
        authority = AuthorityReader(port).read(value)
        assert (authority.host, authority.line) == (host, b"Host: " + bare)
    authority = AuthorityReader(8080).read(value)
    assert (authority.host, authority.line) == (host, b"Host: " + with_port)


@pytest.mark.parametrize("value", _BAD)
def test_authority_that_is_none_is_a_400(value: bytes) -> None:
    """Empty, a list, userinfo, a path, a bad port or literal: no host that every server reads alike (RFC 9112 section 3.2)."""
    with pytest.raises(Failure) as raised:
        AuthorityReader(80).read(value)
    assert raised.value.kind is FailureKind.REQUEST_HOST_INVALID
    assert len(raised.value.detail) < 500


def test_authority_is_parsed_once_per_spelling() -> None:
    """Most requests cost a look-up only."""
    reader = AuthorityReader(80)
    assert reader.read(b"example.com") is reader.read(b"example.com")
    assert reader.read(b"Example.com") is not reader.read(b"example.com")


def test_authority_cache_is_bounded() -> None:
    """An attacker chooses the spellings. Those beyond the bound are parsed correctly and not kept; invalid ones are never kept."""
    reader = AuthorityReader(80)
    for number in range(20_000):
        assert reader.read(b"host%d.example" % number).host == f"host{number}.example"
    assert len(reader._cache) <= 4_096
    kept = len(reader._cache)
    with pytest.raises(Failure):
        reader.read(b"a, b")
    assert len(reader._cache) == kept
