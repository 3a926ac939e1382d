"""Targets that can stand in for each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import attrs

from albkit.errors import ConfigurationError
from albkit.model.attributes import default
from albkit.model.certificate import Certificate
from albkit.model.consistent_hash import ConsistentHash
from albkit.model.dns_name import DnsName
from albkit.model.ejection import CONNECTION_FAILURES, Ejection
from albkit.model.health_check import HealthCheck
from albkit.model.names import fault_of_name
from albkit.model.stickiness import StickinessSetting, fault_of_stickiness
from albkit.model.target import Target, target_from
from albkit.model.tunnel import TunnelPolicy
from albkit.model.validation import Faults, as_tuple

__all__ = ("TargetGroup", "fault_of_route", "targets_from")

_ALGORITHM = ("joined", "left", "started", "finished", "choose")


def _targets(value: Any) -> tuple[Any, ...]:
    """Targets where the forms can be read; what cannot be read stays as it is, for validation to name it with its place."""
    return tuple(_target_or_raw(item) for item in as_tuple(value))


def targets_from(value: Any) -> tuple[Target, ...]:
    """Targets from one of the forms people write, or a list of them.

    Raises:
        ConfigurationError: listing every one that cannot be read, with its place.
    """
    faults = Faults("targets")
    targets: list[Target] = []
    for index, item in enumerate(as_tuple(value)):
        try:
            targets.append(target_from(item))
        except ConfigurationError as error:
            for fault in error.faults:
                faults.add(f"[{index}]", fault)
    faults.raise_if_any()
    return tuple(targets)


def fault_of_route(target: Target, routes: dict[str, Target]) -> str | None:
    """What is wrong with a target whose sessions would go to another one, or `None`.

    Args:
        target: Whose route is to be its own.
        routes: The targets that have one already; this one is added.
    """
    if target.route is None:
        return None
    other = routes.setdefault(target.route, target)
    return None if str(other) == str(target) else f"its route {target.route!r} is that of {other}; a route names one target"


def _target_or_raw(item: Any) -> Any:
    if isinstance(item, DnsName):
        return item
    try:
        return target_from(item)
    except ConfigurationError:
        return item


def _on_or_off(value: Any) -> Any:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


@attrs.frozen(cache_hash=True)
class TargetGroup:
    """A named group of targets, as ALB's target group (docs/alb.md 1.8).

    Args:
        name: 1 to 32 letters, digits and hyphens; unique within a load balancer.
        targets: One target or a list: `Target` objects, `"host:port"`, `"http://host[:port]"`, `"https://host[:port]"` or
            `"unix:/path"`; a `DnsName` stands for every address that a name has. May be empty: requests are then answered 503.
        stickiness: `LbCookie(...)`, `AppCookie(...)`, `RouteSuffix(...)`, `SourceAddress()`, or a function of the request that returns the
            key of its session, or `None` (see `albkit.extensions.StickyKey`); `None` (default) for no stickiness.
        algorithm: `"round_robin"` (default), `"least_outstanding_requests"`, `"weighted_random"` (not with stickiness); beyond ALB
            `"ip_hash"`, `"consistent_hash"` or `ConsistentHash(...)`, `"least_response_time"`, `"by_traffic"`, or an object of your own
            (see `albkit.extensions.Algorithm`).
        anomaly_mitigation: `"on"`: a target whose share of errors stands out from its peers' gets less of the traffic, until it is well
            (docs/alb.md 5.2); `"off"` by default. Only with `"weighted_random"`.
        ejection: Which targets get no new requests for a while because they fail. `"auto"` (default): in a group without `health_check`
            one whose connection is refused, times out or fails in TLS, for 10 seconds, and for up to 60 where it goes on failing; never
            the last one. With a `health_check` that alone decides. `Ejection(...)`: those that fail their requests as it says. `None`:
            nobody.
        protocol: `"HTTP"` or `"HTTPS"`, what is spoken with the targets; `None` (default) for each target's own, HTTP where it has
            none. A target with another scheme in its address is a fault. Behind TCP and TLS listeners `"TCP"`, which `None`
            means there, or `"TLS"`.
        verify: Whether the certificates of HTTPS and TLS targets are verified: `False` (default, as ALB), `True` for the machine's trust
            store, or the path of a file of CA certificates.
        client_certificate: `Certificate(...)`: what is shown to HTTPS and TLS targets that ask for one; `None` (default) for nothing.
        proxy_protocol: `"v1"` or `"v2"`: connections to targets begin with a PROXY protocol header that tells the client's address (v2 its
            TLS as well); `None` (default) for none. A connection then serves one client only. Health checks say that they are the load
            balancer's own.
        deregistration_delay: Seconds, 0 to 3600, 300 by default, for the exchanges and tunnels of a deregistered target to end.
        health_check: `HealthCheck(...)`: how its targets are asked whether they are well; `None` (default) for no checks: all are taken
            for well.
        minimum_healthy_targets: How many healthy targets the group must have for the others to get no requests: a number, 1 and more, a
            percentage of its targets as text (`"50%"`), or both as a pair; 1 by default. With fewer, all get requests (ALB's fail-open).
        slow_start: Seconds, 0 to 900, 0 by default, over which the share of requests of a target that has become healthy grows from nothing
            to its full size (docs/alb.md 5.6). Not for the first targets of a group: there must be one that has its full share. Only
            with `"round_robin"` or an algorithm of your own; sessions go to their target from the beginning.
        waiting_line: How many requests may wait while all targets have as many as their `max_concurrency` lets them, 100 by default; a
            further one gets 503 at once.
        waiting_timeout: Seconds that a request waits there, 1 by default; then 503.
        tunnel: `TunnelPolicy(...)`: how long its tunnels live, what keeps them alive and how they end.

    Raises:
        ConfigurationError: listing every fault of its own and of the targets given as text.
    """

    name: str
    targets: tuple[Target | DnsName, ...] = attrs.field(default=(), converter=_targets)
    stickiness: StickinessSetting | None = attrs.field(default=None, kw_only=True)
    algorithm: Any = attrs.field(default=default("TargetGroup", "algorithm"), kw_only=True)
    anomaly_mitigation: str = attrs.field(
        default=cast("str", default("TargetGroup", "anomaly_mitigation")), converter=_on_or_off, kw_only=True
    )
    ejection: Ejection | str | None = attrs.field(default=cast("str", default("TargetGroup", "ejection")), kw_only=True)
    protocol: str | None = attrs.field(default=None, kw_only=True)
    verify: bool | str = attrs.field(default=False, kw_only=True)
    client_certificate: Certificate | None = attrs.field(default=None, kw_only=True)
    proxy_protocol: str | None = attrs.field(default=None, kw_only=True)
    deregistration_delay: float = attrs.field(default=cast("float", default("TargetGroup", "deregistration_delay")), kw_only=True)
    slow_start: float = attrs.field(default=cast("float", default("TargetGroup", "slow_start")), kw_only=True)
    health_check: HealthCheck | None = attrs.field(default=None, kw_only=True)
    minimum_healthy_targets: tuple[int | str, ...] = attrs.field(default=1, converter=as_tuple, kw_only=True)
    waiting_line: int = attrs.field(default=cast("int", default("TargetGroup", "waiting_line")), kw_only=True)
    waiting_timeout: float = attrs.field(default=cast("float", default("TargetGroup", "waiting_timeout")), kw_only=True)
    tunnel: TunnelPolicy = attrs.field(factory=TunnelPolicy, kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("TargetGroup")
        wrong = fault_of_name(self.name)
        if wrong:
            faults.add("name", wrong)
        self._check_targets(faults, self.targets)
        self._check_algorithm(faults)
        wrong = fault_of_stickiness(self.stickiness)
        if wrong:
            faults.add("stickiness", wrong)
        if self.ejection is not None and not isinstance(self.ejection, Ejection) and self.ejection != "auto":
            faults.add("ejection", f"{self.ejection!r} is not Ejection(...), 'auto' or None")
        if self.protocol is not None:
            faults.attribute(self, "protocol")
        if not isinstance(self.verify, bool | str) or self.verify == "":
            faults.add("verify", f"{self.verify!r} is not True, False or the path of a file of CA certificates")
        if self.client_certificate is not None and not isinstance(self.client_certificate, Certificate):
            faults.add("client_certificate", f"{self.client_certificate!r} is not Certificate(...) or None")
        if self.proxy_protocol is not None:
            faults.attribute(self, "proxy_protocol")
        faults.attribute(self, "deregistration_delay", "slow_start", "waiting_line", "waiting_timeout")
        if self.health_check is not None and not isinstance(self.health_check, HealthCheck):
            faults.add("health_check", f"{self.health_check!r} is not HealthCheck(...) or None")
        self._check_minimum(faults)
        if not isinstance(self.tunnel, TunnelPolicy):
            faults.add("tunnel", f"{self.tunnel!r} is not TunnelPolicy(...)")
        faults.raise_if_any()

    def _check_algorithm(self, faults: Faults) -> None:
        """The algorithm, and what does not go with it (docs/alb.md 1.8)."""
        if isinstance(self.algorithm, str):
            faults.attribute(self, "algorithm")
        elif not isinstance(self.algorithm, ConsistentHash) and (
            isinstance(self.algorithm, type) or not all(callable(getattr(self.algorithm, name, None)) for name in _ALGORITHM)
        ):
            faults.add("algorithm", f"{self.algorithm!r} is neither a name nor an object with the methods {', '.join(_ALGORITHM)}")
        if self.algorithm == "weighted_random" and self.stickiness is not None:
            faults.add("stickiness", "does not go with weighted_random (docs/alb.md 1.8); use another algorithm or None")
        faults.attribute(self, "anomaly_mitigation")
        if self.anomaly_mitigation == "on" and self.algorithm != "weighted_random":
            faults.add("anomaly_mitigation", "goes with weighted_random only (docs/alb.md 1.8); with other algorithms use Ejection")
        if self.slow_start and not self._takes_turns:
            faults.add("slow_start", f"does not go with {self._algorithm_in_words} (docs/alb.md 1.8); use round_robin or 0")

    @property
    def _takes_turns(self) -> bool:
        """Whether targets are chosen by round robin, or by an object of the program's own, of which nobody knows."""
        return self.algorithm == "round_robin" or not isinstance(self.algorithm, str | ConsistentHash)

    @property
    def _algorithm_in_words(self) -> str:
        return self.algorithm if isinstance(self.algorithm, str) else type(self.algorithm).__name__

    @property
    def fixed_targets(self) -> tuple[Target, ...]:
        """Those that are declared by their address."""
        return tuple(target for target in self.targets if isinstance(target, Target))

    @property
    def names(self) -> tuple[DnsName, ...]:
        """The names that further targets are found by."""
        return tuple(target for target in self.targets if isinstance(target, DnsName))

    @property
    def ejection_in_force(self) -> Ejection | None:
        """Which targets are ejected, and for how long; `None` where nobody is."""
        if not isinstance(self.ejection, str):
            return self.ejection
        return CONNECTION_FAILURES if self.health_check is None else None

    @property
    def ejects_unconnected_only(self) -> bool:
        """Whether connections that do not come about are all that targets are ejected for."""
        return self.ejection_in_force is CONNECTION_FAILURES

    def fault_of_member(self, target: Target | DnsName) -> str | None:
        """What keeps a target from being one of this group's, or `None`."""
        if self.protocol is not None and target.protocol not in (None, self.protocol):
            return f"{target.protocol} clashes with the group's protocol {self.protocol}; drop one of them"
        if target.max_concurrency is not None and self.stickiness is not None:
            return "max_concurrency does not go with stickiness, as ALB's target optimizer (docs/alb.md 1.8); drop one of them"
        if target.max_concurrency is not None and not self._takes_turns:
            how = self._algorithm_in_words
            return f"max_concurrency does not go with {how}, as ALB's target optimizer (docs/alb.md 1.8); use round_robin"
        return None

    def protocol_of(self, target: Target) -> str:
        """What is spoken with one target of the group. HTTP may stand for TCP: what is said over it is the listener's matter."""
        return target.protocol or self.protocol or "HTTP"

    def is_secure(self, target: Target) -> bool:
        """Whether TLS is spoken with one target of the group."""
        return self.protocol_of(target) in ("HTTPS", "TLS")

    def too_few(self, healthy: int, targets: int) -> bool:
        """Whether so many healthy ones of so many targets are fewer than there must be."""
        return any(
            healthy * 100 < int(least.removesuffix("%")) * targets if isinstance(least, str) else healthy < least
            for least in self.minimum_healthy_targets
        )

    def _check_minimum(self, faults: Faults) -> None:
        kinds = [type(least) for least in self.minimum_healthy_targets]
        if not kinds or len(kinds) != len(set(kinds)):
            faults.add("minimum_healthy_targets", f"{self.minimum_healthy_targets!r}: give a number, a percentage, or one of each")
        for least in self.minimum_healthy_targets:
            number = least.removesuffix("%") if isinstance(least, str) and least.endswith("%") and least.isascii() else ""
            if not (type(least) is int and least >= 1) and not (number.isdigit() and len(number) <= 3 and 1 <= int(number) <= 100):
                faults.add("minimum_healthy_targets", f"{least!r} is neither a number, 1 and more, nor a percentage from '1%' to '100%'")

    def _check_targets(self, faults: Faults, targets: Sequence[object]) -> None:
        seen: dict[str, int] = {}
        routes: dict[str, Target] = {}
        for index, item in enumerate(targets):
            try:
                target = item if isinstance(item, DnsName) else target_from(item)
            except ConfigurationError as error:
                for fault in error.faults:
                    faults.add(f"targets[{index}]", fault)
                continue
            of_route = fault_of_route(target, routes) if isinstance(target, Target) else None
            wrong = self.fault_of_member(target) or of_route
            if wrong:
                faults.add(f"targets[{index}]", wrong)
            first = seen.setdefault(str(target), index)
            if first != index:
                faults.add(f"targets[{index}]", f"{target} is registered already, as targets[{first}]")
