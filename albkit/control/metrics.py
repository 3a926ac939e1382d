"""The metrics of a load balancer, as programs read them: `LoadBalancer.metrics`, `counters` and `counters_of`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from albkit.control.metric_sources import MetricSources
from albkit.errors import FailureKind
from albkit.model.health import TargetHealthState
from albkit.model.target import target_from
from albkit.model.tunnel import TunnelEnd
from albkit.policy.route_plan import RoutePlan
from albkit.policy.rule_table import CompiledRule
from albkit.report.prometheus import CONTENT_TYPE, Exposition, Samples
from albkit.report.prometheus_families import Family
from albkit.state.counters import TrafficCounters, failure_metric, tunnel_end_metric
from albkit.state.histogram import Histogram
from albkit.state.metrics import LISTENER_METRICS, METRICS, RULE_HITS, TRAFFIC_METRICS
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("Metrics", "View", "Views")

Key = TypeVar("Key")
Value = TypeVar("Value")

_HOSTS: Final[Mapping[str, Callable[[TargetState], bool]]] = {
    "HealthyHostCount": lambda member: member.state is TargetHealthState.HEALTHY,
    "UnHealthyHostCount": lambda member: member.state is TargetHealthState.UNHEALTHY,
    "AnomalousHostCount": lambda member: member.is_anomalous,
    "MitigatedHostCount": lambda member: member.is_mitigated,
}


class Views(Mapping[Key, Value]):
    """Live views by name. It changes with the load balancer.

    Args:
        keys: Returns the names that there are now.
        view: Returns the view of a name; `KeyError` if there is none.
    """

    def __init__(self, keys: Callable[[], Sequence[Key]], view: Callable[[Key], Value]) -> None:
        self._keys = keys
        self._view = view

    def __getitem__(self, key: Key) -> Value:
        return self._view(key)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {list(self._keys())}>"


class View(Mapping[str, Any]):
    """The metrics of one object by name, as of the moment when each is read.

    Reading raises `LookupError` when the object no longer exists.

    Args:
        readers: By name, what returns the metric.
    """

    def __init__(self, readers: Mapping[str, Callable[[], Any]]) -> None:
        self._readers = readers

    def __getitem__(self, name: str) -> Any:
        return self._readers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def __repr__(self) -> str:
        return f"<View of {dict(self)}>"


class Metrics:
    """The metrics of a load balancer, by the names that ALB uses if it has such a metric. docs/counters.md lists them.

    All of it is a live view: nothing is computed before it is read. Counters only grow, and continue after `apply`, `stop` and another
    `start`. Read it from the event loop's thread only.
    """

    content_type: Final = CONTENT_TYPE
    """The Content-Type of the text that `prometheus` returns."""

    def __init__(self, sources: MetricSources) -> None:
        self._sources = sources
        self._exposition = Exposition(sources)
        counters = sources.counters
        readers: dict[str, Callable[[], Any]] = {m.name: partial(self._sum, slot) for slot, m in TRAFFIC_METRICS.items()}
        readers |= {metric.name: partial(getattr, counters, slot) for slot, metric in METRICS.items()}
        readers |= {failure_metric(kind): partial(counters.failures.__getitem__, kind) for kind in FailureKind}
        readers |= {tunnel_end_metric(end): partial(counters.tunnel_ends.__getitem__, end) for end in TunnelEnd}
        self.load_balancer: Mapping[str, Any] = View(readers | self._of_members(self._all_members, sources.parts))
        """Everything that `LoadBalancer.counters` has, and `ActiveRequestCount`, `LastActivityTime` and `TargetResponseTime`."""
        self.listeners: Mapping[str, Mapping[str, Any]] = Views(lambda: tuple(self._sources.by_key()), self._listener)
        """By the name of the listener, else by its port as text. Of several with the same port, the second one is `80#2`, and so on."""
        self.rules: Mapping[str, Mapping[int, Mapping[str, Any]]] = Views(lambda: tuple(self._sources.by_key()), self._rules)
        """`RuleHitCount` of each rule, by listener and priority. Priority 0 is the default action."""
        self.groups: Mapping[str, Mapping[str, Any]] = Views(lambda: tuple(self._groups()), self._group)
        """By the name of the target group."""
        self.targets: Mapping[str, Mapping[str, Mapping[str, Any]]] = Views(lambda: tuple(self._groups()), self._targets)
        """By the name of the target group, then by the address of the target, as in `10.0.0.5:8000`."""

    # What programs read.

    def prometheus(self) -> str:
        """Return all metrics in the text format of Prometheus. With thousands of targets this takes many milliseconds; then use
        `prometheus_in_steps`."""
        return "".join(self._exposition.text())

    async def prometheus_in_steps(self) -> str:
        """Return the same text, and give the event loop back every millisecond or so."""
        parts = []
        for part in self._exposition.text():
            parts.append(part)
            await asyncio.sleep(0)
        return "".join(parts)

    def prometheus_chunks(self) -> Iterator[str]:
        """Give the same text in chunks. Other tasks may run between them. A chunk may be empty."""
        return self._exposition.text()

    def samples(self) -> Iterator[Samples | None]:
        """Give the same metrics as objects, for other formats. Other tasks may run between them; `None` is nothing but a pause."""
        return self._exposition.samples()

    @property
    def families(self) -> tuple[Family, ...]:
        """The families of the Prometheus text, in its order."""
        return self._exposition.families

    @property
    def name(self) -> str:
        """The name of the load balancer."""
        return self._sources.name

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the load balancer; `None` while it does not run."""
        return self._sources.loop if self._sources.is_running else None

    def counters(self) -> dict[str, int]:
        """Return what `LoadBalancer.counters` returns."""
        counters = self._sources.counters.as_mapping(self._sources.parts()[1:])
        counters.update(self._host_counts(self._all_members()))
        return counters

    def counters_of(self, group: TargetGroupState, target: Any = None) -> dict[str, int]:
        """Return what `LoadBalancer.counters_of` returns."""
        if target is None:
            members = list(group.members.values())
            counters = TrafficCounters.total(group.parts()).as_mapping()
            counters.update(self._host_counts(members))
        else:
            address = str(target_from(target))
            member = group.members.get(address)
            if member is None:
                raise LookupError(f"target group {group.group.name!r} has no target {address}; it has {sorted(group.members)}")
            members = [member]
            counters = member.counters.as_mapping()
        counters["ActiveRequestCount"] = sum(member.outstanding for member in members)
        return counters

    # The load balancer.

    def _sum(self, slot: str) -> int:
        return sum([getattr(part, slot) for part in self._sources.parts()])

    def _all_members(self) -> list[TargetState]:
        """All targets; none while the load balancer does not run, so that gauges are 0."""
        groups = self._sources.registry.groups if self._sources.registry is not None and self._sources.is_running else ()
        return [member for group in groups for member in group.members.values()]

    # What groups and targets have in common.

    def _host_counts(self, members: Sequence[TargetState]) -> dict[str, int]:
        return {name: sum(map(counts, members)) for name, counts in _HOSTS.items()}

    def _of_members(
        self,
        members: Callable[[], Sequence[TargetState]],
        parts: Callable[[], Sequence[TrafficCounters]],
        last_active_at: Callable[[], float] | None = None,
    ) -> dict[str, Callable[[], Any]]:
        """The metrics of any number of targets.

        Args:
            members: Returns them.
            parts: Returns the counters whose sum is theirs.
            last_active_at: Returns when the last exchange has ended; `None` for the latest of all groups.
        """

        def last_active() -> float:
            if any(member.outstanding for member in members()):
                return self._sources.clock.time()
            latest = (last_active_at or self._last_active_at)()
            return self._sources.clock.time() - self._sources.clock.monotonic() + latest if latest else 0.0

        return {
            **{name: partial(lambda counts: sum(map(counts, members())), counts) for name, counts in _HOSTS.items()},
            "ActiveRequestCount": lambda: sum(member.outstanding for member in members()),
            "OpenTunnelCount": lambda: sum(member.tunnels for member in members()),
            "LastActivityTime": last_active,
            "TargetResponseTime": lambda: Histogram.total([part.response_times for part in parts()]),
        }

    def _last_active_at(self) -> float:
        return max((group.last_active_at for group in self._groups().values()), default=0.0)

    # Groups.

    def _groups(self) -> dict[str, TargetGroupState]:
        return {group.group.name: group for group in self._sources.registry.groups} if self._sources.registry is not None else {}

    def _state(self, name: str) -> TargetGroupState:
        if self._sources.registry is None or name not in self._sources.registry:
            raise KeyError(name)
        return self._sources.registry.group(name)

    def _group(self, name: str) -> View:
        self._state(name)

        def members() -> Sequence[TargetState]:
            return list(self._state(name).members.values()) if self._sources.is_running else []

        def sum_of(slot: str) -> int:
            return sum([getattr(part, slot) for part in self._state(name).parts()])

        def per_target() -> float:
            state = self._state(name)
            healthy = sum(map(_HOSTS["HealthyHostCount"], state.members.values()))
            hosts = healthy or len(state.members)
            return sum_of("requests") / hosts if hosts else 0.0

        readers: dict[str, Callable[[], Any]] = {metric.name: partial(sum_of, slot) for slot, metric in TRAFFIC_METRICS.items()}
        readers |= self._of_members(members, lambda: self._state(name).parts(), lambda: self._state(name).last_active_at)
        readers["RequestCountPerTarget"] = per_target
        return View(readers)

    # Targets.

    def _targets(self, name: str) -> Views[str, View]:
        self._state(name)
        return Views(lambda: tuple(self._state(name).members), partial(self._target, name))

    def _target(self, group: str, address: str) -> View:
        def member() -> TargetState:
            return self._state(group).members[address]

        member()
        readers: dict[str, Callable[[], Any]] = {
            metric.name: partial(lambda slot: getattr(member().counters, slot), slot) for slot, metric in TRAFFIC_METRICS.items()
        }
        common = self._of_members(lambda: [member()], lambda: [member().counters], lambda: member().last_active_at)
        return View(readers | {name: read for name, read in common.items() if name not in _HOSTS})

    # Listeners and rules.

    def _listener(self, key: str) -> View:
        self._sources.by_key()[key]
        return View(
            {
                metric.name: partial(lambda slot: getattr(self._sources.by_key()[key][0].counters, slot), slot)
                for slot, metric in LISTENER_METRICS.items()
            }
        )

    def _rules(self, key: str) -> Views[int, View]:
        def table() -> dict[int, CompiledRule[RoutePlan]]:
            rules = self._sources.by_key()[key][1]
            return {rule.priority: rule for rule in (*rules.rules, rules.default)}

        def view(priority: int) -> View:
            table()[priority]
            return View({RULE_HITS.name: lambda: table()[priority].hits})

        table()
        return Views(lambda: tuple(table()), view)
