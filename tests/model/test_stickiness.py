from __future__ import annotations

from typing import Any

import attrs
import pytest

import albkit as alb


def test_lb_cookie_has_albs_default() -> None:
    """A day, as ALB (docs/alb.md 1.8)."""
    assert alb.LbCookie().duration == 86400


@pytest.mark.parametrize("duration", [1, 604800, 1.5])
def test_lb_cookie_takes_a_second_to_a_week(duration: float) -> None:
    """ALB's range at both ends, fractions too."""
    assert alb.LbCookie(duration).duration == duration
    assert alb.LbCookie(duration=duration) == alb.LbCookie(duration)


@pytest.mark.parametrize("duration", [0, 0.5, 604801, -1, "3600", None, True, float("nan")], ids=repr)
def test_lb_cookie_refuses_anything_else(duration: Any) -> None:
    """The fault names the setting."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.LbCookie(duration)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["duration"]


def test_lb_cookie_cannot_be_changed_and_can_be_a_key() -> None:
    """A setting is a value."""
    cookie = alb.LbCookie(5)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        cookie.duration = 6  # type: ignore[misc]
    assert {cookie, alb.LbCookie(5)} == {cookie}
