"""The bytes that wait in all HTTP/2 connections together."""

from __future__ import annotations

from albkit.proxy.http2.buffer_budget import BufferBudget, BuffersFull
from albkit.wire.http2.frames import ErrorCode, Http2Error


class Holding:
    """A connection that gives its bytes back when it fails."""

    def __init__(self, budget: BufferBudget) -> None:
        self.budget = budget
        self.errors: list[Http2Error] = []

    def fail(self, error: Http2Error) -> None:
        self.errors.append(error)
        # Its streams give back what they hold, though it was released already.
        self.budget.change(self, -1000)
        self.budget.release(self)


def test_connection_that_holds_most_is_closed_when_the_limit_is_exceeded() -> None:
    """And the others are left alone."""
    budget = BufferBudget(1000)
    small, large = Holding(budget), Holding(budget)
    budget.change(small, 300)
    budget.change(large, 700)
    assert not large.errors
    budget.change(small, 1)
    assert [type(error) for error in large.errors] == [BuffersFull]
    assert large.errors[0].code is ErrorCode.ENHANCE_YOUR_CALM
    assert "http2_buffered_bytes" in large.errors[0].reason
    assert not small.errors
    assert budget.total == 301


def test_what_is_given_back_does_not_count() -> None:
    """Neither do bytes of a connection that is gone."""
    budget = BufferBudget(1000)
    one = Holding(budget)
    budget.change(one, 600)
    budget.change(one, -600)
    assert budget.total == 0
    budget.change(one, 600)
    budget.release(one)
    budget.change(one, -600)
    assert budget.total == 0
    assert not one.errors


def test_several_connections_are_closed_if_one_is_not_enough() -> None:
    """Until what waits is within the limit again."""
    budget = BufferBudget(1000)
    ones = [Holding(budget) for _ in range(10)]
    for one in ones:
        budget.change(one, 100)
    giant = Holding(budget)
    budget.change(giant, 5000)
    assert giant.errors
    assert budget.total == 1000
    assert not any(one.errors for one in ones)
