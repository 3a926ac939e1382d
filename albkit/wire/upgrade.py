"""Upgrade (RFC 9110 section 7.8): what a client may ask for, and whether the target's answer is one of these things."""

from __future__ import annotations

__all__ = ("accepts", "protocols_to_offer")

_NEVER = (b"h2c",)
"""HTTP/2 over cleartext would let the tunnel's bytes be requests that no rule has seen."""


def protocols_to_offer(value: bytes) -> bytes:
    """The protocols of an Upgrade value that may be passed on, in their order; empty when none is left."""
    if b"," not in value:
        return b"" if value.lower() in _NEVER else value
    offered = (protocol.strip(b" \t") for protocol in value.split(b","))
    return b", ".join(protocol for protocol in offered if protocol and protocol.lower() not in _NEVER)


def accepts(offered: bytes, answered: bytes) -> bool:
    """Whether the one protocol that a 101 names is among those offered, without regard to case."""
    wanted = answered.strip(b" \t").lower()
    return bool(wanted) and wanted in {protocol.strip(b" \t").lower() for protocol in offered.split(b",")}
