"""The events that `LoadBalancer.subscribe` delivers."""

from albkit.model.events import (
    CertificatesRead,
    ConfigurationApplied,
    Event,
    ListenerClosed,
    ListenerOpened,
    TargetAnomalyChanged,
    TargetDrained,
    TargetEjected,
    TargetReadmitted,
    TargetRegistered,
    TargetStateChanged,
)

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
