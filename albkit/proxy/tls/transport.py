"""TLS with a client, or with the target of a stream, on top of a plain transport. It replaces the event loop's own TLS.

The TLS of asyncio and uvloop cannot start with bytes that were already read (after a PROXY header), reports nothing about failed
handshakes, requests no client certificate without verifying it, has no half-close, and on plain asyncio costs 256 KiB per connection.

To the transport below it is a protocol, to the protocol above it is a transport:

    socket ──▶ data_received ──▶ handshake, then records ──▶ protocol.data_received
    socket ◀── transport.write ◀─────────┴────────────────── write
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from albkit.proxy.transports import write_pieces

__all__ = ("Incoming", "Outgoing", "Session", "TlsTransport")

_RECORD: Final = 16 * 1024
"""The most plaintext of a record (RFC 8446 section 5.1), and so of a read."""
_SLICE: Final = 32 * 1024
"""Bytes to pass through OpenSSL's buffers at a time. The buffers never shrink, so larger slices would cost memory for good."""
_MOST_OWN_BYTES: Final = 64 * 1024
"""Bytes that a session sends by itself, such as answers to KeyUpdates (RFC 8446 section 4.6.3), to a peer that does not read. More end
the connection."""


class Incoming(Protocol):
    """Receives bytes from the peer."""

    @property
    def pending(self) -> int:
        """Bytes that the session has not read yet."""

    def write(self, data: bytes, /) -> int: ...
    def write_eof(self) -> None: ...


class Outgoing(Protocol):
    """Provides bytes for the peer."""

    def read(self) -> bytes: ...


