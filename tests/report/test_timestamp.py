"""Moments in logs (`report/timestamp.py`)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from albkit.report.timestamp import timestamp


@pytest.mark.parametrize("moment", [0.0, 0.5, 1.999999, 951782399.75, 1733000000.0, 1733000000.000001, 4102444799.25, -0.25])
def test_moment_is_that_of_datetime(moment: float) -> None:
    """To the microsecond, of which the last may be lost: a float has no more digits."""
    written = datetime.strptime(timestamp(moment), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert abs(written.timestamp() - moment) <= 1e-6
