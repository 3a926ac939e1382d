"""The budgets of one connection: what empties them, and what fills them again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from albkit.model.limits import Limits
from albkit.proxy.http2.flood_guard import LARGE_FRAME, PER_USEFUL_FRAME, FloodGuard
from albkit.wire.http2.frames import ErrorCode, Http2Error

LIMITS = Limits(http2_control_frames=100, http2_resets=20)


def passed(event: Callable[[], None], limit: str) -> int:
    """How many the guard lets pass."""
    count = 0

    def repeat() -> None:
        nonlocal count
        while count < 100_000:
            event()
            count += 1

    with pytest.raises(Http2Error, match=limit) as raised:
        repeat()
    assert raised.value.code is ErrorCode.ENHANCE_YOUR_CALM
    return count


def control_frames(guard: FloodGuard) -> int:
    return passed(guard.control_frame, "Limits.http2_control_frames")


def resets(guard: FloodGuard) -> int:
    return passed(guard.stream_reset, "Limits.http2_resets")


def test_budgets_are_those_of_the_limits() -> None:
    """One more frame is too many."""
    guard = FloodGuard(LIMITS)
    assert (control_frames(guard), resets(guard)) == (100, 20)


def test_useful_frames_earn_control_frames_in_advance() -> None:
    """A client takes a large response first, and updates its windows then."""
    guard = FloodGuard(LIMITS)
    guard.earned += 50 * PER_USEFUL_FRAME
    assert control_frames(guard) == 100 + 50 * PER_USEFUL_FRAME


def test_what_was_earned_is_bounded() -> None:
    """An old connection may not send what it likes."""
    guard = FloodGuard(LIMITS)
    guard.earned += 10**9
    assert control_frames(guard) < 100 * 20


def test_costly_frame_counts_more() -> None:
    """As many as it says."""
    guard = FloodGuard(LIMITS)
    for _ in range(10):
        guard.control_frame(10)
    with pytest.raises(Http2Error):
        guard.control_frame(1)


def test_costly_frame_needs_all_that_it_costs() -> None:
    """What was earned may be too little for it."""
    guard = FloodGuard(LIMITS)
    guard.earned = 5
    guard.control_frame(100)
    with pytest.raises(Http2Error):
        guard.control_frame(6)


def test_large_frame_of_data_earns_more() -> None:
    """Two updates for each 4 KiB, as clients in Go send them, and a PING."""
    assert PER_USEFUL_FRAME + (16_384 >> LARGE_FRAME) >= 2 * 4 + 1


def test_frames_that_a_window_cut_short_earn_by_their_bytes() -> None:
    """A client that updates its windows byte by byte earns nothing in time, and one with a small window does."""
    guard = FloodGuard(LIMITS)
    for _ in range(100):
        guard.control_frame()
        guard.cut_frame(1)
    assert control_frames(guard) == 0
    guard = FloodGuard(LIMITS)
    for size in [500] * 1000 + [72, 928] * 1000:
        guard.control_frame(2)
        guard.cut_frame(size)
    guard = FloodGuard(LIMITS)
    guard.cut_frame(16_000)
    assert control_frames(guard) < 130


def test_completed_streams_make_up_for_resets_and_no_more() -> None:
    """One each; a full budget is not filled further."""
    guard = FloodGuard(LIMITS)
    assert not guard.is_spent
    guard.stream_completed()
    for _ in range(20):
        guard.stream_reset()
    assert guard.is_spent
    guard.stream_completed()
    assert resets(guard) == 1
    guard = FloodGuard(LIMITS)
    guard.stream_reset()
    guard.stream_completed()
    assert not guard.is_spent
    assert resets(guard) == 20


def test_time_fills_both_budgets() -> None:
    """Control frames within 10 seconds, resets within 30; the first sweep says only when it was."""
    guard = FloodGuard(LIMITS)
    guard.refill(1000.0)
    assert (control_frames(guard), resets(guard)) == (100, 20)
    guard.refill(1003.0)
    assert (control_frames(guard), resets(guard)) == (30, 1)
    guard.refill(1033.0)
    assert (control_frames(guard), resets(guard)) == (100, 19)
    guard.refill(1093.0)
    assert not guard.is_spent
    assert (control_frames(guard), resets(guard)) == (100, 20)
