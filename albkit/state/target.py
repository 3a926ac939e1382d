"""The state of one target."""

from __future__ import annotations

from collections.abc import Callable

from albkit.model.health import HealthCheckResult, TargetHealthReason, TargetHealthState
from albkit.model.target import Target
from albkit.state.counters import TrafficCounters

__all__ = ("TargetState",)


class TargetState:
    """The state of one target in one group: health, load, ejection, counters. The same object for as long as the target is registered.

    Times are seconds of the monotonic clock. The numbers are changed by `policy.target_choice`, the health by `control`.

    Args:
        target: The description.
        checked: Whether the group has a health check.
    """

    __slots__ = (
        "address",
        "counters",
        "deadline",
        "description",
        "eject_reason",
        "ejected_until",
        "ejections",
        "eligible",
        "epoch",
        "errors",
        "failures_in_row",
        "is_anomalous",
        "joined_late",
        "keeps_sessions",
        "last_active_at",
        "last_check",
        "on_idle",
        "outstanding",
        "probation",
        "reason",
        "requests",
        "share",
        "slow_since",
        "state",
        "target",
        "tunnels",
        "was_healthy",
        "weight",
    )

    def __init__(self, target: Target, *, checked: bool = False) -> None:
        self.target = target
        self.address = str(target)
        # A copy, which `TargetChoice.reweigh` changes together with the state of the algorithm.
        self.weight = target.weight
        # A target that is not health checked is "unavailable", which is eligible for traffic (docs/alb.md 1.8, 1.9).
        self.state = TargetHealthState.INITIAL if checked else TargetHealthState.UNAVAILABLE
        self.reason: TargetHealthReason | None = (
            TargetHealthReason.INITIAL_HEALTH_CHECKING if checked else TargetHealthReason.HEALTH_CHECK_DISABLED
        )
        self.description = ""
        """What the last health check found, in words; empty if `reason` is enough."""
        self.last_check: HealthCheckResult | None = None
        """The last health check; `None` if it is not checked, or none has a result yet."""
        self.eligible = False
        """Whether new requests may be sent to it."""
        self.was_healthy = False
        """Whether it was healthy when slow start last looked at it."""
        self.joined_late: bool | None = None
        """Whether slow start applies when it becomes healthy: others already had their full share when it was registered, or it has been
        unhealthy since. `None` before slow start first looked at it."""
        self.slow_since: float | None = None
        """When its slow start began; `None` if it gets its full share."""
        self.deadline = 0.0
        """While draining: when the deregistration delay ends and what is still in flight is cut."""
        self.on_idle: Callable[[], None] | None = None
        """Called when `outstanding` becomes 0."""
        self.outstanding = 0
        """Requests in flight: sent, and not yet answered in full. An open tunnel counts as one."""
        self.tunnels = 0
        """Open tunnels and upgrade requests in flight."""
        self.last_active_at = 0.0
        """When its last exchange or tunnel ended; 0 if none has."""
        self.requests = 0
        """Attempts that ended, with a response or a failure. Unlike `counters.requests`, this includes retries."""
        self.errors = 0
        """Those of them that ended with a 5xx or a failure."""
        self.failures_in_row = 0
        """Consecutive attempts that failed. While it is ejected, they include those that led to the ejection."""
        self.counters = TrafficCounters()
        """Its metrics. After it was removed from its group, the group's own (see `TargetGroupState.remove`)."""
        self.is_anomalous = False
        """Whether anomaly detection finds that it fails more often than its peers."""
        self.share = 1.0
        """The fraction of its weight that counts: 1 normally, less while anomaly mitigation is in effect."""
        self.ejected_until: float | None = None
        """When its ejection ends; `None` if it is not ejected."""
        self.eject_reason = ""
        """In words; empty if it is not ejected."""
        self.ejections = 0
        """Consecutive ejections, without a completed probation in between. Each lasts longer than the one before."""
        # An attempt notes the epoch when it is sent. If the target was ejected since, its outcome says nothing about how the target is now.
        self.epoch = 0
        """Ejections in total."""
        self.probation = 0
        """Responses that it still owes after an ejection before it counts as recovered; 0 if it is not on probation."""
        self.keeps_sessions = False
        """Whether it drains and still gets the requests of its sticky sessions (`while_draining="honor"`)."""

    @property
    def is_mitigated(self) -> bool:
        """Whether it gets fewer requests than its weight stands for: its share is reduced, or it is ejected or on probation."""
        return self.share < 1.0 or self.ejected_until is not None or self.probation > 0

    def __repr__(self) -> str:
        return f"<TargetState {self.address} {self.state} outstanding={self.outstanding} requests={self.requests}>"
