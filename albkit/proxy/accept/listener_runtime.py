"""What the connections of one listener share: admission, request parsing and rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from albkit.errors import Failure, FailureKind
from albkit.model.listener import Listener
from albkit.model.message import ClientAddress, RequestHead
from albkit.model.rule import Rule
from albkit.policy.desync import verdict
from albkit.policy.route_plan import RoutePlan
from albkit.policy.rule_table import RuleTable
from albkit.proxy.accept.connection_limiter import ConnectionLimiter
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.finish import finish
from albkit.proxy.parked_tasks import ParkedTasks
from albkit.proxy.runtime import ClientConnection, Runtime
from albkit.proxy.tls.termination import Termination
from albkit.proxy.transports import address_of, bound_buffers, endpoint, locate
from albkit.state.bounded_cache import BoundedCache
from albkit.state.connection_record import ConnectionRecord
from albkit.state.listener import ListenerState
from albkit.state.record import ExchangeRecord
from albkit.wire.http1.forwarded import ForwardedFields, ForwardedFieldsBehindProxy
from albkit.wire.http1.request import RequestReader
from albkit.wire.http1.responses import ResponseFields
from albkit.wire.http1.trusted_proxy import resolve_client
from albkit.wire.proxy_protocol.signatures import PROXY_HEADERS, unexpected_proxy_header
from albkit.wire.tls.fields import tls_field_lines

__all__ = ("ListenerRuntime", "compile_rules")

_REJECTED = frozenset((FailureKind.TOO_MANY_CONNECTIONS, FailureKind.TOO_MANY_CONNECTIONS_OF_CLIENT))


def _compiler(listener: Listener, runtime: Runtime) -> Callable[[Rule | None], RoutePlan]:
    """Return a function that compiles one of the listener's rules."""

    def plan(rule: Rule | None) -> RoutePlan:
        actions, transforms = (listener.default_actions, ()) if rule is None else (rule.actions, rule.transforms)
        return RoutePlan(actions, transforms, runtime.choices, runtime.clock)

    return plan


async def compile_rules(listener: Listener, runtime: Runtime) -> RuleTable[RoutePlan]:
    """Compile the rules of a listener; the runtime must know its groups. Many rules are compiled over many iterations of the loop."""
    steps = RuleTable.in_steps(listener, _compiler(listener, runtime))
    while True:
        try:
            next(steps)
        except StopIteration as over:
            table: RuleTable[RoutePlan] = over.value
            return table
        await asyncio.sleep(0)


