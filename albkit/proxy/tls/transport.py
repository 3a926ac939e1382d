"""TLS with a client, or with the target of a stream, over a transport that carries its bytes: our own, and not the loop's.

The loops' own TLS cannot be given bytes that were read before it began (behind a PROXY header), says nothing of handshakes that fail,
asks no client for a certificate without verifying it, knows no half-close, and on plain asyncio costs 256 KiB a connection.

Below it is a protocol, above it a transport:

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
"""Bytes that go through OpenSSL's buffers at a time: they stay as large as they ever had to be."""
_MOST_ANSWERS: Final = 64 * 1024
"""Bytes that a session says by itself, as to KeyUpdates (RFC 8446 section 4.6.3), to a peer that never takes all that is sent."""


class Incoming(Protocol):
    """Takes what has come of the peer."""

    @property
    def pending(self) -> int:
        """Bytes that the session has not read yet."""

    def write(self, data: bytes, /) -> int: ...
    def write_eof(self) -> None: ...


class Outgoing(Protocol):
    """Gives what is to be sent to the peer."""

    def read(self) -> bytes: ...


class Session(Protocol):
    """One TLS connection in memory: the standard library's `SSLObject`, or what behaves as it does."""

    def do_handshake(self) -> None: ...
    def read(self, size: int, /) -> bytes: ...
    def write(self, data: bytes, /) -> int: ...
    def unwrap(self) -> object: ...
    def pending(self) -> int: ...


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """One TLS connection with a peer.

    Args:
        transport: What carries it; its protocol from now on.
        session: Not begun yet.
        incoming: Where the session reads from.
        outgoing: Where it writes to.
        loop: The transport's.
        over: Called once, when the handshake is over: with `None`, and then `begin` is to be called, or with what made it fail, and then
            the connection ends behind the alert that was sent.
    """

    __slots__ = (
        "_answers",
        "_broken",
        "_closing",
        "_end_told",
        "_ended",
        "_fin",
        "_handing_over",
        "_incoming",
        "_kept",
        "_loop",
        "_outgoing",
        "_over",
        "_paused",
        "_protocol",
        "_said_goodbye",
        "_session",
        "_transport",
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
        self._protocol: Any = None
        self._paused = False
        self._handing_over = False
        self._kept = b""
        """What was decrypted before its time: it is handed over first."""
        self._fin = False
        """Whether FIN has come, behind a close_notify or, as from many clients, without."""
        self._ended = False
        """Whether nothing more can be decrypted."""
        self._end_told = False
        """Whether the protocol knows."""
        self._broken: Exception | None = None
        """What the peer has sent that is no TLS."""
        self._said_goodbye = False
        """Whether it has been told so itself."""
        self._closing = False
        self._answers = 0
        """Bytes that the session has said by itself since the peer had last taken all."""

    @property
    def below(self) -> asyncio.Transport:
        """What carries it."""
        return self._transport

    # What the transport below says.

    def data_received(self, data: bytes) -> None:
        if len(data) > _SLICE:
            for start in range(0, len(data), _SLICE):
                self._take(data[start : start + _SLICE])
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        if self._ended or self._closing:
            return
        self._incoming.write(data)
        if self._over is not None:
            self._shake_hands(self._over)
        elif not self._paused:
            self._hand_over()

    def eof_received(self) -> bool:
        """FIN. OpenSSL is not told of it: it would take one without a close_notify for the end of writing as well."""
        if self._over is not None:
            self._handshake_over(self._over, ConnectionResetError("the peer closed in the middle of the handshake"))
            return False
        self._fin = True
        if not self._paused:
            self._hand_over()
        return not self._closing

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        if self._over is not None:
            self._handshake_over(self._over, exc or ConnectionResetError("the peer closed in the middle of the handshake"))
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
        """Speak first, as clients do."""
        if self._over is not None:
            self._shake_hands(self._over)

    def _shake_hands(self, over: Callable[[Exception | None], None]) -> None:
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except (ssl.SSLError, ValueError) as error:  # ValueError: OpenSSL gave something that is no text.
            self._flush()
            self._handshake_over(over, error)
            self._closing = True
            self._transport.close()
        else:
            self._flush()
            self._handshake_over(over, None)

    def _handshake_over(self, over: Callable[[Exception | None], None], error: Exception | None) -> None:
        self._over = None
        over(error)

    def begin(self, protocol: asyncio.Protocol) -> None:
        """Hand what comes to this protocol, which is told that the connection is made; what has come already goes first."""
        self._protocol = protocol
        protocol.connection_made(self)
        if not self._paused:
            self._hand_over()

    # Reading.

    def _hand_over(self) -> None:
        """Give the protocol what can be decrypted, in one piece while it does not object, and the end behind it."""
        if self._handing_over or self._end_told:
            return
        self._handing_over = True
        over = False
        try:
            while self._hands_over and not over:
                data, self._kept = self._kept or self._decrypted(), b""
                if data:
                    self._protocol.data_received(data)
                over = not (data and (self._kept or self._more_has_come()))
        finally:
            self._handing_over = False
        if over and self._hands_over and (self._ended or self._fin):
            self._end_told = self._ended = True
            if not self._protocol.eof_received():
                self.close()

    @property
    def _hands_over(self) -> bool:
        return not self._paused and not self._closing and self._protocol is not None

    def _more_has_come(self) -> bool:
        return not self._ended and bool(self._incoming.pending or self._session.pending())

    def _decrypted(self) -> bytes:
        """What has come, up to a bound; notes the end."""
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
                if not self._more_has_come():
                    break
        except ssl.SSLWantReadError:
            # It may have had something to say meanwhile.
            self._answer()
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._ended = True
        except ssl.SSLError as error:
            self._broken = error
            self._flush()
            self.abort()
        return first if pieces is None else b"".join(pieces)

    def _answer(self) -> None:
        """Send what the session says by itself. No protocol knows of it, and so none stops reading where the peer does not take it."""
        data = self._outgoing.read()
        if not data or self._said_goodbye or self._transport.is_closing():
            return
        if not self._transport.get_write_buffer_size():
            self._answers = 0
        self._answers += len(data)
        if self._answers > _MOST_ANSWERS:
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
        # Not at once: whoever resumes is not ready for what comes before it has returned.
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self._paused:
            self._hand_over()

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    # Writing.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._said_goodbye or self._closing:
            return
        if len(data) > _SLICE:
            self.writelines((data,))
        elif self._encrypt(data):
            self._transport.write(self._outgoing.read())

    def writelines(self, pieces: Iterable[bytes | bytearray | memoryview]) -> None:
        if self._said_goodbye or self._closing:
            return
        encrypted: list[bytes] = []
        waiting = 0
        for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), _SLICE):
                part = view[start : start + _SLICE]
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
        except ssl.SSLError as error:  # The session has met an error when it was read, and cannot go on.
            self._broken = error
            self.abort()
            return False
        return True

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self._said_goodbye and not self._transport.is_closing():
            self._transport.write(data)

    def write_eof(self) -> None:
        """A close_notify, and FIN behind it; what the peer sends is read on (RFC 8446 section 6.1)."""
        self._say_goodbye()
        if not self._transport.is_closing():
            self._transport.write_eof()

    def say_no_goodbye(self) -> None:
        """What ends the connection from now on goes without a close_notify, so that the peer knows that something is missing."""
        self._said_goodbye = True

    def can_write_eof(self) -> bool:
        return True

    def _say_goodbye(self) -> None:
        if self._said_goodbye:
            return
        if not self._closing:
            self._keep_what_has_come()
        try:
            self._session.unwrap()
        except ssl.SSLError:
            pass  # It waits for the peer's, which we do not.
        self._flush()
        self._said_goodbye = True

    def _keep_what_has_come(self) -> None:
        """OpenSSL throws away what it finds when it says goodbye."""
        pieces = [self._kept]
        while self._more_has_come() and (data := self._decrypted()):
            pieces.append(data)
        self._kept = b"".join(pieces)

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high=high, low=low)

    # Ends, and all the rest.

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if self._over is None:
            self._say_goodbye()
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
