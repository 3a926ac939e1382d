"""What is asked of sockets beyond what transports offer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from albkit.proxy.transports import SMALL, peer_has_left, send


@contextlib.asynccontextmanager
async def ends(family: int) -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """A transport that is not read, and its peer."""
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as directory, socket.socket(family) as listening:
        listening.bind(str(Path(directory) / "s") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        connected = socket.socket(family)
        connected.connect(listening.getsockname())
        connected.setblocking(False)
        peer, _ = await loop.sock_accept(listening)
        make = loop.create_unix_connection if family == socket.AF_UNIX else loop.create_connection
        transport, _ = await make(asyncio.Protocol, sock=connected)  # type: ignore[operator]
        transport.pause_reading()
        with peer:
            yield transport, peer
        transport.abort()
        await asyncio.sleep(0)


async def seen(transport: asyncio.Transport) -> bool:
    """Whether the peer's leaving shows within a while."""
    for _ in range(200):
        if peer_has_left(transport):
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
async def test_peer_that_is_there_has_not_left(family: int) -> None:
    """Whatever it has sent, and whether or not it is read."""
    async with ends(family) as (transport, peer):
        assert not peer_has_left(transport)
        peer.sendall(b"bytes that nobody reads")
        assert not peer_has_left(transport)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
async def test_fin_is_seen_while_reading_is_paused(family: int) -> None:
    """Also behind bytes that nobody has read."""
    async with ends(family) as (transport, peer):
        peer.sendall(b"bytes that nobody reads")
        peer.shutdown(socket.SHUT_WR)
        assert await seen(transport)


async def test_reset_is_seen_while_reading_is_paused() -> None:
    """It leaves no connection at all."""
    async with ends(socket.AF_INET) as (transport, peer):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        assert await seen(transport)


async def test_transport_that_is_closed_has_no_peer_to_leave() -> None:
    """Nobody tells."""
    async with ends(socket.AF_INET) as (transport, _):
        transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not peer_has_left(transport)


@pytest.mark.parametrize("sizes", [[5], [5, 6, 7], [SMALL, 1], [100, 3 * SMALL, 1]])
async def test_pieces_are_sent_in_their_order(sizes: list[int]) -> None:
    """However they are put together."""
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    async with ends(socket.AF_INET) as (transport, peer):
        send(transport, pieces, sum(sizes))
        peer.setblocking(False)
        got = b""
        while len(got) < sum(sizes):
            got += await asyncio.get_running_loop().sock_recv(peer, 1 << 20)
        assert got == b"".join(pieces)


async def test_pieces_that_nobody_reads_say_that_it_is_full() -> None:
    """The sender is told to wait, whatever the loop makes of many pieces."""
    async with ends(socket.AF_INET) as (transport, _):
        full = asyncio.Event()

        class Told(asyncio.Protocol):
            def pause_writing(self) -> None:
                full.set()

        transport.set_protocol(Told())
        transport.set_write_buffer_limits(high=SMALL)
        pieces = [bytes(SMALL)] * 64
        for _ in range(100):
            send(transport, pieces, sum(map(len, pieces)))
            if full.is_set():
                return
            await asyncio.sleep(0)
    pytest.fail("more than 100 MiB wait, and nobody was told")
