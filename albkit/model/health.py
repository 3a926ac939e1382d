"""The states of a target, and why it is in one, in ALB's spelling (docs/alb.md 1.9)."""

from __future__ import annotations

from enum import StrEnum

import attrs

from albkit.model.target import Target

__all__ = ("TargetHealthDescription", "TargetHealthReason", "TargetHealthState")


class TargetHealthState(StrEnum):
    """What a target is."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNUSED = "unused"
    DRAINING = "draining"
    UNAVAILABLE = "unavailable"


class TargetHealthReason(StrEnum):
    """Why it is that."""

    INITIAL_HEALTH_CHECKING = "Elb.InitialHealthChecking"
    INTERNAL_ERROR = "Elb.InternalError"
    RESPONSE_CODE_MISMATCH = "Target.ResponseCodeMismatch"
    TIMEOUT = "Target.Timeout"
    FAILED_HEALTH_CHECKS = "Target.FailedHealthChecks"
    NOT_REGISTERED = "Target.NotRegistered"
    DEREGISTRATION_IN_PROGRESS = "Target.DeregistrationInProgress"
    HEALTH_CHECK_DISABLED = "Target.HealthCheckDisabled"


class AnomalyResult(StrEnum):
    """Whether a target fails more often than its peers."""

    NORMAL = "normal"
    ANOMALOUS = "anomalous"


@attrs.frozen
class AnomalyDetection:
    """What a target's own answers say of it (docs/alb.md 1.9, 5.2)."""

    result: AnomalyResult = AnomalyResult.NORMAL
    mitigation_in_effect: bool = False
    """Whether it gets less of the traffic than its weight says, or none: its share is reduced, or it is ejected or on probation."""


@attrs.frozen
class TargetHealthDescription:
    """One line of `describe_target_health`."""

    target: Target
    state: TargetHealthState
    reason: TargetHealthReason | None
    description: str
    anomaly_detection: AnomalyDetection = AnomalyDetection()
