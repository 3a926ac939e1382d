"""The states of a target and their reasons, in ALB's spelling (docs/alb.md 1.9)."""

from __future__ import annotations

from enum import StrEnum

import attrs

from albkit.model.target import Target

__all__ = ("HealthCheckResult", "TargetHealthDescription", "TargetHealthReason", "TargetHealthState")


class TargetHealthState(StrEnum):
    """The state of a target."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNUSED = "unused"
    DRAINING = "draining"
    UNAVAILABLE = "unavailable"


class TargetHealthReason(StrEnum):
    """The reason for that state."""

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
    """What a target's own responses reveal about it (docs/alb.md 1.9, 5.2)."""

    result: AnomalyResult = AnomalyResult.NORMAL
    mitigation_in_effect: bool = False
    """Whether the target gets fewer requests than its weight stands for: its share is reduced, or it is ejected or on probation."""


@attrs.frozen
class HealthCheckResult:
    """The result of one health check of one target."""

    at: float
    """When the check started, in seconds since 1970."""
    passed: bool
    seconds: float
    """How long it took until the result was known."""
    status: int | None
    """The HTTP status that the target answered, or the `grpc-status` of a gRPC check; `None` if there is none."""
    reason: str
    """In words why it failed; empty if it passed."""


@attrs.frozen
class TargetHealthDescription:
    """One entry of `describe_target_health`."""

    target: Target
    state: TargetHealthState
    reason: TargetHealthReason | None
    description: str
    anomaly_detection: AnomalyDetection = AnomalyDetection()
    last_check: HealthCheckResult | None = None
    """The last health check; `None` if the group has no health check, or none has a result yet."""
