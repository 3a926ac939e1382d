"""What a trusted proxy in front tells of the client: X-Forwarded-For, -Proto, -Port and -Host.

Each of them may be a list, to which every proxy on the way has added something. Only what the trusted ones have added is believed: the
addresses from the right up to the first one that is not trusted, and of all else the last item, which the peer itself has written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from albkit.model import message
from albkit.model.message import ClientAddress
from albkit.wire.http1 import fields

__all__ = ("Told", "client_behind")

_PORT = re.compile(rb"[0-9]{1,5}")
_ADDRESS = re.compile(
    r"\[(?P<v6>[0-9A-Fa-f:.]+)\](?::(?P<v6_port>[0-9]{1,5}))?|(?P<v4>[0-9.]+)(?::(?P<v4_port>[0-9]{1,5}))?|(?P<bare>[0-9A-Fa-f:.]+)"
)
_PORTS = {"http": 80, "https": 443}


class Told:
    """What the fields of one request say."""

    __slots__ = ("host", "port", "protocol")

    def __init__(self, found: Mapping[int, bytes]) -> None:
        self.host = _last(found.get(fields.FORWARDED_HOST, b""))
        """Whom the client has asked for, with a port or without; empty where it is not told."""
        protocol = _last(found.get(fields.FORWARDED_PROTO, b"")).lower()
        self.protocol = protocol.decode("ascii") if protocol in (b"http", b"https") else ""
        """`http` or `https`; empty where it is not told."""
        port = _last(found.get(fields.FORWARDED_PORT, b""))
        number = int(port) if _PORT.fullmatch(port) else 0
        self.port = number if 0 < number < 65536 else _PORTS.get(self.protocol, 0)
        """That the client has connected to; 0 where it is not told."""


def _last(value: bytes) -> bytes:
    return value.rpartition(b",")[2].strip(b" \t")


def client_behind(
    peer: ClientAddress, told: message.Told, forwarded_for: bytes, seen: tuple[str, int], trusts: Callable[[str], bool]
) -> ClientAddress:
    """The client of a request that a trusted proxy has sent.

    Args:
        peer: The proxy.
        told: What it says of the client.
        forwarded_for: What X-Forwarded-For says, all of its lines joined.
        seen: Protocol and port of the listener, for what is not told.
        trusts: Whether an address is a trusted proxy's.
    """
    protocol = told.protocol or seen[0]
    port = told.port or seen[1]
    host, host_port = peer.host, peer.port
    for item in reversed(forwarded_for.split(b",") if forwarded_for else []):
        address = _address(item.strip(b" \t").decode("latin-1"))
        if address is None:
            break  # Nobody knows whose it is, nor what stands before it.
        host, host_port = address
        if not trusts(host):
            break
    tls = peer.tls if protocol == "https" and not told.protocol else None
    return ClientAddress(host, host_port, local=peer.local, tls=tls, told=(protocol, port))


def _address(text: str) -> tuple[str, int] | None:
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
