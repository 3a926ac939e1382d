from __future__ import annotations

from typing import Any

import attrs
import pytest

from albkit.errors import ConfigurationError
from albkit.model.limits import Limits


def test_limits_default_to_the_decided_bounds() -> None:
    """ALB's sizes and times (docs/alb.md 2.3, 2.8, 2.9), and our own where ALB has none."""
    limits = Limits()
    assert (limits.request_line, limits.request_field, limits.request_head) == (16 * 1024, 16 * 1024, 64 * 1024)
    assert limits.request_fields == 200
    assert limits.response_head == 32 * 1024
    assert limits.early_bytes == 64 * 1024
    assert limits.in_flight == 64 * 1024
    assert limits.connect_timeout == 10
    assert (limits.idle_target_connections, limits.target_keep_alive) == (None, 60)
    assert (limits.http2_streams, limits.http2_requests, limits.http2_field) == (128, 10000, 8 * 1024)
    assert (limits.http2_resets, limits.http2_control_frames, limits.http2_buffered_bytes) == (200, 1000, 64 * 1024 * 1024)


@pytest.mark.parametrize("name", [attribute.name for attribute in attrs.fields(Limits)])
@pytest.mark.parametrize("value", [-1, None, "100", True, float("nan"), 10**12], ids=repr)
def test_limit_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    """Every bound has a range, and the fault says which bound it was."""
    if name in ("request_head_timeout", "idle_target_connections") and value is None:
        value = -2  # None is its default.
    with pytest.raises(ConfigurationError) as raised:
        Limits(**{name: value})
    assert [fault.partition(":")[0] for fault in raised.value.faults] == [name]


def test_limits_with_every_fault_tell_them_all() -> None:
    """All at once."""
    with pytest.raises(ConfigurationError) as raised:
        Limits(request_line=0, request_fields=0.5, connect_timeout=0)  # type: ignore[arg-type]
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["request_line", "request_fields", "connect_timeout"]


def test_limits_are_a_value() -> None:
    """Frozen and hashable."""
    assert {Limits(), Limits(request_line=16384)} == {Limits()}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Limits().request_line = 1  # type: ignore[misc]
