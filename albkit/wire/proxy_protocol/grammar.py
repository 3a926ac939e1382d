"""Constants, limits and text rules of the PROXY protocol, shared by reader and writer."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Final

__all__ = (
    "ADDRESSES",
    "ALPN",
    "AUTHORITY",
    "CLIENT_CERT_CONN",
    "CLIENT_CERT_SESS",
    "CLIENT_SSL",
    "CRC32C",
    "FIXED",
    "LINE",
    "LOCAL",
    "LONGEST_LINE",
    "PROXY",
    "SIGNATURE",
    "SSL",
    "SSL_CIPHER",
    "SSL_CN",
    "SSL_VERSION",
    "TCP4",
    "TCP6",
    "UNIX",
    "UNSPECIFIED",
    "ProxyHeaderError",
    "is_common_name",
    "is_text",
    "unmapped",
)

LINE: Final = b"PROXY "
"""The start of a header of version 1."""
LONGEST_LINE: Final = 107
"""The longest header of version 1, in bytes, with its CRLF."""

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
"""The start of a header of version 2."""
FIXED: Final = 16
"""Bytes before the addresses in a header of version 2."""
LOCAL: Final = 0x20
"""Version 2, and a connection of the proxy's own."""
PROXY: Final = 0x21
"""Version 2, and a connection on behalf of a client."""

UNSPECIFIED: Final = 0x00
TCP4: Final = 0x11
TCP6: Final = 0x21
UNIX: Final = 0x31
ADDRESSES: Final = {TCP4: Struct("!4s4sHH"), TCP6: Struct("!16s16sHH")}
"""Source and destination address, then their ports."""

# Types of TLVs, types of the TLVs inside SSL, and the bits of SSL's client field (section 2.2 of proxy-protocol.txt).
ALPN: Final = 0x01
AUTHORITY: Final = 0x02
CRC32C: Final = 0x03
SSL: Final = 0x20
SSL_VERSION: Final = 0x21
SSL_CN: Final = 0x22
SSL_CIPHER: Final = 0x23
CLIENT_SSL: Final = 0x01
CLIENT_CERT_CONN: Final = 0x02
CLIENT_CERT_SESS: Final = 0x04

_TEXT = re.compile(rb"[ -~]{0,255}")
_LONGEST_NAME = 256
"""Bytes: 64 characters (RFC 5280 appendix A.1) of up to four bytes."""
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters that could end a header or a log line, or control a terminal."""


class ProxyHeaderError(ValueError):
    """The bytes are not a valid PROXY protocol header; the text says why."""


def is_text(value: bytes) -> bool:
    """Whether this is printable ASCII of at most 255 bytes."""
    return _TEXT.fullmatch(value) is not None


def is_common_name(value: bytes) -> bool:
    """Whether this is UTF-8 without control characters, of at most 256 bytes."""
    try:
        return len(value) <= _LONGEST_NAME and _CONTROL.search(value.decode("utf-8")) is None
    except UnicodeDecodeError:
        return False


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Turn `::ffff:192.0.2.1` into `192.0.2.1`; return any other address as it is."""
    return getattr(address, "ipv4_mapped", None) or address
