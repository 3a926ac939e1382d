"""The transport of a client connection: its state, whether it is read, and the ways to end it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from albkit.model.message import ClientAddress
from albkit.proxy.client.http1_states import (
    ABORT,
    AWAITING_HEAD,
    CLOSE,
    CLOSED,
    CLOSING,
    DETACH,
    HAND_OVER,
    LINGER,
    LINGERING,
    LOSE,
    RESET,
    RESETTING,
    State,
)
from albkit.proxy.client.idle_tracker import IdleTracker
from albkit.proxy.client.receive_buffer import ReceiveBuffer
from albkit.proxy.lingering_close import LingeringClose
from albkit.proxy.runtime import Runtime
from albkit.proxy.tls.transport import TlsTransport
from albkit.proxy.transports import reset, send_fin, unacknowledged

__all__ = ("ClientSocket",)

_log = logging.getLogger("albkit")


class ClientSocket:
    """One client's transport, with what was received and not taken yet. It knows nothing of HTTP but the states.

    `Http1ClientConnection` reports the transport's events, and `Http1Exchange` says what to do with the connection.
    """

    __slots__ = (
        "_lingering",
        "_runtime",
        "address",
        "ends_response",
        "idle_timeout",
        "idle_tracker",
        "is_active",
        "is_paused",
        "is_resting",
        "limits",
        "receive_buffer",
        "state",
        "traces",
        "transport",
    )

    address: ClientAddress

    def __init__(self, runtime: Runtime) -> None:
        settings = runtime.settings
        self._runtime = runtime
        # The settings in force when the client connected hold for the whole connection.
        self.idle_timeout = settings.idle_timeout
        self.limits = settings.limits
        self.state: State = AWAITING_HEAD
        self.transport: asyncio.Transport | None = None
        """`None` before the connection is made, after it is lost, and while a tunnel has the transport."""
        self.receive_buffer = ReceiveBuffer(self.limits)
        self.idle_tracker = IdleTracker()
        self.is_active = True
        """Whether bytes arrived since the last sweep."""
        self.ends_response = False
        """Whether only the end of the connection tells the client where the response ends (HTTP/1.0)."""
        # Two reasons not to read. The transport reads if neither holds.
        self.is_paused = False
        """Something downstream of the socket is full."""
        self.is_resting = False
        """The event loop serves other connections first."""
        self.traces = False
        """Whether debug lines are written. Set when the connection is made and by each sweep, so that a request does not ask the logger."""
        self._lingering: LingeringClose | None = None

    def made(self, transport: asyncio.Transport, address: ClientAddress) -> None:
        """Take over a transport."""
        self.transport = transport
        self.address = address
        self.look_at_log_level()
        if self.traces:
            self.trace("connected")

    def look_at_log_level(self) -> None:
        """Follow a change of the logger's level."""
        self.traces = _log.isEnabledFor(logging.DEBUG)

    def trace(self, what: str) -> None:
        """Write a debug line. The caller asks `traces` first, so that a request pays nothing for lines that are not written."""
        fields = {"albkit_event": "trace", "albkit_client": str(self.address)}
        _log.debug("client %s, connection %x, %s: %s", self.address, id(self), self.state, what, extra=fields)

    # Reading.

    def pause_reading(self) -> None:
        self.is_paused = True
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        self.is_paused = False
        if self.transport is not None and not self.is_resting:
            self.transport.resume_reading()

    def rest(self, rested: Callable[[], None]) -> None:
        """Stop reading for one turn of the event loop, then call `rested`, which has to set `is_resting` to false."""
        if not self.is_resting and self.transport is not None:
            self.is_resting = True
            self.transport.pause_reading()
            self._runtime.loop.call_soon(rested)

    # Ends in good order.

    def close(self) -> None:
        """Close after everything that was written is sent. Nothing more is expected of the client."""
        if self.transport is not None and self.state != CLOSED:
            self._close(self.transport)

    def _close(self, transport: asyncio.Transport) -> None:
        self.state = CLOSE[self.state]
        if self.traces:
            self.trace("close")
        transport.close()

    def finish(self, *, lingers: bool) -> None:
        """End the connection after a response.

        Args:
            lingers: Whether the client may still be sending. Closing at once would answer its next byte with RST, which can make it lose
                the response (RFC 9112 section 9.6).
        """
        transport = self.transport
        if transport is None or self.state == CLOSED:
            return
        self.receive_buffer.take_all()
        if not lingers or not transport.can_write_eof():
            self._close(transport)
            return
        self.state = LINGER[self.state]
        if self.traces:
            self.trace("FIN")
        self._lingering = LingeringClose()
        send_fin(transport)
        # A transport that is not read does not notice that the client closes its side.
        if self.is_paused:
            self.resume_reading()

    # Ends that show that the response is incomplete.

    def cut(self, *, lingers: bool) -> None:
        """End the connection in the middle of a response. What was written still reaches the client, if the client takes it.

        A client that knows the length, or reads chunks, sees from the missing bytes that the response is incomplete. Over TLS, it also
        sees that the close_notify is missing. A response that ends with the connection looks complete after FIN, so it needs RST.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            self.abort()
        elif self.ends_response:
            self.state = RESET[self.state]
            if self.traces:
                self.trace("reset when all is sent")
            self.receive_buffer.take_all()
            if self.is_paused:
                self.resume_reading()
            # If the client has acknowledged everything, reset now rather than at the next sweep.
            self.sweep_closing(self._runtime.clock.monotonic(), stopping=False)
        else:
            if isinstance(transport, TlsTransport):
                transport.forgo_goodbye()
            self.finish(lingers=lingers)

    def abort(self) -> None:
        """End the connection now, and discard what is unsent."""
        transport = self.transport
        before = self.state
        self.state = ABORT[before]
        self.receive_buffer.take_all()
        if transport is None or self.state == before:
            return
        if self.traces:
            self.trace("abort")
        is_complete = before in (CLOSING, LINGERING)
        if self.ends_response and not (is_complete and transport.get_write_buffer_size() == 0):
            reset(transport)
        else:
            transport.abort()

    def sweep_closing(self, now: float, *, stopping: bool) -> None:
        """Abort a connection that is ending, if its time is over.

        Sending what is left may take as long as the idle timeout allows. After that, the limits of `LingeringClose` apply.

        Args:
            now: The sweep's time.
            stopping: Whether the load balancer stops. It waits only for clients that still send.
        """
        transport = self.transport
        if transport is None:
            return
        unsent = transport.get_write_buffer_size()
        if self.state == RESETTING:
            # A reset also discards what the kernel has not sent yet.
            unsent += unacknowledged(transport)
        received, self.is_active = self.is_active, False
        if unsent:
            # Whatever arrives is discarded, so it is no progress.
            is_over = self.idle_tracker.seconds(now, unsent, None, received=False) >= self.idle_timeout
        elif self.state == LINGERING and self._lingering is not None:
            is_over = self._lingering.is_over(now, heard=received) or (stopping and not received)
        else:
            is_over = self.state == RESETTING
        if is_over:
            self.abort()

    # The transport goes.

    def detach(self) -> tuple[asyncio.Transport, bytes] | None:
        """Give the transport away, with reading paused, and the bytes that arrived and were not taken. `None` if it is gone."""
        transport = self.transport
        if transport is None:
            return None
        transport.pause_reading()
        self.state = DETACH[self.state]
        if self.traces:
            self.trace("tunnel")
        self._forget_transport()
        return transport, self.receive_buffer.take_all()

    def hand_over(self) -> tuple[asyncio.Transport, bytes] | None:
        """Give the transport to another protocol of the same connection, and the bytes that were not taken. `None` if it is gone."""
        transport, self.transport = self.transport, None
        if transport is None:
            return None
        self.state = HAND_OVER[self.state]
        if self.traces:
            self.trace("HTTP/2")
        return transport, self.receive_buffer.take_all()

    def lost(self) -> None:
        """The transport reports that the connection is lost."""
        self.state = LOSE[self.state]
        if self.traces:
            self.trace("lost")
        self._forget_transport()

    def _forget_transport(self) -> None:
        self.transport = None
        # Target connections whose PROXY protocol header named this client can serve no other.
        self._runtime.connections.drop_owned(self.address)
        self._runtime.counters.connection_closed()
