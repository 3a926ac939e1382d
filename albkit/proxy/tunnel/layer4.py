"""A connection of a TCP or TLS listener. Its bytes are not interpreted: a target is picked, and the connection becomes a tunnel."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import cast

from multidict import CIMultiDict, CIMultiDictProxy

from albkit.errors import Failure, FailureKind
from albkit.model.health import TargetHealthState
from albkit.model.message import ClientAddress, RequestHead
from albkit.model.tunnel import TunnelPolicy
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.attempts import find_room, first_answer
from albkit.proxy.downstream import Waiting
from albkit.proxy.finish import finish
from albkit.proxy.forward import pick
from albkit.proxy.runtime import Runtime
from albkit.proxy.target.raw_connection import RawConnection
from albkit.proxy.transports import locate, peer_has_reset, reset
from albkit.proxy.tunnel.lifecycle import tunnel_closed, tunnel_opened
from albkit.proxy.tunnel.tunnel import Tunnel
from albkit.state.record import ExchangeRecord
from albkit.state.target import TargetState

__all__ = ("Layer4Connection",)

_log = logging.getLogger("albkit")
_NO_FIELDS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())


class Layer4Connection(asyncio.Protocol):
    """The client's side, until the connection to a target is open.

    Args:
        listener: The listener that accepted the connection.
        address: The client, if the connection was admitted already; else `connection_made` admits it.
    """

    __slots__ = (
        "_admitted",
        "_early",
        "_early_size",
        "_failure",
        "_listener",
        "_received_fin",
        "_task",
        "_transport",
        "_waiter",
        "address",
    )

    def __init__(self, listener: ListenerRuntime, address: ClientAddress | None = None) -> None:
        self._listener = listener
        self._admitted = address
        self._early: list[bytes] = []
        self._early_size = 0
        self._received_fin = False
        self._failure: Failure | None = None
        self._waiter: asyncio.Future[object] | None = None
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self.address: ClientAddress

    def __repr__(self) -> str:
        state = "detached" if self._transport is None else "connecting to a target"
        client = getattr(self, "address", None) or "nobody"
        return f"<{type(self).__name__} of {client}: {state}, {self._early_size} bytes received>"

    @property
    def listener(self) -> ListenerRuntime:
        """The listener that accepted the connection."""
        return self._listener

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's transport is not a subclass.
        address = self._listener.accept(self, transport, self._admitted)
        if address is None:
            return
        self.address = address
        self._transport = transport
        self._task = self._listener.runtime.loop.create_task(self._run())

    def data_received(self, data: bytes) -> None:
        self._early.append(data)
        before = self._early_size
        self._early_size += len(data)
        most = self._listener.runtime.settings.limits.early_bytes
        if before <= most < self._early_size and self._transport is not None:
            self._listener.runtime.counters.reading_was_paused()
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client has half-closed the connection, and may still read."""
        self._received_fin = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is None:
            return  # It was refused, or a tunnel has the transport.
        self._release_transport()
        self._listener.release(self.address.host)
        self.fail(Failure(FailureKind.CLIENT_CLOSED, str(exc) if exc is not None else ""))

    # What `ConnectionPool` needs of a client (`Waiting`).

    def locate(self) -> ClientAddress:
        return locate(self.address, self._transport)

    def wait(self) -> asyncio.Future[object]:
        """The future of the connection to a target; `fail` ends it."""
        waiter = self._waiter = self._listener.runtime.loop.create_future()
        if self._failure is not None:
            waiter.set_exception(self._failure)
        return waiter

    def fail(self, failure: Failure) -> None:
        """End the wait for a target."""
        self._failure = failure
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(failure)

    # Pick a target, connect to it, open the tunnel.

    async def _run(self) -> None:
        record = ExchangeRecord(self.address, listener=self._listener.listener_state)
        record.received_at = self._listener.runtime.clock.monotonic()
        try:
            await self._forward(record)
        except Failure as failure:
            self._finish(failure, record)
        except Exception:  # noqa: BLE001 - whatever it is, it must cost this connection only
            fields = {"albkit_event": "internal_error", "albkit_client": str(self.address)}
            _log.exception("a connection of client %s failed inside the load balancer", self.address, extra=fields)
            self._finish(Failure(FailureKind.INTERNAL_ERROR), record)
        finally:
            self._task = None
            self._listener.runtime.remove_client(self)

    async def _forward(self, record: ExchangeRecord) -> None:
        """Pick a target, connect to it, perhaps to another one, and open the tunnel."""
        listener = self._listener
        runtime = listener.runtime
        request = self._request()
        rule = listener.rules.match(request)
        rule.hits += 1
        record.matched_rule_priority = rule.priority
        plan = rule.action
        choice, member, bound, _ = pick(request, plan, record, runtime, runtime.clock.time())
        if member is None:
            # A connection does not wait for room, as a request does.
            raise Failure(FailureKind.NO_ROOM_FOR_TUNNEL, choice.group.group.name)
        policy = plan.tunnel or choice.group.group.tunnel
        member = find_room(request, choice, member, policy, bound=bound)
        member.counters.flow_routed(choice.group.fails_open)
        flow = _Flow(self, request, choice, policy, runtime)
        member = await first_answer(flow, member, record, bound)
        try:
            self._open_tunnel(flow, member, record)
        except Failure:
            choice.finished(member, tunnel=True)
            flow.connection.abort()
            raise

    def _request(self) -> RequestHead:
        """A stand-in for algorithms and stickiness. Only the client and the listener are known."""
        request = RequestHead()
        request.method = request.path = request.path_to_match = request.query_string = request.host = ""
        request.headers = _NO_FIELDS
        request.cookie = request.forwarded_for = request.trace_id = b""
        request.lines = []
        request.content_length = 0
        request.irregular_names = request.dropped_names = request.chunked = request.http_1_0 = request.expects_continue = False
        request.keep_alive = request.close_after = True
        request.classification = None
        request.upgrade = self._listener.config.protocol.encode("ascii")
        request.client = self.address
        request.listener = self._listener.config
        return request

    def _open_tunnel(self, flow: _Flow, member: TargetState, record: ExchangeRecord) -> None:
        listener = self._listener
        runtime = listener.runtime
        transport = self._transport
        if transport is None:
            raise self._failure or Failure(FailureKind.CLIENT_CLOSED)
        if member.state is TargetHealthState.DRAINING and not member.keeps_sessions:
            raise Failure(FailureKind.UPGRADE_WHILE_DRAINING, member.address)
        # The last call that raises `Failure`: from then on the tunnel owns both transports.
        target, early_from_target, target_sent_fin = flow.connection.detach()
        transport.pause_reading()
        self._release_transport()
        record.request = flow.request
        on_closed = partial(_flow_closed, listener, flow.choice)
        protocol = listener.config.protocol.lower()
        tunnel = Tunnel(transport, target, member, record, protocol, flow.policy, None, runtime, on_closed)
        runtime.counters.flow_opened()
        tunnel.open(b"", early_from_target, b"".join(self._early), target_sent_fin=target_sent_fin, client_sent_fin=self._received_fin)
        self._early.clear()
        tunnel_opened(listener, tunnel, flow.policy)

    # Ends.

    def _release_transport(self) -> None:
        """The socket is closed, or a tunnel has it."""
        runtime = self._listener.runtime
        self._transport = None
        runtime.sweep.discard(self)
        runtime.counters.connection_closed()

    def _finish(self, failure: Failure, record: ExchangeRecord) -> None:
        record.failure = failure
        finish(record, self._listener.runtime)
        self._early.clear()
        if self._transport is not None:
            # There is no protocol to report an error in: RST is all that the client can be sent.
            reset(self._transport)

    def stop(self) -> None:
        """The load balancer stops: give up, because no tunnel is open yet."""
        self.fail(Failure(FailureKind.STOPPED))

    def abandon(self) -> None:
        """Close the connection now."""
        self.stop()
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> None:
        """Check for a reset, which the event loop does not report while reading is paused. After FIN the client waits for the answer."""
        del now
        if self._transport is not None and (self._early_size or self._received_fin) and peer_has_reset(self._transport):
            self.fail(Failure(FailureKind.CLIENT_CLOSED, "seen while it was not read"))


class _Flow:
    """One connection of a TCP or TLS listener, as the retry loop sees it: an attempt is to connect."""

    __slots__ = ("_client", "_runtime", "choice", "connection", "policy", "request")

    connection: RawConnection
    """To the target that was connected to."""

    def __init__(self, client: Waiting, request: RequestHead, choice: TargetChoice, policy: TunnelPolicy, runtime: Runtime) -> None:
        self._client = client
        self._runtime = runtime
        self.request = request
        self.choice = choice
        self.policy = policy

    @property
    def is_repeatable(self) -> bool:
        return True

    async def attempt(self, member: TargetState, record: ExchangeRecord, is_retry: bool) -> int:
        del record, is_retry
        self.connection = await self._runtime.connections.connect_raw(member, self.choice.group.group, self._client)
        return 101


def _flow_closed(listener: ListenerRuntime, choice: TargetChoice, tunnel: Tunnel) -> None:
    listener.runtime.counters.flow_closed()
    tunnel_closed(listener, tunnel.client.host, choice, tunnel)
