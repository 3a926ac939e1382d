"""A client and a target that speak raw bytes and keep every one of them.

Both stand on asyncio streams and real sockets. What they do not imitate: a peer with a small receive window of its own accord (use
`slow=True`), and loss on the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

HEAD_END = b"\r\n\r\n"


class Response:
    """A response as it came over the wire."""

    def __init__(self, head: bytes, body: bytes, trailers: list[bytes], complete: bool) -> None:
        self.head = head
        self.body = body
        self.trailers = trailers
        self.complete = complete
        """Whether the body ended as its framing said."""
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split(b" ")[1])
        self.status_line = lines[0]
        self.fields = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines[1:] if line)]

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a field, in order."""
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def get(self, name: bytes) -> bytes | None:
        """The value of a field that may stand once only."""
        values = self.all(name)
        assert len(values) <= 1, f"{name!r} stands {len(values)} times"
        return values[0] if values else None

    def __repr__(self) -> str:
        return f"<Response {self.status_line!r} {self.fields} {self.body[:100]!r} complete={self.complete}>"


class Peer:
    """One end of a connection, in raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._received = bytearray()
        self.sent = 0
        """Bytes."""

    @property
    def received(self) -> bytes:
        """Every byte that came and was read. A test may set it back."""
        return bytes(self._received)

    @received.setter
    def received(self, data: bytes) -> None:
        self._received[:] = data

    def send(self, data: bytes) -> None:
        self.sent += len(data)
        try:
            self.writer.write(data)
        except RuntimeError as error:
            # uvloop raises this if the connection is gone. asyncio drops the data; the next read says so.
            raise ConnectionResetError(str(error)) from error

    async def drain(self) -> None:
        await self.writer.drain()

    async def read(self, size: int = 65536) -> bytes:
        """Some bytes; empty at the end."""
        data = await self.reader.read(size)
        self._received += data
        return data

    async def read_exactly(self, size: int) -> bytes:
        data = await self.reader.readexactly(size)
        self._received += data
        return data

    async def read_until(self, separator: bytes) -> bytes:
        data = await self.reader.readuntil(separator)
        self._received += data
        return data

    async def read_to_end(self) -> bytes:
        """All until FIN. A reset raises ConnectionError."""
        data = await self.reader.read()
        self._received += data
        return data

    async def is_closed(self, within: float = 5.0) -> bool:
        """Whether the other side ends the connection without another byte. RST counts, as does FIN."""
        try:
            async with asyncio.timeout(within):
                return await self.read() == b""
        except ConnectionError:
            return True

    def send_fin(self) -> None:
        self.writer.write_eof()

    def reset(self) -> None:
        """End with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self, within: float = 5.0) -> None:
        """Close. If the other side does not take what is still to be sent, the connection is aborted, so that no test waits for ever."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            try:
                async with asyncio.timeout(within):
                    await self.writer.wait_closed()
            except TimeoutError:
                self.writer.transport.abort()

    @property
    def port(self) -> int:
        """Our own."""
        port: int = self.writer.get_extra_info("sockname")[1]
        return port


class RawClient(Peer):
    """A client in raw bytes."""

    @classmethod
    async def connect(cls, port: int, *, host: str = "127.0.0.1", slow: bool = False) -> RawClient:
        """Connect; `slow` asks for a receive buffer as small as the kernel gives."""
        if not slow:
            return cls(*await asyncio.open_connection(host, port, limit=2**26))
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        return cls(*await asyncio.open_connection(sock=sock, limit=4096))

    async def response(self, method: str = "GET") -> Response:
        """The next response, 1xx among them."""
        head = await self.read_until(HEAD_END)
        response = Response(head, b"", [], True)
        if method == "HEAD" or response.status < 200 or response.status in (204, 304):
            return response
        if response.get(b"transfer-encoding") == b"chunked":
            await self._chunked(response)
        elif (length := response.get(b"content-length")) is not None:
            try:
                response.body = await self.read_exactly(int(length))
            except asyncio.IncompleteReadError as error:
                response.body, response.complete = error.partial, False
            except ConnectionError:
                response.complete = False
        else:
            try:
                response.body = await self.read_to_end()
            except ConnectionError:
                response.complete = False
        return response

    async def _chunked(self, response: Response) -> None:
        try:
            while size := int(await self.read_until(b"\r\n"), 16):
                response.body += await self.read_exactly(size)
                assert await self.read_exactly(2) == b"\r\n"
            while (line := await self.read_until(b"\r\n")) != b"\r\n":
                response.trailers.append(line[:-2])
        except (asyncio.IncompleteReadError, ConnectionError):
            response.complete = False

    async def get(self, path: str = "/", *fields: str, method: str = "GET", host: str = "example.com") -> Response:
        """Send one request and read its response."""
        self.send(request(method, path, *fields, host=host))
        return await self.response(method)


def request(method: str, path: str, *fields: str, host: str = "example.com", body: bytes = b"") -> bytes:
    """The bytes of one request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields]
    return "\r\n".join(lines).encode("latin-1") + HEAD_END + body


