"""The current state of a target."""

from __future__ import annotations

from collections.abc import Callable

from albkit.model.health import TargetHealthReason, TargetHealthState
from albkit.model.target import Target
from albkit.state.counters import TrafficCounters

__all__ = ("TargetState",)


class TargetState:
    """The current state of one target of one group. A target has the same state object for as long as it is registered."""

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
        # A copy, which `TargetChoice.reweigh` changes together with the algorithm's state.
        self.weight = target.weight
        # Without health checks nothing is known about it, and it gets traffic. No check is ever made that was not configured.
        self.state = TargetHealthState.INITIAL if checked else TargetHealthState.UNAVAILABLE
        self.reason: TargetHealthReason | None = (
            TargetHealthReason.INITIAL_HEALTH_CHECKING if checked else TargetHealthReason.HEALTH_CHECK_DISABLED
        )
        self.description = ""
        """What the last check found, as text; empty if the reason says everything."""
        self.eligible = False
        """Whether it can get new requests."""
        self.was_healthy = False
        """Whether its state was good when slow start last looked at it."""
        self.joined_late: bool | None = None
        """Whether other targets had their full share of requests when it joined, or it has been unhealthy since; `None` before slow
        start has looked at it."""
        self.slow_since: float | None = None
        """When its slow start began, by the monotonic clock; `None` if it has its full share."""
        self.deadline = 0.0
        """While draining: when its exchanges and tunnels are cut, by the monotonic clock."""
        self.on_idle: Callable[[], None] | None = None
        """Called when the last outstanding request is over."""
        self.outstanding = 0
        """Requests sent whose response is not complete; an open tunnel counts as one."""
        self.tunnels = 0
        """Open tunnels, and upgrades that have not been answered yet."""
        self.requests = 0
        """Attempts that it has answered or failed."""
        self.errors = 0
        """Attempts that it answered with 5xx, or did not answer."""
        self.failures_in_row = 0
        """Attempts without a response since the last response. During an ejection, they include those that caused it."""
        self.counters = TrafficCounters()
        """What it was sent and has answered. After it has left its group, the group's counters."""
        self.is_anomalous = False
        """Whether it fails more often than its peers."""
        self.share = 1.0
        """The fraction of the requests for its weight that it gets; below 1 while anomaly mitigation is in effect."""
        self.ejected_until: float | None = None
        """When its ejection ends, by the monotonic clock; `None` if it is not ejected."""
        self.eject_reason = ""
        """Text for people; empty if it is not ejected."""
        self.ejections = 0
        """How many times it was ejected in a row."""
        self.epoch = 0
        """How many times it was ejected in all. The result of a request from an earlier epoch says nothing about the target's condition
        now."""
        self.probation = 0
        """Responses that it must give before it counts as any other again."""
        self.keeps_sessions = False
        """Whether it is draining, and requests of its sessions still reach it (`while_draining="honor"`)."""

    def __repr__(self) -> str:
        return f"<TargetState {self.address} {self.state} outstanding={self.outstanding} requests={self.requests}>"
