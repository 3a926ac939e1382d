"""Writes PROXY protocol headers, which describe the client to a target (HAProxy's proxy-protocol.txt)."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from albkit.model.tls import TlsSession
from albkit.wire.proxy_protocol.grammar import (
    ADDRESSES,
    ALPN,
    AUTHORITY,
    CLIENT_CERT_CONN,
    CLIENT_CERT_SESS,
    CLIENT_SSL,
    LOCAL,
    PROXY,
    SIGNATURE,
    SSL,
    SSL_CIPHER,
    SSL_CN,
    SSL_VERSION,
    TCP4,
    TCP6,
    UNSPECIFIED,
    is_common_name,
    is_text,
    unmapped,
)

__all__ = ("LOCAL_V1", "LOCAL_V2", "write_v1", "write_v2")

LOCAL_V1: Final = b"PROXY UNKNOWN\r\n"
"""Precedes what the load balancer sends on its own behalf: health checks."""
LOCAL_V2: Final = SIGNATURE + bytes((LOCAL, UNSPECIFIED, 0, 0))

_MAPPED = bytes(10) + b"\xff\xff"
"""The prefix of IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2)."""
_VERIFIED = bytes(4)
_NOT_VERIFIED = b"\0\0\0\1"
"""Any number but 0 means that; in OpenSSL, 1 is an unspecified error."""
_ATTRIBUTE = re.compile(r" *(?P<type>[A-Za-z0-9.-]+)=(?P<value>(?:[^\\,+]|\\.)*)(?:[,+]|\Z)", re.DOTALL)
"""One attribute of a distinguished name (RFC 4514 section 3). No character matches in two ways, so matching takes linear time."""
_COMMON_NAME = ("cn", "2.5.4.3")
_ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)

_Address = IPv4Address | IPv6Address


def write_v1(source: tuple[str, int] | None, destination: tuple[str, int] | None) -> bytes:
    """Write a header of version 1 (section 2.1) for a client at `source` that has connected to `destination`.

    It says `UNKNOWN` if either is `None` or a unix socket, whose host is empty. If one is IPv4 and the other IPv6, both are written as
    IPv6. A scope (`%eth0`) is omitted.

    Raises:
        ValueError: a host is not an IP address.
    """
    if not (source and source[0] and destination and destination[0]):
        return LOCAL_V1
    client, server = _address(source[0]), _address(destination[0])
    if client.version == server.version:
        line = f"PROXY TCP{client.version} {client} {server} {source[1]} {destination[1]}\r\n"
    else:
        line = f"PROXY TCP6 {_text_as_v6(client)} {_text_as_v6(server)} {source[1]} {destination[1]}\r\n"
    return line.encode("ascii")


def write_v2(source: tuple[str, int] | None, destination: tuple[str, int] | None, tls: TlsSession | None = None) -> bytes:
    """Write a header of version 2 (section 2.2) for a client at `source` that has connected to `destination`, with its TLS session.

    If `source` is `None`, it says LOCAL and nothing else. If `source` is a unix socket, whose host is empty, or if `destination` is one or
    `None`, the addresses are unspecified. Addresses are written as in `write_v1`. Of `tls`, it contains the server name, ALPN, version,
    cipher, whether a certificate was sent and verified, and the certificate's common name. Text that `read_proxy_header` would reject,
    because it is too long or contains control characters, is omitted.

    Raises:
        ValueError: a host is not an IP address.
    """
    if source is None:
        return LOCAL_V2
    family, addresses = _ends(source, destination)
    content = addresses if tls is None else addresses + _tlvs(tls)
    return SIGNATURE + bytes((PROXY, family)) + len(content).to_bytes(2, "big") + content


def _address(host: str) -> _Address:
    return unmapped(ip_address(host.partition("%")[0]))


def _text_as_v6(address: _Address) -> str:
    return str(address) if address.version == 6 else f"::ffff:{address}"


def _packed_as_v6(address: _Address) -> bytes:
    return address.packed if address.version == 6 else _MAPPED + address.packed


def _ends(source: tuple[str, int], destination: tuple[str, int] | None) -> tuple[int, bytes]:
    """The byte for family and transport, and the addresses with their ports."""
    if not (source[0] and destination and destination[0]):
        return UNSPECIFIED, b""
    client, server = _address(source[0]), _address(destination[0])
    if client.version == server.version == 4:
        return TCP4, ADDRESSES[TCP4].pack(client.packed, server.packed, source[1], destination[1])
    return TCP6, ADDRESSES[TCP6].pack(_packed_as_v6(client), _packed_as_v6(server), source[1], destination[1])


def _tlvs(tls: TlsSession) -> bytes:
    certificate = tls.client_certificate
    verified = tls.verify_status == "Success"
    # A session from another proxy's header may be verified although the name of the certificate is not known.
    shown = certificate is not None or verified
    # CERT_CONN means sent over this connection, CERT_SESS at least once in this TLS session.
    client = CLIENT_SSL | (CLIENT_CERT_CONN | CLIENT_CERT_SESS if shown else 0)
    name = b"" if certificate is None else _common_name(certificate.subject)
    inner = _text_tlv(SSL_VERSION, tls.version) + _text_tlv(SSL_CIPHER, tls.cipher) + _tlv(SSL_CN, name)
    session = bytes((client,)) + (_VERIFIED if verified else _NOT_VERIFIED) + inner
    return _text_tlv(ALPN, tls.alpn) + _text_tlv(AUTHORITY, tls.server_name) + _tlv(SSL, session)


def _text_tlv(kind: int, text: str) -> bytes:
    value = text.encode("utf-8", "surrogatepass")
    return _tlv(kind, value) if is_text(value) else b""


def _tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value if value else b""


def _common_name(subject: str) -> bytes:
    """The first common name of a distinguished name (RFC 2253, RFC 4514), in UTF-8; empty if there is none that can be written."""
    start = 0
    while match := _ATTRIBUTE.match(subject, start):
        if match["type"].lower() in _COMMON_NAME:
            return _unescaped(match["value"])
        start = match.end()
    return b""


def _unescaped(value: str) -> bytes:
    if value.startswith("#"):
        # A value in BER, which RFC 4514 section 2.4 uses for attributes without a string form. A common name has one.
        return b""
    name = _ESCAPED.sub(_unescape, value.encode("utf-8", "surrogatepass"))
    return name if is_common_name(name) else b""


def _unescape(match: re.Match[bytes]) -> bytes:
    escaped = match[1]
    return bytes.fromhex(escaped.decode("ascii")) if len(escaped) == 2 else escaped
