"""Reads the server name (SNI) from the first bytes of a TLS client."""

from __future__ import annotations

import re
from typing import Final

__all__ = ("server_name_in",)

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_MOST_RECORDS: Final = 16
_LARGEST: Final = 16 * 1024
"""Bytes of the largest ClientHello that is parsed; those of browsers have about 2000."""
_BEFORE_SESSION_ID: Final = 2 + 32
"""A version and 32 random bytes."""
_NAME: Final = re.compile(rb"[!-~]+")


def server_name_in(data: bytes) -> str | None:
    """The server name in a ClientHello (RFC 6066 section 3), in lower case without a final dot.

    Args:
        data: Everything that the client has sent so far.

    Returns:
        `None` if more bytes are needed. Empty if there is no server name, if it is not visible ASCII, or if this is not a valid
            ClientHello: OpenSSL reports what is wrong with it.
    """
    hello = _hello_in(data)
    if not hello:
        return None if hello is None else ""
    # Skip session id, cipher suites and compression methods (RFC 8446 section 4.1.2). A slice beyond the end is empty, so no position needs
    # a check.
    at = _behind(hello, _BEFORE_SESSION_ID, 1)
    at = _behind(hello, at, 2)
    at = _behind(hello, at, 1)
    extensions = _vector(hello, at, 2)
    at = 0
    while at + 4 <= len(extensions):
        # Extension 0 is server_name. It contains a list of names, of which type 0 is a host name.
        if extensions[at : at + 2] == b"\0\0":
            names = _vector(extensions[at + 2 :], 2, 2)
            name = _vector(names, 1, 2)
            return name.decode("ascii").lower().rstrip(".") if names[:1] == b"\0" and _NAME.fullmatch(name) else ""
        at = _behind(extensions, at + 2, 2)
    return ""


def _hello_in(data: bytes) -> bytes | None:
    """Extract the ClientHello from its records (RFC 8446 section 5.1): `None` if it is not complete, empty if there is none."""
    message = b""
    at = 0
    for _ in range(_MOST_RECORDS):
        header = data[at : at + 5]
        if header and header[0] != _HANDSHAKE:
            return b""
        if len(header) < 5:
            return None
        end = at + 5 + int.from_bytes(header[3:], "big")
        message += data[at + 5 : end]
        if message and message[0] != _CLIENT_HELLO:
            return b""
        size = 4 + int.from_bytes(message[1:4], "big") if len(message) >= 4 else 4
        if size > _LARGEST:
            return b""
        if len(message) >= max(size, 5):
            return message[4:size]
        if end > len(data):
            return None
        at = end
    return b""


def _vector(data: bytes, at: int, width: int) -> bytes:
    """The content of a vector that is preceded by its length, in `width` bytes."""
    return data[at + width : _behind(data, at, width)]


def _behind(data: bytes, at: int, width: int) -> int:
    return at + width + int.from_bytes(data[at : at + width], "big")
