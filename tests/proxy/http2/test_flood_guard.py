"""The budgets for frames without use and for resets."""

from __future__ import annotations

import pytest

import albkit as alb
from albkit.proxy.http2.flood_guard import FloodGuard
from albkit.wire.http2.frames import ErrorCode, Http2Error

LIMITS = alb.Limits(http2_control_frames=30, http2_resets=6)


def spend(guard: FloodGuard, frames: int) -> None:
    for _ in range(frames):
        guard.control_frame()


def test_control_frames_beyond_the_limit_end_the_connection() -> None:
    """The message names the setting."""
    guard = FloodGuard(LIMITS)
    spend(guard, 30)
    with pytest.raises(Http2Error, match="http2_control_frames") as raised:
        guard.control_frame()
    assert raised.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_resets_beyond_the_limit_end_the_connection() -> None:
    """The message names the setting."""
    guard = FloodGuard(LIMITS)
    for _ in range(6):
        guard.stream_reset()
    with pytest.raises(Http2Error, match="http2_resets"):
        guard.stream_reset()


def test_useful_frames_make_up_for_control_frames() -> None:
    """Three for each, and never more than the limit."""
    guard = FloodGuard(LIMITS)
    for _ in range(100):
        spend(guard, 3)
        guard.useful_frame()
    assert not guard.is_spent
    guard.useful_frame()
    spend(guard, 30)
    with pytest.raises(Http2Error):
        guard.control_frame()


def test_completed_streams_make_up_for_resets() -> None:
    """One for one, and never more than the limit."""
    guard = FloodGuard(LIMITS)
    for _ in range(100):
        guard.stream_reset()
        guard.stream_completed()
    assert not guard.is_spent


def test_frames_that_a_window_cut_short_earn_by_their_bytes() -> None:
    """A client that updates its windows byte by byte earns nothing in time, and one with a small window does."""
    guard = FloodGuard(LIMITS)
    for _ in range(30):
        guard.control_frame()
        guard.cut_frame(1)
    with pytest.raises(Http2Error):
        guard.control_frame()
    guard = FloodGuard(LIMITS)
    for _ in range(2000):
        spend(guard, 2)
        guard.cut_frame(500)


def test_time_refills_both_budgets() -> None:
    """Control frames in 10 seconds, resets in 30."""
    guard = FloodGuard(LIMITS)
    guard.refill(1.0)
    spend(guard, 30)
    for _ in range(6):
        guard.stream_reset()
    guard.refill(11.0)
    spend(guard, 30)
    for _ in range(2):
        guard.stream_reset()
    with pytest.raises(Http2Error):
        guard.stream_reset()


def test_budgets_that_are_full_say_so() -> None:
    """Then the hot path calls nothing."""
    guard = FloodGuard(LIMITS)
    assert not guard.is_spent
    guard.control_frame()
    assert guard.is_spent
    guard.useful_frame()
    assert not guard.is_spent
