"""WebSocket clients and servers of several makes behind one face each, so that every test can walk through all pairings.

Every server echoes messages, but for these texts:

    ?                   answered with a JSON object: what the server knows of itself and of the handshake
    !close CODE REASON  the server closes
    !ping PAYLOAD       the server pings, and says `pong PAYLOAD` when the pong has come
    !fragments          answered with "one two three" in three fragments; not by aiohttp, which always sends a message in one frame
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.clients.node import node
from tests.support.gateway import Running, running

CHAT = "chat.v2"
"""The one subprotocol that servers speak."""

FRAGMENTS = ("one ", "two ", "three")
BOUND = 15.0
"""Seconds for all of a test."""

Message = str | bytes
End = tuple[int, str]
"""Code and reason of the close frame that came from the other side."""


class Servers:
    """Servers of one make."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.ends: asyncio.Queue[End | None] = asyncio.Queue()
        """How each connection ended, as its server saw it; None where no close frame came."""


# The servers.


def _knowledge(name: str, path: str, cookie: str, protocol: str | None, deflate: bool) -> str:
    return json.dumps({"server": name, "path": path, "cookie": cookie, "protocol": protocol, "deflate": deflate})


def _words(message: str) -> tuple[str, str]:
    command, _, rest = message.partition(" ")
    return command, rest


@contextlib.asynccontextmanager
async def _websockets_server(name: str, servers: Servers) -> AsyncIterator[None]:
    async def ping(connection: ServerConnection, payload: str) -> None:
        await (await connection.ping(payload))
        await connection.send(f"pong {payload}")

    async def answer(connection: ServerConnection) -> None:
        pings: list[asyncio.Task[None]] = []
        try:
            while True:
                message = await connection.recv()
                command, rest = _words(message) if isinstance(message, str) else ("", "")
                if command == "?":
                    request = connection.request
                    assert request is not None
                    deflate = bool(connection.protocol.extensions)
                    cookie = request.headers.get("Cookie", "")
                    await connection.send(_knowledge(name, request.path, cookie, connection.subprotocol, deflate))
                elif command == "!close":
                    code, reason = _words(rest)
                    await connection.close(int(code), reason)
                elif command == "!ping":
                    pings.append(asyncio.create_task(ping(connection, rest)))
                elif command == "!fragments":
                    await connection.send(iter(FRAGMENTS))
                else:
                    await connection.send(message)
        except ConnectionClosed as closed:
            servers.ends.put_nowait((closed.rcvd.code, closed.rcvd.reason) if closed.rcvd is not None else None)
        await asyncio.gather(*pings)

    def choose(_: ServerConnection, offered: Sequence[str]) -> Any:
        return CHAT if CHAT in offered else None

    async with serve(answer, "127.0.0.1", 0, max_size=None, select_subprotocol=choose) as server:
        servers.addresses.append(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        yield


@contextlib.asynccontextmanager
async def _aiohttp_server(name: str, servers: Servers) -> AsyncIterator[None]:
    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=0, protocols=(CHAT,), autoping=False)
        await socket.prepare(request)
        end: End | None = None
        while not socket.closed:
            message = await socket.receive()
            if message.type is WSMsgType.CLOSE:
                end = (message.data, message.extra or "")
            elif message.type is WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                await socket.send_str(f"pong {message.data.decode()}")
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            elif message.type is WSMsgType.TEXT:
                command, rest = _words(message.data)
                if command == "?":
                    deflate = bool(socket.compress)
                    cookie = request.headers.get("Cookie", "")
                    await socket.send_str(_knowledge(name, request.raw_path, cookie, socket.ws_protocol, deflate))
                elif command == "!close":
                    code, reason = _words(rest)
                    await socket.close(code=int(code), message=reason.encode())
                    end = (socket.close_code, "") if socket.close_code is not None else None
                elif command == "!ping":
                    await socket.ping(rest.encode())
                else:
                    await socket.send_str(message.data)
        servers.ends.put_nowait(end)
        return socket

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        servers.addresses.append(f"127.0.0.1:{runner.addresses[0][1]}")
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _node_server(name: str, servers: Servers) -> AsyncIterator[None]:
    async with node("ws_server.js", name) as program:
        servers.addresses.append(f"127.0.0.1:{(await program.told())['port']}")

        async def listen() -> None:
            while True:
                # It speaks when a connection ends, which may be never.
                said = await program.told(within=2 * BOUND)
                servers.ends.put_nowait((said["code"], said["reason"]))

        listening = asyncio.create_task(listen())
        try:
            yield
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening


