"""A target group: targets that serve the same requests."""

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
    """Convert every item whose form is known. Others stay as they are, so that validation can name each with its index."""
    # A converter runs before validation, and must not raise for one item before the others are checked.
    return tuple(_target_or_raw(item) for item in as_tuple(value))


def targets_from(value: Any) -> tuple[Target, ...]:
    """Make targets from one or several items of any accepted form.

    Raises:
        ConfigurationError: lists every item without such a form, with its index.
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
    """Say whether a target's route is already that of another target; `None` if it is not.

    Args:
        target: The target to check.
        routes: The targets by the routes seen so far; this one is added.
    """
    if target.route is None:
        return None
    other = routes.setdefault(target.route, target)
    return None if str(other) == str(target) else f"its route {target.route!r} is already that of {other}; give each its own"


def _target_or_raw(item: Any) -> Any:
    if isinstance(item, DnsName):
        return item
    try:
        return target_from(item)
    except ConfigurationError:
        return item


def _on_or_off(value: Any) -> Any:
    # ALB's API says on and off; Python programs, and YAML files with a bare on, say True and False.
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


@attrs.frozen(cache_hash=True)
class TargetGroup:
    """A named group of targets, as ALB's target group (docs/alb.md 1.8).

    Args:
        name: 1 to 32 letters, digits and hyphens; unique within a load balancer.
        targets: One target or a list: `Target` objects, `"host:port"`, `"http://host[:port]"`, `"https://host[:port]"` or `"unix:/path"`; a
            `DnsName` stands for every address of a DNS name. May be empty; requests then get 503.
        stickiness: `LbCookie(...)`, `AppCookie(...)`, `RouteSuffix(...)`, `SourceAddress()`, or a function of the request that returns the
            key of its session or `None` (see `albkit.extensions.StickyKey`). Default: `None`, no stickiness.
        algorithm: `"round_robin"`, `"least_outstanding_requests"` or `"weighted_random"` (not with stickiness); beyond ALB also
            `"ip_hash"`, `"consistent_hash"` or `ConsistentHash(...)`, `"least_response_time"`, `"by_traffic"`, or an object of your own
            (see `albkit.extensions.Algorithm`). Default: `"round_robin"`.
        anomaly_mitigation: `"on"` gives a target whose error rate stands out from that of its peers fewer requests, until it recovers
            (docs/alb.md 5.2). Only with `"weighted_random"`. Default: `"off"`.
        ejection: Which failing targets get no new requests for a while. `"auto"`: in a group without `health_check`, a target that refuses
            connections, times out or fails the TLS handshake is ejected for 10 seconds, and for up to 60 if it keeps failing; the last
            target is never ejected. With a `health_check`, `"auto"` ejects none. `Ejection(...)`: targets that fail requests, by its
            settings. `None`: no target. Default: `"auto"`.
        protocol: The protocol of target connections: `"HTTP"` or `"HTTPS"`; behind TCP and TLS listeners `"TCP"` or `"TLS"`. A target whose
            URL has another scheme is a fault. Default: `None`, each target's own, or HTTP if it has none; TCP behind TCP and TLS listeners.
        protocol_version: The HTTP version of target connections: `"HTTP1"`, `"HTTP2"` or `"GRPC"`. `"HTTP2"` and `"GRPC"` use HTTP/2, by
            ALPN with HTTPS targets and by prior knowledge with HTTP targets. Requests that do not fit get 464, as in ALB: HTTP/1.1 requests
            to an HTTP2 or GRPC group, gRPC requests to an HTTP1 group, and to a GRPC group HTTP/2 requests other than POST. Not for groups
            behind TCP and TLS listeners. Default: `"HTTP1"`.
        verify: Whether to verify the certificates of HTTPS and TLS targets: `True` uses the machine's trust store, text is the path of a
            file of CA certificates. Default: `False`, as ALB.
        client_certificate: `Certificate(...)` that is sent to HTTPS and TLS targets that request one. Default: `None`.
        proxy_protocol: `"v1"` or `"v2"`: each target connection begins with a PROXY protocol header that contains the client's address (v2
            also its TLS session), and serves one client only. Health checks send a header that marks the connection as the load balancer's
            own. Default: `None`, no header.
        deregistration_delay: Seconds for which the exchanges and tunnels of a deregistered target may continue, 0 to 3600. Default: `300`.
        health_check: `HealthCheck(...)`: how to check whether the targets are healthy. Default: `None`, no checks: every target is assumed
            to be healthy.
        minimum_healthy_targets: How many targets must be healthy for the others to get no requests: a number, 1 or more, a percentage of
            the group's targets as text (`"50%"`), or both as a pair. With fewer healthy targets, all get requests (ALB's fail-open).
            Default: `1`.
        slow_start: Seconds, 0 to 900, in which the share of requests of a newly healthy target grows from nothing to its full size
            (docs/alb.md 5.6). It does not apply to the first targets of a group: at least one other target must have its full share. Only
            with `"round_robin"` or an algorithm of your own. Requests of existing sessions reach the target from the start. Default: `0`.
        waiting_line: How many requests may wait while every target has reached its `max_concurrency`; further ones get 503 at once.
            Default: `100`.
        waiting_timeout: Seconds for which a request waits for a free target; then it gets 503. Default: `1`.
        tunnel: `TunnelPolicy(...)`: the lifetime, the pings and the end of the group's tunnels.

    Raises:
        ConfigurationError: lists every fault of the group and of the targets given as text.
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
    protocol_version: str = attrs.field(default=cast("str", default("TargetGroup", "protocol_version")), kw_only=True)
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
        faults.attribute(self, "protocol_version")
        if self.protocol_version in ("HTTP2", "GRPC") and self.protocol in ("TCP", "TLS"):
            faults.add(
                "protocol_version", f"{self.protocol_version!r} needs protocol 'HTTP' or 'HTTPS', not {self.protocol!r}; leave one out"
            )
        if not isinstance(self.verify, bool | str) or self.verify == "":
            faults.add("verify", f"{self.verify!r} is not True, False or the path of a file of CA certificates")
        if self.client_certificate is not None and not isinstance(self.client_certificate, Certificate):
            faults.add("client_certificate", f"{self.client_certificate!r} is not Certificate(...) or None")
        if self.proxy_protocol is not None:
            faults.attribute(self, "proxy_protocol")
        faults.attribute(self, "deregistration_delay", "slow_start", "waiting_line", "waiting_timeout")
        if self.health_check is not None and not isinstance(self.health_check, HealthCheck):
            faults.add("health_check", f"{self.health_check!r} is not HealthCheck(...) or None")
        elif self.health_check is not None and self.protocol_version in ("HTTP1", "HTTP2", "GRPC"):
            self.health_check.check_for(self.protocol_version, faults)
        self._check_minimum(faults)
        if not isinstance(self.tunnel, TunnelPolicy):
            faults.add("tunnel", f"{self.tunnel!r} is not TunnelPolicy(...)")
        faults.raise_if_any()

    def _check_algorithm(self, faults: Faults) -> None:
        """Check the algorithm, and the settings that depend on it (docs/alb.md 1.8)."""
        if isinstance(self.algorithm, str):
            faults.attribute(self, "algorithm")
        # A class passes the check for methods as well, but has no state, so it is rejected: an instance is needed.
        elif not isinstance(self.algorithm, ConsistentHash) and (
            isinstance(self.algorithm, type) or not all(callable(getattr(self.algorithm, name, None)) for name in _ALGORITHM)
        ):
            faults.add("algorithm", f"{self.algorithm!r} is neither a name nor an object with the methods {', '.join(_ALGORITHM)}")
        if self.algorithm == "weighted_random" and self.stickiness is not None:
            faults.add("stickiness", "cannot be combined with weighted_random (ALB guide, 'Sticky sessions'); use another or None")
        faults.attribute(self, "anomaly_mitigation")
        if self.anomaly_mitigation == "on" and self.algorithm != "weighted_random":
            faults.add("anomaly_mitigation", "requires weighted_random (ALB guide, 'Automatic Target Weights'); with others use Ejection")
        if self.slow_start and not self._takes_turns:
            faults.add("slow_start", f"cannot be combined with {self._algorithm_name} (ALB guide, 'Slow start mode'); use round_robin or 0")

    @property
    def _takes_turns(self) -> bool:
        """Whether the algorithm is round robin, or an object of your own, of which nothing is known."""
        return self.algorithm == "round_robin" or not isinstance(self.algorithm, str | ConsistentHash)

    @property
    def _algorithm_name(self) -> str:
        return self.algorithm if isinstance(self.algorithm, str) else type(self.algorithm).__name__

    @property
    def fixed_targets(self) -> tuple[Target, ...]:
        """The targets that are declared by address."""
        return tuple(target for target in self.targets if isinstance(target, Target))

    @property
    def names(self) -> tuple[DnsName, ...]:
        """The DNS names that stand for further targets."""
        return tuple(target for target in self.targets if isinstance(target, DnsName))

    @property
    def ejection_in_force(self) -> Ejection | None:
        """The ejection settings that apply; `None` if no target is ejected."""
        if not isinstance(self.ejection, str):
            return self.ejection
        return CONNECTION_FAILURES if self.health_check is None else None

    @property
    def ejects_unconnected_only(self) -> bool:
        """Whether failed connections are the only reason for an ejection."""
        return self.ejection_in_force is CONNECTION_FAILURES

    def fault_of_member(self, target: Target | DnsName) -> str | None:
        """Say why a target cannot belong to this group; `None` if it can."""
        if self.protocol is not None and target.protocol not in (None, self.protocol):
            return f"its protocol {target.protocol} differs from the group's protocol {self.protocol}; leave out one of them"
        if target.max_concurrency is not None and self.stickiness is not None:
            return "max_concurrency cannot be combined with stickiness (ALB guide, 'Target optimizer'); leave one out"
        if target.max_concurrency is not None and not self._takes_turns:
            how = self._algorithm_name
            return f"max_concurrency cannot be combined with {how} (ALB guide, 'Target optimizer'); use round_robin"
        return None

    def protocol_of(self, target: Target) -> str:
        """The protocol of connections to one target of the group. It may say HTTP for TCP: the listener decides what is sent over the
        connection."""
        return target.protocol or self.protocol or "HTTP"

    def is_secure(self, target: Target) -> bool:
        """Whether connections to one target of the group use TLS."""
        return self.protocol_of(target) in ("HTTPS", "TLS")

    def too_few(self, healthy: int, targets: int) -> bool:
        """Whether this number of healthy targets, of this number of targets, is below `minimum_healthy_targets`."""
        return any(
            # Integer arithmetic: a percentage of a few targets would be rounded differently as a float.
            healthy * 100 < int(least.removesuffix("%")) * targets if isinstance(least, str) else healthy < least
            for least in self.minimum_healthy_targets
        )

    def _check_minimum(self, faults: Faults) -> None:
        kinds = [type(least) for least in self.minimum_healthy_targets]
        if not kinds or len(kinds) != len(set(kinds)):
            faults.add("minimum_healthy_targets", f"{self.minimum_healthy_targets!r} is not valid; give a number, a percentage, or both")
        for least in self.minimum_healthy_targets:
            number = least.removesuffix("%") if isinstance(least, str) and least.endswith("%") and least.isascii() else ""
            if not (type(least) is int and least >= 1) and not (number.isdigit() and len(number) <= 3 and 1 <= int(number) <= 100):
                faults.add("minimum_healthy_targets", f"{least!r} is neither a number, 1 or more, nor a percentage from '1%' to '100%'")

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
            # Called even if the target has another fault, because it also records the route.
            of_route = fault_of_route(target, routes) if isinstance(target, Target) else None
            wrong = self.fault_of_member(target) or of_route
            if wrong:
                faults.add(f"targets[{index}]", wrong)
            first = seen.setdefault(str(target), index)
            if first != index:
                faults.add(f"targets[{index}]", f"{target} is already in the list, as targets[{first}]; leave it out")
