"""PROXY protocol headers, read: good ones written out byte by byte, bad ones with what is wrong about each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albkit.wire.proxy_protocol.crc32c import crc32c
from albkit.wire.proxy_protocol.reader import LARGEST, ProxyHeader, ProxyHeaderError, may_begin_proxy_header, read_proxy_header
from tests.support.effort import cases

_SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
_V4 = bytes.fromhex("c0000201 c6336402 dcba 01bb")
_V4_ENDS = (("192.0.2.1", 56506), ("198.51.100.2", 443))
_V6 = bytes.fromhex("20010db8000000000000000000000001 20010db8000000000000000000000002 dcba 01bb")
_V6_ENDS = (("2001:db8::1", 56506), ("2001:db8::2", 443))
_TLS = {"version": "", "cipher": "", "server_name": "", "alpn": "", "certificate": "", "subject": None, "verify_status": ""}

_Ends = tuple[tuple[str, int] | None, tuple[str, int] | None]
_NONE: _Ends = (None, None)


def _v2(content: bytes = b"", *, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    return _SIGNATURE + bytes((command, family)) + (len(content) if length is None else length).to_bytes(2, "big") + content


def _tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def _ssl(*inner: bytes, client: int = 1, verify: int = 0) -> bytes:
    return _tlv(0x20, bytes((client,)) + verify.to_bytes(4, "big") + b"".join(inner))


def _tls(**known: str) -> dict[str, Any]:
    return {**_TLS, **known}


def _told(header: ProxyHeader) -> tuple[Any, ...]:
    tls = header.tls
    if tls is None:
        return header.source, header.destination, None
    shown = tls.client_certificate
    if shown is not None:
        assert (shown.issuer, shown.serial_number, shown.not_before, shown.not_after, shown.chain) == ("", "", "", "", ())
    known = {name: getattr(tls, name) for name in _TLS if name != "subject"}
    return header.source, header.destination, known | {"subject": None if shown is None else shown.subject}


_GOOD: dict[str, tuple[bytes, _Ends, dict[str, Any] | None]] = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.1 198.51.100.2 56506 443\r\n", _V4_ENDS, None),
    "v1 longest TCP4": (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        (("255.255.255.255", 65535), ("255.255.255.255", 65535)),
        None,
    ),
    "v1 lowest": (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", (("0.0.0.0", 0), ("0.0.0.0", 0)), None),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 56506 443\r\n", _V6_ENDS, None),
    "v1 longest TCP6": (
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        (("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535), ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535)),
        None,
    ),
    "v1 mapped": (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6402 56506 443\r\n", _V4_ENDS, None),
    "v1 mapped and not": (b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 56506 443\r\n", (_V4_ENDS[0], _V6_ENDS[1]), None),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", _NONE, None),
    "v1 UNKNOWN with addresses": (b"PROXY UNKNOWN 2001:db8::1 2001:db8::2 56506 443\r\n", _NONE, None),
    "v1 UNKNOWN with anything": (b"PROXY UNKNOWN \r \n \x00\xff%n  \r\r\n", _NONE, None),
    "v1 longest UNKNOWN": (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", _NONE, None),
    "v2 LOCAL": (bytes.fromhex("0d0a0d0a000d0a515549540a 20 00 0000"), _NONE, None),
    "v2 LOCAL with addresses": (bytes.fromhex("0d0a0d0a000d0a515549540a 20 11 000c c0000201c6336402dcba01bb"), _NONE, None),
    "v2 LOCAL with anything": (_v2(b"\x20\xff\xff and so on", command=0x20, family=0xEE), _NONE, None),
    "v2 TCP4": (bytes.fromhex("0d0a0d0a000d0a515549540a 21 11 000c c0000201 c6336402 dcba 01bb"), _V4_ENDS, None),
    "v2 TCP6": (
        bytes.fromhex("0d0a0d0a000d0a515549540a 21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 dcba 01bb"),
        _V6_ENDS,
        None,
    ),
    "v2 mapped": (
        bytes.fromhex("0d0a0d0a000d0a515549540a 21 21 0024 00000000000000000000ffffc0000201 20010db8000000000000000000000002 dcba 01bb"),
        (_V4_ENDS[0], _V6_ENDS[1]),
        None,
    ),
    "v2 unix": (_v2(b"/run/a.sock".ljust(108, b"\0") * 2, family=0x31), (("", 0), ("", 0)), None),
    "v2 unspecified": (bytes.fromhex("0d0a0d0a000d0a515549540a 21 00 0000"), _NONE, None),
    "v2 stream of an unspecified family": (bytes.fromhex("0d0a0d0a000d0a515549540a 21 01 0000"), _NONE, None),
    "v2 as AWS's NLB sends it through an endpoint": (
        # CRC-32C, the id of a VPC endpoint, and padding.
        bytes.fromhex(
            "0d0a0d0a000d0a515549540a 21 11 0054 0a000105 0a000207 c8f2 0050"
            "03 0004 4bf1e63a ea 0017 01 767063652d30313233343536373839616263646566 30"
            "04 0024 000000000000000000000000000000000000000000000000000000000000000000000000"
        ),
        (("10.0.1.5", 51442), ("10.0.2.7", 80)),
        None,
    ),
    "v2 with padding alone": (_v2(_V4 + _tlv(4, b"") + _tlv(4, bytes(9))), _V4_ENDS, None),
    "v2 with types not known": (
        _v2(_V4 + _tlv(0x05, b"id") + _tlv(0x30, b"ns") + _tlv(0xE0, b"") + _tlv(0xFF, b"\xff" * 300)),
        _V4_ENDS,
        None,
    ),
    "v2 with a whole session": (
        bytes.fromhex(
            "0d0a0d0a000d0a515549540a 21 11 006a c0000201 c6336402 dcba 01bb"
            "01 0008 687474702f312e31"  # http/1.1
            "02 000d 412e6578616d706c652e636f6d"  # A.example.com
            "20 003d 07 00000000"
            "21 0007 544c5376312e33"  # TLSv1.3
            "22 0012 4c756369632cc48d6963206f272258222020"  # Lucic,čic o'"X" and a space more
            "23 0016 544c535f4145535f3132385f47434d5f534841323536"  # TLS_AES_128_GCM_SHA256
            "04 0000"
        ),
        _V4_ENDS,
        _tls(
            version="TLSv1.3",
            cipher="TLS_AES_128_GCM_SHA256",
            server_name="a.example.com",
            alpn="http/1.1",
            subject='CN=Lucic\\,čic o\'\\"X\\" \\ ',
            verify_status="Success",
        ),
    ),
    "v2 session without a certificate": (
        _v2(_V6 + _ssl(_tlv(0x21, b"TLSv1.2"), _tlv(0x23, b"AES128-SHA"), _tlv(0x25, b"RSA2048")), family=0x21),
        _V6_ENDS,
        _tls(version="TLSv1.2", cipher="AES128-SHA"),
    ),
    "v2 session of which nothing is told": (_v2(_V4 + _ssl()), _V4_ENDS, _TLS),
    "v2 certificate not verified": (_v2(_V4 + _ssl(_tlv(0x22, b"a"), client=3, verify=18)), _V4_ENDS, _tls(subject="CN=a")),
    "v2 certificate of the session before": (
        _v2(_V4 + _ssl(_tlv(0x22, b"a"), client=5)),
        _V4_ENDS,
        _tls(subject="CN=a", verify_status="Success"),
    ),
    "v2 certificate without a name": (_v2(_V4 + _ssl(client=7)), _V4_ENDS, _tls(verify_status="Success")),
    "v2 name without a certificate": (_v2(_V4 + _ssl(_tlv(0x22, b"a"))), _V4_ENDS, _TLS),
    "v2 session of a unix socket": (
        _v2(_tlv(2, b"A") + _ssl(_tlv(0x21, b"TLSv1.3")), family=0),
        _NONE,
        _tls(version="TLSv1.3", server_name="a"),
    ),
    "v2 server name without a session": (_v2(_V4 + _tlv(2, b"a.example") + _tlv(1, b"h2")), _V4_ENDS, None),
    "v2 no TLS, said so": (_v2(_V4 + _ssl(_tlv(0x22, b"a"), client=6)), _V4_ENDS, None),
    "v2 longest texts": (
        _v2(_V4 + _tlv(2, b"a" * 255) + _ssl(_tlv(0x22, "č".encode() * 128), client=7)),
        _V4_ENDS,
        _tls(server_name="a" * 255, subject="CN=" + "č" * 128, verify_status="Success"),
    ),
    "v2 largest": (_v2(_V4 + _tlv(4, bytes(LARGEST - 31))), _V4_ENDS, None),
    "v2 largest LOCAL": (_v2(bytes(LARGEST - 16), command=0x20), _NONE, None),
}
_SMALL = {name: raw for name, (raw, _, _) in _GOOD.items() if len(raw) < 1000}


@pytest.mark.parametrize("name", _GOOD)
@pytest.mark.parametrize("behind", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", b"PROXY UNKNOWN\r\n"])
def test_header_is_read_and_what_stands_behind_it_is_not(name: str, behind: bytes) -> None:
    """Both ends, the session and the size are as its bytes say."""
    raw, ends, tls = _GOOD[name]
    header = read_proxy_header(raw + behind)
    assert header is not None
    assert _told(header) == (*ends, tls)
    assert header.size == len(raw)


@pytest.mark.parametrize("name", _GOOD)
def test_beginning_of_a_header_waits_for_more(name: str) -> None:
    """Wherever the bytes are cut."""
    raw = _GOOD[name][0]
    assert [read_proxy_header(raw[:end]) for end in range(len(raw))] == [None] * len(raw)


def _summed(content: bytes, wrong: int = 0) -> bytes:
    """A header with its checksum behind `content`, wrong by some bits."""
    raw = _v2(content + _tlv(3, bytes(4)))
    return raw[:-4] + (crc32c(raw) ^ wrong).to_bytes(4, "big")


_BAD: dict[str, tuple[bytes, str]] = {
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", "signature"),
    "HTTP behind an empty line": (b"\r\nGET / HTTP/1.1\r\n\r\n", "signature"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", "signature"),
    "NUL": (b"\0", "signature"),
    "lower case": (b"proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n", "signature"),
    "a space before": (b" PROXY UNKNOWN\r\n", "signature"),
    "no space behind PROXY": (b"PROXY\r\n", "signature"),
    "tab behind PROXY": (b"PROXY\tTCP4 192.0.2.1 198.51.100.2 1 2\r\n", "signature"),
    "signature wrong at its end": (_SIGNATURE[:-1] + b"\r", "signature"),
    "v1 two spaces behind PROXY": (b"PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n", "neither TCP4"),
    "v1 nothing": (b"PROXY \r\n", "neither TCP4"),
    "v1 UDP4": (b"PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n", "neither TCP4"),
    "v1 tcp4": (b"PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n", "neither TCP4"),
    "v1 UNKNOWN and more": (b"PROXY UNKNOWNS\r\n", "neither TCP4"),
    "v1 UNKNOWN and a tab": (b"PROXY UNKNOWN\t\r\n", "neither TCP4"),
    "v1 as an HTTP method": (b"PROXY / HTTP/1.1\r\nHost: a\r\n\r\n", "neither TCP4"),
    "v1 two spaces": (b"PROXY TCP4 192.0.2.1  198.51.100.2 1 2\r\n", "7 words"),
    "v1 space at the end": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n", "7 words"),
    "v1 one word more": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n", "7 words"),
    "v1 one port": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n", "5 words"),
    "v1 TCP4 alone": (b"PROXY TCP4\r\n", "2 words"),
    "v1 tab between ports": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1\t2\r\n", "5 words"),
    "v1 ended by LF": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\nHost: a\r\n", "7 words"),
    "v1 ended by LF alone": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n\r\n", "not a port"),
    "v1 ended by CR": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\r\n", "not a port"),
    "v1 NUL": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\0\r\n", "not a port"),
    "v1 port too high": (b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n", "not a port"),
    "v1 port of six digits": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 100000\r\n", "not a port"),
    "v1 port with a zero before": (b"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n", "not a port"),
    "v1 port of zeros": (b"PROXY TCP4 192.0.2.1 198.51.100.2 00 2\r\n", "not a port"),
    "v1 port with a sign": (b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n", "not a port"),
    "v1 port below zero": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 -2\r\n", "not a port"),
    "v1 port with an underscore": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1_0 2\r\n", "not a port"),
    "v1 port in hexadecimal": (b"PROXY TCP4 192.0.2.1 198.51.100.2 0x1 2\r\n", "not a port"),
    "v1 port in other digits": ("PROXY TCP4 192.0.2.1 198.51.100.2 \u0661 2\r\n".encode(), "not a port"),
    "v1 no port": (b"PROXY TCP4 192.0.2.1 198.51.100.2  2\r\n", "not a port"),
    "v1 three parts": (b"PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n", "not an address"),
    "v1 five parts": (b"PROXY TCP4 192.0.2.1.1 198.51.100.2 1 2\r\n", "not an address"),
    "v1 part too high": (b"PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n", "not an address"),
    "v1 octal": (b"PROXY TCP4 192.0.02.1 198.51.100.2 1 2\r\n", "not an address"),
    "v1 hexadecimal": (b"PROXY TCP4 0xc0.0.2.1 198.51.100.2 1 2\r\n", "not an address"),
    "v1 address in other digits": ("PROXY TCP4 \u0661.0.2.1 198.51.100.2 1 2\r\n".encode(), "not an address"),
    "v1 one number": (b"PROXY TCP4 3221225985 198.51.100.2 1 2\r\n", "not an address"),
    "v1 network": (b"PROXY TCP4 192.0.2.0/24 198.51.100.2 1 2\r\n", "not an address"),
    "v1 name": (b"PROXY TCP4 localhost 198.51.100.2 1 2\r\n", "not an address"),
    "v1 IPv6 as TCP4": (b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "not an address"),
    "v1 IPv4 as TCP6": (b"PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n", "not an address"),
    "v1 one of each": (b"PROXY TCP6 2001:db8::1 198.51.100.2 1 2\r\n", "not an address"),
    "v1 scope": (b"PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n", "not an address"),
    "v1 empty scope": (b"PROXY TCP6 2001:db8::1 fe80::1% 1 2\r\n", "not an address"),
    "v1 brackets": (b"PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n", "not an address"),
    "v1 two gaps": (b"PROXY TCP6 2001::db8::1 2001:db8::2 1 2\r\n", "not an address"),
    "v1 five digits": (b"PROXY TCP6 2001:0db8::00001 2001:db8::2 1 2\r\n", "not an address"),
    "v1 nine groups": (b"PROXY TCP6 1:2:3:4:5:6:7:8:9 2001:db8::2 1 2\r\n", "not an address"),
    "v1 no address": (b"PROXY TCP4  198.51.100.2 1 2\r\n", "not an address"),
    "v1 too long": (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", "within 107 bytes"),
    "v1 without an end": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2".ljust(107), "within 107 bytes"),
    "v1 half an end": (b"PROXY UNKNOWN ".ljust(106) + b"\r", "within 107 bytes"),
    "v2 version 0": (_SIGNATURE + b"\x01", "version 2: 0x01"),
    "v2 version 1": (_SIGNATURE + b"\x11", "version 2: 0x11"),
    "v2 version 3": (_SIGNATURE + b"\x31", "version 2: 0x31"),
    "v2 version 15": (_v2(_V4, command=0xF1), "version 2: 0xf1"),
    "v2 command 2": (_v2(_V4, command=0x22), "version 2: 0x22"),
    "v2 command 15": (_v2(_V4, command=0x2F), "version 2: 0x2f"),
    "v2 UDP4": (_SIGNATURE + b"\x21\x12", "family: 0x12"),
    "v2 UDP6": (_v2(_V6, family=0x22), "family: 0x22"),
    "v2 unix datagrams": (_v2(bytes(216), family=0x32), "family: 0x32"),
    "v2 datagrams of no family": (_v2(family=0x02), "family: 0x02"),
    "v2 IPv4 without a transport": (_v2(_V4, family=0x10), "family: 0x10"),
    "v2 transport 3": (_v2(_V4, family=0x13), "family: 0x13"),
    "v2 family 4": (_v2(_V4, family=0x41), "family: 0x41"),
    "v2 family 15": (_v2(_V4, family=0xF1), "family: 0xf1"),
    "v2 too large by a byte": (_v2(length=LARGEST - 15), "more than 16384"),
    "v2 as large as it can say": (_v2(length=0xFFFF), "65551 bytes"),
    "v2 LOCAL too large": (_v2(command=0x20, length=LARGEST - 15), "more than 16384"),
    "v2 no addresses": (_v2(), "addresses need 28 bytes of a header that has 16"),
    "v2 IPv4 short by a byte": (_v2(_V4[:-1]), "addresses need 28 bytes"),
    "v2 IPv6 short by a byte": (_v2(_V6[:-1], family=0x21), "addresses need 52 bytes"),
    "v2 IPv4 as IPv6": (_v2(_V4, family=0x21), "addresses need 52 bytes"),
    "v2 unix short by a byte": (_v2(bytes(215), family=0x31), "addresses need 232 bytes"),
    "v2 TLV of a type alone": (_v2(_V4 + b"\x04"), "0x04 is truncated"),
    "v2 TLV with half a length": (_v2(_V4 + b"\x04\0"), "0x04 is truncated"),
    "v2 TLV short by a byte": (_v2(_V4 + b"\x04\0\x01"), "0x04 is truncated"),
    "v2 second TLV short": (_v2(_V4 + _tlv(4, b"") + b"\xea\0\x02a"), "0xea is truncated"),
    "v2 TLV of its highest length": (_v2(_V4 + b"\xff\xff\xff" + bytes(99)), "0xff is truncated"),
    "v2 TLV that is no address of no family": (_v2(b"\x7f", family=0), "0x7f is truncated"),
    "v2 session too short": (_v2(_V4 + _tlv(0x20, b"\x01\0\0\0")), "session is truncated"),
    "v2 session empty": (_v2(_V4 + _tlv(0x20, b"")), "session is truncated"),
    "v2 inner TLV cut short": (_v2(_V4 + _ssl(b"\x21\0\x08TLSv1.3")), "0x21 is truncated"),
    "v2 inner TLV reaches into the next": (_v2(_V4 + _ssl(b"\x21\0\x08TLSv1.3") + _tlv(4, b"")), "0x21 is truncated"),
    "v2 inner length reaches into the next": (_v2(_V4 + _ssl(b"\x23\0") + b"\x00\x00\x00"), "0x23 is truncated"),
    "v2 inner TLV cut short without TLS": (_v2(_V4 + _ssl(b"\x99", client=0)), "0x99 is truncated"),
    "v2 two sessions": (_v2(_V4 + _ssl() + _ssl(client=7)), "two TLVs of type 0x20"),
    "v2 two server names": (_v2(_V4 + _tlv(2, b"a") + _tlv(2, b"b")), "two TLVs of type 0x02"),
    "v2 two names": (_v2(_V4 + _ssl(_tlv(0x22, b"a"), _tlv(0x22, b"b"), client=7)), "two TLVs of type 0x22"),
    "v2 two checksums": (_v2(_V4 + _tlv(3, bytes(4)) * 2), "two TLVs of type 0x03"),
    "v2 server name too long": (_v2(_V4 + _tlv(2, b"a" * 256)), "server name"),
    "v2 server name with a line end": (_v2(_V4 + _tlv(2, b"a\r\nX: y")), "server name"),
    "v2 server name ended by a line end": (_v2(_V4 + _tlv(2, b"a\n")), "server name"),
    "v2 server name not ASCII": (_v2(_V4 + _tlv(2, "č.example".encode())), "server name"),
    "v2 server name with NUL": (_v2(_V4 + _tlv(2, b"a\0")), "server name"),
    "v2 ALPN as in a hello": (_v2(_V4 + _tlv(1, b"\x02h2\x08http/1.1")), "ALPN protocol"),
    "v2 ALPN too long": (_v2(_V4 + _tlv(1, b"a" * 256)), "ALPN protocol"),
    "v2 version with DEL": (_v2(_V4 + _ssl(_tlv(0x21, b"TLS\x7f"))), "TLS version"),
    "v2 version too long": (_v2(_V4 + _ssl(_tlv(0x21, b"T" * 256))), "TLS version"),
    "v2 cipher with a tab": (_v2(_V4 + _ssl(_tlv(0x23, b"AES\t"))), "cipher"),
    "v2 name not UTF-8": (_v2(_V4 + _ssl(_tlv(0x22, b"a\xe9"), client=7)), "common name"),
    "v2 name as a surrogate": (_v2(_V4 + _ssl(_tlv(0x22, b"\xed\xa0\x80"), client=7)), "common name"),
    "v2 name in too many bytes": (_v2(_V4 + _ssl(_tlv(0x22, b"\xc0\xaf"), client=7)), "common name"),
    "v2 name with a line end": (_v2(_V4 + _ssl(_tlv(0x22, b"a\r\nX: y"), client=7)), "common name"),
    "v2 name with an escape": (_v2(_V4 + _ssl(_tlv(0x22, b"\x1b[2J"), client=7)), "common name"),
    "v2 name with NEL": (_v2(_V4 + _ssl(_tlv(0x22, "a\x85b".encode()), client=7)), "common name"),
    "v2 name with a line separator": (_v2(_V4 + _ssl(_tlv(0x22, "a\u2028b".encode()), client=7)), "common name"),
    "v2 name too long": (_v2(_V4 + _ssl(_tlv(0x22, b"a" * 257), client=7)), "common name"),
    "v2 checksum of three bytes": (_v2(_V4 + _tlv(3, bytes(3))), "checksum of 3 bytes"),
    "v2 checksum of five bytes": (_v2(_V4 + _tlv(3, bytes(5))), "checksum of 5 bytes"),
    "v2 checksum empty": (_v2(_V4 + _tlv(3, b"")), "checksum of 0 bytes"),
    "v2 checksum of zero": (_v2(_V4 + _tlv(3, bytes(4))), "checksum is wrong"),
    "v2 checksum wrong by its lowest bit": (_summed(_V4, 1), "checksum is wrong"),
    "v2 checksum wrong by its highest bit": (_summed(_V4, 1 << 31), "checksum is wrong"),
}


@pytest.mark.parametrize("name", _BAD)
def test_bytes_that_are_no_header_are_refused_with_their_reason(name: str) -> None:
    """The text says what is wrong, in one line fit for a log."""
    raw, reason = _BAD[name]
    with pytest.raises(ProxyHeaderError) as raised:
        read_proxy_header(raw)
    told = str(raised.value)
    assert reason in told
    assert told.isascii()
    assert told.isprintable()
    assert len(told) < 260


def test_any_bit_wrong_in_a_header_with_a_checksum_is_seen() -> None:
    """Behind the fixed part, whatever else it would mean; but for the type of the checksum itself, which is then one not known."""
    good = _summed(_V4 + _tlv(0xEA, b"vpce-0123"))
    taken = []
    for place in range(16, len(good)):
        for bit in range(8):
            raw = bytearray(good)
            raw[place] ^= 1 << bit
            try:
                read_proxy_header(bytes(raw))
                taken.append(place)
            except ProxyHeaderError:
                pass
    assert set(taken) == {len(good) - 7}


def test_right_checksum_is_taken() -> None:
    """Also where other TLVs stand on both sides of it."""
    before = _V4 + _tlv(4, b"abc")
    raw = bytearray(_v2(before + _tlv(3, bytes(4)) + _ssl(_tlv(0x21, b"TLSv1.3"))))
    start = 16 + len(before) + 3
    raw[start : start + 4] = crc32c(bytes(raw)).to_bytes(4, "big")
    header = read_proxy_header(bytes(raw))
    assert header is not None
    assert header.tls is not None


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("a b", "CN=a b"),
        (" a", "CN=\\ a"),
        ("a ", "CN=a\\ "),
        (" ", "CN=\\ "),
        ("#a#", "CN=\\#a#"),
        ("a=b", "CN=a=b"),
        ("a,O=b", "CN=a\\,O=b"),
        ("a+O=b", "CN=a\\+O=b"),
        ('"<;>"', 'CN=\\"\\<\\;\\>\\"'),
        ("\\,", "CN=\\\\\\,"),
    ],
)
def test_common_name_becomes_a_distinguished_name(name: str, subject: str) -> None:
    """With what RFC 4514 says must be escaped, and nothing else."""
    header = read_proxy_header(_v2(_V4 + _ssl(_tlv(0x22, name.encode()), client=7)))
    assert header is not None
    assert _told(header) == (*_V4_ENDS, _tls(subject=subject, verify_status="Success"))


@pytest.mark.parametrize("signature", [b"PROXY ", _SIGNATURE])
def test_signature_is_told_when_it_is_whole_and_no_sooner(signature: bytes) -> None:
    """Nothing is said before, and nothing that follows changes it."""
    assert [may_begin_proxy_header(signature[:end]) for end in range(len(signature))] == [None] * len(signature)
    assert may_begin_proxy_header(signature) is True
    assert may_begin_proxy_header(signature + b"\xff") is True


@pytest.mark.parametrize("signature", [b"PROXY ", _SIGNATURE])
def test_first_byte_that_is_in_no_signature_tells(signature: bytes) -> None:
    """The answer is given with it."""
    for end in range(len(signature)):
        assert may_begin_proxy_header(signature[:end] + b"\xff") is False


@pytest.mark.parametrize(
    "data",
    [
        b"G",
        b"POST / HTTP/1.1",
        b"PRI * HTTP/2.0\r\n",
        b"PROXY\r\n",
        b"PROXY/",
        b"\x16",
        b"\r\nG",
        b"\r\n\r\nG",
        b"\n",
        b"\r\r",
        b"\r\n\r\n\0\n",
    ],
)
def test_other_protocols_begin_no_header(data: bytes) -> None:
    """HTTP, with or without empty lines before it, and TLS are told apart."""
    assert may_begin_proxy_header(data) is False


@given(st.binary(max_size=400))
def test_bytes_of_any_kind_never_do_worse_than_being_refused(data: bytes) -> None:
    """Alone, and behind what begins a header."""
    for begun in (
        b"",
        b"PROXY ",
        b"PROXY TCP4 ",
        b"PROXY TCP6 ",
        _SIGNATURE,
        _v2(data),
        _v2(_V4 + data),
        _v2(_V4 + _ssl(data)),
        _v2(data, family=0),
    ):
        _read(begun + data)


_changes = st.tuples(st.sampled_from(["set", "insert", "delete", "repeat"]), st.integers(0, 10_000), st.integers(1, 6), st.integers(0, 255))


@settings(max_examples=cases(1000))
@given(st.sampled_from(sorted(_SMALL)), st.lists(_changes, min_size=1, max_size=6))
def test_header_with_any_change_never_does_worse_than_being_refused(name: str, changes: list[tuple[str, int, int, int]]) -> None:
    """What is read never reaches behind the bytes that are there."""
    raw = bytearray(_SMALL[name])
    for how, place, count, byte in changes:
        start = place % (len(raw) + 1)
        old = raw[start : start + count]
        raw[start : start + count] = {"set": bytes((byte,)) * len(old), "insert": bytes((byte,)) + old, "delete": b"", "repeat": old * 2}[
            how
        ]
    _read(bytes(raw))


def _read(data: bytes) -> None:
    try:
        header = read_proxy_header(data)
    except ProxyHeaderError:
        return
    if header is None:
        assert len(data) < LARGEST
    else:
        assert 15 <= header.size <= min(LARGEST, len(data))
        assert (header.source is None) is (header.destination is None)