class ListenerRuntime:
    """The shared state of one listener's connections."""

    def __init__(
        self, runtime: Runtime, listener: Listener, port: int, termination: Termination | None, rules: RuleTable[RoutePlan] | None = None
    ) -> None:
        self.runtime = runtime
        self.config = listener
        self.port = port
        self.listener_state = ListenerState(listener, port)
        self.limiter = ConnectionLimiter()
        self.parked: ParkedTasks[Any] = ParkedTasks(runtime.sweep)
        """The tasks of HTTP/2 exchanges that wait for a stream, of whichever connection."""
        self.termination: Termination | None
        """TLS with new clients; `None` for plain connections."""
        self.has_preface: bool
        """Whether a connection starts with a PROXY protocol header or a TLS handshake."""
        self.protocol: str
        """The scheme in the URL of clients that connect directly."""
        self.response_fields: ResponseFields | None = None
        self._names: dict[str, str]
        self._trusted: tuple[IPv4Network | IPv6Network, ...]
        self.rules = rules if rules is not None else RuleTable(listener, _compiler(listener, runtime))
        self.reconfigure(listener, termination, self.rules)

    def reconfigure(self, listener: Listener, termination: Termination | None, rules: RuleTable[RoutePlan]) -> None:
        """Use a new configuration for further connections and requests. Exchanges in progress keep what they have."""
        settings = self.runtime.settings
        self.config = self.listener_state.listener = listener
        self.listener_state.access_log = self.runtime.access_log(listener, self.port)
        self.listener_state.connection_log = self.runtime.connection_log(listener, self.port)
        if rules is not self.rules:
            rules.take_over(self.rules)
            self.rules = rules
        self.response_fields = ResponseFields(listener.response_headers) if listener.response_headers else None
        self.termination = termination
        self.has_preface = termination is not None or listener.proxy_protocol is not None
        self.protocol = "https" if listener.is_secure else "http"
        self._names = dict(listener.request_header_names)
        self._trusted = tuple(map(ip_network, listener.trusted_networks))
        # A new cache for each configuration, because the trusted networks may have changed.
        self._known: BoundedCache[str, bool] = BoundedCache()

        def reader(peers: str, *, is_http2: bool) -> RequestReader:
            judge = None if is_http2 else partial(verdict, settings.desync_mitigation_mode)
            return RequestReader(settings, self.port, judge, tuple(self._names.values()), peers)

        peers = "others" if self._trusted else "anybody"
        self._read = reader(peers, is_http2=False).read
        self._read_http2 = reader(peers, is_http2=True).read
        self._read_of_trusted_proxy = reader("trusted", is_http2=False).read if self._trusted else None
        self._read_http2_of_trusted_proxy = reader("trusted", is_http2=True).read if self._trusted else None

    def accept(
        self,
        connection: ClientConnection,
        transport: asyncio.Transport,
        admitted: ClientAddress | None = None,
        *,
        is_known: bool = True,
        is_established: bool = True,
    ) -> ClientAddress | None:
        """Let a connection in. From then on the runtime sweeps it, and stops it with the load balancer.

        Args:
            connection: The protocol that reads it. It calls `Runtime.remove_client` at its end.
            transport: Its transport.
            admitted: The client's address if the connection was admitted before; `None` to admit it now.
            is_known: As for `admit`.
            is_established: Whether the connection starts with its first request. If not, `connection` logs it later.

        Returns:
            The client's address; `None` if the connection was rejected, and is closed.
        """
        address = admitted or self.admit(transport, is_known=is_known)
        if address is None:
            transport.abort()
            return None
        if admitted is None and is_established and self.listener_state.connection_log is not None:
            self.log_connection(address, transport)
        bound_buffers(transport, self.runtime.settings.limits.in_flight)
        self.runtime.add_client(connection)
        return address

    def admit(self, transport: asyncio.Transport, *, is_known: bool = True) -> ClientAddress | None:
        """Admit a new connection and return the client's address; `None` if it is rejected, which is then already counted and logged.

        Call `release` for each admitted connection when it ends. With `is_known=False` the address is that of a proxy: call `count_client`
        when the client is known. The caller decides, because its configuration may be older than the one in effect.
        """
        runtime = self.runtime
        peer = transport.get_extra_info("peername")
        sock = transport.get_extra_info("socket")
        admitted = runtime.admit_client(sock.fileno() if sock is not None else -1)
        if peer is None:
            # The connection was reset before it was accepted; that is no rejection.
            return None
        address = address_of(peer)
        state = self.listener_state
        if state.access_log is not None or state.connection_log is not None:
            address.conn_trace_id = runtime.new_conn_trace_id()
            locate(address, transport)
        if runtime.stopping or not admitted:
            self._count_rejected()
            self.log_connection(address, transport, Failure(FailureKind.STOPPED if runtime.stopping else FailureKind.OUT_OF_SOCKETS))
            return None
        try:
            self.limiter.acquire(self.config, address.host if is_known else None, limited=not self.is_trusted_proxy(address, transport))
        except Failure as failure:
            self.log_connection(address, transport, failure)
            self.reject(address, failure)
            return None
        runtime.counters.connection_opened()
        self.listener_state.counters.connection_opened()
        return address

    def reserve_slot(self, descriptor: int, peer: object) -> bool:
        """Reserve descriptors for a connection that was just accepted; see `Runtime.reserve_slot`."""
        if self.runtime.reserve_slot(descriptor):
            return True
        self.listener_state.counters.connection_rejected()
        if self.listener_state.connection_log is not None:
            address = address_of(peer)
            address.conn_trace_id = self.runtime.new_conn_trace_id()
            self.log_connection(address, None, Failure(FailureKind.OUT_OF_SOCKETS))
        return False

    def release_slot(self, descriptor: int) -> None:
        """Release the reservation of a connection that failed before it was admitted."""
        self.runtime.release_slot(descriptor)

    def connection_record(self, address: ClientAddress, transport: asyncio.Transport | None) -> ConnectionRecord | None:
        """Begin the record of a connection for `finish_record`; `None` if no connection log is kept.

        Args:
            address: The client, or a proxy in front whose header has not arrived.
            transport: The connection; `None` if it is closed.
        """
        if self.listener_state.connection_log is None:
            return None
        local = endpoint(transport.get_extra_info("sockname")) if transport is not None else None
        return ConnectionRecord(address, local[0] if local is not None else "")

    def finish_record(self, record: ConnectionRecord) -> None:
        """Log a connection that was established or has failed. Call this once per record."""
        record.at = self.runtime.clock.time()
        log = self.listener_state.connection_log
        if log is not None:
            log(record)

    def log_connection(self, address: ClientAddress, transport: asyncio.Transport | None, failure: Failure | None = None) -> None:
        """Log a connection that was established at once, or has failed at once, if a connection log is kept."""
        record = self.connection_record(address, transport)
        if record is not None:
            record.failure = failure
            self.finish_record(record)

    def count_client(self, host: str) -> None:
        """Count an admitted connection for its client.

        Raises:
            Failure: the limit of this client is reached; close the connection.
        """
        self.limiter.attribute(self.config, host, limited=not (self._trusted and host and self.trusts(host)))

    def release(self, host: str | None) -> None:
        """Uncount an admitted connection that has ended; `host` is the client for which it was counted, if any."""
        self.limiter.release(host)
        self.listener_state.counters.connection_closed()

    def reject(self, address: ClientAddress, failure: Failure) -> None:
        """Count and log a connection that is closed before its first request."""
        record = ExchangeRecord(address, listener=self.listener_state)
        record.failure = failure
        record.elb_status_code = failure.kind.status or 0
        if failure.kind in _REJECTED:
            self._count_rejected()
        finish(record, self.runtime)

    def _count_rejected(self) -> None:
        self.runtime.counters.connection_rejected()
        self.listener_state.counters.connection_rejected()

    def trusts_proxy(self, host: str) -> bool:
        """Whether to accept a PROXY protocol header from this peer."""
        return not self._trusted or not host or self.trusts(host)

    def trusts(self, host: str) -> bool:
        """Whether this is the address of a trusted proxy."""
        known = self._known.get(host)
        if known is None:
            address = ip_address(host.partition("%")[0])
            known = any(address in network for network in self._trusted)
            self._known.put(host, known, 0)
        return known

    def is_trusted_proxy(self, address: ClientAddress, transport: asyncio.Transport) -> bool:
        """Whether requests of this connection come from a trusted proxy, and not from a client that a proxy has named in a PROXY
        protocol header."""
        if not self._trusted or address_of(transport.get_extra_info("peername")).host != address.host:
            return False
        return not address.host or self.trusts(address.host)

    def read(self, head: bytes, client: DownstreamExchange) -> RequestHead:
        """Parse and check a raw request head, and determine its client.

        Raises:
            Failure: the request is rejected, with the status to answer.
        """
        is_http2 = client.protocol == "HTTP/2"
        try:
            if client.is_trusted_proxy:
                read_of_proxy = self._read_http2_of_trusted_proxy if is_http2 else self._read_of_trusted_proxy
                # trusted_networks may have changed since the connection was accepted.
                if read_of_proxy is not None and self.trusts_proxy(client.address.host):
                    return self._of_trusted_proxy(read_of_proxy(head), client.address)
            request = self._read_http2(head) if is_http2 else self._read(head)
        except Failure:
            # Checked only after the parser has rejected the head, so that valid requests pay nothing for it.
            if head.startswith(PROXY_HEADERS):
                raise unexpected_proxy_header() from None
            raise
        request.client = client.address
        request.listener = self.config
        return request

    def _of_trusted_proxy(self, request: RequestHead, front: ClientAddress) -> RequestHead:
        """Replace the client of a request by the one that a trusted proxy reports."""
        request.client = resolve_client(front, request.proxy_report, request.forwarded_for, self.public_origin(front), self.trusts)
        request.listener = self.config
        return request

    def public_origin(self, client: ClientAddress) -> tuple[str, int]:
        """The scheme (`http` or `https`) and the port in the client's URLs, as reported by a proxy in front if there is one."""
        if client.told is not None:
            return client.told
        protocol = "https" if client.tls is not None else self.protocol
        # Not the port in `local`: a socket that is inherited may have another port than the one that clients use.
        return protocol, client.public_port or self.port

    def forwarded_fields(self, client: ClientAddress, *, is_trusted_proxy: bool) -> ForwardedFields:
        """Create the headers that describe this client to targets, or, for a trusted proxy, its clients."""
        settings = self.runtime.settings
        tls = client.tls
        further = b""
        if tls is not None:
            mutual = self.config.mutual_authentication
            further = tls_field_lines(
                tls,
                mutual_mode=mutual.mode if mutual is not None else "off",
                version_and_cipher=settings.x_amzn_tls_version_and_cipher_suite,
                names=self._names,
            )
        kind = ForwardedFieldsBehindProxy if is_trusted_proxy else ForwardedFields
        return kind(
            client, *self.public_origin(client), settings.xff_header_processing, settings.xff_client_port, self.runtime.trace_ids, further
        )
