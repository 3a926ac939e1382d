"""Requests: from decoded fields to an HTTP/1.1 head, and from a parsed head to a field block for a target (RFC 9113 section 8.3).

The head is then parsed by the strict reader of `wire/http1`, like any other. So there is one place that decides what a request means, and
what got through the checks here by mistake meets a second gate before a target sees it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from albkit.state.bounded_cache import BoundedCache
from albkit.wire.http1.grammar import TOKEN
from albkit.wire.http1.header_cache import METHODS
from albkit.wire.http2.fields import CONNECTION_SPECIFIC, LENGTH, FieldLines, malformed, trailer_lines
from albkit.wire.http2.hpack_encoder import EncodedLines, encode_field

__all__ = ("Http2Head", "head_with_tail", "request_block", "request_head", "trailer_lines")

_METHOD: Final = b":method"
_SCHEME: Final = b":scheme"
_PATH: Final = b":path"
_AUTHORITY: Final = b":authority"
_PROTOCOL: Final = b":protocol"
_PSEUDO: Final = frozenset((_METHOD, _SCHEME, _PATH, _AUTHORITY, _PROTOCOL))
_SCHEMES: Final = frozenset((b"http", b"https"))

_TARGET_BYTES = rb"[!\"$-~\x80-\xff]"
"""No blanks, control bytes or `#`: a fragment is never sent (RFC 9110 section 7.1)."""
_HOST_BYTES = rb"[!-.0-?A-~\x80-\xff]"
"""No blanks, control bytes, `/` or `@`. The strict reader checks the rest of the syntax."""
_START = re.compile(rb"%s HTTP/1\.1\r\nhost: %s++" % (rb"[%s]++ /%s*+" % (rb"!#$%&'*+\-.^_`|~0-9A-Za-z", _TARGET_BYTES), _HOST_BYTES))
"""The request line in origin-form and the Host line. No part can contain the blank or the CR LF behind it, so a match is unambiguous."""
_HOST = re.compile(_HOST_BYTES + rb"++")
_SHOWN: Final = 50

_lines: Final = FieldLines(frozenset((b"cookie", b"host", b"content-length")))


class Http2Head:
    """A request head in the form of HTTP/1.1. It may be shared by several requests, so nothing in it may change."""

    __slots__ = ("content_length", "head", "is_connect")

    def __init__(self, head: bytes, content_length: int, is_connect: bool = False) -> None:
        self.head = head
        """From the request line to the empty line. Without a Content-Length and END_STREAM, the body is declared as chunked."""
        self.content_length = content_length
        """-1 if it is not declared. The caller compares it with the bytes of the body (RFC 9113 section 8.1.1)."""
        self.is_connect = is_connect
        """Whether this is a WebSocket (RFC 8441). `head` is then a handshake of HTTP/1.1."""


def request_head(fields: Sequence[tuple[bytes, bytes]], *, ended: bool, websocket_key: bytes = b"") -> Http2Head:
    """Check the fields of a request, and return its head.

    A plain CONNECT, and an extended one for anything but WebSocket, become a CONNECT in HTTP/1.1, to which the strict reader answers 405.

    Args:
        fields: Names and values in their order.
        ended: Whether the stream ended with them (END_STREAM).
        websocket_key: The Sec-WebSocket-Key for the handshake, if extended CONNECT is enabled.

    Raises:
        StreamError: The request is malformed.
    """
    pseudo: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] != b":":
            break
        if name in pseudo or name not in _PSEUDO:
            raise malformed(f"{name[:_SHOWN]!r} is repeated or unknown")
        pseudo[name] = value
    lines, host, length = _read_fields(fields[len(pseudo) :])
    authority = pseudo.get(_AUTHORITY)
    if authority is None:
        if host is None:
            raise malformed("neither :authority nor host")
        pseudo[_AUTHORITY] = host
    elif host is not None and host.lower() != authority.lower():
        raise malformed(f":authority {authority[:_SHOWN]!r} is not the host {host[:_SHOWN]!r}")
    if pseudo.get(_METHOD) == b"CONNECT":
        if pseudo.get(_PROTOCOL, b"").lower() == b"websocket":
            return _websocket_head(pseudo, lines, length, ended=ended, key=websocket_key)
        start = _connect_start(pseudo, extended=bool(websocket_key))
    else:
        start = _ordinary_start(pseudo) or _unusual_start(pseudo)
    if ended:
        if length > 0:
            raise malformed(f"END_STREAM with a content-length of {length}")
    elif length < 0:
        lines.append(b"transfer-encoding: chunked")
    return Http2Head(b"\r\n".join((start, *lines, b"\r\n")), length)


def head_with_tail(pseudo: Sequence[tuple[bytes, bytes]], tail: bytes) -> bytes | None:
    """Return the head of a request whose fields behind the pseudo-fields are known.

    Args:
        pseudo: All pseudo-fields of the request.
        tail: The end of a head with the same fields, from the CR LF behind the Host line. The fields contain no `host`, which would have
            to be compared with `:authority`.

    Returns:
        What `request_head` would return, or `None` for an unusual or malformed request: call `request_head` for it.
    """
    start = _ordinary_start(dict(pseudo)) if len(pseudo) == 4 else None
    return start + tail if start is not None else None


def _read_fields(fields: Sequence[tuple[bytes, bytes]]) -> tuple[list[bytes], bytes | None, int]:
    """Return the lines of the fields without Host, the value of Host, and the Content-Length."""
    lines = list(map(_lines.__getitem__, fields))
    cookies: list[bytes] = []
    host: bytes | None = None
    length = -1
    position = removed = 0
    for _ in range(lines.count(b"")):
        position = lines.index(b"", position)
        name, value = fields[position + removed]
        if name == b"content-length":
            if length >= 0 or not LENGTH.fullmatch(value):
                raise malformed(f"content-length {value[:_SHOWN]!r}, or more than one")
            length = int(value)
            lines[position] = b"content-length: " + value
            continue
        del lines[position]
        removed += 1
        if name == b"cookie":
            cookies.append(value)
        elif host is not None:
            raise malformed("more than one host")
        else:
            host = value
    if cookies:
        # RFC 9113 section 8.2.3: clients may split a cookie into several fields, to compress it better.
        lines.append(b"cookie: " + b"; ".join(cookies))
    return lines, host, length


def _ordinary_start(pseudo: dict[bytes, bytes]) -> bytes | None:
    """Return the request line and the Host line; `None` for CONNECT, for `*`, and for anything malformed."""
    try:
        method, path, authority = pseudo[_METHOD], pseudo[_PATH], pseudo[_AUTHORITY]
        if len(pseudo) != 4 or pseudo[_SCHEME] not in _SCHEMES or method == b"CONNECT":
            return None
    except KeyError:
        return None
    start = b"%b %b HTTP/1.1\r\nhost: %b" % (method, path, authority)
    return start if _START.fullmatch(start) else None


def _unusual_start(pseudo: dict[bytes, bytes]) -> bytes:
    """Return the request line and the Host line of `OPTIONS *`.

    Raises:
        StreamError: For all that `_ordinary_start` has not understood.
    """
    if _PROTOCOL in pseudo:
        raise malformed(":protocol without CONNECT")
    for name in (_METHOD, _SCHEME, _PATH):
        if name not in pseudo:
            raise malformed(f"no {name.decode('ascii')}")
    method, scheme, path, authority = pseudo[_METHOD], pseudo[_SCHEME], pseudo[_PATH], pseudo[_AUTHORITY]
    _check_host(authority)
    if scheme not in _SCHEMES:
        raise malformed(f":scheme {scheme[:_SHOWN]!r}")
    if not TOKEN.fullmatch(method):
        raise malformed(f":method {method[:_SHOWN]!r}")
    if method != b"OPTIONS" or path != b"*":
        raise malformed(f":path {path[:_SHOWN]!r}")
    return b"OPTIONS * HTTP/1.1\r\nhost: " + authority


def _check_host(authority: bytes) -> None:
    if not _HOST.fullmatch(authority):
        raise malformed(f":authority {authority[:_SHOWN]!r}")


def _connect_start(pseudo: dict[bytes, bytes], *, extended: bool) -> bytes:
    """Return the request line and the Host line of a CONNECT that is no WebSocket (RFC 9113 section 8.5)."""
    authority = pseudo[_AUTHORITY]
    _check_host(authority)
    if _PROTOCOL in pseudo:
        if not extended:
            raise malformed("extended CONNECT is not enabled")
        if _SCHEME not in pseudo or _PATH not in pseudo:
            raise malformed("extended CONNECT without :scheme or :path")
    elif _SCHEME in pseudo or _PATH in pseudo:
        raise malformed("CONNECT with :scheme or :path")
    return b"CONNECT %b HTTP/1.1\r\nhost: %b" % (authority, authority)


def _websocket_head(pseudo: dict[bytes, bytes], lines: list[bytes], length: int, *, ended: bool, key: bytes) -> Http2Head:
    """Return the handshake of HTTP/1.1 for an extended CONNECT (RFC 8441 section 5)."""
    if not key:
        raise malformed("extended CONNECT is not enabled")
    if ended or length >= 0:
        raise malformed("extended CONNECT with END_STREAM or content-length")
    start = _ordinary_start({name: value for name, value in pseudo.items() if name != _PROTOCOL} | {_METHOD: b"GET"})
    if start is None:
        raise malformed("extended CONNECT with a missing or malformed :scheme, :path or :authority")
    # In HTTP/2, these two mean nothing. The target has to answer our key.
    lines = [line for line in lines if not line.startswith((b"sec-websocket-key:", b"sec-websocket-accept:"))]
    lines += (b"connection: Upgrade", b"upgrade: websocket", b"sec-websocket-key: " + key)
    return Http2Head(b"\r\n".join((start, *lines, b"\r\n")), -1, is_connect=True)


# To a target. Host becomes `:authority`.
_LEFT_OUT = CONNECTION_SPECIFIC | {b"host", b"http2-settings"}
_encoded: Final = EncodedLines(_LEFT_OUT)
_encoded_for_websocket: Final = EncodedLines(_LEFT_OUT | {b"sec-websocket-key"})
_FORBIDDEN_IN_PSEUDO = re.compile(rb"[\x00-\x20\x7f]")
_METHODS: Final = {method: encode_field(_METHOD, method) for method in METHODS}
_ENCODED_SCHEMES: Final = {scheme: encode_field(_SCHEME, scheme) for scheme in _SCHEMES}
_authorities: Final[BoundedCache[bytes, bytes]] = BoundedCache()
"""The encoded `:authority` of each value of Host."""


def request_block(lines: Sequence[bytes], scheme: bytes, *, connect_protocol: bytes = b"") -> bytes:
    """Encode a request for a target.

    Args:
        lines: `RequestHead.lines`: the request line, then fields. An item may hold several fields, joined by CR LF.
        scheme: `http` or `https`.
        connect_protocol: The protocol of an extended CONNECT (RFC 8441), which takes the place of the method.

    Raises:
        ValueError: A line contains bytes that cannot be sent, such as a CR, LF or NUL in a value.
    """
    method, target, _ = lines[0].split(b" ")
    start = _METHODS.get(method) or _encode_method(method)
    if _FORBIDDEN_IN_PSEUDO.search(target):
        raise ValueError(f"the target {target[:100]!r} cannot be sent")
    encoded = _encoded
    if connect_protocol:
        start = encode_field(_METHOD, b"CONNECT") + encode_field(_PROTOCOL, connect_protocol)
        encoded = _encoded_for_websocket
    host = _find_host(lines)
    authority = _authorities.get(host)
    if authority is None:
        authority = _encode_authority(host)
    else:
        _authorities.count_hit()
    return b"".join((start, _ENCODED_SCHEMES[scheme], encode_field(_PATH, target), authority, *map(encoded.__getitem__, lines[1:])))


def _encode_method(method: bytes) -> bytes:
    if not TOKEN.fullmatch(method):
        raise ValueError(f"the method {method[:100]!r} cannot be sent")
    return encode_field(_METHOD, method)


def _encode_authority(host: bytes) -> bytes:
    """Encode `:authority`; without a host there is none."""
    if _FORBIDDEN_IN_PSEUDO.search(host):
        raise ValueError(f"the host {host[:100]!r} cannot be sent")
    encoded = encode_field(_AUTHORITY, host) if host else b""
    if not _authorities.skip_put():
        _authorities.put(host, encoded, len(encoded))
    return encoded


def _find_host(lines: Sequence[bytes]) -> bytes:
    """Return the value of Host; empty if there is none. It is nearly always the first field."""
    if len(lines) > 1 and lines[1].startswith(b"Host: ") and b"\r\n" not in lines[1]:
        return lines[1][6:].strip(b" \t")
    for item in lines[1:]:
        for line in item.split(b"\r\n"):
            if line[:5].lower() == b"host:":
                return line[5:].strip(b" \t")
    return b""
