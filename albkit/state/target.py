"""One target as it is now."""

from __future__ import annotations

from albkit.model.target import Target

__all__ = ("TargetState",)


class TargetState:
    """What is true of one target of one group now."""

    __slots__ = ("address", "connection_errors", "outstanding", "requests", "stickiness_line", "stickiness_second", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.address = str(target)
        self.outstanding = 0
        """Requests sent and not yet answered in full; a tunnel counts as one while it lives."""
        self.requests = 0
        self.connection_errors = 0
        self.stickiness_second = -1
        """The second for which `stickiness_line` was made."""
        self.stickiness_line = b""

    def __repr__(self) -> str:
        return f"<TargetState {self.address} outstanding={self.outstanding} requests={self.requests}>"
