"""The PROXY protocol, read: what a trusted proxy says of the client whose connection it passes on.

Source: proxy-protocol.txt of HAProxy, versions 1 (section 2.1) and 2 (section 2.2).

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
"""Bytes of a whole header of version 2; its length field could say four times as much."""

_NOTHING = Struct("")
_LAYOUTS = {UNSPECIFIED: _NOTHING, UNSPECIFIED | 1: _NOTHING, **ADDRESSES, UNIX: Struct("216x")}
"""By family and transport: streams, and what is no known protocol at all. Datagrams are not what is listened for."""
_FAMILIES: dict[bytes, type[IPv4Address | IPv6Address]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")


class ProxyHeader:
    """What a PROXY protocol header says."""

    __slots__ = ("destination", "size", "source", "tls")

    def __init__(self, source: tuple[str, int] | None, destination: tuple[str, int] | None, tls: TlsSession | None, size: int) -> None:
        self.source = source
        """Address and port of the client, IPv4 also where it was mapped into IPv6; `("", 0)` for a unix socket. `None` where the connection
        is the proxy's own, or the proxy does not know."""
        self.destination = destination
        """What the client has connected to, in the same way."""
        self.tls = tls
        """What the client has agreed on with the proxy; `None` where it came without TLS, or the header does not say. A certificate is
        known by its common name alone: of it only `subject` is filled."""
        self.size = size
        """Bytes that the header takes; what the client has sent begins behind them."""


def may_begin_proxy_header(data: bytes) -> bool | None:
    """Whether `data` begins with the signature of version 1 or 2; `None` where it is too short to tell, as an empty one always is."""
    if data.startswith((LINE, SIGNATURE)):
        return True
    return None if LINE.startswith(data) or SIGNATURE.startswith(data) else False


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header of version 1 or 2 that `data`, the first bytes of a connection, begins with; `None` while more bytes are needed.

    More are never needed than `LARGEST` in all.

    Raises:
        ProxyHeaderError: `data` begins with no header, or with one that is malformed or larger than `LARGEST`.
    """
    begun = may_begin_proxy_header(data)
    if begun is None:
        return None
    if not begun:
        raise ProxyHeaderError(f"neither signature stands at the beginning: {data[:16]!r}")
    return _read_v1(data) if data.startswith(LINE) else _read_v2(data)


def _read_v1(data: bytes) -> ProxyHeader | None:
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
        # A scope says something only on the machine that wrote it.
        if b"%" not in word:
            return str(unmapped(family(word.decode("ascii"))))
    except ValueError:
        pass
    raise ProxyHeaderError(f"not an address of the family that is named: {word[:48]!r}")


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
    """Raise for a version, command, family or transport that nothing may follow, as soon as it is seen."""
    if len(data) > 12 and data[12] not in (LOCAL, PROXY):
        raise ProxyHeaderError(f"neither LOCAL nor PROXY of version 2: 0x{data[12]:02x}")
    # That of a LOCAL header is ignored (section 2.2).
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
