from __future__ import annotations

import itertools

import pytest

import albkit as alb
from albkit.errors import FailureKind
from albkit.policy.failover import deposit, may_try_again
from albkit.state.target_group import TargetGroupState

_NOTHING_SENT = {
    FailureKind.TARGET_CONNECTION_REFUSED,
    FailureKind.TARGET_UNREACHABLE,
    FailureKind.TARGET_CONNECT_TIMEOUT,
    FailureKind.TARGET_TLS_FAILED,
    FailureKind.TARGET_TLS_TIMEOUT,
    FailureKind.RESPONSE_NOT_HTTP2,
    FailureKind.TARGET_REFUSED_STREAM,  # RFC 9113 section 8.7: nothing was processed.
}
_DIED_BEFORE_A_BYTE = {
    FailureKind.TARGET_CLOSED,
    FailureKind.TARGET_RESET,
    FailureKind.TARGET_RESET_STREAM,
    FailureKind.TARGET_PROTOCOL_ERROR,
}
_IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}  # RFC 9110 section 9.2.2


def _group() -> TargetGroupState:
    return TargetGroupState(alb.TargetGroup("api", ["a:80", "b:80"]))


@pytest.mark.parametrize("kind", FailureKind, ids=lambda kind: kind.name)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH", "FROB", "get"])
def test_failed_attempt_is_repeated_only_where_that_is_harmless(kind: FailureKind, method: str) -> None:
    """Anything of which nothing was sent, idempotent requests that died before a byte came, nothing else; 2 more (docs/alb.md 2.8)."""
    harmless = kind in _NOTHING_SENT or (kind in _DIED_BEFORE_A_BYTE and method in _IDEMPOTENT)
    for attempts in (1, 2):
        assert may_try_again(_group(), kind, method, attempts, body_kept=True) is harmless
    for attempts, body_kept in ((3, True), (4, True), (1, False)):
        assert may_try_again(_group(), kind, method, attempts, body_kept=body_kept) is False


def _spend(group: TargetGroupState, most: int = 10_000) -> int:
    """How many retries the group grants in a row."""
    granted = itertools.takewhile(
        lambda _: may_try_again(group, FailureKind.TARGET_CLOSED, "GET", 1, body_kept=True),
        range(most),
    )
    return sum(1 for _ in granted)


def test_budget_empties_and_refills_with_requests() -> None:
    """A group that fails as a whole runs out of retries; each request earns it one more (docs/alb.md 2.8)."""
    group = _group()
    assert 0 < _spend(group) < 10_000
    assert _spend(group) == 0
    for _ in range(5):
        deposit(group)
    assert _spend(group) == 5


def test_budget_has_a_top() -> None:
    """A million good requests save up no more than a group has at its start."""
    group = _group()
    for _ in range(1_000):
        deposit(group)
    assert _spend(group) == _spend(_group())


def test_refused_retry_costs_nothing() -> None:
    """What is not repeated takes nothing from the budget."""
    group = _group()
    for kind in FailureKind:
        may_try_again(group, kind, "POST", 3, body_kept=True)
        may_try_again(group, kind, "POST", 1, body_kept=False)
    may_try_again(group, FailureKind.TARGET_CLOSED, "POST", 1, body_kept=True)
    assert _spend(group) == _spend(_group())


def test_budgets_of_groups_are_apart() -> None:
    """One failing group does not keep another from retrying."""
    first, second = _group(), _group()
    _spend(first)
    assert may_try_again(second, FailureKind.TARGET_CLOSED, "GET", 1, body_kept=True)
