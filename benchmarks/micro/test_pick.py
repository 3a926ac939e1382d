"""Choosing a target, and counting its requests."""

from __future__ import annotations

import pytest

import albkit as alb
from albkit.clock import SYSTEM
from albkit.policy.target_choice import TargetChoice
from albkit.state.target_group import TargetGroupState
from benchmarks.micro import Benchmark, a_request
from benchmarks.peers.python import ALGORITHMS


@pytest.mark.parametrize("count", [3, 1_000])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_request_from_its_choice_to_its_end(benchmark: Benchmark, algorithm: str, count: int) -> None:
    """Chosen, started, answered, finished."""
    targets = [f"10.0.{number // 250}.{number % 250 + 1}:80" for number in range(count)]
    choice = TargetChoice(TargetGroupState(alb.TargetGroup("web", targets, algorithm=algorithm)), SYSTEM)
    request = a_request()

    def one_request() -> None:
        member = choice.pick(request)
        assert member is not None
        choice.started(member)
        choice.answered(member, 200, 0)
        if choice.hears_answers:
            choice.took(member, 0.001)
        if choice.hears_traffic:
            choice.transferred(member, 500)
        choice.finished(member)

    benchmark(one_request)
    assert not any(member.outstanding for member in choice.group.members.values())
