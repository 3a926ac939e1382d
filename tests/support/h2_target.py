"""A target over HTTP/2 that follows a script, one run of it per stream, and keeps what it was sent.

The package h2 judges every frame of the load balancer: a frame that breaks the protocol makes the test fail when the target closes.

    async def script(stream: H2Stream) -> None:
        await stream.body()
        await stream.answer(200, b"ok", trailers=[("grpc-status", "0")])

    async with h2_target(script) as origin, ...
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from tests.support.h2_frames import Field
from tests.support.peers import Conversation, Target
from tests.support.secure import issued


class H2Stream:
    """One request. Its body comes in as the window allows; window that is taken is returned unless the target is stingy."""

    def __init__(self, connection: H2TargetConnection, number: int, fields: list[Field], has_body: bool) -> None:
        self.connection = connection
        self.number = number
        self.fields = fields
        """The request's fields in order, pseudo-fields among them."""
        self.trailers: list[Field] = []
        self.received = b""
        """What of the body a script has read."""
        self.has_ended = not has_body
        """Whether all of the request has come."""
        self.reset: int | None = None
        """The code of the load balancer's RST_STREAM."""
        self.over = asyncio.Event()
        """Set when the script has come to its end, or the stream has been reset."""
        self.moved = asyncio.Event()
        self._pieces: list[tuple[bytes, int]] = []

    def get(self, name: str) -> str | None:
        """The value of a field that may stand once only."""
        values = [value for field, value in self.fields if field == name]
        assert len(values) <= 1, f"{name} stands {len(values)} times"
        return values[0] if values else None

    @property
    def path(self) -> str:
        return self.get(":path") or ""

    # The request's body.

    async def chunk(self) -> bytes | None:
        """Some bytes of the body; None at its end."""
        while not self._pieces:
            if self.has_ended:
                return None
            await self._until_moved()
        piece, size = self._pieces.pop(0)
        self.received += piece
        self.connection.grant(self, size)
        return piece

    async def body(self) -> bytes:
        """All of it."""
        while await self.chunk() is not None:
            pass
        return self.received

    # The answer.

    def head(self, status: int = 200, *fields: Field, end: bool = False) -> None:
        """Send a head; with a status of 1xx an interim one."""
        self.connection.h2.send_headers(self.number, [(":status", str(status)), *fields], end_stream=end)
        self.connection.flush()

    async def write(self, body: bytes, *, end: bool = False) -> None:
        """Send some of the body, as the windows allow."""
        machine = self.connection.h2
        place = 0
        while place < len(body) or (end and not body):
            size = min(len(body) - place, machine.local_flow_control_window(self.number), machine.max_outbound_frame_size)
            if size <= 0 and body:
                await self._until_moved()
                continue
            machine.send_data(self.number, body[place : place + size], end_stream=end and place + size == len(body))
            self.connection.flush()
            await self.connection.conversation.drain()
            place += size
            if not body:
                return

    def end(self, *trailers: Field) -> None:
        """End the answer with trailers, or without."""
        if trailers:
            self.connection.h2.send_headers(self.number, list(trailers), end_stream=True)
        else:
            self.connection.h2.end_stream(self.number)
        self.connection.flush()

    async def answer(self, status: int = 200, body: bytes = b"ok", *fields: Field, trailers: Sequence[Field] = ()) -> None:
        """Send a whole answer."""
        self.head(status, *fields)
        await self.write(body)
        self.end(*trailers)

    def abort(self, code: int = ErrorCodes.CANCEL) -> None:
        """Send RST_STREAM."""
        self.connection.h2.reset_stream(self.number, code)
        self.connection.flush()

    async def _until_moved(self) -> None:
        """Wait for the next frame of this stream or for window."""
        self.moved.clear()
        await self.moved.wait()
        if self.reset is not None:
            raise ConnectionResetError(f"stream {self.number} was reset with {self.reset}")
        if self.connection.has_ended:
            raise ConnectionResetError("the connection has ended")

    def take(self, piece: bytes, size: int) -> None:
        self._pieces.append((piece, size))
        self.moved.set()


StreamScript = Callable[[H2Stream], Awaitable[None]]


