"""Finds the real client behind trusted proxies, from X-Forwarded-For, -Proto, -Port and -Host.

Each of these fields may be a list to which every proxy appends an item, so an attacker can write the items on the left. Only what trusted
proxies have written is used. For X-Forwarded-For, that is the addresses from the right up to and including the first that is not a trusted
proxy. For the other fields, it is the last item, which the peer wrote itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from albkit.model import message
from albkit.model.message import ClientAddress
from albkit.wire.http1 import fields

__all__ = ("ForwardedInfo", "resolve_client")

_PORT = re.compile(rb"[0-9]{1,5}")
_ADDRESS = re.compile(
    r"\[(?P<v6>[0-9A-Fa-f:.]+)\](?::(?P<v6_port>[0-9]{1,5}))?|(?P<v4>[0-9.]+)(?::(?P<v4_port>[0-9]{1,5}))?|(?P<bare>[0-9A-Fa-f:.]+)"
)
_PORTS = {"http": 80, "https": 443}


class ForwardedInfo:
    """What the peer of one request, a trusted proxy, reports about its client.

    Args:
        found: The values of the request's fields by kind; several fields of a kind are joined by commas.
    """

    __slots__ = ("host", "port", "protocol")

    def __init__(self, found: Mapping[int, bytes]) -> None:
        self.host = _last(found.get(fields.FORWARDED_HOST, b""))
        """The host that the client asked for, with or without a port; empty if it is not reported."""
        protocol = _last(found.get(fields.FORWARDED_PROTO, b"")).lower()
        self.protocol = protocol.decode("ascii") if protocol in (b"http", b"https") else ""
        """`http` or `https`; empty if it is not reported."""
        port = _last(found.get(fields.FORWARDED_PORT, b""))
        number = int(port) if _PORT.fullmatch(port) else 0
        self.port = number if 0 < number < 65536 else _PORTS.get(self.protocol, 0)
        """The port that the client connected to. If only the protocol is reported, its default port; else 0."""


def _last(value: bytes) -> bytes:
    return value.rpartition(b",")[2].strip(b" \t")


def resolve_client(
    peer: ClientAddress,
    info: message.ProxyReport,
    forwarded_for: bytes,
    listener_origin: tuple[str, int],
    is_trusted: Callable[[str], bool],
) -> ClientAddress:
    """Return the address of the client whose request a trusted proxy has sent.

    Args:
        peer: The proxy.
        info: What it reports about the client.
        forwarded_for: The X-Forwarded-For fields, joined by commas; empty if there are none.
        listener_origin: The protocol and port of the listener, for what the proxy does not report.
        is_trusted: Returns whether an address belongs to a trusted proxy.
    """
    protocol = info.protocol or listener_origin[0]
    port = info.port or listener_origin[1]
    host, host_port = peer.host, peer.port
    for item in reversed(forwarded_for.split(b",") if forwarded_for else []):
        address = _parse_address(item.strip(b" \t").decode("latin-1"))
        if address is None:
            # Something like "unknown". It is not known which proxy wrote the items before it, so none of them can be trusted.
            break
        host, host_port = address
        if not is_trusted(host):
            break
    # If the proxy reports a protocol, the TLS session of the peer is the proxy's, and not that of the client.
    tls = peer.tls if protocol == "https" and not info.protocol else None
    return ClientAddress(host, host_port, local=peer.local, tls=tls, told=(protocol, port), conn_trace_id=peer.conn_trace_id)


def _parse_address(text: str) -> tuple[str, int] | None:
    """Parse an IP address with or without a port. The port is 0 if there is none, the result `None` if it is not an address."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return None
    try:
        address = ip_address(match["v6"] or match["v4"] or match["bare"])
    except ValueError:
        return None
    port = int(match["v6_port"] or match["v4_port"] or 0)
    mapped = getattr(address, "ipv4_mapped", None)
    return (str(mapped or address), port) if port < 65536 else None