class Session(Protocol):
    """One TLS session in memory: an `SSLObject` of the standard library, or an equivalent."""

    def do_handshake(self) -> None: ...
    def read(self, size: int, /) -> bytes: ...
    def write(self, data: bytes, /) -> int: ...
    def unwrap(self) -> object: ...
    def pending(self) -> int: ...


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """One TLS connection with a peer.

    Args:
        transport: The transport below; this object becomes its protocol.
        session: A session that has not started yet.
        incoming: Where the session reads from.
        outgoing: Where the session writes to.
        loop: The transport's event loop.
        over: Called once at the end of the handshake: with `None` after a success, then call `begin`; with the error after a failure, then
            the connection is closed after the alert.
    """

    __slots__ = (
        "_broken",
        "_closing",
        "_delivering",
        "_ended",
        "_eof_delivered",
        "_fin",
        "_incoming",
        "_kept",
        "_loop",
        "_outgoing",
        "_over",
        "_own_bytes",
        "_paused",
        "_protocol",
        "_sent_close_notify",
        "_session",
        "_transport",
        "on_flight",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        session: Session,
        incoming: Incoming,
        outgoing: Outgoing,
        loop: asyncio.AbstractEventLoop,
        over: Callable[[Exception | None], None],
    ) -> None:
        self._transport = transport
        self._session = session
        self._incoming = incoming
        self._outgoing = outgoing
        self._loop = loop
        self._over: Callable[[Exception | None], None] | None = over
        self.on_flight: Callable[[bytes], None] | None = None
        """Called with the bytes that are sent during the handshake; `None` if nobody wants to see them. Reset at its end."""
        self._protocol: Any = None
        self._paused = False
        self._delivering = False
        self._kept = b""
        """Plaintext that was decrypted early; it is delivered first."""
        self._fin = False
        """Whether FIN has arrived, after a close_notify or, as from many clients, without one."""
        self._ended = False
        """Whether nothing more can be decrypted."""
        self._eof_delivered = False
        """Whether the protocol was notified of the end."""
        self._broken: Exception | None = None
        """The error that the peer's bytes have caused."""
        self._sent_close_notify = False
        """Whether close_notify was sent, or must not be sent."""
        self._closing = False
        self._own_bytes = 0
        """Bytes that the session has sent by itself since the peer had last read everything."""

    @property
    def below(self) -> asyncio.Transport:
        """The transport below."""
        return self._transport

    # Called by the transport below.

    def data_received(self, data: bytes) -> None:
        if len(data) > _SLICE:
            for start in range(0, len(data), _SLICE):
                self._receive(data[start : start + _SLICE])
        else:
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        if self._ended or self._closing:
            return
        self._incoming.write(data)
        if self._over is not None:
            self._do_handshake(self._over)
        elif not self._paused:
            self._deliver()

    def eof_received(self) -> bool:
        """Handle FIN. OpenSSL is not notified: it treats a FIN without close_notify as the end of writing as well."""
        if self._over is not None:
            self._handshake_over(self._over, ConnectionResetError("the peer closed the connection during the handshake"))
            return False
        self._fin = True
        if not self._paused:
            self._deliver()
        return not self._closing

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        if self._over is not None:
            self._handshake_over(self._over, exc or ConnectionResetError("the peer closed in the middle of the handshake"))
        # Cleared first, so that the protocol can be collected, and is not called again.
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(exc or self._broken)

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    # The handshake.

    def begin_handshake(self) -> None:
        """Send the first message, as clients do."""
        if self._over is not None:
            self._do_handshake(self._over)

    def _do_handshake(self, over: Callable[[Exception | None], None]) -> None:
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except (ssl.SSLError, ValueError) as error:  # ValueError: the standard library cannot decode a string from OpenSSL.
            self._flush()
            self._handshake_over(over, error)
            self._closing = True
            self._transport.close()
        else:
            self._flush()
            self._handshake_over(over, None)

    def _handshake_over(self, over: Callable[[Exception | None], None], error: Exception | None) -> None:
        self._over = self.on_flight = None
        over(error)

    def begin(self, protocol: asyncio.Protocol) -> None:
        """Connect the protocol above, and deliver what has already arrived."""
        self._protocol = protocol
        protocol.connection_made(self)
        if not self._paused:
            self._deliver()

    # Reading.

    def _deliver(self) -> None:
        """Deliver what can be decrypted, in one piece if the protocol does not pause, then the end."""
        # A protocol may call resume_reading() inside data_received(); the outer loop then continues.
        if self._delivering or self._eof_delivered:
            return
        self._delivering = True
        over = False
        try:
            while self._can_deliver and not over:
                data, self._kept = self._kept or self._decrypted(), b""
                if data:
                    self._protocol.data_received(data)
                over = not (data and (self._kept or self._has_more()))
        finally:
            self._delivering = False
        if over and self._can_deliver and (self._ended or self._fin):
            self._eof_delivered = self._ended = True
            if not self._protocol.eof_received():
                self.close()

    @property
    def _can_deliver(self) -> bool:
        return not self._paused and not self._closing and self._protocol is not None

    def _has_more(self) -> bool:
        return not self._ended and bool(self._incoming.pending or self._session.pending())

    def _decrypted(self) -> bytes:
        """Decrypt what has arrived, up to a limit; note the end."""
        read = self._session.read
        first = b""
        pieces: list[bytes] | None = None
        try:
            while True:
                data = read(_RECORD)
                if not data:
                    self._ended = True
                    break
                if not first:
                    first = data
                elif pieces is None:
                    pieces = [first, data]
                else:
                    pieces.append(data)
                if not self._has_more():
                    break
        except ssl.SSLWantReadError:
            # Reading may have produced messages of the session itself, such as the answer to a KeyUpdate.
            self._send_own()
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._ended = True
        except ssl.SSLError as error:
            self._broken = error
            self._flush()
            self.abort()
        return first if pieces is None else b"".join(pieces)

    def _send_own(self) -> None:
        """Send messages of the session itself. No protocol knows about them, so there is no flow control: a peer that does not read them
        is cut off."""
        data = self._outgoing.read()
        if not data or self._sent_close_notify or self._transport.is_closing():
            return
        # The peer has read everything, so it is not one that never reads.
        if not self._transport.get_write_buffer_size():
            self._own_bytes = 0
        self._own_bytes += len(data)
        if self._own_bytes > _MOST_OWN_BYTES:
            self.abort()
        else:
            self._transport.write(data)

    def pause_reading(self) -> None:
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._paused:
            return
        self._paused = False
        self._transport.resume_reading()
        # Not at once, because the caller of resume_reading() does not expect data_received() before it returns.
        self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        if not self._paused:
            self._deliver()

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    # Writing.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._sent_close_notify or self._closing:
            return
        if len(data) > _SLICE:
            self.writelines((data,))
        elif self._encrypt(data):
            self._transport.write(self._outgoing.read())

    def writelines(self, pieces: Iterable[bytes | bytearray | memoryview]) -> None:
        if self._sent_close_notify or self._closing:
            return
        encrypted: list[bytes] = []
        waiting = 0
        for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), _SLICE):
                part = view[start : start + _SLICE]
                # Drain the BIO before it grows beyond one slice: its memory is never released.
                if waiting + len(part) > _SLICE:
                    encrypted.append(self._outgoing.read())
                    waiting = 0
                if not self._encrypt(part):
                    return
                waiting += len(part)
        encrypted.append(self._outgoing.read())
        write_pieces(self._transport, encrypted)

    def _encrypt(self, data: bytes | bytearray | memoryview) -> bool:
        try:
            self._session.write(data)  # type: ignore[arg-type]
        except ssl.SSLError as error:  # After an error while reading, the session cannot continue.
            self._broken = error
            self.abort()
            return False
        return True

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and self.on_flight is not None:
            self.on_flight(data)
        if data and not self._sent_close_notify and not self._transport.is_closing():
            self._transport.write(data)

    def write_eof(self) -> None:
        """Send close_notify and FIN; reading continues (RFC 8446 section 6.1)."""
        self._send_close_notify()
        if not self._transport.is_closing():
            self._transport.write_eof()

    def can_write_eof(self) -> bool:
        return True

    def forgo_goodbye(self) -> None:
        """End without close_notify, so that the peer can detect that the data is incomplete (RFC 8446 section 6.1)."""
        self._sent_close_notify = True

    def _send_close_notify(self) -> None:
        if self._sent_close_notify:
            return
        if not self._closing:
            self._decrypt_the_rest()
        try:
            self._session.unwrap()
        except ssl.SSLError:
            pass  # SSL_shutdown waits for the peer's close_notify; we do not.
        self._flush()
        self._sent_close_notify = True

    def _decrypt_the_rest(self) -> None:
        """Decrypt what has arrived before sending close_notify, because SSL_shutdown discards it."""
        pieces = [self._kept]
        while self._has_more() and (data := self._decrypted()):
            pieces.append(data)
        self._kept = b"".join(pieces)

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high=high, low=low)

    # Closing, and the rest of the interface.

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if self._over is None:
            self._send_close_notify()
        self._transport.close()

    def abort(self) -> None:
        self._closing = True
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._session if name == "ssl_object" else self._transport.get_extra_info(name, default)
