"""What the checks of one target make of it (docs/alb.md 5.4)."""

from __future__ import annotations

import attrs

from albkit.model.health import TargetHealthReason, TargetHealthState
from albkit.model.health_check import HealthCheck

__all__ = ("CheckResult", "HealthTrack")


@attrs.frozen
class CheckResult:
    """How one check went.

    Args:
        reason: Why it failed; `None` where it passed.
        description: The same for a person.
    """

    reason: TargetHealthReason | None = None
    description: str = ""

    @property
    def passed(self) -> bool:
        """Whether the target is well."""
        return self.reason is None


class HealthTrack:
    """Counts the checks of one target that went the same way in a row."""

    __slots__ = ("_failed", "_passed")

    def __init__(self) -> None:
        self._passed = self._failed = 0

    def after(self, result: CheckResult, state: TargetHealthState, check: HealthCheck) -> TargetHealthState:
        """The state of the target behind one more check.

        One that passes is enough for a new target; an unhealthy one has to pass several, a new or healthy one to fail several.
        """
        if result.passed:
            self._passed += 1
            self._failed = 0
            if state is TargetHealthState.UNHEALTHY and self._passed < check.healthy_threshold:
                return state
            return TargetHealthState.HEALTHY
        self._failed += 1
        self._passed = 0
        if self._failed < check.unhealthy_threshold:
            return state
        return TargetHealthState.UNHEALTHY
