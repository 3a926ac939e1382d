"""A short soak: tunnels die in every way at once, and nothing is left of them (`python -m benchmarks.tunnel_soak` for a long one)."""

from __future__ import annotations

import pytest

from benchmarks.tunnel_soak import soak


@pytest.mark.timeout(120)
async def test_tunnels_that_die_in_every_way_leave_nothing_and_are_all_told() -> None:
    """Every byte was right, every way and every end has come up, and sockets, tasks and counts are what they were before."""
    outcome = await soak(3.0, concurrency=90, seed=20)
    assert not outcome.faults, "\n".join([*outcome.faults, *outcome.report()])
    assert outcome.checked > 1_000_000
