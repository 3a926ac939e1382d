"""What every exchange needs around it: one `Runtime` per load balancer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import count
from typing import Protocol

from albkit.clock import Clock
from albkit.model.extensions import Tunnel
from albkit.model.settings import Settings
from albkit.model.target_group import TargetGroup
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.descriptors import Descriptors
from albkit.proxy.hook_tasks import HookTasks
from albkit.proxy.sweep import Sweep, interval_for
from albkit.proxy.target.connection_pool import ConnectionPool
from albkit.proxy.target.waiting_line import WaitingLine
from albkit.report.failure_log import log_out_of_sockets
from albkit.state.counters import Counters
from albkit.state.registry import Registry
from albkit.state.target import TargetState
from albkit.wire.http1.forwarded import TraceIds

__all__ = ("GRACE", "LiveTunnel", "Runtime", "Stoppable")

_log = logging.getLogger("albkit")

GRACE = 2.0
"""Seconds for both sides of a tunnel to end after our Close frames or FINs, before they are cut. No deadline of our own is shorter."""


_STEPS_OF_SPREAD = 5
"""A quarter of a deadline is one round of the sweep, so that a drain closes tunnels in at least twenty."""


def _shortest_deadline(settings: Settings) -> float:
    limits = settings.limits
    deadlines = [GRACE, settings.idle_timeout, settings.client_keep_alive, limits.target_keep_alive, limits.handshake_timeout]
    deadlines.append(limits.request_head_timeout or 0)
    deadlines += [group.ejection_in_force.duration for group in settings.groups if group.ejection_in_force is not None]
    for policy in settings.tunnel_policies:
        deadlines += (policy.idle_timeout or 0, policy.max_age or 0, policy.drain_spread / _STEPS_OF_SPREAD)
        if policy.ping_interval is not None:
            deadlines += (policy.ping_interval, policy.pong_timeout)
        if policy.recheck is not None:
            deadlines.append(policy.recheck_every)
    return min(deadline for deadline in deadlines if deadline)


def _nobody(_: LiveTunnel) -> None:
    """Nobody wants to know."""


class Stoppable(Protocol):
    """A client connection or a tunnel, when the load balancer stops."""

    def stop(self) -> None:
        """End in good order, as soon as what is going on is over."""

    def abandon(self) -> None:
        """End now."""


class ClientParty(Stoppable, Protocol):
    """A client connection, when its listener goes."""

    @property
    def listener(self) -> object:
        """Where it came in."""


class LiveTunnel(Tunnel, Stoppable, Protocol):
    """A tunnel, as the floor above sees it."""

    member: TargetState

    @property
    def drain_spread(self) -> float:
        """Seconds over which the tunnels of a deregistered target are to be closed."""

    def drain(self, at: float) -> None:
        """Its target was deregistered: end in good order when the monotonic clock has come to `at`."""

    def spare(self) -> None:
        """Its target has come back: stay."""

    def sweep(self, now: float) -> None:
        """End it where it is overdue."""


class Runtime:
    """The running parts that all listeners of one load balancer share."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop, clock: Clock, counters: Counters) -> None:
        self.settings = settings
        self.loop = loop
        self.clock = clock
        self.counters = counters
        self.stream_groups = settings.stream_groups
        """The names of the target groups that TCP and TLS listeners alone send to."""
        self.registry = Registry(settings.groups)
        self.choices = {state.group.name: TargetChoice(state, clock) for state in self.registry.groups}
        self.sweep = Sweep(loop, clock, interval_for(_shortest_deadline(settings)))
        self.connections = ConnectionPool(loop, counters, self.sweep, settings.limits)
        self.trace_ids = TraceIds(clock)
        self.clients: set[ClientParty] = set()
        self.tunnels: dict[LiveTunnel, None] = {}
        """Oldest first."""
        self.tunnel_opened: Callable[[LiveTunnel], None] = _nobody
        self.tunnel_closed: Callable[[LiveTunnel], None] = _nobody
        """Called behind a 101, and when both sockets of a tunnel are gone; raise nothing."""
        self._lines: dict[TargetChoice, WaitingLine] = {}
        self._tunnel_ids = count(1)
        self.hook_tasks = HookTasks(loop)
        self.stopping = False
        self._emptied = asyncio.Event()
        self.checks = 0
        """Health checks that are going on."""
        self._expected: set[int] = set()
        """The descriptors of connections that were accepted, and are not clients yet."""
        self.descriptors = Descriptors()
        self.connections.make_room = self._make_room

    def reconfigure(self, settings: Settings) -> None:
        """Go by these settings from now on."""
        self.settings = settings
        self.stream_groups = settings.stream_groups
        self.sweep.interval = interval_for(_shortest_deadline(settings))

    def add_group(self, group: TargetGroup) -> None:
        """Know one more target group."""
        self.choices[group.name] = TargetChoice(self.registry.add(group), self.clock)

    def remove_group(self, name: str) -> None:
        """Know a target group no more; what goes on with its targets goes on."""
        self.registry.remove(name, self.counters.traffic)
        self._lines.pop(self.choices.pop(name), None)

    def line(self, choice: TargetChoice) -> WaitingLine:
        """Where requests wait for a target of the group with room."""
        line = self._lines.get(choice)
        if line is None:
            line = self._lines[choice] = WaitingLine(choice, self.loop, self.counters)
        return line

    def expects(self, descriptor: int) -> bool:
        """Whether there is room for a connection that has just been accepted; it counts until `admits` is asked, or it is `missed`."""
        if not self.admits(descriptor):
            self.counters.connection_rejected()
            return False
        self._expected.add(descriptor)
        return True

    def missed(self, descriptor: int) -> None:
        """A connection that was expected will not come."""
        self._expected.discard(descriptor)

    def admits(self, descriptor: int) -> bool:
        """Whether there is room for one more client connection and the target connection that it may need.

        Args:
            descriptor: The number of the client's own. At least so many are taken, whoever took them.
        """
        self._expected.discard(descriptor)
        descriptors = self.descriptors
        parties = len(self.clients) + len(self.tunnels) + len(self._expected)
        reserve_goes = descriptor >= descriptors.highest
        if 2 * (parties + 1) <= descriptors.for_sockets and not reserve_goes:
            self._make_room(2)
            return True
        if reserve_goes:
            self.connections.shed(1)
        taken = max(descriptor, self._buffered())
        words = "a client is turned away; %d clients and tunnels are here, %d descriptors are taken, and the limit is %d (ulimit -n)"
        log_out_of_sockets(words, parties, taken, descriptors.limit)
        return False

    def lets_check(self) -> bool:
        """Whether one more health check may take a descriptor."""
        return self.checks < self.descriptors.for_checks or self._buffered() < self.descriptors.for_sockets

    def _buffered(self) -> int:
        """How many descriptors there are of ours, as far as they are counted."""
        return len(self.clients) + 2 * len(self.tunnels) + len(self._expected) + self.connections.count + self.checks

    def _make_room(self, count: int) -> None:
        """So many descriptors are wanted: idle target connections give way."""
        missing = self._buffered() + count - self.descriptors.for_sockets
        if missing > 0:
            self.connections.shed(missing)

    def entered(self, tunnel: LiveTunnel) -> int:
        """A tunnel begins; its number."""
        self.tunnels[tunnel] = None
        self.sweep.add(tunnel)
        return next(self._tunnel_ids)

    def client_left(self, client: ClientParty) -> None:
        """A client connection is over."""
        self.clients.discard(client)
        self.see_whether_empty()

    def tunnel_left(self, tunnel: LiveTunnel) -> None:
        """A tunnel is over, and about to be counted."""
        self.tunnels.pop(tunnel, None)

    def see_whether_empty(self) -> None:
        """Whoever waits for the last client and tunnel to be over goes on, if it is."""
        if self.stopping and not self.clients and not self.tunnels:
            self._emptied.set()

    async def stop(self, timeout: float) -> None:
        """End everything: idle connections now, exchanges and tunnels in good order within `timeout` seconds, the rest by cutting."""
        self.stopping = True
        until = self.loop.time() + timeout
        self._tell_all(lambda party: party.stop())
        try:
            if self.clients or self.tunnels:
                async with asyncio.timeout_at(until):
                    await self._emptied.wait()
        except TimeoutError:
            pass
        finally:
            # Also where whoever stops us does not wait any more: nothing may go on behind that.
            self._tell_all(lambda party: party.abandon())
            self.connections.abort()
            self.sweep.stop()
        if self.clients or self.tunnels:
            await self._emptied.wait()
        await self.connections.close()
        await self.hook_tasks.end(until)

    def _tell_all(self, word: Callable[[Stoppable], None]) -> None:
        """Tell every client and tunnel that it is to end; one in a bad way keeps no other from being told."""
        for party in (*self.clients, *self.tunnels):
            try:
                word(party)
            except Exception:  # noqa: BLE001 - whatever it is, all others must end
                _log.exception("%r could not be ended in good order", party)
