"""What sockets need beyond what asyncio's transports offer."""

from __future__ import annotations

import array
import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final

try:
    import fcntl
    import termios
except ImportError:  # Windows has neither.
    fcntl = None  # type: ignore[assignment]

__all__ = ("SEGMENT", "bound_buffers", "peer_has_left", "peer_has_reset", "reset", "unacknowledged")

SEGMENT: Final = 64 * 1024
"""Read size on plain asyncio, whose default costs a 256 KiB allocation per read."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_TCP_CLOSE_WAIT = 8
_TCP_CLOSE = 7
_HAS_TCP_INFO = hasattr(socket, "TCP_INFO")


def bound_buffers(transport: asyncio.Transport, high: int) -> None:
    """Bound what a transport buffers for writing to `high` bytes, and on plain asyncio what it reads at a time."""
    transport.set_write_buffer_limits(high=high)
    if hasattr(transport, "max_size"):
        transport.max_size = SEGMENT


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


def _tcp_state(transport: asyncio.Transport) -> int:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX or not _HAS_TCP_INFO:
        return 0
    try:
        state: int = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return _TCP_CLOSE
    return state


def peer_has_left(transport: asyncio.Transport) -> bool:
    """Whether the peer has sent FIN or RST, which a transport with paused reading does not notice."""
    return _tcp_state(transport) in (_TCP_CLOSE_WAIT, _TCP_CLOSE)


def peer_has_reset(transport: asyncio.Transport) -> bool:
    """Whether the peer has sent RST, which a transport with paused reading, or kept open after EOF, does not notice.

    The state alone does not tell: it is the same where both sides have sent FIN, and what came before may still wait to be read.
    """
    if _tcp_state(transport) != _TCP_CLOSE:
        return False
    try:
        return bool(transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    except OSError:
        return True
