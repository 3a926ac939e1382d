"""Parses what follows the addresses in a PROXY protocol header of version 2: a checksum, and the client's TLS session."""

from __future__ import annotations

import re
from collections.abc import Container

from albkit.model.tls import ClientCertificate, TlsSession
from albkit.wire.proxy_protocol.crc32c import crc32c
from albkit.wire.proxy_protocol.grammar import (
    ALPN,
    AUTHORITY,
    CLIENT_CERT_CONN,
    CLIENT_CERT_SESS,
    CLIENT_SSL,
    CRC32C,
    SSL,
    SSL_CIPHER,
    SSL_CN,
    SSL_VERSION,
    ProxyHeaderError,
    is_common_name,
    is_text,
)

__all__ = ("read_tlvs",)

_OUTER = frozenset((ALPN, AUTHORITY, CRC32C, SSL))
_INNER = frozenset((SSL_VERSION, SSL_CN, SSL_CIPHER))
_SPECIAL = re.compile(r'\A[ #]|["+,;<>\\]| \Z')
"""Characters that must be escaped in a distinguished name (RFC 4514 section 2.4)."""


def read_tlvs(header: bytes, start: int) -> TlsSession | None:
    """Return the TLS session that the TLVs of a complete `header` describe; `None` if they describe none. The TLVs fill the header from
    `start` to its end.

    Raises:
        ProxyHeaderError: one is truncated, repeated or has invalid content, or the checksum is wrong.
    """
    places = _places(header, start, len(header), _OUTER)
    _verify_checksum(header, places.get(CRC32C))
    return _session(header, places)


def _places(header: bytes, start: int, end: int, wanted: Container[int]) -> dict[int, slice]:
    """The positions of the values of the types `wanted` among the TLVs (type, length, value) from `start` to `end`."""
    places: dict[int, slice] = {}
    while start < end:
        value = start + 3
        after = value + int.from_bytes(header[start + 1 : value], "big")
        if after > end:
            raise ProxyHeaderError(f"a TLV of type 0x{header[start]:02x} is truncated")
        kind = header[start]
        if kind in wanted:
            if kind in places:
                raise ProxyHeaderError(f"two TLVs of type 0x{kind:02x}")
            places[kind] = slice(value, after)
        start = after
    return places


def _verify_checksum(header: bytes, place: slice | None) -> None:
    if place is None:
        return
    if place.stop - place.start != 4:
        raise ProxyHeaderError(f"a checksum of {place.stop - place.start} bytes, not 4")
    # The checksum covers the header with zeros in place of the checksum (section 2.2.3).
    if crc32c(header[: place.start] + bytes(4) + header[place.stop :]) != int.from_bytes(header[place], "big"):
        raise ProxyHeaderError("the checksum is wrong")


def _session(header: bytes, places: dict[int, slice]) -> TlsSession | None:
    server_name = _text(header, places.get(AUTHORITY), "server name").lower()
    alpn = _text(header, places.get(ALPN), "ALPN protocol")
    place = places.get(SSL)
    if place is None:
        return None
    start = place.start + 5
    if start > place.stop:
        raise ProxyHeaderError("the TLV of the TLS session is truncated")
    inner = _places(header, start, place.stop, _INNER)
    version = _text(header, inner.get(SSL_VERSION), "TLS version")
    cipher = _text(header, inner.get(SSL_CIPHER), "cipher")
    name = _common_name(header, inner.get(SSL_CN))
    client = header[place.start]
    # The TLVs were parsed first, so that a malformed header is rejected whether or not the client uses TLS.
    if not client & CLIENT_SSL:
        return None
    shown = bool(client & (CLIENT_CERT_CONN | CLIENT_CERT_SESS))
    return TlsSession(
        version,
        cipher,
        server_name=server_name,
        alpn=alpn,
        client_certificate=_certificate(name) if shown and name else None,
        verify_status="Success" if shown and not any(header[place.start + 1 : start]) else "",
    )


def _text(header: bytes, place: slice | None, what: str) -> str:
    value = b"" if place is None else header[place]
    if not is_text(value):
        raise ProxyHeaderError(f"the {what} is too long or not printable ASCII: {value[:16]!r}")
    return value.decode("ascii")


def _common_name(header: bytes, place: slice | None) -> str:
    value = b"" if place is None else header[place]
    if not is_common_name(value):
        raise ProxyHeaderError(f"the common name is too long, not UTF-8 or holds control characters: {value[:16]!r}")
    return value.decode("utf-8")


def _certificate(name: str) -> ClientCertificate:
    return ClientCertificate("CN=" + _SPECIAL.sub(r"\\\g<0>", name), issuer="", serial_number="", not_before="", not_after="", chain=())
