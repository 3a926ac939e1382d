"""The gRPC side of a demo target: the service `demo.Greeter`, over HTTP/2 without TLS.

service Greeter {
  rpc Hello (Name) returns (Greeting);           // Name and Greeting have one field: string text = 1;
  rpc Count (Name) returns (stream Greeting);    // three greetings
}
"""

from __future__ import annotations

import asyncio

from albkit.demo.http2 import Http2Connection, Http2Stream, grpc_message, read_grpc_message

__all__ = ("GrpcService", "as_text", "text_of")

_OK, _INVALID_ARGUMENT, _UNIMPLEMENTED = "0", "3", "12"
_TEXT_FIELD = 0x0A
"""Field 1 with a length (Protocol Buffers, "Encoding")."""
_LONGEST = 127
_GREETINGS = {"/demo.Greeter/Hello": 1, "/demo.Greeter/Count": 3}
_HEAD = ((":status", "200"), ("content-type", "application/grpc"))


def as_text(text: str) -> bytes:
    """Encode a message with a short text."""
    encoded = text.encode()
    return bytes((_TEXT_FIELD, len(encoded))) + encoded


def text_of(message: bytes) -> str:
    """Return the text of a message.

    Raises:
        ValueError: it has none, or a long one.
    """
    if len(message) < 2 or message[0] != _TEXT_FIELD or not message[1] == len(message) - 2 <= _LONGEST:
        raise ValueError(f"{message!r} has no short text")
    return message[2:].decode()


class GrpcService:
    """The server.

    Args:
        name: The target's name, which the greetings contain.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: set[Http2Connection] = set()
        self._calls: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        self._server = await asyncio.get_running_loop().create_server(self._connection, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and close every connection. Does nothing if it is not running."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in tuple(self._connections):
            connection.abort()
            await connection.ended
        await asyncio.gather(*self._calls, return_exceptions=True)
        await server.wait_closed()

    def _connection(self) -> Http2Connection:
        connection = Http2Connection(self._accept)
        self._connections.add(connection)
        connection.ended.add_done_callback(lambda _: self._connections.discard(connection))
        return connection

    def _accept(self, stream: Http2Stream) -> None:
        call = asyncio.create_task(self._serve(stream))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _serve(self, stream: Http2Stream) -> None:
        try:
            head = await stream.head()
            body = await stream.read_all()
        except ConnectionError:
            return  # The client canceled the call.
        greetings = _GREETINGS.get(head[":path"], 0)
        if not greetings:
            self._fail(stream, _UNIMPLEMENTED)
            return
        try:
            text = text_of(read_grpc_message(body))
        except ValueError:
            self._fail(stream, _INVALID_ARGUMENT)
            return
        stream.send_fields(_HEAD)
        for number in range(1, greetings + 1):
            greeting = f"hello {text} from {self.name}"[:_LONGEST] if greetings == 1 else f"{number} from {self.name}"
            stream.send(grpc_message(as_text(greeting)))
        stream.send_fields([("grpc-status", _OK)], end=True)

    def _fail(self, stream: Http2Stream, status: str) -> None:
        stream.send_fields([*_HEAD, ("grpc-status", status)], end=True)
