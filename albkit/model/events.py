"""The events that a load balancer sends to its subscribers."""

from __future__ import annotations

import attrs

from albkit.model.health import AnomalyResult, TargetHealthReason, TargetHealthState
from albkit.model.target import Target

__all__ = (
    "CertificatesRead",
    "ConfigurationApplied",
    "Event",
    "ListenerClosed",
    "ListenerOpened",
    "TargetAnomalyChanged",
    "TargetDrained",
    "TargetEjected",
    "TargetReadmitted",
    "TargetRegistered",
    "TargetStateChanged",
)


@attrs.frozen
class TargetRegistered:
    """A target has joined a group."""

    group: str
    target: Target


@attrs.frozen
class TargetStateChanged:
    """A target's state, as `describe_target_health` reports it, has changed."""

    group: str
    target: Target
    state: TargetHealthState
    reason: TargetHealthReason | None


@attrs.frozen
class TargetEjected:
    """A target has failed too often and gets no new requests for a while (`TargetGroup(ejection=...)`)."""

    group: str
    target: Target
    seconds: float
    """How long the ejection lasts; afterwards the target is on probation."""
    reason: str


@attrs.frozen
class TargetReadmitted:
    """An ejected target gets requests again, on probation."""

    group: str
    target: Target


@attrs.frozen
class TargetAnomalyChanged:
    """A target's error rate has begun or ceased to stand out from that of its peers (docs/alb.md 5.2)."""

    group: str
    target: Target
    result: AnomalyResult


@attrs.frozen
class TargetDrained:
    """The last exchange or tunnel of a deregistered target is over, and the group has forgotten the target."""

    group: str
    target: Target


@attrs.frozen
class ListenerOpened:
    """A listener's port is open."""

    name: str | None
    port: int


@attrs.frozen
class ListenerClosed:
    """A listener's port is closed; exchanges and tunnels that came in through it end gracefully."""

    name: str | None
    port: int


@attrs.frozen
class ConfigurationApplied:
    """`apply()` has put a new configuration into effect."""

    listeners: int
    groups: int


@attrs.frozen
class CertificatesRead:
    """Files of certificates, keys, trust stores or revocation lists have changed; their new content is used for new connections."""

    files: tuple[str, ...]
    """All files that are read, whether or not they changed."""


Event = (
    TargetRegistered
    | TargetStateChanged
    | TargetEjected
    | TargetReadmitted
    | TargetAnomalyChanged
    | TargetDrained
    | ListenerOpened
    | ListenerClosed
    | ConfigurationApplied
    | CertificatesRead
)
