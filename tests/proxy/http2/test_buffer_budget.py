"""The bytes that wait in all connections together."""

from __future__ import annotations

import pytest

from albkit.proxy.http2.buffer_budget import BufferBudget, BuffersFull
from albkit.wire.http2.frames import ErrorCode, Http2Error


class Connection:
    """Holds bytes until it is closed. Its streams give theirs back then."""

    def __init__(self, budget: BufferBudget) -> None:
        self.budget = budget
        self.held = 0
        self.errors: list[Http2Error] = []

    def hold(self, size: int) -> None:
        self.held += size
        self.budget.change(self, size)

    def fail(self, error: Http2Error) -> None:
        self.errors.append(error)
        self.hold(-self.held)


@pytest.fixture
def budget() -> BufferBudget:
    return BufferBudget(1000)


def test_bytes_add_up_and_go_again(budget: BufferBudget) -> None:
    """Of each connection and of all."""
    one, two = Connection(budget), Connection(budget)
    one.hold(400)
    two.hold(600)
    assert budget.total == 1000
    one.hold(-100)
    assert budget.total == 900
    one.hold(-300)
    two.hold(-600)
    assert budget.total == 0
    assert one.errors == two.errors == []


def test_connection_that_holds_most_is_closed(budget: BufferBudget) -> None:
    """Not the one that was the last to need something."""
    small, large = Connection(budget), Connection(budget)
    large.hold(800)
    small.hold(201)
    (error,) = large.errors
    assert isinstance(error, BuffersFull)
    assert error.code is ErrorCode.ENHANCE_YOUR_CALM
    assert "Limits.http2_buffered_bytes" in error.reason
    assert small.errors == []
    assert budget.total == 201


def test_several_are_closed_if_one_is_not_enough(budget: BufferBudget) -> None:
    """Until the rest is below the limit."""
    connections = [Connection(budget) for _ in range(4)]
    for connection in connections:
        connection.hold(250)
    connections[0].hold(1)
    assert [len(connection.errors) for connection in connections] == [1, 0, 0, 0]
    assert budget.total == 750


def test_released_connection_gives_nothing_back_twice(budget: BufferBudget) -> None:
    """Its streams may still report what they drop."""
    one, two = Connection(budget), Connection(budget)
    one.hold(300)
    two.hold(300)
    budget.release(one)
    budget.release(one)
    one.hold(-300)
    assert budget.total == 300
    two.hold(-300)
    assert budget.total == 0
