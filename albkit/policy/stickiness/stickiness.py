"""What every kind of stickiness does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from albkit.model.message import RequestHead, ResponseHead
from albkit.state.target import TargetState

__all__ = ("Stickiness",)


class Stickiness(Protocol):
    """Binds the sessions of one target group to its targets."""

    def target(self, request: RequestHead, now: float) -> TargetState | None:
        """Return the target that the request's session is bound to, whatever its state; `None` if there is none.

        Raises:
            Failure: 500, a key of the program's own failed.
        """

    def refuses(self, request: RequestHead, now: float) -> bool:
        """Return whether the request has a cookie or id that should bind it, but that binds it to no target."""

    def fields(self, member: TargetState, request: RequestHead, response: ResponseHead, now: float) -> bytes:
        """Return the header lines to add to a response of the target, without a line end after the last; empty for none."""

    def come(self, member: TargetState) -> None:
        """Add a member of the group. Sessions may be bound to it from now on."""

    def go(self, member: TargetState) -> None:
        """Remove a member of the group."""

    def settle(self, eligible: Sequence[TargetState]) -> None:
        """Note the targets that can be chosen now."""
