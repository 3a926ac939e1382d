"""What a load balancer tells those who `subscribe`."""

from albkit.model.events import (
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
