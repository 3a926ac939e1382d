"""Every test with real clients runs under the loop's guard, and none takes long."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _guarded(loop_guard: None) -> None:
    """See `loop_guard`."""
