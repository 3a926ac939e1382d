"""What the proxy needs of sockets and asyncio's transports do not offer."""

from __future__ import annotations

import array
import asyncio
import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from albkit.model.message import ClientAddress

try:
    import fcntl
    import termios
except ImportError:  # Windows has neither.
    fcntl = None  # type: ignore[assignment]

__all__ = (
    "SEGMENT",
    "SMALL",
    "address_of",
    "bound_buffers",
    "endpoint",
    "locate",
    "peer_has_left",
    "peer_has_reset",
    "read_rest",
    "reset",
    "send",
    "send_fin",
    "unacknowledged",
    "write_pieces",
)

SEGMENT: Final = 64 * 1024
"""Read size on plain asyncio, whose default costs a 256 KiB allocation per read."""

SMALL: Final = 16 * 1024
"""Up to this size, joining pieces for one write is cheaper than a system call that takes several pieces; above it, more expensive."""

# SO_LINGER with a timeout of 0 makes close(2) discard unsent data and send RST.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_TCP_CLOSE = 7  # include/net/tcp_states.h of Linux.
_HAS_TCP_INFO = hasattr(socket, "TCP_INFO")
_HUNG_UP: Final[int] = getattr(select, "POLLRDHUP", 0)
"""The event that poll(2) reports when the peer has sent FIN or RST; 0 if the platform has none."""


def endpoint(name: object) -> tuple[str, int] | None:
    """The address and port of a socket name, with IPv4-mapped IPv6 addresses as IPv4; `None` for a Unix socket."""
    if not isinstance(name, tuple):
        return None
    host: str = name[0]
    return (host.removeprefix("::ffff:") if host.startswith("::ffff:") and "." in host else host), name[1]


def address_of(peer: object) -> ClientAddress:
    """The client address of a transport's `peername`; empty for a Unix socket."""
    return ClientAddress(*(endpoint(peer) or ("", 0)))


def locate(address: ClientAddress, transport: asyncio.Transport | None) -> ClientAddress:
    """Complete a client address with the address that the client connected to, unless it is known (from a PROXY header)."""
    if address.local is None and transport is not None:
        address.local = endpoint(transport.get_extra_info("sockname"))
    return address


def bound_buffers(transport: asyncio.Transport, high: int) -> None:
    """Limit what a transport buffers for writing to `high` bytes and, on plain asyncio, the size of a read."""
    transport.set_write_buffer_limits(high=high)
    if hasattr(transport, "max_size"):
        transport.max_size = SEGMENT


def send(transport: asyncio.Transport, pieces: list[bytes], size: int) -> None:
    """Write pieces that have `size` bytes together."""
    if len(pieces) == 1:
        transport.write(pieces[0])
    elif size <= SMALL:
        transport.write(b"".join(pieces))
    else:
        write_pieces(transport, pieces)


def write_pieces(transport: asyncio.Transport, pieces: list[bytes]) -> None:
    """Write pieces that together have more than `SMALL` bytes."""
    if hasattr(transport, "max_size"):
        # Plain asyncio does not gain from pieces. In Python 3.12.0 to 3.12.8 and 3.13.0 to 3.13.1, its writelines() never calls
        # pause_writing() (CVE-2024-12254).
        transport.write(b"".join(pieces))
    else:
        transport.writelines(pieces)


def send_fin(transport: asyncio.Transport) -> None:
    """Send FIN after what was written. The transport still reads."""
    try:
        transport.write_eof()
    except OSError:
        pass  # Plain asyncio raises if RST has arrived and the loop has not reported it yet. It will.


def reset(transport: asyncio.Transport) -> None:
    """End a connection with RST, so that the peer sees that it was cut. `abort()` alone closes the socket, and the kernel sends FIN."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes in the kernel that the peer has not acknowledged (ioctl SIOCOUTQ, tcp(7)); 0 if unknown."""
    sock = transport.get_extra_info("socket")
    if sock is None or fcntl is None:
        return 0
    size = array.array("i", (0,))
    try:
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, size)
    except OSError:
        return 0
    return size[0]


def read_rest(transport: asyncio.Transport) -> Iterator[bytes]:
    """Read what is left in the kernel of a connection that is being lost. Yields nothing for TLS, where it would be encrypted."""
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("ssl_object") is not None:
        return
    with suppress(OSError, ValueError):
        while data := os.read(sock.fileno(), SEGMENT):
            yield data


def peer_has_left(transport: asyncio.Transport) -> bool:
    """Whether the peer has sent FIN or RST. A transport does not notice while reading is paused. `False` if unknown."""
    sock = transport.get_extra_info("socket")
    fileno = sock.fileno() if sock is not None and _HUNG_UP else -1
    if fileno < 0:
        return False
    # poll() instead of getsockopt(): for each call, uvloop's socket would create a socket object and look up its addresses.
    asking = select.poll()
    asking.register(fileno, _HUNG_UP)
    return bool(asking.poll(0))


def peer_has_reset(transport: asyncio.Transport) -> bool:
    """Whether the peer has sent RST. A transport does not notice while reading is paused, or after EOF if it was kept open.

    The TCP state alone is not enough: it is also CLOSE after both sides sent FIN, when data may still wait to be read. The pending error
    of the socket is only polled, not fetched: a later read would otherwise see FIN instead of the reset.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX or not _HAS_TCP_INFO:
        return False
    try:
        state: int = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state != _TCP_CLOSE:
            return False
        asking = select.poll()
        asking.register(sock.fileno(), 0)
        return any(event & select.POLLERR for _, event in asking.poll(0))
    except OSError:
        return True
