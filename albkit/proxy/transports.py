"""What sockets need beyond what asyncio's transports offer."""

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
"""Up to this size pieces are copied together to leave in one write; above it one system call that takes several is cheaper."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_TCP_CLOSE = 7
_HAS_TCP_INFO = hasattr(socket, "TCP_INFO")
_HUNG_UP: Final[int] = getattr(select, "POLLRDHUP", 0)
"""What poll() says of a peer that has sent FIN; of RST it says more than that. 0 where it says neither."""


def endpoint(name: object) -> tuple[str, int] | None:
    """The address and port of a socket's name: IPv4 in IPv6 unmapped; `None` for a unix socket."""
    if not isinstance(name, tuple):
        return None
    host: str = name[0]
    return (host.removeprefix("::ffff:") if host.startswith("::ffff:") and "." in host else host), name[1]


def address_of(peer: object) -> ClientAddress:
    """The address behind a transport's `peername`; empty for a unix socket."""
    return ClientAddress(*(endpoint(peer) or ("", 0)))


def locate(address: ClientAddress, transport: asyncio.Transport | None) -> ClientAddress:
    """The address of the client behind a transport, with what it connected to, unless that was told before."""
    if address.local is None and transport is not None:
        address.local = endpoint(transport.get_extra_info("sockname"))
    return address


def bound_buffers(transport: asyncio.Transport, high: int) -> None:
    """Bound what a transport buffers for writing to `high` bytes, and on plain asyncio what it reads at a time."""
    transport.set_write_buffer_limits(high=high)
    if hasattr(transport, "max_size"):
        transport.max_size = SEGMENT


def send(transport: asyncio.Transport, pieces: list[bytes], size: int) -> None:
    """Write pieces, `size` bytes together, at once."""
    if len(pieces) == 1:
        transport.write(pieces[0])
    elif size <= SMALL:
        transport.write(b"".join(pieces))
    else:
        write_pieces(transport, pieces)


def write_pieces(transport: asyncio.Transport, pieces: list[bytes]) -> None:
    """Write pieces that are large together."""
    if hasattr(transport, "max_size"):
        # Plain asyncio gains nothing by pieces, and from 3.12.0 to 3.12.8 and 3.13.0 to 3.13.1 never says that it is full (CVE-2024-12254).
        transport.write(b"".join(pieces))
    else:
        transport.writelines(pieces)


def send_fin(transport: asyncio.Transport) -> None:
    """Send FIN behind what was written; what comes is read on."""
    try:
        transport.write_eof()
    except OSError:
        pass  # On plain asyncio, where a reset has come that the loop has not told of yet: it will.


def reset(transport: asyncio.Transport) -> None:
    """End a connection with RST, so that the peer learns that it was cut; `abort()` alone sends FIN."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes that the kernel has taken for sending and the peer's kernel has not; 0 where nobody tells."""
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
    """What is still in the kernel of a connection that is just being lost; nothing where that is no plain text."""
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("ssl_object") is not None:
        return
    with suppress(OSError, ValueError):
        while data := os.read(sock.fileno(), SEGMENT):
            yield data


def peer_has_left(transport: asyncio.Transport) -> bool:
    """Whether the peer has sent FIN or RST, which a transport with paused reading does not notice; `False` where nobody tells."""
    sock = transport.get_extra_info("socket")
    fileno = sock.fileno() if sock is not None and _HUNG_UP else -1
    if fileno < 0:
        return False
    # A getsockopt() on uvloop's socket would make a socket object for each question, and look up its names.
    asking = select.poll()
    asking.register(fileno, _HUNG_UP)
    return bool(asking.poll(0))


def peer_has_reset(transport: asyncio.Transport) -> bool:
    """Whether the peer has sent RST, which a transport with paused reading, or kept open after EOF, does not notice.

    The state alone does not tell: it is the same where both sides have sent FIN, and what came before may still wait to be read. The
    error is left where it is: taken away it would look as FIN to whoever reads on.
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
