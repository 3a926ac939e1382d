"""The running parts that all listeners of a load balancer share: one `Runtime` per load balancer and run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import count
from typing import Protocol

from albkit.clock import Clock
from albkit.model.extensions import Tunnel
from albkit.model.listener_settings import ListenerSettings
from albkit.model.settings import Settings
from albkit.model.target_group import TargetGroup
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.descriptors import Descriptors
from albkit.proxy.hook_tasks import HookTasks
from albkit.proxy.http2.buffer_budget import BufferBudget
from albkit.proxy.sweep import Sweep, interval_for
from albkit.proxy.target.connection_pool import ConnectionPool
from albkit.proxy.target.waiting_line import WaitingLine
from albkit.proxy.tracing import Tracing
from albkit.report.failure_log import log_out_of_sockets
from albkit.state.connection_record import ConnectionRecord
from albkit.state.counters import Counters
from albkit.state.health_check_record import HealthCheckRecord
from albkit.state.record import ExchangeRecord
from albkit.state.registry import Registry
from albkit.state.target import TargetState
from albkit.wire.http1.forwarded import TraceIds

__all__ = ("CLOSE_TIMEOUT", "ClientConnection", "LiveTunnel", "Runtime", "Stoppable")

_log = logging.getLogger("albkit")

CLOSE_TIMEOUT = 2.0
"""Seconds that both sides of a tunnel have to close after the load balancer sent its Close frames or FINs. Then it cuts them.

The shortest deadline that is not a setting.
"""


_STEPS_OF_SPREAD = 5
"""A drain closes tunnels in at least four times as many steps, for the sweep runs four times within the shortest deadline."""


def _shortest_deadline(settings: Settings) -> float:
    """The shortest of all timeouts that the sweep enforces, in seconds."""
    limits = settings.limits
    deadlines = [CLOSE_TIMEOUT, settings.idle_timeout, settings.client_keep_alive, limits.target_keep_alive, limits.handshake_timeout]
    deadlines.append(limits.request_head_timeout or 0)
    deadlines += [group.ejection_in_force.duration for group in settings.groups if group.ejection_in_force is not None]
    for policy in settings.tunnel_policies:
        deadlines += (policy.idle_timeout or 0, policy.max_age or 0, policy.drain_spread / _STEPS_OF_SPREAD)
        if policy.ping_interval is not None:
            deadlines += (policy.ping_interval, policy.pong_timeout)
        if policy.recheck is not None:
            deadlines.append(policy.recheck_every)
    return min(deadline for deadline in deadlines if deadline)


def _ignore(_: LiveTunnel) -> None:
    """The callback of a load balancer without subscribers."""


def _no_log(_: ListenerSettings, __: int) -> None:
    """The access log and the connection log of a load balancer without one."""


class Stoppable(Protocol):
    """A client connection or a tunnel, as a graceful shutdown uses it."""

    def stop(self) -> None:
        """Close gracefully: finish the exchange in flight, or send Close frames, then close."""

    def abandon(self) -> None:
        """Close at once."""


class ClientConnection(Stoppable, Protocol):
    """A client connection, as the removal of its listener uses it."""

    @property
    def listener(self) -> object:
        """The `ListenerRuntime` that accepted it."""

    def sweep(self, now: float) -> None:
        """End it if a deadline has passed."""


class LiveTunnel(Tunnel, Stoppable, Protocol):
    """A tunnel, as `control` uses it."""

    member: TargetState
    connections: int
    """Connections that end with the tunnel: 2, or fewer if sides are streams of HTTP/2 connections."""

    @property
    def drain_spread(self) -> float:
        """Seconds over which to spread the closing of a deregistered target's tunnels."""

    def begin_close(self, code: int, reason: str) -> None:
        """Begin to close gracefully with this code and reason, which must be valid."""

    def drain(self, at: float) -> None:
        """Close gracefully when the monotonic clock reaches `at`, because the target was deregistered."""

    def cancel_drain(self) -> None:
        """Stay open, because the target was registered again."""

    def sweep(self, now: float) -> None:
        """Close if a deadline has passed. `now` is the monotonic time."""


