"""Decides whether a request whose attempt failed may be sent again."""

from __future__ import annotations

from albkit.errors import FailureKind, Retry
from albkit.state.target_group import TargetGroupState

__all__ = ("IDEMPOTENT", "MOST_ATTEMPTS", "deposit", "may_try_again")

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))
"""Methods that may be sent twice (RFC 9110 section 9.2.2)."""
MOST_ATTEMPTS = 3
_RESERVE = 100.0
"""The most retries that a group can save up. The budget limits retries to one per request on average, so that a group that fails
entirely gets at most twice the usual load, not three times."""


def deposit(group: TargetGroupState) -> None:
    """Credit the group one retry for a request, up to the reserve."""
    if group.retry_tokens < _RESERVE:
        group.retry_tokens += 1.0


def may_try_again(group: TargetGroupState, kind: FailureKind, method: str, attempts: int, *, body_kept: bool) -> bool:
    """Whether to send the request again. If so, the retry is taken from the group's budget.

    Args:
        group: The group that pays for the retry.
        kind: How the attempt failed.
        method: Decides if the target may already have acted on the request.
        attempts: How many attempts there were.
        body_kept: Whether the body can be sent again: there is none, none of it was sent, or everything sent was kept.
    """
    if attempts >= MOST_ATTEMPTS or not body_kept or kind.retry is Retry.NEVER:
        return False
    if kind.retry is Retry.IF_IDEMPOTENT and method not in IDEMPOTENT:
        return False
    if group.retry_tokens < 1.0:
        return False
    # Taken only if the request is really sent again, so this check must be the last one.
    group.retry_tokens -= 1.0
    return True
