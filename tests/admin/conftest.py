"""Every test of the admin API runs under the loop's guard."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _guarded(loop_guard: None) -> None:
    """See `loop_guard`."""