class H2TargetConnection:
    """One connection that the target has accepted."""

    def __init__(self, target: H2Target, conversation: Conversation) -> None:
        self.target = target
        self.conversation = conversation
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1", normalize_outbound_headers=False))
        if target.settings:
            # Before the connection begins, so that they are in its first frame and hold from the start.
            self.h2.local_settings = Settings(client=False, initial_values={**self.h2.local_settings, **target.settings})
            self.h2.max_inbound_frame_size = self.h2.local_settings.max_frame_size
        self.streams: dict[int, H2Stream] = {}
        self.pings = 0
        """How many PING frames have come."""
        self.last_stream_of_goaway: int | None = None
        """Of the load balancer's GOAWAY."""
        self.has_ended = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def protocol(self) -> str | None:
        """What ALPN has agreed on."""
        tls = self.conversation.writer.get_extra_info("ssl_object")
        agreed: str | None = tls.selected_alpn_protocol() if tls else None
        return agreed

    def flush(self) -> None:
        """Send what h2 has to send."""
        self.conversation.send(self.h2.data_to_send())

    def grant(self, stream: H2Stream, size: int) -> None:
        """Return window for bytes that a script has read."""
        if size and not self.target.is_stingy:
            # A stream that is over has no window.
            with contextlib.suppress(ProtocolError, KeyError):
                self.h2.acknowledge_received_data(size, stream.number)
            self.flush()

    def goaway(self, last: int | None = None, code: int = ErrorCodes.NO_ERROR) -> None:
        """Send GOAWAY; by default all streams so far will be answered. h2 takes no frame from then on: the script ends the connection."""
        from hyperframe.frame import GoAwayFrame

        # Not through h2, which would refuse to send the answers that are still to come.
        highest = max(self.streams, default=0) if last is None else last
        self.conversation.send(GoAwayFrame(0, last_stream_id=highest, error_code=code).serialize())

    async def run(self) -> None:
        self.h2.initiate_connection()
        self.flush()
        try:
            while data := await self.conversation.read():
                for event in self.h2.receive_data(data):
                    self._take(event)
                self.flush()
        except ProtocolError as error:
            self.target.errors.append(error)
            with contextlib.suppress(ConnectionError):
                self.flush()
        finally:
            self.has_ended = True
            for stream in self.streams.values():
                stream.moved.set()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=number, headers=fields):
                self._begin(number, [(str(name), str(value)) for name, value in fields], event.stream_ended is None)
            case h2.events.DataReceived(stream_id=number, data=data, flow_controlled_length=size):
                self.streams[number].take(data, size)
            case h2.events.TrailersReceived(stream_id=number, headers=fields):
                self.streams[number].trailers = [(str(name), str(value)) for name, value in fields]
            case h2.events.StreamEnded(stream_id=number):
                self.streams[number].has_ended = True
                self.streams[number].moved.set()
            case h2.events.StreamReset(stream_id=number, error_code=code) if number in self.streams:
                self.streams[number].reset = int(code)
                self.streams[number].moved.set()
                self.streams[number].over.set()
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                for stream in self.streams.values():
                    stream.moved.set()
            case h2.events.PingReceived():
                self.pings += 1
            case h2.events.ConnectionTerminated(last_stream_id=last):
                self.last_stream_of_goaway = last

    def _begin(self, number: int, fields: list[Field], has_body: bool) -> None:
        stream = self.streams[number] = H2Stream(self, number, fields, has_body)
        self.target.requests.append(stream)
        self.target.arrival.set()
        task = asyncio.create_task(self._run(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, stream: H2Stream) -> None:
        try:
            await self.target.stream_script(stream)
        except (ConnectionError, ProtocolError) as error:
            # The stream or the connection was gone before the script was through. Anything else is a mistake of the script.
            if stream.reset is None and not self.has_ended:
                self.target.errors.append(error)
        except Exception as error:  # noqa: BLE001
            self.target.errors.append(error)
        finally:
            stream.over.set()


async def answer_ok(stream: H2Stream) -> None:
    """Read the body and answer with 200."""
    await stream.body()
    await stream.answer()


class H2Target(Target):
    """A target over HTTP/2.

    Args:
        script: One run of it per stream.
        settings: What its SETTINGS frame says, over the defaults of h2.
        is_stingy: Whether it returns no window for what it reads.
        tls: Its context, for a target behind TLS; `tls_context` makes one.
    """

    def __init__(
        self,
        script: StreamScript = answer_ok,
        *,
        settings: Mapping[SettingCodes, int] | None = None,
        is_stingy: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(self._converse)
        self.stream_script = script
        self.settings = dict(settings or {})
        self.is_stingy = is_stingy
        self.tls = tls
        self.connections: list[H2TargetConnection] = []
        self.requests: list[H2Stream] = []
        """Every request of every connection."""
        self.errors: list[Exception] = []
        """What h2 found wrong with the load balancer's frames, and what went wrong in scripts."""
        self.arrival = asyncio.Event()

    async def open(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=2**26, ssl=self.tls)

    @property
    def address(self) -> str:
        return f"{'https://' if self.tls else ''}{super().address}"

    async def request(self, count: int = 1) -> H2Stream:
        """Wait until so many requests have come; the last of them."""
        while len(self.requests) < count:
            self.arrival.clear()
            await self.arrival.wait()
        return self.requests[count - 1]

    async def _converse(self, conversation: Conversation) -> None:
        connection = H2TargetConnection(self, conversation)
        self.connections.append(connection)
        await connection.run()


def tls_context(folder: str, *protocols: str) -> ssl.SSLContext:
    """A target's context with a certificate of the test's authority; ALPN offers `h2` by default."""
    from pathlib import Path

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issued().write(Path(folder), "target"))
    context.set_alpn_protocols(list(protocols or ("h2",)))
    return context


@contextlib.asynccontextmanager
async def h2_target(
    script: StreamScript = answer_ok,
    *,
    settings: Mapping[SettingCodes, int] | None = None,
    is_stingy: bool = False,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[H2Target]:
    """A running target, which answers every request with 200 unless it has a script. At its end no frame may have broken the protocol."""
    running = H2Target(script, settings=settings, is_stingy=is_stingy, tls=tls)
    await running.open()
    try:
        yield running
    finally:
        await running.close()
    assert not running.errors, f"what went wrong at the target: {running.errors}"
