"""Parses PROXY protocol headers, in which a trusted proxy describes the client of a connection.

Source: HAProxy's proxy-protocol.txt, version 1 (section 2.1) and version 2 (section 2.2).

`writer` writes such headers.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Final

from albkit.model.tls import TlsSession
from albkit.wire.proxy_protocol.grammar import (
    ADDRESSES,
    FIXED,
    LINE,
    LOCAL,
    LONGEST_LINE,
    PROXY,
    SIGNATURE,
    UNIX,
    UNSPECIFIED,
    ProxyHeaderError,
    unmapped,
)
from albkit.wire.proxy_protocol.tlvs import read_tlvs

__all__ = ("LARGEST", "ProxyHeader", "ProxyHeaderError", "may_begin_proxy_header", "read_proxy_header")

LARGEST: Final = 16_384
"""The largest header of version 2 that is accepted, in bytes; its length field allows four times as much."""

_NOTHING = Struct("")
_LAYOUTS = {UNSPECIFIED: _NOTHING, UNSPECIFIED | 1: _NOTHING, **ADDRESSES, UNIX: Struct("216x")}
"""By family and transport: streams, and the unspecified protocol. Datagrams cannot arrive on a stream socket."""
_FAMILIES: dict[bytes, type[IPv4Address | IPv6Address]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")


class ProxyHeader:
    """The content of a PROXY protocol header."""

    __slots__ = ("destination", "size", "source", "tls")

    def __init__(self, source: tuple[str, int] | None, destination: tuple[str, int] | None, tls: TlsSession | None, size: int) -> None:
        self.source = source
        """Address and port of the client, in IPv4 form if it was an IPv4-mapped IPv6 address; `("", 0)` for a unix socket. `None` if the
        connection is the proxy's own, or if the proxy does not know."""
        self.destination = destination
        """The address and port that the client connected to, in the same form."""
        self.tls = tls
        """The client's TLS session with the proxy; `None` if the client came without TLS, or the header does not say. Of a client
        certificate, only the common name is known, as `subject`."""
        self.size = size
        """Bytes of the header; the client's own bytes follow."""


def may_begin_proxy_header(data: bytes) -> bool | None:
    """Whether `data` starts with the signature of version 1 or 2; `None` if it is too short to decide."""
    if data.startswith((LINE, SIGNATURE)):
        return True
    return None if LINE.startswith(data) or SIGNATURE.startswith(data) else False


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """Parse the header of version 1 or 2 at the start of a connection; `None` if more bytes are needed.

    It never needs more than `LARGEST` bytes in all.

    Raises:
        ProxyHeaderError: `data` starts with no header, or with one that is malformed or larger than `LARGEST`.
    """
    begun = may_begin_proxy_header(data)
    if begun is None:
        return None
    if not begun:
        raise ProxyHeaderError(f"it does not start with a signature: {data[:16]!r}")
    return _read_v1(data) if data.startswith(LINE) else _read_v2(data)


def _read_v1(data: bytes) -> ProxyHeader | None:
    # Limited, so that a client that never ends the line costs no growing search.
    end = data.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(data) >= LONGEST_LINE:
            raise ProxyHeaderError(f"the line does not end within {LONGEST_LINE} bytes")
        return None
    words = data[:end].split(b" ")
    if words[1] == b"UNKNOWN":
        return ProxyHeader(None, None, None, end + 2)
    family = _FAMILIES.get(words[1])
    if family is None:
        raise ProxyHeaderError(f"neither TCP4, TCP6 nor UNKNOWN: {words[1][:16]!r}")
    if len(words) != 6:
        raise ProxyHeaderError(f"the line has {len(words)} words, not 6 with one space between them")
    source = _host(words[2], family), _port(words[4])
    return ProxyHeader(source, (_host(words[3], family), _port(words[5])), None, end + 2)


def _host(word: bytes, family: type[IPv4Address | IPv6Address]) -> str:
    try:
        # A scope (`%eth0`) has a meaning only on the machine that wrote it.
        if b"%" not in word:
            return str(unmapped(family(word.decode("ascii"))))
    except ValueError:
        pass
    raise ProxyHeaderError(f"not an address of the named family: {word[:48]!r}")


def _port(word: bytes) -> int:
    if _PORT.fullmatch(word) is None or int(word) > 65535:
        raise ProxyHeaderError(f"not a port: {word[:16]!r}")
    return int(word)


def _read_v2(data: bytes) -> ProxyHeader | None:
    _check_kind(data)
    if len(data) < FIXED:
        return None
    size = FIXED + int.from_bytes(data[14:16], "big")
    if size > LARGEST:
        raise ProxyHeaderError(f"a header of {size} bytes, more than {LARGEST}")
    if len(data) < size:
        return None
    if data[12] == LOCAL:
        return ProxyHeader(None, None, None, size)
    header = data[:size]
    end = FIXED + _LAYOUTS[header[13]].size
    if end > size:
        raise ProxyHeaderError(f"the addresses need {end} bytes of a header that has {size}")
    return ProxyHeader(*_ends(header), read_tlvs(header, end), size)


def _check_kind(data: bytes) -> None:
    """Reject an unknown version, command, family or transport as soon as it arrives, because the rest of the header may never come."""
    # Byte 12 holds version and command, byte 13 family and transport (section 2.2).
    if len(data) > 12 and data[12] not in (LOCAL, PROXY):
        raise ProxyHeaderError(f"neither LOCAL nor PROXY of version 2: 0x{data[12]:02x}")
    # The family of a LOCAL header must be ignored (section 2.2).
    if len(data) > 13 and data[12] == PROXY and data[13] not in _LAYOUTS:
        raise ProxyHeaderError(f"not a stream of a known address family: 0x{data[13]:02x}")


def _ends(header: bytes) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
    family = header[13]
    if family == UNIX:
        return ("", 0), ("", 0)
    if family not in ADDRESSES:
        return None, None
    source, destination, source_port, destination_port = ADDRESSES[family].unpack_from(header, FIXED)
    return (str(unmapped(ip_address(source))), source_port), (str(unmapped(ip_address(destination))), destination_port)
