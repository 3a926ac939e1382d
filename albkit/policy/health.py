"""Derives a target's state from its health checks (docs/alb.md 5.4)."""

from __future__ import annotations

import attrs

from albkit.model.health import TargetHealthReason, TargetHealthState
from albkit.model.health_check import HealthCheck

__all__ = ("CheckResult", "HealthTrack", "failed", "status_mismatch")


@attrs.frozen
class CheckResult:
    """The result of one check.

    Args:
        reason: Why it failed; `None` if it passed.
        description: The same as text.
    """

    reason: TargetHealthReason | None = None
    description: str = ""

    @property
    def passed(self) -> bool:
        """Whether the check passed."""
        return self.reason is None


def failed(why: str) -> CheckResult:
    """The result of a check that got no answer, or no readable one."""
    return CheckResult(TargetHealthReason.FAILED_HEALTH_CHECKS, f"Health checks failed: {why}")


def status_mismatch(status: int) -> CheckResult:
    """The result of a check that got a status that does not pass."""
    return CheckResult(TargetHealthReason.RESPONSE_CODE_MISMATCH, f"Health checks failed with these codes: [{status}]")


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
