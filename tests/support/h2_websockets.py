"""WebSockets over HTTP/2 (RFC 8441): the client's end of one, and targets that switch."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any, cast

import albkit as alb
from albkit.wire.http1.upgrade import websocket_accept
from tests.support.clock import FakeClock
from tests.support.gateway import Running, running
from tests.support.h2_client import H2Answer, H2Client
from tests.support.h2_frames import CANCEL, Field, data, rst_stream
from tests.support.peers import Conversation, Peer, RawClient, Script, response, target
from tests.support.tunnels import Ends, holding

__all__ = ("H2Ends", "H2WebSocket", "accepting", "h2_ends", "opened", "switched")

_LARGEST = 16384


class H2WebSocket(Peer):
    """A stream of a client that has become a tunnel, with the methods of any other peer.

    END_STREAM is its FIN: `read` returns nothing then. RST_STREAM, or the end of the connection, raises ConnectionResetError.
    """

    def __init__(self, client: H2Client, stream: int) -> None:
        super().__init__(client.peer.reader, client.peer.writer)
        self.client = client
        self.stream = stream
        self._read = 0

    @property
    def answer(self) -> H2Answer:
        """What has come on the stream."""
        return self.client.answers.setdefault(self.stream, H2Answer())

    def send(self, data_: bytes) -> None:
        """Send bytes without regard to windows."""
        self.sent += len(data_)
        for start in range(0, len(data_), _LARGEST):
            self.client.send(data(self.stream, data_[start : start + _LARGEST]))

    async def send_all(self, data_: bytes) -> None:
        """Send bytes as the windows allow."""
        self.sent += len(data_)
        await self.client.send_body(self.stream, data_, end=False)

    async def read(self, size: int = 65536) -> bytes:
        while len((answer := self.answer).body) == self._read:
            if answer.reset is not None:
                raise ConnectionResetError(f"RST_STREAM with {answer.reset}")
            if answer.has_ended:
                return b""
            if await self.client.next_frame() is None:
                raise ConnectionResetError("the connection has ended")
        piece = answer.body[self._read : self._read + size]
        self._read += len(piece)
        return piece

    async def read_exactly(self, size: int) -> bytes:
        pieces: list[bytes] = []
        while size:
            piece = await self.read(size)
            if not piece:
                raise asyncio.IncompleteReadError(b"".join(pieces), None)
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    async def read_to_end(self) -> bytes:
        pieces: list[bytes] = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    def send_fin(self) -> None:
        self.client.send(data(self.stream, b"", end=True))

    def reset(self, code: int = CANCEL) -> None:
        self.client.send(rst_stream(self.stream, code))

    async def reset_code(self) -> int:
        """Wait for RST_STREAM: its code."""
        return await self.client.reset(self.stream)


def connect(client: H2Client, path: str = "/ws", *fields: Field) -> H2WebSocket:
    """Ask for a WebSocket."""
    more = ((":protocol", "websocket"), ("sec-websocket-version", "13"), *fields)
    return H2WebSocket(client, client.request("CONNECT", path, *more, end=False))


async def opened(gateway: Running, *fields: Field, **options: Any) -> H2WebSocket:
    """A WebSocket on a connection of its own."""
    socket = connect(await H2Client(await gateway.client(), **options).start(), "/ws", *fields)
    assert (await socket.client.head(socket.stream)).status == 200
    return socket


def switched(head: bytes, *fields: bytes) -> bytes:
    """The 101 for a handshake."""
    match = re.search(rb"(?i)\r\nsec-websocket-key: *(\S+)\r\n", head)
    assert match is not None
    start = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
    return start + websocket_accept(match[1]) + b"".join(b"\r\n" + field for field in fields) + b"\r\n\r\n"


def accepting(then: Script | None = None, *fields: bytes) -> Script:
    """A target over HTTP/1.1 that switches, whatever the key, and then does as told. Other requests get 200."""

    async def script(conversation: Conversation) -> None:
        head = await conversation.head()
        while b"\r\nupgrade: websocket\r\n" not in head.lower():
            conversation.send(response())
            head = await conversation.head()
        conversation.send(switched(head, *fields))
        await conversation.drain()
        if then is not None:
            await then(conversation)

    return script


class H2Ends(Ends):
    """Both ends of a tunnel whose client uses HTTP/2."""

    def __init__(self, gateway: Running, client: H2WebSocket, conversation: Conversation, clock: FakeClock) -> None:
        super().__init__(gateway, cast("RawClient", client), conversation, clock)
        self.socket = client


@contextlib.asynccontextmanager
async def h2_ends(policy: alb.TunnelPolicy | None = None, *fields: bytes, generous: bool = True, **settings: Any) -> AsyncIterator[H2Ends]:
    """A tunnel under a policy, with time in the test's hands, to a target over HTTP/1.1.

    Args:
        policy: Of the target group.
        fields: Further lines of the target's 101.
        generous: Whether the client opens its windows again.
        settings: Of the load balancer.
    """
    clock = FakeClock()
    async with (
        target(accepting(holding, *fields)) as origin,
        running(origin.address, tunnel=policy, clock=clock, **settings) as gateway,
    ):
        socket = await opened(gateway, generous=generous)
        yield H2Ends(gateway, socket, await origin.arrived(), clock)
