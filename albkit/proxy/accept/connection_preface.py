"""Handles a connection before its first request: the PROXY protocol header and the TLS handshake.

Listeners with neither do not use this module: their connections start with the first request. `preface_states` is the table of states.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, cast

from albkit.errors import Failure, FailureKind, Phase
from albkit.model.message import ClientAddress
from albkit.model.tls import TlsSession
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.accept.preface_states import (
    ACCEPTED,
    AWAITING_HEADER,
    AWAITING_HELLO,
    CLIENT_KNOWN,
    END,
    EXPECT_HEADER,
    HAND_OVER,
    HANDSHAKING,
    HELLO,
    LINGERING,
    PLAIN_HTTP,
    State,
)
from albkit.proxy.lingering_close import LingeringClose
from albkit.proxy.tls.transport import Session, TlsTransport
from albkit.proxy.transports import send_fin
from albkit.state.connection_record import ConnectionRecord
from albkit.wire.http1.responses import plain_http_response
from albkit.wire.proxy_protocol.reader import ProxyHeaderError, may_begin_proxy_header, read_proxy_header
from albkit.wire.tls.server_hello import server_hello_in

__all__ = ("ConnectionPreface", "Receive")

_log = logging.getLogger("albkit")

_UNKNOWN: Final = ClientAddress("", 0)
_TLS_FAILURES: Final = frozenset(
    kind for kind in FailureKind if kind.phase is Phase.ENTRY and kind.name.startswith(("TLS_", "CLIENT_CERT_", "UNMAPPED_"))
)

Receive = Callable[[ListenerRuntime, ClientAddress | None], asyncio.Protocol]
"""Creates the protocol of a connection. The address is that of a client that was already admitted; without one, the protocol admits it."""


class ConnectionPreface(asyncio.Protocol):
    """One connection, until it is handed to its protocol.

    Args:
        listener: The runtime of the listener.
        receive: Creates the protocol that takes over, given the client's address.
    """

    __slots__ = (
        "_address",
        "_hello_at",
        "_host",
        "_lingering",
        "_listener",
        "_proxy_protocol",
        "_receive",
        "_received",
        "_record",
        "_session",
        "_since",
        "_state",
        "_termination",
        "_tls",
        "_transport",
        "is_active",
    )

    def __init__(self, listener: ListenerRuntime, receive: Receive) -> None:
        self._listener = listener
        self._proxy_protocol = listener.config.proxy_protocol
        """Kept like the termination, because another configuration may take effect meanwhile."""
        self._receive = receive
        # Kept for the handshake, which must end with the certificates that it began with.
        self._termination = listener.termination
        self._state: State = ACCEPTED
        self._received = b""
        """The beginning of a PROXY protocol header."""
        self._since = 0.0
        self._hello_at = 0.0
        """When the TLS handshake began."""
        self.is_active = False
        """While lingering: whether bytes have arrived since the last sweep."""
        self._lingering: LingeringClose | None = None
        self._host: str | None = None
        """The client for which the connection is counted."""
        self._address = _UNKNOWN
        self._transport: asyncio.Transport | None = None
        self._record: ConnectionRecord | None = None
        """For the connection log; `None` if there is none, or its line is written."""
        self._session: Session | None = None
        self._tls: TlsTransport | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._address}: {self._state}, {len(self._received)} bytes kept>"

    @property
    def listener(self) -> ListenerRuntime:
        """The listener that accepted it."""
        return self._listener

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from asyncio.Transport.
        listener = self._listener
        proxy_protocol = self._proxy_protocol
        address = listener.accept(self, transport, is_known=proxy_protocol is None, is_established=False)
        if address is None:
            self._state = END[self._state]
            return
        self._address = address
        self._transport = transport
        self._record = listener.connection_record(address, transport)
        self._since = listener.runtime.clock.monotonic()
        if proxy_protocol is None:
            self._host = address.host
            self._state = CLIENT_KNOWN[self._state]
        elif listener.trusts_proxy(address.host):
            self._state = EXPECT_HEADER[self._state]
        elif proxy_protocol == "required":
            self._refuse(Failure(FailureKind.PROXY_HEADER_UNTRUSTED, "add the peer's network to trusted_networks"))
        else:
            self._admit_client(b"")

    def data_received(self, data: bytes) -> None:
        if self._state == AWAITING_HEADER:
            self._read_header(self._received + data if self._received else data)
        elif self._state == AWAITING_HELLO:
            self._start_handshake(data)
        else:
            self.is_active = True

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        transport, self._transport = self._transport, None
        if transport is None:
            return  # It was rejected, or handed to its protocol.
        if self._state == AWAITING_HEADER and (self._received or self._proxy_protocol == "required"):
            self._report(Failure(FailureKind.PROXY_HEADER_MISSING, str(exc or f"the connection ended after {len(self._received)} bytes")))
        self._state = END[self._state]
        self._tls = self._session = None
        # Such as a connection that is only opened and closed, by which a program finds out whether the port is open.
        self._log_end(Failure(FailureKind.CLIENT_CLOSED, str(exc or "")))
        self._leave_runtime()
        self._listener.release(self._host)
        self._listener.runtime.counters.connection_closed()

    # The PROXY protocol header.

    def _read_header(self, data: bytes) -> None:
        begins = may_begin_proxy_header(data)
        if begins is False and self._proxy_protocol == "optional":
            self._admit_client(data)
            return
        try:
            header = read_proxy_header(data) if begins else None
        except ProxyHeaderError as error:
            self._refuse(Failure(FailureKind.PROXY_HEADER_MALFORMED, str(error)))
            return
        if begins is False:
            self._refuse(Failure(FailureKind.PROXY_HEADER_MISSING, _describe_start(data)))
        elif header is None:
            self._received = data
        else:
            if header.source is not None:
                before, destination = self._address, header.destination
                self._address = ClientAddress(
                    *header.source,
                    local=destination or before.local,
                    tls=header.tls,
                    conn_trace_id=before.conn_trace_id,
                    public_port=destination[1] if destination is not None else 0,
                )
            self._admit_client(data[header.size :])

    def _admit_client(self, rest: bytes) -> None:
        """Continue with the client's address, which is known now."""
        self._received = b""
        host = self._address.host
        try:
            self._listener.count_client(host)
        except Failure as failure:
            self._refuse(failure)
            return
        self._host = host
        self._state = CLIENT_KNOWN[self._state]
        if self._termination is None:
            self._hand_over_plain(rest)
        elif rest:
            self._start_handshake(rest)

    # The TLS handshake.

    def _start_handshake(self, data: bytes) -> None:
        """Start the handshake with its first bytes, unless they are plain HTTP."""
        transport, termination = self._transport, self._termination
        if transport is None or termination is None:
            return
        # A TLS record of a handshake starts with byte 22 (RFC 8446 section 5.1), an HTTP method with a letter.
        if self._listener.config.protocol == "HTTPS" and data[:1].isalpha():
            self._answer_plain_http(transport)
            return
        self._state = HELLO[self._state]
        self._session, incoming, outgoing = termination.begin()
        self._tls = TlsTransport(transport, self._session, incoming, outgoing, self._listener.runtime.loop, self._handshake_done)
        # Until the handshake is over, the TLS transport reports a lost connection to this object.
        self._tls.set_protocol(self)
        self._hello_at = self._listener.runtime.clock.monotonic()
        if self._record is not None:
            self._tls.on_flight = self._note_hello
        transport.set_protocol(self._tls)
        self._tls.data_received(data)

    def _handshake_done(self, error: Exception | None) -> None:
        """Continue after the handshake."""
        termination, session, tls = self._termination, self._session, self._tls
        if termination is None or session is None or tls is None or self._state != HANDSHAKING:
            return
        if error is not None:
            self._state = END[self._state]
            record = self._record
            attempted = termination.attempted(session, record.tls_version, record.cipher) if record is not None else None
            self._report(termination.failure(session, error), attempted)
            return
        before = self._address
        agreed = termination.outcome(session)
        agreed.handshake_time = self._listener.runtime.clock.monotonic() - self._hello_at
        self._address = ClientAddress(
            before.host,
            before.port,
            local=before.local,
            tls=agreed,
            conn_trace_id=before.conn_trace_id,
            public_port=before.public_port,
        )
        self._log_end(None, agreed)
        protocol = self._receive(self._listener, self._address)
        self._give_up_transport()
        tls.begin(protocol)
        self._leave_runtime()

    def _note_hello(self, flight: bytes) -> None:
        """Note what the server's first bytes tell about the session, which Python's ssl module does not tell."""
        record = self._record
        if record is not None and not record.tls_version:
            record.tls_version, record.cipher, record.key_exchange = server_hello_in(flight)

    def _answer_plain_http(self, transport: asyncio.Transport) -> None:
        """Answer a client that sends plain HTTP to an HTTPS port with a plain HTTP response."""
        self._state = PLAIN_HTTP[self._state]
        self._lingering = LingeringClose()
        self._report(Failure(FailureKind.PLAIN_HTTP_ON_TLS_PORT, "use https:// in the client, or protocol='HTTP' in the listener"))
        transport.write(plain_http_response(int(self._listener.runtime.clock.time())))
        send_fin(transport)

    # Ends.

    def _hand_over_plain(self, rest: bytes) -> None:
        """Hand over a connection without TLS."""
        transport = self._transport
        if transport is None:
            return
        self._log_end(None, self._address.tls)
        protocol = self._receive(self._listener, self._address)
        self._give_up_transport()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if rest:
            protocol.data_received(rest)
        self._leave_runtime()

    def _give_up_transport(self) -> None:
        """Give up the connection, which belongs to another protocol from now on."""
        self._state = HAND_OVER[self._state]
        if _log.isEnabledFor(logging.DEBUG):
            fields = {"albkit_event": "trace", "albkit_client": str(self._address)}
            _log.debug("client %s: handed over", self._address, extra=fields)
        self._transport = self._tls = self._session = None

    def _refuse(self, failure: Failure) -> None:
        self._state = END[self._state]
        self._received = b""
        self._report(failure)
        if self._transport is not None:
            self._transport.abort()

    def _log_end(self, failure: Failure | None, tls: TlsSession | None = None) -> None:
        """Write the line of the connection log, if there is one, and if it is not written yet."""
        record, self._record = self._record, None
        if record is not None:
            client = record.client = self._address
            record.local = client.local[0] if client.local is not None else record.local
            record.tls = tls
            record.failure = failure
            self._listener.finish_record(record)

    def _report(self, failure: Failure, tls: TlsSession | None = None) -> None:
        self._log_end(failure, tls)
        if failure.kind in _TLS_FAILURES:
            self._listener.runtime.counters.client_handshake_failed()
        self._listener.reject(self._address, failure)

    def _leave_runtime(self) -> None:
        runtime = self._listener.runtime
        runtime.remove_client(self)

    def stop(self) -> None:
        """End the connection when the load balancer stops: it has no request yet."""
        self.abandon()

    def abandon(self) -> None:
        """End the connection now."""
        self._state = END[self._state]
        self._log_end(Failure(FailureKind.STOPPED))
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> None:
        """End the connection if it takes too long."""
        transport = self._transport
        if transport is None:
            return
        if self._lingering is not None and self._state == LINGERING:
            heard, self.is_active = self.is_active, False
            if self._lingering.is_over(now, heard=heard):
                self._state = END[self._state]
                transport.abort()
            return
        limit = self._listener.runtime.settings.limits.handshake_timeout
        if now - self._since < limit:
            return
        if self._state == AWAITING_HEADER and not self._received and self._proxy_protocol == "optional" and self._termination is None:
            self._admit_client(b"")  # Browsers connect ahead of their first request; the header is optional.
            return
        if self._state == AWAITING_HEADER and (self._received or self._proxy_protocol == "required"):
            self._report(Failure(FailureKind.PROXY_HEADER_TIMEOUT, f"{limit:g} s"))
        elif self._state in (AWAITING_HEADER, AWAITING_HELLO, HANDSHAKING):
            self._report(Failure(FailureKind.TLS_HANDSHAKE_TIMEOUT, f"{limit:g} s"))
        self._state = END[self._state]
        transport.abort()


def _describe_start(data: bytes) -> str:
    if data[:1] == b"\x16":
        return "it starts with a TLS handshake; configure the proxy in front to send the header first"
    printable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data[:16])
    return f"it starts with {printable}; configure the proxy in front to send the header first"