_SERVERS = {"websockets": _websockets_server, "aiohttp": _aiohttp_server, "ws": _node_server}
FRAGMENTING_SERVERS = ("websockets", "ws")


@contextlib.asynccontextmanager
async def facing(make: str, count: int = 1, **settings: Any) -> AsyncIterator[tuple[Running, Servers]]:
    """A load balancer in front of servers of one make, named 0, 1, ... All that is done with it is bound in time."""
    servers = Servers()
    async with asyncio.timeout(BOUND), contextlib.AsyncExitStack() as stack:
        for number in range(count):
            await stack.enter_async_context(_SERVERS[make](str(number), servers))
        yield await stack.enter_async_context(running(*servers.addresses, **settings)), servers


async def over(gateway: Running) -> None:
    """Wait until no tunnel is open, and see that each ended in good order."""
    while gateway.runtime.tunnels:
        await asyncio.sleep(0.001)
    failures = {name: count for name, count in gateway.counters.items() if name.startswith("Failure_")}
    assert not failures


# The clients.


class Client(abc.ABC):
    """A client with an open connection."""

    protocol: str | None
    deflate: bool

    @abc.abstractmethod
    async def send(self, message: Message) -> None:
        """Send a message in one frame."""

    @abc.abstractmethod
    async def receive(self) -> Message:
        """The next message."""

    @abc.abstractmethod
    async def ping(self, payload: bytes) -> None:
        """Ping, and wait for the pong."""

    @abc.abstractmethod
    async def close(self, code: int, reason: str) -> int | None:
        """Close; the code that the server answered with."""

    @abc.abstractmethod
    async def end(self) -> End:
        """Wait until the server closes."""

    async def asked(self) -> dict[str, Any]:
        """What the server knows."""
        await self.send("?")
        knowledge: dict[str, Any] = json.loads(await self.receive())
        return knowledge


class WebsocketsClient(Client):
    """Of websockets."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.protocol = connection.subprotocol
        self.deflate = bool(connection.protocol.extensions)

    async def send(self, message: Message) -> None:
        await self.connection.send(message)

    async def receive(self) -> Message:
        return await self.connection.recv()

    async def ping(self, payload: bytes) -> None:
        await (await self.connection.ping(payload))

    async def close(self, code: int, reason: str) -> int | None:
        await self.connection.close(code, reason)
        return self.connection.close_code

    async def end(self) -> End:
        with pytest.raises(ConnectionClosed) as closed:
            await self.connection.recv()
        frame = closed.value.rcvd
        assert frame is not None
        return frame.code, frame.reason


class AiohttpClient(Client):
    """Of aiohttp."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.protocol = socket.protocol
        self.deflate = bool(socket.compress)

    async def send(self, message: Message) -> None:
        if isinstance(message, str):
            await self.socket.send_str(message)
        else:
            await self.socket.send_bytes(message)

    async def receive(self) -> Message:
        while (message := await self.socket.receive()).type is WSMsgType.PING:
            await self.socket.pong(message.data)
        assert message.type in (WSMsgType.TEXT, WSMsgType.BINARY), message
        data: Message = message.data
        return data

    async def ping(self, payload: bytes) -> None:
        await self.socket.ping(payload)
        message = await self.socket.receive()
        assert (message.type, bytes(message.data)) == (WSMsgType.PONG, payload)

    async def close(self, code: int, reason: str) -> int | None:
        await self.socket.close(code=code, message=reason.encode())
        return self.socket.close_code

    async def end(self) -> End:
        message = await self.socket.receive()
        assert message.type is WSMsgType.CLOSE, message
        return message.data, message.extra or ""


@contextlib.asynccontextmanager
async def client(
    make: str, gateway: Running, path: str = "/", *, protocols: Sequence[str] = (), deflate: bool = False, cookie: str = ""
) -> AsyncIterator[Client]:
    """A client of a make, connected to the load balancer."""
    url = f"ws://127.0.0.1:{gateway.port}{path}"
    fields = {"Cookie": cookie} if cookie else {}
    if make == "websockets":
        compression = "deflate" if deflate else None
        offered: Any = list(protocols) or None
        async with connect(
            url, subprotocols=offered, compression=compression, additional_headers=fields, max_size=None, proxy=None
        ) as connection:
            yield WebsocketsClient(connection)
    else:
        async with (
            aiohttp.ClientSession(headers=fields) as session,
            session.ws_connect(url, protocols=protocols, compress=15 if deflate else 0, max_msg_size=0, autoping=False) as socket,
        ):
            yield AiohttpClient(socket)
