"""Upgrade (RFC 9110 section 7.8): what a client may ask for, and whether the target's answer is one of these things."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha1

from albkit.model.message import RequestHead, ResponseHead

__all__ = ("accept_of", "accepts", "agreed_extensions", "protocols_allowed", "protocols_to_offer")

_NEVER = (b"h2c",)
"""HTTP/2 over cleartext would let the tunnel's bytes be requests that no rule has seen."""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACCEPT = b"sec-websocket-accept"
_EXTENSIONS = b"sec-websocket-extensions"


def protocols_to_offer(value: bytes) -> bytes:
    """The protocols of an Upgrade value that may be passed on, in their order; empty when none is left."""
    if b"," not in value:
        return b"" if value.lower() in _NEVER else value
    offered = (protocol.strip(b" \t") for protocol in value.split(b","))
    return b", ".join(protocol for protocol in offered if protocol and protocol.lower() not in _NEVER)


def protocols_allowed(offered: bytes, allowed: Iterable[str]) -> bytes:
    """Those of the protocols offered that a target group's policy allows, in their order; empty when none is left."""
    wanted = {protocol.lower().encode() for protocol in allowed}
    return b", ".join(protocol for protocol in (one.strip(b" \t") for one in offered.split(b",")) if protocol.lower() in wanted)


def accepts(offered: bytes, answered: bytes) -> bool:
    """Whether the one protocol that a 101 names is among those offered, without regard to case."""
    wanted = answered.strip(b" \t").lower()
    return bool(wanted) and wanted in {protocol.strip(b" \t").lower() for protocol in offered.split(b",")}


def agreed_extensions(request: RequestHead, response: ResponseHead) -> bytes | None:
    """The extensions that a WebSocket handshake agreed on, empty for none; `None` where it was no handshake of RFC 6455 (section 4).

    Only behind such a handshake the bytes of both directions are frames: a key and version 13 were asked with, and the key was answered.
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
    return b", ".join(extensions) if accepted == accept_of(key.encode("utf-8", "surrogateescape")) else None


def accept_of(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
