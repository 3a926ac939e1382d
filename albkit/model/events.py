"""What a load balancer tells its subscribers."""

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
    """A target's state, as `describe_target_health` tells it, has changed."""

    group: str
    target: Target
    state: TargetHealthState
    reason: TargetHealthReason | None


@attrs.frozen
class TargetEjected:
    """A target has failed too much and gets no new requests for a while (`TargetGroup(ejection=...)`)."""

    group: str
    target: Target
    seconds: float
    """Until it is taken back, on probation."""
    reason: str


@attrs.frozen
class TargetReadmitted:
    """An ejected target gets requests again, on probation."""

    group: str
    target: Target


@attrs.frozen
class TargetAnomalyChanged:
    """A target's share of errors stands out from its peers', or does so no more (docs/alb.md 5.2)."""

    group: str
    target: Target
    result: AnomalyResult


@attrs.frozen
class TargetDrained:
    """A deregistered target's last exchange and tunnel is over; the group does not know it any more."""

    group: str
    target: Target


@attrs.frozen
class ListenerOpened:
    """A listener's port is open."""

    name: str | None
    port: int


@attrs.frozen
class ListenerClosed:
    """A listener's port is closed; what goes on behind it ends in good order."""

    name: str | None
    port: int


@attrs.frozen
class ConfigurationApplied:
    """`apply()` has put a new description in force."""

    listeners: int
    groups: int


@attrs.frozen
class CertificatesRead:
    """Files of certificates, keys, trust stores or revocation lists have changed, and what is in them is in force for new connections."""

    files: tuple[str, ...]
    """All that are read, changed or not."""


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