def response(status: int = 200, body: bytes = b"ok", *fields: bytes) -> bytes:
    """The bytes of one response with a length."""
    return b"\r\n".join([b"HTTP/1.1 %d Reason" % status, b"Content-Length: %d" % len(body), *fields]) + HEAD_END + body


class Conversation(Peer):
    """One connection that a target has accepted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.over = asyncio.Event()
        """Set when the script has come to its end, or the connection has."""

    async def head(self) -> bytes:
        """The next request head. At the end of the connection raises asyncio.IncompleteReadError."""
        return await self.read_until(HEAD_END)

    async def request(self) -> tuple[bytes, bytes]:
        """The next request: its head, and its body decoded."""
        head = await self.head()
        if re.search(rb"(?i)\r\ntransfer-encoding: *chunked\r\n", head):
            body = b""
            while size := int(await self.read_until(b"\r\n"), 16):
                body += await self.read_exactly(size)
                await self.read_exactly(2)
            while await self.read_until(b"\r\n") != b"\r\n":
                pass
            return head, body
        match = re.search(rb"(?i)\r\ncontent-length: *(\d+)\r\n", head)
        return head, await self.read_exactly(int(match[1])) if match else b""


Script = Callable[[Conversation], Awaitable[None]]


class Target:
    """A target that follows a script, one run of it per connection, and keeps what it was sent."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.conversations: list[Conversation] = []
        self.heads: list[bytes] = []
        """Of all requests that `answer` scripts have read."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._arrived = asyncio.Event()

    async def open(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=2**26)

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def arrived(self, count: int = 1) -> Conversation:
        """Wait until so many connections have come; the last of them."""
        while len(self.conversations) < count:
            self._arrived.clear()
            await self._arrived.wait()
        return self.conversations[count - 1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or not self._server.is_serving():
            # It was accepted in the moment in which we closed: nobody waits for it any more.
            writer.transport.abort()
            return
        conversation = Conversation(reader, writer)
        self.conversations.append(conversation)
        self._arrived.set()
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self.script(conversation)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # The peer left, or the test is over.
        finally:
            self._tasks.discard(task)
            conversation.over.set()
            await conversation.close()

    async def close(self) -> None:
        """Listen no more and end every conversation; closing again is nothing."""
        if self._server is None:
            return
        loop = asyncio.get_running_loop()
        if isinstance(loop, asyncio.SelectorEventLoop):
            # asyncio loses sight of a connection that it has accepted in the moment in which its server closes.
            for sock in self._server.sockets:
                loop.remove_reader(sock.fileno())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None


def answering(target_heads: list[bytes], *answers: bytes) -> Script:
    """A script that answers each request of a connection with the given bytes, the last of them again and again."""

    async def script(conversation: Conversation) -> None:
        turn = 0
        while True:
            head, _ = await conversation.request()
            target_heads.append(head)
            conversation.send(answers[min(turn, len(answers) - 1)])
            await conversation.drain()
            turn += 1

    return script


@contextlib.asynccontextmanager
async def target(script: Script | None = None, *answers: bytes) -> AsyncIterator[Target]:
    """A running target: with a script, or answering every request with `answers` (200 by default)."""

    async def nothing(_: Conversation) -> None:
        return None

    running = Target(script or nothing)
    if script is None:
        running.script = answering(running.heads, *(answers or (response(),)))
    await running.open()
    try:
        yield running
    finally:
        await running.close()


def free_port() -> int:
    """A port on which nobody listens: connecting to it is refused."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
