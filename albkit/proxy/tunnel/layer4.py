"""A connection of a TCP or TLS listener: nothing of it is read, one target is picked for it, and from then on it is a tunnel."""

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
from albkit.proxy.transports import bound_buffers, locate, peer_has_reset, reset
from albkit.proxy.tunnel.tunnel import Tunnel
from albkit.proxy.tunnel.tunnel_record import tunnel_opened, tunnel_over
from albkit.state.record import ExchangeRecord
from albkit.state.target import TargetState

__all__ = ("Layer4Connection",)

_log = logging.getLogger("albkit")
_NO_FIELDS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())


class Layer4Connection(asyncio.Protocol):
    """The client's side, until a target is connected.

    Args:
        listener: The listener's.
        address: Whom it comes from, where it was let in already; else it is let in when it is made.
    """

    __slots__ = (
        "_admitted",
        "_early",
        "_failure",
        "_has_ended",
        "_listener",
        "_size",
        "_task",
        "_transport",
        "_waiter",
        "address",
    )

    def __init__(self, listener: ListenerRuntime, address: ClientAddress | None = None) -> None:
        self._listener = listener
        self._admitted = address
        self._early: list[bytes] = []
        self._size = 0
        self._has_ended = False
        self._failure: Failure | None = None
        self._waiter: asyncio.Future[object] | None = None
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self.address: ClientAddress

    @property
    def listener(self) -> ListenerRuntime:
        """Where it came in."""
        return self._listener

    # What the loop says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance.
        runtime = self._listener.runtime
        address = self._admitted or self._listener.admit(transport)
        if address is None:
            transport.abort()
            return
        self.address = address
        self._transport = transport
        bound_buffers(transport, runtime.settings.limits.in_flight)
        runtime.clients.add(self)
        runtime.sweep.add(self)
        self._task = runtime.loop.create_task(self._run())

    def data_received(self, data: bytes) -> None:
        self._early.append(data)
        before = self._size
        self._size += len(data)
        most = self._listener.runtime.settings.limits.early_bytes
        if before <= most < self._size and self._transport is not None:
            self._listener.runtime.counters.reading_was_paused()
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client has said all that it has to say, and may still listen."""
        self._has_ended = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is None:
            return  # It was turned away, or is a tunnel's.
        self._let_go()
        self._listener.release(self.address.host)
        self.fail(Failure(FailureKind.CLIENT_CLOSED, str(exc) if exc is not None else ""))

    # What `Connections` needs of a client.

    def locate(self) -> ClientAddress:
        return locate(self.address, self._transport)

    def wait(self) -> asyncio.Future[object]:
        """What is waited for now: the target's connection, or a failure."""
        waiter = self._waiter = self._listener.runtime.loop.create_future()
        if self._failure is not None:
            waiter.set_exception(self._failure)
        return waiter

    def fail(self, failure: Failure) -> None:
        """End what is waited for."""
        self._failure = failure
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(failure)

    # The story: pick, connect, tunnel.

    async def _run(self) -> None:
        record = ExchangeRecord(self.address)
        record.received_at = self._listener.runtime.clock.monotonic()
        try:
            await self._forward(record)
        except Failure as failure:
            self._end(failure, record)
        except Exception:  # noqa: BLE001 - whatever it is, it must cost this connection only
            _log.exception("a connection of client %s failed inside the load balancer", self.address)
            self._end(Failure(FailureKind.INTERNAL_ERROR), record)
        finally:
            self._task = None
            self._listener.runtime.remove_client(self)

    async def _forward(self, record: ExchangeRecord) -> None:
        """Pick a target, connect to it, perhaps to another one, and open the tunnel."""
        listener = self._listener
        runtime = listener.runtime
        request = self._request()
        rule = listener.rules.match(request)
        record.matched_rule_priority = rule.priority
        plan = rule.action
        choice, member, bound, _ = pick(request, plan, record, runtime, runtime.clock.time())
        if member is None:
            # A connection does not wait for room, as a request does.
            raise Failure(FailureKind.NO_ROOM_FOR_TUNNEL, choice.group.group.name)
        policy = plan.tunnel or choice.group.group.tunnel
        member = find_room(request, choice, member, policy, bound=bound)
        member.counters.flow_routed(fails_open=choice.group.fails_open)
        flow = _Flow(self, request, choice, policy, runtime)
        member = await first_answer(flow, member, record, bound)
        try:
            self._open_tunnel(flow, member, record)
        except Failure:
            choice.finished(member, tunnel=True)
            flow.connection.abort()
            raise

    def _request(self) -> RequestHead:
        """What algorithms and stickiness are asked with: whom it comes from, and where it came in, is all that is known."""
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
        target, behind, target_is_through = flow.connection.detach()
        transport.pause_reading()
        self._let_go()
        record.request = flow.request
        over = partial(_flow_over, listener, flow.choice)
        protocol = listener.config.protocol.lower()
        tunnel = Tunnel(transport, target, member, record, protocol, flow.policy, None, runtime, over)
        runtime.counters.flow_opened()
        tunnel.open(b"", behind, b"".join(self._early), target_is_through=target_is_through, client_is_through=self._has_ended)
        self._early.clear()
        tunnel_opened(listener, tunnel, flow.policy)

    # Ends.

    def _let_go(self) -> None:
        """The socket is gone, or a tunnel's."""
        runtime = self._listener.runtime
        self._transport = None
        runtime.sweep.discard(self)
        runtime.counters.connection_closed()

    def _end(self, failure: Failure, record: ExchangeRecord) -> None:
        record.failure = failure
        finish(record, self._listener.runtime)
        self._early.clear()
        if self._transport is not None:
            # There are no words for it but this one.
            reset(self._transport)

    def stop(self) -> None:
        """The load balancer stops: nothing has come of this connection yet."""
        self.fail(Failure(FailureKind.STOPPED))

    def abandon(self) -> None:
        """End now."""
        self.stop()
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> None:
        """Notice a reset, which is not told of while nothing is read. FIN says that the client waits for the answer."""
        del now
        if self._transport is not None and (self._size or self._has_ended) and peer_has_reset(self._transport):
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


def _flow_over(listener: ListenerRuntime, choice: TargetChoice, tunnel: Tunnel) -> None:
    listener.runtime.counters.flow_closed()
    tunnel_over(listener, tunnel.client.host, choice, tunnel)
