"""Describes the parts of a load balancer, for programs and for the admin API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from albkit.clock import Clock
from albkit.control.registration import text_of
from albkit.errors import name_of
from albkit.model.descriptions import (
    CertificateDescription,
    ListenerDescription,
    RuleDescription,
    TargetDescription,
    TargetGroupDescription,
)
from albkit.model.health import TargetHealthState
from albkit.model.health_check import HealthCheck
from albkit.model.stickiness.stickiness import BuiltInStickiness
from albkit.model.target_group import TargetGroup
from albkit.policy.describe import describe_action, describe_condition
from albkit.policy.route_plan import RoutePlan
from albkit.policy.rule_table import CompiledRule, RuleTable
from albkit.proxy.accept.listener import RunningListener
from albkit.state.counters import TrafficCounters
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("Describer", "listener_ids")

_CLOCK_STEP = 0.5
"""Seconds by which wall clock and monotonic clock must drift apart before times are converted anew. A conversion that followed each
microsecond of drift would report every time as changed, in every description."""


class Describer:
    """Makes descriptions. One per load balancer: it remembers what is costly to make again.

    Args:
        clock: The source of time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.time() - clock.monotonic()
        self._rule_texts: dict[RunningListener, tuple[RuleTable[RoutePlan], dict[int, tuple[tuple[str, ...], str]]]] = {}

    def listeners(self, running: Sequence[RunningListener]) -> list[ListenerDescription]:
        """Describe the open listeners."""
        return [_listener(identity, one) for identity, one in zip(listener_ids(running), running, strict=True)]

    def rules(self, running: Sequence[RunningListener]) -> Iterator[RuleDescription]:
        """Describe the rules of the open listeners, each when it is asked for, by listener and priority, the default action last."""
        known, self._rule_texts = self._rule_texts, {}
        tables: list[tuple[str, RuleTable[RoutePlan], dict[int, tuple[tuple[str, ...], str]]]] = []
        for identity, listener in zip(listener_ids(running), running, strict=True):
            table = listener.listener_runtime.rules
            before = known.get(listener)
            texts = before[1] if before is not None and before[0] is table else {}
            self._rule_texts[listener] = table, texts
            tables.append((identity, table, texts))
        return _rules(tables)

    def certificates(self, running: Sequence[RunningListener]) -> list[CertificateDescription]:
        """Describe the certificates that the open listeners offer."""
        found = []
        for identity, listener in zip(listener_ids(running), running, strict=True):
            termination = listener.listener_runtime.termination
            for label, facts in termination.certificates() if termination is not None else ():
                found.append(CertificateDescription(label, identity, facts.names, facts.not_before, facts.not_after, facts.key_type))
        return found

    def groups(self, states: Sequence[TargetGroupState], streams: frozenset[str]) -> Iterator[TargetGroupDescription]:
        """Describe target groups, each when it is asked for.

        Args:
            states: Their states.
            streams: The names of those that only TCP and TLS listeners forward to.
        """
        self._adjust()
        return (self._group(state, "TCP" if state.group.name in streams else "HTTP") for state in states)

    def targets(self, states: Iterable[TargetGroupState], addresses: Sequence[str] | None) -> Iterator[TargetDescription]:
        """Describe the targets of groups, each when it is asked for.

        Args:
            states: The states of the groups.
            addresses: Only these; those that are unknown are left out. `None` for all.
        """
        self._adjust()
        chosen: list[tuple[str, list[TargetState]]] = []
        for state in states:
            members = state.members
            # A copy: the members may change before the last description is asked for.
            found = list(members.values()) if addresses is None else [members[address] for address in addresses if address in members]
            chosen.append((state.group.name, found))
        return (self._target(name, member) for name, found in chosen for member in found)

    def wall(self, time: float) -> float | None:
        """Convert a time of the monotonic clock; 0 stands for never."""
        return round(self._offset + time, 3) if time else None

    def _adjust(self) -> None:
        offset = self._clock.time() - self._clock.monotonic()
        if abs(offset - self._offset) > _CLOCK_STEP:
            self._offset = offset

    def _group(self, state: TargetGroupState, protocol: str) -> TargetGroupDescription:
        group = state.group
        traffic = state.traffic()
        members = state.members.values()
        states = [member.state for member in members]
        return TargetGroupDescription(
            name=group.name,
            protocol=group.protocol or protocol,
            protocol_version=group.protocol_version,
            algorithm=group.algorithm if isinstance(group.algorithm, str) else type(group.algorithm).__name__,
            stickiness=_stickiness(group),
            health_check=_health_check(group.health_check, group.protocol_version, protocol),
            deregistration_delay=group.deregistration_delay,
            targets=len(states),
            healthy=states.count(TargetHealthState.HEALTHY),
            unhealthy=states.count(TargetHealthState.UNHEALTHY),
            fails_open=state.fails_open,
            outstanding=sum(member.outstanding for member in members),
            tunnels=sum(member.tunnels for member in members),
            requests=traffic.requests + traffic.flows,
            processed_bytes=traffic.processed_bytes,
            responses=_responses(traffic),
            retries=traffic.retries,
            connection_errors=traffic.target_connection_errors + traffic.target_tls_errors,
            last_active_at=self.wall(state.last_active_at),
        )

    def _target(self, group: str, member: TargetState) -> TargetDescription:
        counters = member.counters
        ejected = member.ejected_until
        return TargetDescription(
            group=group,
            target=member.target,
            weight=member.weight,
            state=member.state,
            reason=member.reason,
            description=member.description or text_of(member.reason),
            ejected_until=self.wall(ejected) if ejected is not None else None,
            eject_reason=member.eject_reason,
            draining_until=self.wall(member.deadline) if member.state is TargetHealthState.DRAINING else None,
            outstanding=member.outstanding,
            tunnels=member.tunnels,
            requests=counters.requests + counters.flows,
            errors=member.errors,
            processed_bytes=counters.processed_bytes,
            responses=_responses(counters),
            connection_errors=counters.target_connection_errors + counters.target_tls_errors,
            retries=counters.retries,
            last_active_at=self.wall(member.last_active_at),
            last_check=member.last_check,
        )


