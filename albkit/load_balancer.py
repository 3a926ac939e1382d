"""`LoadBalancer`: the entry point for programs that embed albkit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Any

import attrs

from albkit.clock import SYSTEM, Clock
from albkit.control.announcer import Announcer, TunnelAnnouncer, started, stopping
from albkit.control.certificate_watch import CertificateWatch
from albkit.control.exchange_events import ExchangeEvents
from albkit.control.log_files import LogFiles
from albkit.control.metric_sources import MetricSources
from albkit.control.metrics import Metrics
from albkit.control.operations import Operations
from albkit.control.registration import Registration
from albkit.control.reload import apply
from albkit.model.events import ListenerClosed, ListenerOpened, LoadBalancerStopped
from albkit.model.extensions import EventSubscriber, Tunnel, TunnelCallback
from albkit.model.health import TargetHealthDescription
from albkit.model.listener import Listener
from albkit.model.settings import Settings
from albkit.model.target import target_from
from albkit.model.target_group import fault_of_route, targets_from
from albkit.model.validation import Faults
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.accept.listener import RunningListener, close_all
from albkit.proxy.runtime import LiveTunnel, Runtime
from albkit.proxy.serving import receive
from albkit.proxy.tls.loading import Loaded, load
from albkit.report.application_log import ApplicationLog
from albkit.state.counters import Counters

__all__ = ("LoadBalancer",)


class LoadBalancer(Operations):
    """An application load balancer in the running event loop.

    Use it as an async context manager, or `await start()` and later `await stop()`. It can be started again after a stop. It installs no
    signal handlers. It is not thread-safe: call it from the event loop's thread only.

    Args:
        listeners: One `Listener` or a list.
        name: 1 to 32 letters, digits and hyphens; the Host of HTTP/1.0 requests without one. Default: `"albkit"`.
        idle_timeout: Seconds, above 0 to 4000, for which a client or target connection may stay open without a byte in either direction.
            Then the client gets 408 if a request was expected, or 504 if the target's response was; between two requests, the load balancer
            just closes the connection. Default: `60`.
        client_keep_alive: Seconds, above 0 to 604800: the age at which a client connection gets one more response, with `Connection:
            close`. Default: `3600`.
        desync_mitigation_mode: `"monitor"`, `"defensive"` or `"strictest"`. Default: `"defensive"`.
        drop_invalid_header_fields: Whether to remove request headers whose name contains anything but letters, digits and hyphens. Default:
            `False`.
        preserve_host_header: Whether to send the Host header as the client sent it; otherwise it is in lower case, with the listener's port
            unless that is 80 or 443. Default: `False`.
        xff_header_processing: `"append"`, `"preserve"` or `"remove"`. Default: `"append"`.
        x_amzn_tls_version_and_cipher_suite: Whether to add the headers X-Amzn-Tls-Version and X-Amzn-Tls-Cipher-Suite, which describe the
            client's TLS session. Default: `False`.
        xff_client_port: Whether to add the client's port to X-Forwarded-For. Default: `False`.
        certificate_check_interval: Seconds, above 0, between two checks of the files of certificates, keys, trust stores and revocation
            lists. Changes take effect for new connections; a file that cannot be used is reported in the log, and the previous one stays in
            use. Default: `5`.
        stop_timeout: Seconds, 0 or more, for which exchanges and tunnels may continue after `stop()` was called. Default: `5`.
        access_log: `AccessLog(...)`: where to log the requests of all listeners that have no `access_log` of their own. Default: `None`.
        connection_log: `ConnectionLog(...)`: where to log the connections of all listeners that have no `connection_log` of their own.
            Default: `None`.
        health_check_log: `HealthCheckLog(...)`: where to log the results of health checks. Default: `None`.
        limits: `Limits(...)`: how large and how slow a peer may be.
        tracing: `albkit.opentelemetry.Tracing(...)` for a span per request and per tunnel; it needs `pip install 'albkit[otel]'`. Without
            it, the headers of a client's trace are forwarded unchanged. Default: `None`.
        clock: A source of time and randomness, for tests (`albkit.clock.Clock`).

    Raises:
        ConfigurationError: lists every fault with its path.
    """

    def __init__(self, listeners: Listener | Sequence[Listener], *, clock: Clock = SYSTEM, **settings: Any) -> None:
        super().__init__(clock)
        self._settings = Settings(listeners, **settings)
        self._counters = Counters()
        self._runtime: Runtime | None = None
        self._registration: Registration | None = None
        self._certificates: CertificateWatch | None = None
        self._announcer = Announcer(ApplicationLog().log)
        self._tunnel_announcer = TunnelAnnouncer()
        ExchangeEvents(self._announcer, self._observers, clock)
        # start(), stop() and apply() exclude each other: each replaces runtime, listeners and settings together.
        self._applying = asyncio.Lock()
        self._running: tuple[RunningListener, ...] = ()
        self._tunnels: Collection[LiveTunnel] = ()
        self._logs: LogFiles | None = None
        self._sources = MetricSources(self._settings.name, self._counters, clock, lambda: self._runtime is not None)
        self._metrics = Metrics(self._sources)

    @property
    def listeners(self) -> tuple[RunningListener, ...]:
        """The open listeners, in the order given; each has `url` and `port`. Empty while the load balancer is not running."""
        return self._running

    @property
    def tunnels(self) -> tuple[Tunnel, ...]:
        """The open tunnels, oldest first (see `albkit.Tunnel`). Stopping the load balancer closes them."""
        return tuple(self._tunnels)

    @property
    def counters(self) -> Mapping[str, int]:
        """The current value of every counter, by ALB's metric names. Counters continue across a stop and a start; gauges are current
        values."""
        return self._metrics.counters()

    @property
    def metrics(self) -> Metrics:
        """All metrics by ALB's names and dimensions, response times included, as a live view; and the text that Prometheus reads.

        `metrics.load_balancer`, `metrics.listeners["web"]`, `metrics.rules["web"][10]`, `metrics.groups["api"]` and
        `metrics.targets["api"]["10.0.0.5:8000"]` are mappings (docs/counters.md). Counters can be read while the load balancer is stopped.
        """
        return self._metrics

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
        return self._metrics.counters_of(choice.group, target)

    async def start(self) -> None:
        """Open every listener. If that fails, nothing stays open.

        Raises:
            OSError: a port cannot be opened; the text says why and what to do.
            ConfigurationError: lists every certificate, key, trust store or other file that cannot be used, and what to do; or every log
                that cannot be opened.
            RuntimeError: the load balancer is already running.
        """
        async with self._applying:
            if self._runtime is not None:
                raise RuntimeError("the load balancer is already running; await stop() first")
            loaded = await load(self._settings, self._clock)
            runtime = Runtime(self._settings, asyncio.get_running_loop(), self._clock, self._counters)
            logs = LogFiles(self._settings, runtime.loop, self._clock, self._counters)
            await logs.open()
            logs.attach(runtime)
            try:
                await self._start(runtime, loaded)
            except BaseException:
                await logs.stop()
                raise
            self._logs = logs

    async def _start(self, runtime: Runtime, loaded: Loaded) -> None:
        runtime.connections.contexts.update(loaded.contexts)
        # A live view: it changes with the runtime's tunnels, and stays readable after the stop.
        self._tunnels = runtime.tunnels.keys()
        runtime.tunnel_opened = self._tunnel_announcer.opened
        runtime.tunnel_closed = self._tunnel_announcer.closed
        self._observers.attach(runtime)
        self._runtime = runtime
        self._sources.begin(runtime.registry, runtime.loop)
        registration = self._registration = Registration(runtime, self._announcer.publish)
        running = [RunningListener(listener, runtime, receive) for listener in self._settings.listeners]
        try:
            # Before the listeners open, so that the first request finds the targets of DNS names.
            await registration.look_up_names([(choice, choice.group.group.names) for choice in runtime.choices.values()])
            for listener, termination in zip(running, loaded.terminations, strict=True):
                await listener.open(termination)
        except BaseException:
            # The order matters: without a runtime, a concurrent call reports "not running" instead of using a load balancer that is being
            # closed.
            self._runtime = self._registration = None
            registration.close()
            try:
                await close_all(running)
            finally:
                await registration.closed()
            raise
        # From here on nothing can fail.
        runtime.sweep.start()
        self._certificates = CertificateWatch(runtime, running, loaded, self._announcer.publish)
        for choice in runtime.choices.values():
            registration.begin(choice)
        self._running = tuple(running)
        self._sources.listen(running)
        self._started_at = self._clock.time()
        for listener in running:
            self._announcer.publish(ListenerOpened(listener.listener.name, listener.port, url=listener.url))
        self._announcer.publish(started(runtime))

    async def stop(self) -> None:
        """Close the listeners and idle connections, give exchanges and tunnels `stop_timeout` seconds to finish, then cut the rest.

        It returns when every socket is closed and every log is written, for which logs get two seconds. If the call is cancelled, the rest
        is cut at once. It does nothing if the load balancer is not running.
        """
        if self._registration is not None:
            # A start() or apply() may hold the lock while it waits for name servers; it need not wait any longer.
            self._registration.stop_waiting_for_names()
        runtime: Runtime | None = None
        registration: Registration | None = None
        logs: LogFiles | None = None
        timeout = 0.0  # Stays 0 if this call is cancelled before it has the lock.
        try:
            async with self._applying:
                runtime, self._runtime = self._runtime, None
                registration, self._registration = self._registration, None
                logs, self._logs = self._logs, None
                if runtime is not None:
                    self._announcer.publish(stopping(runtime))
                await self._close_listeners()
            timeout = self._settings.stop_timeout
        finally:
            # The admin APIs end last, so that /ready is red, and the page can be read, while exchanges and tunnels finish.
            async with self._admins.ending(drains=runtime is not None):
                await self._drain(runtime, registration, logs, timeout)

    async def _drain(self, runtime: Runtime | None, registration: Registration | None, logs: LogFiles | None, timeout: float) -> None:
        """Give exchanges and tunnels `timeout` seconds to finish, and cut the rest. Each part is done even if the caller is cancelled."""
        if registration is not None:
            registration.close()
        try:
            if runtime is not None:
                await runtime.stop(timeout)
            if registration is not None:
                await registration.closed()
        finally:
            # After the last exchange has ended.
            if logs is not None:
                await logs.stop()
            if runtime is not None:
                self._announcer.publish(LoadBalancerStopped(runtime.settings.name))

    async def _close_listeners(self) -> None:
        """Close all listeners and stop watching files. Each part is done even if the caller is cancelled meanwhile."""
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
                    self._announcer.publish(ListenerClosed(listener.listener.name, listener.port, url=listener.url))

    async def apply(self, listeners: Listener | Sequence[Listener]) -> None:
        """Replace the configuration by a new one. Only what differs changes.

        Listeners are matched by name, else by host and port; groups by name; targets by address. Exchanges and tunnels in progress keep
        their rule and their target. Targets that were registered at run time stay, unless their group's declared list has changed; targets
        that are no longer declared are deregistered and drain.

        Args:
            listeners: One `Listener` or a list.

        Raises:
            ConfigurationError: lists every fault, including files that cannot be used, and targets registered at run time that do not fit
                their group any more. Nothing has changed.
            OSError: a new port cannot be opened. Nothing has changed.
            RuntimeError: the load balancer is not running.
        """
        settings = attrs.evolve(self._settings, listeners=listeners)
        async with self._applying:
            runtime, registration = self._control()
            certificates, logs = self._certificates, self._logs
            if certificates is None or logs is None:
                raise RuntimeError("the load balancer is not running; await start() first")
            # The watch must not reload files of the old configuration while the new one is read.
            async with certificates.paused():
                # Files are read before anything changes: a file that cannot be used is a fault of the configuration.
                loaded = await load(settings, self._clock, certificates.loaded)

                def in_force(running: tuple[RunningListener, ...]) -> None:
                    self._running, self._settings = running, settings
                    self._sources.listen(running)
                    certificates.set_listeners(running, loaded)

                async with logs.changing(settings):
                    await apply(settings, loaded, self._running, runtime, registration, self._announcer.publish, in_force)

    async def register_targets(self, group: str, targets: Any) -> None:
        """Add targets to a group; they get new requests from now on.

        A draining target returns to service. A target that is already registered takes its new weight.

        Args:
            group: The group's name.
            targets: One target or a list, in any form that `TargetGroup` accepts except `DnsName`, which must be declared in the
                configuration.

        Raises:
            ConfigurationError: lists every target that is not valid, or does not fit the group.
            LookupError: there is no group of this name.
            RuntimeError: the load balancer is not running.
        """
        choice, registration = self._group(group)
        new = targets_from(targets)
        faults = Faults("targets")
        # Routes are rare, so the members are only searched if a new target has one.
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
        """Send no new requests to targets of a group. Returns at once; exchanges and tunnels have the group's `deregistration_delay` to
        finish.

        As in ALB, deregistering an unknown target is not an error. Await `drained` to learn when a target has drained.

        Args:
            group: The group's name.
            targets: One target or a list, in any form that `TargetGroup` accepts.

        Raises:
            ConfigurationError: lists every target that is not valid.
            LookupError: there is no group of this name.
            RuntimeError: the load balancer is not running.
        """
        choice, registration = self._group(group)
        registration.deregister(choice, targets_from(targets))

    async def drained(self, group: str, target: Any, timeout: float | None = None) -> None:
        """Wait until the last exchange or tunnel of a deregistered target is over. Returns at once if the target is unknown or not
        draining.

        Args:
            group: The group's name.
            target: In any form that `TargetGroup` accepts.
            timeout: Seconds; `None` waits for as long as the deregistration delay lasts.

        Raises:
            TimeoutError: the target has not drained after `timeout` seconds.
            RuntimeError: the load balancer is not running.
        """
        _, registration = self._control()
        await registration.drained(group, target_from(target), timeout)

    def describe_target_health(self, group: str, targets: Any = None) -> list[TargetHealthDescription]:
        """Return state and reason of every target of a group, including draining ones, in ALB's words.

        Args:
            group: The group's name.
            targets: Only these, one or a list. An unknown target is `unused` with reason `Target.NotRegistered`.

        Raises:
            LookupError: there is no group of this name.
            RuntimeError: the load balancer is not running.
        """
        choice, registration = self._group(group)
        return registration.describe(choice, None if targets is None else targets_from(targets))

    def subscribe(self, subscriber: EventSubscriber | Callable[[Any], None], *kinds: type[Any]) -> Callable[[], None]:
        """Call a function with every event, or with events of the given classes (see `albkit.events`). Call the returned function to
        unsubscribe.

        `ExchangeFinished`, `TunnelClosed` and `ConnectionFailed` come once per exchange, tunnel and connection: name the classes that you
        want. The function runs in the event loop, so it must not block; whatever it does delays all other requests.

        Args:
            subscriber: Called with the event. If it raises, the exception is logged, and it stays subscribed.
            kinds: Classes of `albkit.events`. Default: all of them.

        Raises:
            TypeError: one of `kinds` is not a class of events.
        """
        return self._announcer.subscribe(subscriber, *kinds)

    def on_tunnel(self, opened: TunnelCallback | None = None, closed: TunnelCallback | None = None) -> Callable[[], None]:
        """Call functions with every tunnel that opens or ends. Call the returned function to unsubscribe.

        Args:
            opened: Called with the `Tunnel` after its 101.
            closed: Called with the `Tunnel` when both of its sockets are closed. `end` says what ended it; bytes and frames are its totals.
        """
        return self._tunnel_announcer.subscribe(opened, closed)

    def _control(self) -> tuple[Runtime, Registration]:
        if self._runtime is None or self._registration is None:
            raise RuntimeError("the load balancer is not running; await start() first")
        return self._runtime, self._registration

    def _group(self, name: str) -> tuple[TargetChoice, Registration]:
        runtime, registration = self._control()
        choice = runtime.choices.get(name)
        if choice is None:
            raise LookupError(f"there is no target group {name!r}; the groups are {sorted(runtime.choices)}")
        return choice, registration

    async def __aenter__(self) -> LoadBalancer:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()
