"""Derives a target's state from its health checks (docs/alb.md 5.4)."""

from __future__ import annotations

from enum import StrEnum

import attrs

from albkit.model.health import TargetHealthReason, TargetHealthState
from albkit.model.health_check import HealthCheck

__all__ = ("CheckFailure", "CheckResult", "HealthTrack", "failed", "status_mismatch")


class CheckFailure(StrEnum):
    """Why one check failed, in the words of ALB's health check log (docs/alb.md 7.3)."""

    TIMED_OUT = "TimedOut"
    CONNECTION_RESET = "ConnectionReset"
    """The connection was refused, reset or closed too early, or TLS or HTTP/2 failed on it. ALB has no other word for these."""
    RESPONSE_CODE_MISMATCH = "ResponseCodeMismatch"
    RESPONSE_STRING_MISMATCH = "ResponseStringMismatch"
    """The answer itself is wrong: a malformed response head, a 101 that opens no WebSocket, a gRPC health service that is not serving."""
    INTERNAL_ERROR = "InternalError"
    TARGET_ERROR = "TargetError"
    """The target answered with a 5xx that does not pass, or a probe of the program failed."""
    GRPC_STATUS_HEADER_EMPTY = "GRPCStatusHeaderEmpty"
    GRPC_UNEXPECTED_STATUS = "GRPCUnexpectedStatus"


# What decides is the reason. The other fields are details for logs, so they do not make two results different.
@attrs.frozen
class CheckResult:
    """The result of one check.

    Args:
        reason: Why it failed; `None` if it passed.
        description: The same as text.
        failure: The same in the words of the health check log; `None` if it passed.
        status: The HTTP status, or the `grpc-status` of a gRPC check; `None` if the target sent none.
        seconds: How long it took until the result was known; `None` if the check was over at that moment.
        local: The load balancer's own IP address in this check; empty if it is not known.
    """

    reason: TargetHealthReason | None = None
    description: str = ""
    failure: CheckFailure | None = attrs.field(default=None, eq=False)
    status: int | None = attrs.field(default=None, eq=False)
    seconds: float | None = attrs.field(default=None, eq=False)
    local: str = attrs.field(default="", eq=False)

    @property
    def passed(self) -> bool:
        """Whether the check passed."""
        return self.reason is None


def failed(why: str, failure: CheckFailure, status: int | None = None) -> CheckResult:
    """The result of a check that got no answer, or no readable one."""
    return CheckResult(TargetHealthReason.FAILED_HEALTH_CHECKS, f"Health checks failed: {why}", failure, status)


def status_mismatch(status: int) -> CheckResult:
    """The result of a check that got a status that does not pass."""
    failure = CheckFailure.TARGET_ERROR if status >= 500 else CheckFailure.RESPONSE_CODE_MISMATCH
    return CheckResult(TargetHealthReason.RESPONSE_CODE_MISMATCH, f"Health checks failed with these codes: [{status}]", failure, status)


class HealthTrack:
    """Counts how many checks of one target have passed or failed in a row."""

    __slots__ = ("_failed", "_passed")

    def __init__(self) -> None:
        self._passed = self._failed = 0

    def after(self, result: CheckResult, state: TargetHealthState, check: HealthCheck) -> TargetHealthState:
        """Return the target's state after one more check.

        One passed check is enough for a new target. An unhealthy target must pass several, and a new or healthy one must fail several.
        """
        if result.passed:
            self._passed += 1
            self._failed = 0
            # Only an unhealthy target must pass several checks; a new one must not wait for minutes before it serves.
            if state is TargetHealthState.UNHEALTHY and self._passed < check.healthy_threshold:
                return state
            return TargetHealthState.HEALTHY
        self._failed += 1
        self._passed = 0
        if self._failed < check.unhealthy_threshold:
            return state
        return TargetHealthState.UNHEALTHY