def listener_ids(running: Sequence[RunningListener]) -> list[str]:
    """Return an id for each listener: its name, else its port as text."""
    seen: Counter[str] = Counter()
    ids = []
    for listener in running:
        name = listener.listener.name or str(listener.port)
        seen[name] += 1
        ids.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return ids


def _listener(identity: str, running: RunningListener) -> ListenerDescription:
    runtime = running.listener_runtime
    counters = runtime.listener_state.counters
    return ListenerDescription(
        id=identity,
        name=running.listener.name,
        protocol=running.listener.protocol,
        host=running.listener.host,
        port=running.port,
        url=running.url,
        rules=len(runtime.rules.rules),
        active_connections=runtime.limiter.count,
        requests=counters.exchanges,
        processed_bytes=counters.processed_bytes,
        responses={
            "2xx": counters.responses_2xx,
            "3xx": counters.responses_3xx,
            "4xx": counters.responses_4xx,
            "5xx": counters.responses_5xx,
        },
    )


def _rules(
    tables: Sequence[tuple[str, RuleTable[RoutePlan], dict[int, tuple[tuple[str, ...], str]]]],
) -> Iterator[RuleDescription]:
    for identity, table, texts in tables:
        for rule in (*table.rules, table.default):
            text = texts.get(rule.priority)
            if text is None:
                text = texts[rule.priority] = _texts_of(rule)
            yield RuleDescription(identity, rule.priority, *text, rule.hits)


def _texts_of(rule: CompiledRule[RoutePlan]) -> tuple[tuple[str, ...], str]:
    plan = rule.action
    conditions = tuple(map(describe_condition, rule.rule.conditions)) if rule.rule is not None else ()
    return conditions, ", then ".join([*map(describe_action, plan.hooks), plan.routing.describe()])


def _responses(counters: TrafficCounters) -> Mapping[str, int]:
    return {"2xx": counters.target_2xx, "3xx": counters.target_3xx, "4xx": counters.target_4xx, "5xx": counters.target_5xx}


def _stickiness(group: TargetGroup) -> str | None:
    if group.stickiness is None:
        return None
    return group.stickiness.reason if isinstance(group.stickiness, BuiltInStickiness) else f"bound by {name_of(group.stickiness)}"


def _health_check(check: HealthCheck | None, version: str, protocol: str) -> str | None:
    if check is None:
        return None
    if check.probe is not None:
        what = f"probe {name_of(check.probe)}"
    elif check.protocol == "TCP" or (check.protocol is None and protocol == "TCP"):
        what = "TCP connection"
    elif check.protocol == "WEBSOCKET":
        what = f"WebSocket {check.path}"
    elif version == "GRPC":
        what = f"gRPC {check.path_for(version)}"
    else:
        what = f"GET {check.path}"
    port = f" on port {check.port}" if check.port is not None else ""
    return f"{what}{port} every {check.interval:g} s"
