"""One target as it is now."""

from __future__ import annotations

from collections.abc import Callable

from albkit.model.health import TargetHealthReason, TargetHealthState
from albkit.model.target import Target
from albkit.state.counters import TrafficCounters

__all__ = ("TargetState",)


class TargetState:
    """What is true of one target of one group now. The same object for as long as the target is registered."""

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
        self.weight = target.weight
        # Without health checks nothing is known of it, and it gets traffic (docs/alb.md 1.8, 1.9).
        self.state = TargetHealthState.INITIAL if checked else TargetHealthState.UNAVAILABLE
        self.reason: TargetHealthReason | None = (
            TargetHealthReason.INITIAL_HEALTH_CHECKING if checked else TargetHealthReason.HEALTH_CHECK_DISABLED
        )
        self.description = ""
        """What the last check found, for a person; empty where the reason says it all."""
        self.eligible = False
        """Whether new requests may go to it."""
        self.was_healthy = False
        """Whether it was in good health when that was last looked at."""
        self.joined_late: bool | None = None
        """Whether others had their full share of requests when it came, or it has been ill since; `None` before it was looked at."""
        self.slow_since: float | None = None
        """By the monotonic clock: since when its share of requests grows; `None` once it has all of it."""
        self.deadline = 0.0
        """While draining: when what still goes on is cut, by the monotonic clock."""
        self.on_idle: Callable[[], None] | None = None
        """Called when the last outstanding request is over."""
        self.outstanding = 0
        """Requests sent and not yet answered in full; a tunnel counts as one while it lives."""
        self.tunnels = 0
        """Tunnels that live, and upgrades that are not answered yet."""
        self.requests = 0
        """Tries that it has answered or failed."""
        self.errors = 0
        """Those of them that it answered with 5xx or did not answer."""
        self.failures_in_row = 0
        """Tries without an answer since the last one that it answered; while it is ejected, those that led to that among them."""
        self.counters = TrafficCounters()
        """What it was sent and has answered. Once it has left its group, the group's."""
        self.is_anomalous = False
        """Whether it fails more often than its peers."""
        self.share = 1.0
        """What it gets of the requests that its weight stands for; less while anomaly mitigation is in effect."""
        self.ejected_until: float | None = None
        """By the monotonic clock: until when it gets no requests because it failed too many; `None` when it is not ejected."""
        self.eject_reason = ""
        """For a person; empty when it is not ejected."""
        self.ejections = 0
        """How often it was ejected in a row."""
        self.epoch = 0
        """How often it was ejected at all: what was sent before says nothing of how it does now."""
        self.probation = 0
        """Answers that it has to give before it counts as any other again."""
        self.keeps_sessions = False
        """Whether it drains, and the sessions bound to it may still come (`while_draining="honor"`)."""

    def __repr__(self) -> str:
        return f"<TargetState {self.address} {self.state} outstanding={self.outstanding} requests={self.requests}>"
