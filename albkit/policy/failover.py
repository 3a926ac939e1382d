"""May a request whose attempt failed be sent again?"""

from __future__ import annotations

from albkit.errors import FailureKind, Retry
from albkit.state.target_group import TargetGroupState

__all__ = ("IDEMPOTENT", "MOST_ATTEMPTS", "deposit", "may_try_again")

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))
"""RFC 9110 section 9.2.2: doing it twice is as good as once."""
MOST_ATTEMPTS = 3
_RESERVE = 100.0
"""Retries that a group may spend ahead of its requests. A budget, so that a group that fails as a whole is asked at most twice as often
as it was, and not three times."""


def deposit(group: TargetGroupState) -> None:
    """Every request earns its group one retry, up to the reserve."""
    if group.retry_tokens < _RESERVE:
        group.retry_tokens += 1.0


def may_try_again(group: TargetGroupState, kind: FailureKind, method: str, attempts: int, *, body_kept: bool) -> bool:
    """Whether to send the request once more, and if so take the retry from the group's budget.

    Args:
        group: Pays for the retry.
        kind: How the attempt failed.
        method: Decides where the target may have acted already.
        attempts: How many have been made.
        body_kept: Whether the body is still whole: none, none of it sent, or all that was sent is kept.
    """
    if attempts >= MOST_ATTEMPTS or not body_kept or kind.retry is Retry.NEVER:
        return False
    if kind.retry is Retry.IF_IDEMPOTENT and method not in IDEMPOTENT:
        return False
    if group.retry_tokens < 1.0:
        return False
    group.retry_tokens -= 1.0
    return True
