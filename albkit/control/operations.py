"""What an operator sees of a load balancer and does with it: the base class of `LoadBalancer`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from albkit.control.admins import Admins
from albkit.control.describe import Describer
from albkit.control.explain import Explanation, Fields, explain
from albkit.control.failures import reporter
from albkit.control.observers import Observers
from albkit.control.tunnel_closing import close_tunnels
from albkit.model.descriptions import (
    CertificateDescription,
    FailureDescription,
    ListenerDescription,
    LoadBalancerDescription,
    RuleDescription,
    TargetDescription,
    TargetGroupDescription,
)
from albkit.model.extensions import Admin
from albkit.model.target import target_from
from albkit.model.target_group import targets_from
from albkit.state.histogram import Histogram

if TYPE_CHECKING:
    from albkit.clock import Clock
    from albkit.control.log_files import LogFiles
    from albkit.control.metric_sources import MetricSources
    from albkit.model.settings import Settings
    from albkit.proxy.accept.listener import RunningListener
    from albkit.proxy.runtime import LiveTunnel, Runtime
    from albkit.state.target_group import TargetGroupState

__all__ = ("Operations",)


class Operations:
    """Describes what runs, and does what an operator asks for."""

    _clock: Clock
    _settings: Settings
    _sources: MetricSources
    _runtime: Runtime | None
    _logs: LogFiles | None
    _running: tuple[RunningListener, ...]
    _tunnels: Collection[LiveTunnel]

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._observers = Observers()
        self._describer = Describer(clock)
        self._admins = Admins(self)
        self._started_at: float | None = None

    def describe(self) -> LoadBalancerDescription:
        """Describe the load balancer itself."""
        return LoadBalancerDescription(self._settings.name, self._runtime is not None, self._started_at)

    def describe_listeners(self) -> list[ListenerDescription]:
        """Describe the open listeners, in the order given."""
        return self._describer.listeners(self._running)

    def describe_rules(self) -> Iterator[RuleDescription]:
        """Describe the rules of the open listeners: of each by priority, and the default action (priority 0) last.

        A description is made when the iterator is asked for it. With thousands of rules, ask for a few in each turn of the event loop.
        """
        return self._describer.rules(self._running)

    def describe_certificates(self) -> list[CertificateDescription]:
        """Describe the certificates that clients of the open listeners may get."""
        return self._describer.certificates(self._running)

    def describe_target_groups(self) -> Iterator[TargetGroupDescription]:
        """Describe every target group, each when the iterator is asked for it. After `stop()`, as they were at the end."""
        return self._describer.groups(self._groups(None), self._settings.stream_groups)

    def describe_targets(self, group: str | None = None, targets: Any = None) -> Iterator[TargetDescription]:
        """Describe targets, draining ones included, each when the iterator is asked for it. After `stop()`, as they were at the end.

        Args:
            group: The group's name; `None` for every group.
            targets: Only these, one or a list, in any form that `TargetGroup` accepts. Unknown ones are left out.

        Raises:
            ConfigurationError: lists every target that is not valid.
            LookupError: there is no group of this name.
        """
        addresses = None if targets is None else [str(target) for target in targets_from(targets)]
        return self._describer.targets(self._groups(group), addresses)

    def response_times(self, group: str, target: Any = None) -> Histogram:
        """How long targets took to answer, since they were registered: `TargetResponseTime` as a histogram of seconds.

        Take `snapshot()` of it from time to time; `minus()` of two has the durations between them.

        Args:
            group: The group's name.
            target: In any form that `TargetGroup` accepts; its histogram grows further. `None` for a copy of the sum of the group.

        Raises:
            ConfigurationError: the target is not valid.
            LookupError: there is no group of this name, or it has no such target.
        """
        (state,) = self._groups(group)
        if target is None:
            return Histogram.total(part.response_times for part in state.parts())
        address = target if isinstance(target, str) and target in state.members else str(target_from(target))
        if address not in state.members:
            raise LookupError(f"target group {group!r} has no target {address}; it has {sorted(state.members)}")
        return state.members[address].counters.response_times

    def on_failure(self, callback: Callable[[FailureDescription], object]) -> Callable[[], None]:
        """Call a function with every failure of an exchange, a tunnel or a connection. Call the returned function to end that.

        Args:
            callback: Called in the event loop, so it must not block. An exception is logged, and the callback stays.
        """
        return self._observers.add(reporter(callback, self._clock))

    def explain(
        self,
        method: str,
        url: str,
        *,
        headers: Fields = (),
        client: str = "127.0.0.1",
        listener: str | None = None,
        http2: bool = False,
    ) -> Explanation:
        """Explain what would happen to a request, without sending anything and without advancing any rotation.

        It calls conditions of your own, but not actions, which it only names.

        Args:
            method: As in a request line.
            url: With host, path and query. Its port selects the listener; if none listens there, the first one is used.
            headers: Headers, as a mapping or pairs; a Host among them takes precedence over the URL's.
            client: The address that the request would come from.
            listener: The name of the listener to use instead.
            http2: Whether the client uses HTTP/2. A request that does not fit the `protocol_version` of its target group gets 464, which
                `why` explains; a Content-Type of `application/grpc` makes it a gRPC request.

        Raises:
            LookupError: there is no listener of this name.
            ValueError: the listener does not accept HTTP/2.
            RuntimeError: the load balancer is not running.
        """
        if self._runtime is None:
            raise RuntimeError("the load balancer is not running; await start() first")
        return explain(method, url, headers, client, listener, self._running, self._runtime, http2=http2)

    def reopen_logs(self) -> None:
        """Open the files of all logs again, after another program has renamed them. Returns at once; no line is lost or torn.

        If a file cannot be opened, the one that is open stays in use, and a warning says why. Does nothing if the load balancer is not
        running.
        """
        if self._logs is not None:
            self._logs.reopen()

    async def close_tunnels(
        self,
        group: str | None = None,
        target: Any = None,
        *,
        ids: Collection[int] | None = None,
        code: int = 1001,
        reason: str = "",
    ) -> int:
        """Begin to close tunnels, as `Tunnel.close` does, and return how many. Without arguments, close all.

        It does not wait until their sockets are closed, which takes two to three seconds at most.

        Args:
            group: Only tunnels to targets of this group.
            target: Only tunnels to this target, in any form that `TargetGroup` accepts.
            ids: Only tunnels with these numbers (`Tunnel.id`).
            code: As for `Tunnel.close`.
            reason: As for `Tunnel.close`.

        Raises:
            ConfigurationError: the target is not valid.
            ValueError: a Close frame cannot contain this code or reason.
        """
        address = None if target is None else str(target_from(target))
        return await close_tunnels(self._tunnels, group, address, ids, code, reason)

    async def admin(self, host: str | None = "127.0.0.1", port: int = 0, *, token: str | None = None, hosts: Sequence[str] = ()) -> Admin:
        """Open the admin API, with its live page, on a port of its own. It ends with the load balancer, after the drain (docs/admin.md).

        Await `stop()` of the returned object to close it earlier. There may be several. Without a running load balancer, it can be opened
        as well; `/ready` is red then.

        Args:
            host: The address to listen on; `None` for all of this machine. Default: `"127.0.0.1"`.
            port: 0 to 65535; 0 takes a free one, see `port` and `url` of the returned object. Default: `0`.
            token: What clients must send as `Authorization: Bearer TOKEN`, 16 to 256 visible ASCII characters. Required unless `host` is a
                loopback address, because whoever reaches the port can drive the load balancer. Default: `None`.
            hosts: Names, without a port, by which browsers may address it, beside loopback names and the address itself. Requests with
                another `Host` get 403, as a defense against DNS rebinding.

        Raises:
            ConfigurationError: lists every fault.
            OSError: the port cannot be opened; the text says why and what to do.
            RuntimeError: the load balancer was stopped meanwhile.
        """
        return await self._admins.open(host=host, port=port, token=token, hosts=hosts)

    def _groups(self, name: str | None) -> Sequence[TargetGroupState]:
        registry = self._sources.registry
        if name is None:
            return registry.groups if registry is not None else ()
        if registry is None or name not in registry:
            known = sorted(state.group.name for state in registry.groups) if registry is not None else []
            raise LookupError(f"there is no target group {name!r}; the groups are {known}")
        return (registry.group(name),)
