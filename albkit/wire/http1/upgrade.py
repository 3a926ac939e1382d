"""Protocol upgrades (RFC 9110 section 7.8): what a client may ask for, and whether the target's answer matches."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha1

from albkit.errors import Failure, FailureKind
from albkit.model.message import RequestHead, ResponseHead

__all__ = ("accepts", "negotiated_extensions", "protocols_allowed", "protocols_to_offer", "websocket_accept", "websocket_lines")

# HTTP/2 over cleartext TCP. A client could send requests through the tunnel that no rule has checked (h2c smuggling).
_REFUSED = (b"h2c",)
# RFC 6455 section 1.3. The key and this constant, hashed, prove that the server understands WebSocket.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACCEPT = b"sec-websocket-accept"
_EXTENSIONS = b"sec-websocket-extensions"
# RFC 9110 section 9.3.6: a 2xx to CONNECT has neither.
_FRAMING = (b"content-length", b"transfer-encoding")


def protocols_to_offer(value: bytes) -> bytes:
    """Return the protocols of an Upgrade value that may be offered to the other side, in their order; empty if none is left."""
    if b"," not in value:
        return b"" if value.lower() in _REFUSED else value
    offered = (protocol.strip(b" \t") for protocol in value.split(b","))
    return b", ".join(protocol for protocol in offered if protocol and protocol.lower() not in _REFUSED)


def protocols_allowed(offered: bytes, allowed: Iterable[str]) -> bytes:
    """Return those of the offered protocols that a tunnel policy allows, in their order; empty if none is left."""
    wanted = {protocol.lower().encode() for protocol in allowed}
    return b", ".join(protocol for protocol in (one.strip(b" \t") for one in offered.split(b",")) if protocol.lower() in wanted)


def accepts(offered: bytes, answered: bytes) -> bool:
    """Whether a 101 switches to exactly one of the offered protocols. Case does not matter.

    Args:
        offered: The Upgrade value of the request.
        answered: The Upgrade value of the 101.
    """
    wanted = answered.strip(b" \t").lower()
    return bool(wanted) and wanted in {protocol.strip(b" \t").lower() for protocol in offered.split(b",")}


def negotiated_extensions(request: RequestHead, response: ResponseHead) -> bytes | None:
    """Return the extensions that a WebSocket handshake negotiated (RFC 6455 section 4).

    Only after a handshake with a key, version 13 and the right answer to the key are the bytes of both directions WebSocket frames.

    Args:
        request: The request of the client.
        response: The 101 of the target.

    Returns:
        The value of Sec-WebSocket-Extensions, empty if there is none. `None` if this was not a WebSocket handshake.
    """
    headers = request.headers
    key = headers.get("Sec-WebSocket-Key", "")
    if not key or response.upgrade.lower() != b"websocket" or request.method != "GET" or headers.get("Sec-WebSocket-Version") != "13":
        return None
    accepted = None
    extensions: list[bytes] = []
    for line in response.lines[1:]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == _ACCEPT:
            accepted = value.strip(b" \t")
        elif name == _EXTENSIONS:
            extensions.append(value.strip(b" \t"))
    return b", ".join(extensions) if accepted == websocket_accept(key.encode("utf-8", "surrogateescape")) else None


def websocket_lines(request: RequestHead, response: ResponseHead) -> list[bytes]:
    """Return the lines of a 101 for a client that needs no proof that the target understands WebSocket (RFC 8441 section 5).

    Args:
        request: The handshake that the target got, with a key of the load balancer.
        response: The target's 101. It is not changed.

    Raises:
        Failure: 502, the answer to the key is missing or wrong.
    """
    key = request.headers.get("Sec-WebSocket-Key", "").encode("utf-8", "surrogateescape")
    lines = response.lines[:1]
    accepted: list[bytes] = []
    for line in response.lines[1:]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == _ACCEPT:
            accepted.append(value.strip(b" \t"))
        elif name not in _FRAMING:
            lines.append(line)
    if accepted != [websocket_accept(key)]:
        raise Failure(FailureKind.RESPONSE_MALFORMED, "the 101 does not have the right Sec-WebSocket-Accept")
    return lines


def websocket_accept(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
