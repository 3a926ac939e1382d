"""The scenarios by name."""

from __future__ import annotations

from typing import Final

from benchmarks.scenarios import http2, imports, latency, requests, routing, slow, tls, tunnels, watching
from benchmarks.scenarios.scenario import Scenario

__all__ = ("SCENARIOS", "Scenario")

_EVERY = (
    *requests.SCENARIOS,
    *routing.SCENARIOS,
    *watching.SCENARIOS,
    *latency.SCENARIOS,
    *slow.SCENARIOS,
    *tunnels.SCENARIOS,
    *tls.SCENARIOS,
    *http2.SCENARIOS,
    *imports.SCENARIOS,
)
SCENARIOS: Final = {scenario.name: scenario for scenario in _EVERY}
"""In the order in which they run."""
