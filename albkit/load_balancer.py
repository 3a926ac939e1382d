"""The front door for programs that embed albkit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Any

import attrs

from albkit.clock import SYSTEM, Clock
from albkit.control.announcer import Announcer, TunnelAnnouncer
from albkit.control.certificate_watch import CertificateWatch
from albkit.control.explain import Explanation, Fields, explain
from albkit.control.registration import Registration, is_mitigated
from albkit.control.reload import apply
from albkit.model.events import ListenerClosed, ListenerOpened
from albkit.model.extensions import EventSubscriber, Tunnel, TunnelCallback
from albkit.model.health import TargetHealthDescription, TargetHealthState
from albkit.model.listener import Listener
from albkit.model.settings import Settings
from albkit.model.target import target_from
from albkit.model.target_group import fault_of_route, targets_from
from albkit.model.validation import Faults
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.accept.listener import RunningListener, close_all
from albkit.proxy.runtime import Runtime
from albkit.proxy.serving import receive
from albkit.proxy.tls.loading import Loaded, load
from albkit.state.counters import Counters
from albkit.state.registry import Registry
from albkit.state.target import TargetState

__all__ = ("LoadBalancer",)


class LoadBalancer:
    """An application load balancer inside the running event loop.

    Use it as an async context manager, or `await start()` and later `await stop()`; it can be started again after it was stopped. It
    installs no signal handlers and ends nothing but itself. All of it runs on the loop's thread: call it from there.

    Args:
        listeners: One `Listener` or a list.
        name: 1 to 32 letters, digits and hyphens; the Host of HTTP/1.0 requests that bring none. `"albkit"` by default.
        idle_timeout: Seconds, above 0 to 4000, 60 by default: how long a client or target connection may stay without a byte in either
            direction. Then 408 where a request was awaited, 504 where the target was; between two requests the connection just closes.
        client_keep_alive: Seconds, above 0 to 604800, 3600 by default: the age at which a client connection gets one more answer, with
            `Connection: close`.
        desync_mitigation_mode: `"monitor"`, `"defensive"` (default) or `"strictest"`.
        drop_invalid_header_fields: Remove request fields whose name holds anything but letters, digits and hyphens; `False` by default.
        preserve_host_header: Send Host as the client did; `False` by default: lower case, with the listener's port unless 80 or 443.
        xff_header_processing: `"append"` (default), `"preserve"` or `"remove"`.
        x_amzn_tls_version_and_cipher_suite: Tell targets which version and cipher of TLS a client speaks, in two fields of these names;
            `False` by default.
        xff_client_port: Write the client's port into X-Forwarded-For; `False` by default.
        certificate_check_interval: Seconds, above 0, 5 by default, between two looks at the files of certificates, keys, trust stores and
            revocation lists: what has changed is in force for new connections at once; what cannot be used is told in the log.
        stop_timeout: Seconds, 0 and more, 5 by default, for exchanges and tunnels to end after `stop()` was called.
        limits: `Limits(...)`: how large and how slow a peer may be.
        clock: Time and chance; for tests.

    Raises:
        ConfigurationError: listing every fault with its path.
    """

    def __init__(self, listeners: Listener | Sequence[Listener], *, clock: Clock = SYSTEM, **settings: Any) -> None:
        self._settings = Settings(listeners, **settings)
        self._clock = clock
        self._counters = Counters()
        self._registry: Registry | None = None
        """The groups of the run that goes on, or of the one before."""
        self._runtime: Runtime | None = None
        self._registration: Registration | None = None
        self._certificates: CertificateWatch | None = None
        self._announcer = Announcer()
        self._tunnel_announcer = TunnelAnnouncer()
        self._applying = asyncio.Lock()
        self._running: tuple[RunningListener, ...] = ()
        self._tunnels: Collection[Tunnel] = ()

    @property
    def listeners(self) -> tuple[RunningListener, ...]:
        """The open listeners, in the order given; each has `url` and `port`. Empty while the load balancer is not running."""
        return self._running

    @property
    def tunnels(self) -> tuple[Tunnel, ...]:
        """Every tunnel whose sockets are open, oldest first (see `albkit.Tunnel`). While the load balancer stops it empties."""
        return tuple(self._tunnels)

    @property
    def counters(self) -> Mapping[str, int]:
        """Every counter by ALB's metric name, as of now. They go on counting over stops and starts; gauges tell what is."""
        traffic = self._registry.traffic(self._counters.traffic) if self._registry is not None else []
        counters = self._counters.as_mapping(traffic)
        groups = self._runtime.registry.groups if self._runtime is not None else ()
        members = [member for group in groups for member in group.members.values()]
        counters.update(_host_counts(members))
        return counters

    def counters_of(self, group: str, target: Any = None) -> Mapping[str, int]:
        """The counters of one target group, or of one of its targets, as of now: those of `counters` that have to do with targets.

        `ActiveRequestCount` tells how many requests and tunnels are outstanding. A group that was removed, and a target that has drained,
        have left their counts to the load balancer and to the group.

        Args:
            group: The group's name.
            target: In any form that `TargetGroup` takes; `None` for the whole group.

        Raises:
            LookupError: no group has this name, or it has no such target.
            RuntimeError: the load balancer is not running.
        """
        choice, _ = self._group(group)
        if target is None:
            members = list(choice.group.members.values())
            counters = choice.group.traffic().as_mapping()
            counters.update(_host_counts(members))
        else:
            address = str(target_from(target))
            member = choice.group.members.get(address)
            if member is None:
                raise LookupError(f"target group {group!r} has no target {address}; it has {sorted(choice.group.members)}")
            members = [member]
            counters = member.counters.as_mapping()
        counters["ActiveRequestCount"] = sum(member.outstanding for member in members)
        return counters

    async def start(self) -> None:
        """Open every listener. On failure nothing stays open.

        Raises:
            OSError: a port cannot be opened; the text says why and what to do.
            ConfigurationError: listing every certificate, key, trust store or other file that cannot be used, and what to do.
            RuntimeError: it is running already.
        """
        async with self._applying:
            if self._runtime is not None:
                raise RuntimeError("the load balancer is running already; stop() it first")
            loaded = await load(self._settings, self._clock)
            await self._start(Runtime(self._settings, asyncio.get_running_loop(), self._clock, self._counters), loaded)

    async def _start(self, runtime: Runtime, loaded: Loaded) -> None:
        runtime.connections.contexts.update(loaded.contexts)
        self._tunnels = runtime.tunnels.keys()
        runtime.tunnel_opened = self._tunnel_announcer.opened
        runtime.tunnel_closed = self._tunnel_announcer.closed
        self._runtime = runtime
        if self._registry is not None:
            # Only now: an exchange of the run before may have ended after the load balancer had stopped.
            self._registry.retire(self._counters.traffic)
        self._registry = runtime.registry
        registration = self._registration = Registration(runtime, self._announcer.tell)
        running = [RunningListener(listener, runtime, receive) for listener in self._settings.listeners]
        try:
            await registration.look_up_names([(choice, choice.group.group.names) for choice in runtime.choices.values()])
            for listener, termination in zip(running, loaded.terminations, strict=True):
                await listener.open(termination)
        except BaseException:
            self._runtime = self._registration = None
            registration.close()
            try:
                await close_all(running)
            finally:
                await registration.closed()
            raise
        runtime.sweep.start()
        self._certificates = CertificateWatch(runtime, running, loaded, self._announcer.tell)
        for choice in runtime.choices.values():
            registration.begin(choice)
        self._running = tuple(running)
        for listener in running:
            self._announcer.tell(ListenerOpened(listener.listener.name, listener.port))

    async def stop(self) -> None:
        """Close the listeners and idle connections, give exchanges and tunnels `stop_timeout`, then cut what is left.

        Returns when every socket is closed; cancelled, it cuts what is left at once. Does nothing when the load balancer is not running.
        """
        if self._registration is not None:
            # A start or an apply that waits for name servers is not waited for.
            self._registration.hurry()
        runtime: Runtime | None = None
        registration: Registration | None = None
        timeout = 0.0  # Where whoever stops us is cancelled.
        try:
            async with self._applying:
                runtime, self._runtime = self._runtime, None
                registration, self._registration = self._registration, None
                await self._close_doors()
            timeout = self._settings.stop_timeout
        finally:
            if registration is not None:
                registration.close()
            if runtime is not None:
                await runtime.stop(timeout)
            if registration is not None:
                await registration.closed()

    async def _close_doors(self) -> None:
        """Listen no more, and look at no file: all of it, also where whoever waits for that is cancelled."""
        running, self._running = self._running, ()
        certificates, self._certificates = self._certificates, None
        try:
            if certificates is not None:
                await certificates.stop()
        finally:
            try:
                await close_all(running)
            finally:
                for listener in running:
                    self._announcer.tell(ListenerClosed(listener.listener.name, listener.port))

    async def apply(self, listeners: Listener | Sequence[Listener]) -> None:
        """Put a new description in force, as a difference: what did not change is not touched.

        Listeners are known by name, else by host and port; groups by name; targets by address. Exchanges and tunnels that are going on
        keep the rule and the target that they have. Targets registered at run time stay, unless their group's declared list has changed;
        targets that are no longer declared are deregistered, and drain.

        Args:
            listeners: One `Listener` or a list.

        Raises:
            ConfigurationError: listing every fault, files that cannot be used and targets that were registered at run time and do not go
                with their group any more among them; nothing has changed.
            OSError: a new port cannot be opened; nothing has changed.
            RuntimeError: the load balancer is not running.
        """
        settings = attrs.evolve(self._settings, listeners=listeners)
        async with self._applying:
            runtime, registration = self._control()
            certificates = self._certificates
            if certificates is None:
                raise RuntimeError("the load balancer is not running; start() it first")
            async with certificates.paused():
                loaded = await load(settings, self._clock, certificates.loaded)

                def in_force(running: tuple[RunningListener, ...]) -> None:
                    self._running, self._settings = running, settings
                    certificates.look_after(running, loaded)

                await apply(settings, loaded, self._running, runtime, registration, self._announcer.tell, in_force)

    async def register_targets(self, group: str, targets: Any) -> None:
        """Send new requests to further targets of a group.

        A target that is draining comes back; one that is known already takes its new weight.

        Args:
            group: The group's name.
            targets: One target or a list, in any form that `TargetGroup` takes but a `DnsName`, which belongs into the description.

        Raises:
            ConfigurationError: listing every target that cannot be read, or does not go with the group.
            LookupError: no group has this name.
            RuntimeError: the load balancer is not running.
        """
        choice, registration = self._group(group)
        new = targets_from(targets)
        faults = Faults("targets")
        members = choice.group.members.values() if any(target.route is not None for target in new) else ()
        routes = {member.target.route: member.target for member in members if member.target.route is not None}
        for index, target in enumerate(new):
            of_route = fault_of_route(target, routes)
            wrong = choice.group.group.fault_of_member(target) or of_route
            if wrong:
                faults.add(f"[{index}]", wrong)
        faults.raise_if_any()
        registration.register(choice, new)

    async def deregister_targets(self, group: str, targets: Any) -> None:
        """Send no new requests to targets of a group. Returns at once: what goes on has the group's `deregistration_delay` to end.

        An unknown target is no fault, as in ALB. Await `drained` for the end.

        Args:
            group: The group's name.
            targets: One target or a list, in any form that `TargetGroup` takes.

        Raises:
            ConfigurationError: listing every target that cannot be read.
            LookupError: no group has this name.
            RuntimeError: the load balancer is not running.
        """
        choice, registration = self._group(group)
        registration.deregister(choice, targets_from(targets))

    async def drained(self, group: str, target: Any, timeout: float | None = None) -> None:
        """Wait until the last exchange and tunnel of a deregistered target is over; at once where it is unknown or not draining.

        Args:
            group: The group's name.
            target: In any form that `TargetGroup` takes.
            timeout: Seconds; `None` waits as long as the deregistration delay lets it.

        Raises:
            TimeoutError: the target is not drained after `timeout` seconds.
            RuntimeError: the load balancer is not running.
        """
        _, registration = self._control()
        await registration.drained(group, target_from(target), timeout)

    def describe_target_health(self, group: str, targets: Any = None) -> list[TargetHealthDescription]:
        """State and reason of every target of a group, draining ones among them, in ALB's words.

        Args:
            group: The group's name.
            targets: Only these, one or a list; an unknown one is `unused`, `Target.NotRegistered`.

        Raises:
            LookupError: no group has this name.
            RuntimeError: the load balancer is not running.
        """
        choice, registration = self._group(group)
        return registration.describe(choice, None if targets is None else targets_from(targets))

    def explain(
        self, method: str, url: str, *, headers: Fields = (), client: str = "127.0.0.1", listener: str | None = None
    ) -> Explanation:
        """Tell what would become of a request, without sending anything and without taking a turn in any rotation.

        Conditions of your own are called; actions of your own are not, only named.

        Args:
            method: As in a request line.
            url: With host, path and query; the listener whose port it names is asked, else the first.
            headers: Fields, a mapping or pairs; a Host among them wins over the URL's.
            client: The address that the request would come from.
            listener: The name of the listener to ask.

        Raises:
            LookupError: no listener has this name.
            RuntimeError: the load balancer is not running.
        """
        runtime, _ = self._control()
        return explain(method, url, headers, client, listener, self._running, runtime)

    def subscribe(self, subscriber: EventSubscriber) -> Callable[[], None]:
        """Tell a callable of every event (see `albkit.events`); call what is returned to end that."""
        self._announcer.subscribe(subscriber)
        return lambda: self._announcer.unsubscribe(subscriber)

    def on_tunnel(self, opened: TunnelCallback | None = None, closed: TunnelCallback | None = None) -> Callable[[], None]:
        """Tell callables of every tunnel that opens or is over; call what is returned to end that.

        Args:
            opened: Called with the `Tunnel` behind its 101.
            closed: Called with the `Tunnel` when both its sockets are gone: `end` tells what ended it, bytes and frames are its totals.
        """
        return self._tunnel_announcer.subscribe(opened, closed)

    def _control(self) -> tuple[Runtime, Registration]:
        if self._runtime is None or self._registration is None:
            raise RuntimeError("the load balancer is not running; start() it first")
        return self._runtime, self._registration

    def _group(self, name: str) -> tuple[TargetChoice, Registration]:
        runtime, registration = self._control()
        choice = runtime.choices.get(name)
        if choice is None:
            raise LookupError(f"no target group is called {name!r}; there are {sorted(runtime.choices)}")
        return choice, registration

    async def __aenter__(self) -> LoadBalancer:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()


def _host_counts(members: Sequence[TargetState]) -> dict[str, int]:
    """How many targets are in which state now."""
    return {
        "HealthyHostCount": sum(member.state is TargetHealthState.HEALTHY for member in members),
        "UnHealthyHostCount": sum(member.state is TargetHealthState.UNHEALTHY for member in members),
        "AnomalousHostCount": sum(member.is_anomalous for member in members),
        "MitigatedHostCount": sum(is_mitigated(member) for member in members),
    }
