"""One end of an HTTP/2 connection, a client or a server, for the demo's small messages (RFC 9113).

It sends less than a window on each stream and does not look at the peer's windows. It returns the window for what it receives at once.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import urlsplit

from albkit.wire.http2 import frames
from albkit.wire.http2.frames import ErrorCode, Http2Error
from albkit.wire.http2.hpack_decoder import HpackDecoder
from albkit.wire.http2.hpack_encoder import encode_field

__all__ = ("Http2Client", "Http2Connection", "Http2Stream", "connect", "grpc_message", "read_grpc_message")

_HEAD = 9
_LARGEST_HEAD = 65536
_ID = 0x7FFFFFFF
_GRPC_PREFIX = 5


class Http2Stream:
    """One request and its response.

    Args:
        connection: Its connection.
        number: Its number.
    """

    def __init__(self, connection: Http2Connection, number: int) -> None:
        self.number = number
        self.trailers: dict[str, str] = {}
        """The fields behind the body. They are here when `read` has returned the last piece."""
        self._connection = connection
        self._received: asyncio.Queue[dict[str, str] | bytes | Exception | None] = asyncio.Queue()

    # What the connection calls.

    def put(self, item: dict[str, str] | bytes | Exception | None) -> None:
        """Take fields, a piece of the body, an error, or `None` for the end."""
        self._received.put_nowait(item)

    # What its user calls.

    async def head(self) -> dict[str, str]:
        """Wait for the fields at the start of the message.

        Raises:
            ConnectionError: the stream was reset, or the connection has ended.
        """
        item = await self._next()
        if not isinstance(item, dict):
            raise ConnectionError("the stream has no head")
        return item

    async def read(self) -> bytes:
        """Wait for a piece of the body. Returns `b""` at the end.

        Raises:
            ConnectionError: as for `head`.
        """
        while True:
            item = await self._next()
            if item is None:
                return b""
            if isinstance(item, dict):
                self.trailers = item
            elif item:
                return item

    async def read_all(self) -> bytes:
        """Wait for the rest of the body."""
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    async def _next(self) -> dict[str, str] | bytes | None:
        item = await self._received.get()
        if isinstance(item, Exception):
            self.put(item)
            raise item
        return item

    def send_fields(self, fields: Sequence[tuple[str, str]], *, end: bool = False) -> None:
        """Send fields, pseudo-fields first; `end` says that nothing follows."""
        block = b"".join(encode_field(name.encode(), value.encode()) for name, value in fields)
        self._connection.write(b"".join(frames.headers_frames(self.number, block, end_stream=end, max_frame=frames.MAX_FRAME)))

    def send(self, data: bytes, *, end: bool = False) -> None:
        """Send a piece of the body."""
        self._connection.write(frames.frame(frames.DATA, frames.END_STREAM if end else 0, self.number, data))

    def reset(self) -> None:
        """Cancel the stream."""
        self._connection.write(frames.rst_stream(self.number, ErrorCode.CANCEL))


class Http2Connection(asyncio.Protocol):
    """The connection.

    Args:
        accept: Called with each stream that the peer opens. Without it, this is a client.
    """

    def __init__(self, accept: Callable[[Http2Stream], None] | None = None) -> None:
        self.settings: dict[int, int] = {}
        """The peer's."""
        self.ready = asyncio.get_running_loop().create_future()
        """Done when the peer's settings have come."""
        self.ended = asyncio.get_running_loop().create_future()
        """Done when the connection is closed."""
        self.transport: asyncio.Transport | None = None
        self._accept = accept
        self._decoder = HpackDecoder(_LARGEST_HEAD, _LARGEST_HEAD)
        self._received = b""
        self._preface_left = len(frames.PREFACE) if accept is not None else 0
        self._block = bytearray()
        self._ends_with_block = False
        self._streams: dict[int, Http2Stream] = {}
        self._next_stream = 1

    def open(self, fields: Sequence[tuple[str, str]], *, end: bool = True) -> Http2Stream:
        """Send a request on a new stream; `end` says that it has no body."""
        stream = self._streams[self._next_stream] = Http2Stream(self, self._next_stream)
        self._next_stream += 2
        stream.send_fields(fields, end=end)
        return stream

    def write(self, data: bytes) -> None:
        """Send frames."""
        if self.transport is not None:
            self.transport.write(data)

    def abort(self) -> None:
        """Close the connection at once."""
        if self.transport is not None:
            self.transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.write((b"" if self._accept is not None else frames.PREFACE) + frames.settings_frame({frames.SETTINGS_ENABLE_PUSH: 0}))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._fail(exc or ConnectionError("the connection was closed"))
        self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        received = self._received + data
        try:
            if self._preface_left:
                received, self._preface_left = received[self._preface_left :], max(0, self._preface_left - len(received))
            while len(received) >= _HEAD:
                high, low, kind, flags, number = frames.unpack_head(received, 0)
                end = _HEAD + (high << 8 | low)
                if end - _HEAD > frames.MAX_FRAME:
                    raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "these are no frames of HTTP/2")
                if len(received) < end:
                    break
                self._frame(kind, flags, number & _ID, received[_HEAD:end])
                received = received[end:]
        except Http2Error as error:
            self._fail(ConnectionError(str(error)))
            self.abort()
        self._received = received

    # Frames.

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if not self.ready.done() and kind != frames.SETTINGS:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "the peer does not use HTTP/2")
        if kind == frames.DATA:
            self._data(flags, number, payload)
        elif kind in (frames.HEADERS, frames.CONTINUATION):
            self._fields(kind, flags, number, payload)
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            self.settings.update(frames.read_settings(payload))
            self.write(frames.SETTINGS_ACK)
            if not self.ready.done():
                self.ready.set_result(None)
        elif kind == frames.PING and not flags & frames.ACK:
            self.write(frames.ping(payload, ack=True))
        elif kind == frames.RST_STREAM:
            self._put(number, ConnectionError(f"RST_STREAM with code {int.from_bytes(payload, 'big')}"), is_last=True)

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        if payload:
            self.write(frames.window_update(0, len(payload)))
            if number in self._streams and not flags & frames.END_STREAM:
                self.write(frames.window_update(number, len(payload)))
            self._put(number, payload)
        if flags & frames.END_STREAM:
            self._put(number, None, is_last=True)

    def _fields(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.HEADERS:
            self._block.clear()
            self._ends_with_block = bool(flags & frames.END_STREAM)
        self._block += payload
        if not flags & frames.END_HEADERS:
            return
        fields = {name.decode(): value.decode("latin-1") for name, value in self._decoder.decode(bytes(self._block))}
        if self._accept is not None and number not in self._streams:
            stream = self._streams[number] = Http2Stream(self, number)
            self._accept(stream)
        self._put(number, fields)
        if self._ends_with_block:
            self._put(number, None, is_last=True)

    def _put(self, number: int, item: dict[str, str] | bytes | Exception | None, *, is_last: bool = False) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            stream.put(item)
            if is_last:
                del self._streams[number]

    def _fail(self, error: Exception) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.put(error)
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()


class Http2Client:
    """A client's connection to one server.

    Args:
        url: The server's.
        connection: The connection.
    """

    def __init__(self, url: str, connection: Http2Connection) -> None:
        self.connection = connection
        self._scheme, self._authority = urlsplit(url)[:2]

    @property
    def tls(self) -> str:
        """The version of TLS, and what ALPN has chosen; empty without TLS."""
        transport = self.connection.transport
        session = transport.get_extra_info("ssl_object") if transport is not None else None
        return f"{session.version()}, ALPN {session.selected_alpn_protocol()}" if session is not None else ""

    def request(self, method: str, path: str, fields: Mapping[str, str] | None = None, body: bytes | None = None) -> Http2Stream:
        """Send a whole request. Names of fields are in lower case."""
        pseudo = {":method": method, ":scheme": self._scheme, ":path": path, ":authority": self._authority}
        stream = self.connection.open([*pseudo.items(), *(fields or {}).items()], end=body is None)
        if body is not None:
            stream.send(body, end=True)
        return stream

    def websocket(self, path: str, fields: Mapping[str, str] | None = None) -> Http2Stream:
        """Ask for a WebSocket (RFC 8441)."""
        pseudo = {":method": "CONNECT", ":protocol": "websocket", ":scheme": self._scheme, ":path": path, ":authority": self._authority}
        more = {"sec-websocket-version": "13", **(fields or {})}
        return self.connection.open([*pseudo.items(), *more.items()], end=False)


@asynccontextmanager
async def connect(url: str, authority_pem: bytes | None = None) -> AsyncIterator[Http2Client]:
    """Connect to a server: by ALPN over TLS, by prior knowledge without.

    Args:
        url: The server's.
        authority_pem: The certificate to trust.

    Raises:
        OSError: there is no such server, or it does not use HTTP/2.
    """
    parts = urlsplit(url)
    context = None
    if parts.scheme == "https":
        context = ssl.create_default_context(cadata=(authority_pem or b"").decode())
        context.set_alpn_protocols(["h2"])
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Http2Connection, parts.hostname or "", parts.port or 0, ssl=context)
    try:
        await connection.ready
        yield Http2Client(url, connection)
    finally:
        connection.abort()
        await connection.ended


def grpc_message(message: bytes) -> bytes:
    """Return a message of gRPC: a flag, the length, and the message."""
    return b"\0" + len(message).to_bytes(_GRPC_PREFIX - 1, "big") + message


def read_grpc_message(body: bytes) -> bytes:
    """Return the one message of a body.

    Raises:
        ValueError: the body is not one message.
    """
    if len(body) < _GRPC_PREFIX or body != grpc_message(body[_GRPC_PREFIX:]):
        raise ValueError(f"{body!r} is not one gRPC message")
    return body[_GRPC_PREFIX:]