class Runtime:
    """What is shared by the listeners of one load balancer: target groups, connection pool, clients, tunnels, descriptors.

    Args:
        settings: The validated settings; `reconfigure` replaces them.
        loop: The event loop that everything runs on.
        clock: The source of time and randomness.
        counters: The metrics, which outlive this run.
    """

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop, clock: Clock, counters: Counters) -> None:
        self.settings = settings
        self.loop = loop
        self.clock = clock
        self.counters = counters
        self.stream_groups = settings.stream_groups
        """The names of the target groups that only TCP and TLS listeners forward to."""
        self.registry = Registry(settings.groups)
        self.choices = {state.group.name: TargetChoice(state, clock) for state in self.registry.groups}
        self.sweep = Sweep(loop, clock, interval_for(_shortest_deadline(settings)))
        self.http2_buffers = BufferBudget(settings.limits.http2_buffered_bytes)
        """Bounds what waits in the streams of all HTTP/2 connections."""
        self.connections = ConnectionPool(loop, counters, self.sweep, settings.limits, self.http2_buffers)
        self.trace_ids = TraceIds(clock)
        self.clients: set[ClientConnection] = set()
        # A dict instead of a set, because it keeps the order.
        self.tunnels: dict[LiveTunnel, None] = {}
        """Oldest first."""
        self.tunnel_connections = 0
        """Connections of all tunnels."""
        self.tunnel_opened: Callable[[LiveTunnel], None] = _ignore
        """Called after a tunnel was opened. Must not raise."""
        self.tunnel_closed: Callable[[LiveTunnel], None] = _ignore
        """Called after both connections of a tunnel were closed. Must not raise."""
        self.ended: Callable[[ExchangeRecord], None] | None = None
        """Called with everything that has ended; `None` if nobody wants to know. Must not raise."""
        self.access_log: Callable[[ListenerSettings, int], Callable[[ExchangeRecord], None] | None] = _no_log
        """Given a listener and its port, returns the function that logs what ends on it; `None` if it has no access log."""
        self.connection_log: Callable[[ListenerSettings, int], Callable[[ConnectionRecord], None] | None] = _no_log
        """The same for the connection log."""
        self.health_check_log: Callable[[HealthCheckRecord], None] | None = None
        """Called with every result of a health check; `None` if no health check log is kept. Must not raise."""
        self.tracing: Tracing | None = settings.tracing
        """Begins the trace of each exchange; `None` if tracing is off."""
        self._waiting_lines: dict[TargetChoice, WaitingLine] = {}
        self._tunnel_ids = count(1)
        self.hook_tasks = HookTasks(loop)
        self.stopping = False
        self._drained = asyncio.Event()
        self.checks = 0
        """Health checks in progress."""
        self._reserved: set[int] = set()
        """The descriptors of connections that were accepted and not yet admitted."""
        # Measures what is in use now: the descriptors of the program.
        self.descriptors = Descriptors()
        self.connections.make_room = self._make_room

    def reconfigure(self, settings: Settings) -> None:
        """Use other settings from now on."""
        self.settings = settings
        self.stream_groups = settings.stream_groups
        self.sweep.interval = interval_for(_shortest_deadline(settings))

    def add_group(self, group: TargetGroup) -> None:
        """Add a target group."""
        self.choices[group.name] = TargetChoice(self.registry.add(group), self.clock)

    def remove_group(self, name: str) -> None:
        """Remove a target group. Exchanges that are in flight with its targets continue."""
        self.registry.remove(name, self.counters.traffic)
        self._waiting_lines.pop(self.choices.pop(name), None)

    def waiting_line(self, choice: TargetChoice) -> WaitingLine:
        """Return the queue of requests for a group whose targets are all at `max_concurrency`."""
        line = self._waiting_lines.get(choice)
        if line is None:
            line = self._waiting_lines[choice] = WaitingLine(choice, self.loop, self.counters)
        return line

    # File descriptors. A client needs two: its own, and one for the target connection that its request may need.

    def reserve_slot(self, descriptor: int) -> bool:
        """Reserve descriptors for a connection that was just accepted. If this returns `False`, close the connection.

        The reservation lasts until `admit_client` or `release_slot` is called with the same descriptor. Without it, all connections that
        are accepted in one turn of the event loop would see the same free descriptors.
        """
        if not self.admit_client(descriptor):
            self.counters.connection_rejected()
            return False
        self._reserved.add(descriptor)
        return True

    def release_slot(self, descriptor: int) -> None:
        """Release the reservation of a connection that failed before it was admitted."""
        self._reserved.discard(descriptor)

    def admit_client(self, descriptor: int) -> bool:
        """Whether there are descriptors for one more client connection and its target connection. Closes idle target connections if needed.

        Args:
            descriptor: The descriptor of the client connection. Because the kernel assigns the lowest free number, it also tells how many
                are in use in the whole process.
        """
        self._reserved.discard(descriptor)
        descriptors = self.descriptors
        needed = 2 * (len(self.clients) + len(self._reserved) + 1) + self.tunnel_connections
        reserve_is_used = descriptor >= descriptors.highest
        if needed <= descriptors.for_sockets and not reserve_is_used:
            self._make_room(2)
            return True
        if reserve_is_used:
            # The program has opened more than the reserve allows for. Return some descriptors to it.
            self.connections.shed(1)
        taken = max(descriptor, self._open_descriptors())
        log_out_of_sockets(
            "a client was rejected: %d clients and tunnels are connected, %d descriptors are in use; raise the limit of %d (ulimit -n)",
            len(self.clients) + len(self.tunnels) + len(self._reserved),
            taken,
            descriptors.limit,
        )
        return False

    def new_conn_trace_id(self) -> str:
        """Generate an id for a connection, for the logs."""
        return f"TID_{self.clock.entropy(16).hex()}"

    def may_start_check(self) -> bool:
        """Whether there is a descriptor for one more health check."""
        # The first checks use the reserve. So a load balancer that is full of clients still notices that a target has failed.
        return self.checks < self.descriptors.for_checks or self._open_descriptors() < self.descriptors.for_sockets

    def _open_descriptors(self) -> int:
        """The descriptors that the load balancer uses for connections. Listeners, DNS queries and files are part of the reserve."""
        return len(self.clients) + self.tunnel_connections + len(self._reserved) + self.connections.count + self.checks

    def _make_room(self, count: int) -> None:
        """Close idle target connections, until `count` descriptors are free for sockets."""
        missing = self._open_descriptors() + count - self.descriptors.for_sockets
        if missing > 0:
            self.connections.shed(missing)

    # Clients and tunnels. A client connection adds itself to `clients`.

    def add_tunnel(self, tunnel: LiveTunnel) -> int:
        """Add a tunnel that was opened, and return its id."""
        self.tunnels[tunnel] = None
        self.tunnel_connections += tunnel.connections
        self.sweep.add(tunnel)
        return next(self._tunnel_ids)

    def add_client(self, client: ClientConnection) -> None:
        """Add a client connection that was admitted."""
        self.clients.add(client)
        self.sweep.add(client)

    def remove_client(self, client: ClientConnection) -> None:
        """Remove a client connection that ended."""
        self.clients.discard(client)
        self.sweep.discard(client)
        self.check_drained()

    def remove_tunnel(self, tunnel: LiveTunnel) -> None:
        """Remove a tunnel that ended. Count and log its end next, then call `check_drained`.

        Only in this order is everything counted when `stop` returns.
        """
        if tunnel in self.tunnels:
            del self.tunnels[tunnel]
            self.tunnel_connections -= tunnel.connections

    def check_drained(self) -> None:
        """Let `stop` continue if the last client and the last tunnel are gone."""
        if self.stopping and not self.clients and not self.tunnels:
            self._drained.set()

    async def stop(self, timeout: float) -> None:
        """Shut down gracefully.

        Idle connections are closed at once. Exchanges and tunnels get `timeout` seconds to end; then they are cut.
        """
        self.stopping = True
        deadline = self.loop.time() + timeout
        self._for_each_party(lambda party: party.stop())
        try:
            if self.clients or self.tunnels:
                async with asyncio.timeout_at(deadline):
                    await self._drained.wait()
        except TimeoutError:
            pass
        finally:
            # In `finally`, because the caller may cancel a graceful shutdown: nothing may keep running after that.
            self._for_each_party(lambda party: party.abandon())
            self.connections.abort()
            self.sweep.stop()
        # A transport reports its end in a later turn of the loop, even after `abort`.
        if self.clients or self.tunnels:
            await self._drained.wait()
        await self.connections.close()
        # Last, because ending exchanges and tunnels cancel their hooks.
        await self.hook_tasks.shutdown(deadline)

    def _for_each_party(self, action: Callable[[Stoppable], None]) -> None:
        """Call `action` with every client and tunnel, even if it fails for some."""
        # A copy: a party that closes at once removes itself.
        for party in (*self.clients, *self.tunnels):
            try:
                action(party)
            except Exception:  # noqa: BLE001 - all others must be closed nevertheless
                _log.exception("%r could not be closed gracefully", party, extra={"albkit_event": "internal_error"})
