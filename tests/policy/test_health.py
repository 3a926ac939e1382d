from __future__ import annotations

from itertools import product

import pytest

import albkit as alb
from albkit.policy.health import CheckResult, HealthTrack

_PASS = CheckResult()
_FAIL = CheckResult(alb.TargetHealthReason.TIMEOUT, "Request timed out")
_STATES = {"i": alb.TargetHealthState.INITIAL, "h": alb.TargetHealthState.HEALTHY, "u": alb.TargetHealthState.UNHEALTHY}


def _states(check: alb.HealthCheck, begin: str, results: str) -> str:
    """The letters of the states behind each of the results, from a state on."""
    track = HealthTrack()
    state = _STATES[begin]
    seen = ""
    for result in results:
        state = track.after(_PASS if result == "+" else _FAIL, state, check)
        seen += str(state)[0]
    return seen


def test_check_result_passes_without_a_reason() -> None:
    """What failed has a reason, and words for a person."""
    assert _PASS.passed
    assert (_PASS.reason, _PASS.description) == (None, "")
    assert not _FAIL.passed


@pytest.mark.parametrize(
    ("begin", "results", "seen"),
    [
        pytest.param("i", "+", "h", id="one pass is enough for a new one"),
        pytest.param("i", "--", "iu", id="a new one fails twice"),
        pytest.param("i", "-+", "ih", id="a new one fails and passes"),
        pytest.param("h", "--", "hu", id="a healthy one fails twice"),
        pytest.param("h", "-+-+-+", "hhhhhh", id="not in a row"),
        pytest.param("h", "-+--", "hhhu", id="a pass begins the count anew"),
        pytest.param("u", "+++", "uuh", id="an unhealthy one passes three times"),
        pytest.param("u", "++-+++", "uuuuuh", id="a failure begins the count anew"),
        pytest.param("i", "--+++--", "iuuuhhu", id="there and back"),
        pytest.param("i", "--------", "iuuuuuuu", id="dead from the start"),
        pytest.param("i", "++++--+", "hhhhhuu", id="passes of better days do not count"),
        pytest.param("u", "-----+++", "uuuuuuuh", id="nor do failures of worse ones"),
    ],
)
def test_state_follows_checks_that_went_the_same_way_in_a_row(begin: str, results: str, seen: str) -> None:
    """Three that pass make an unhealthy target healthy, two that fail a healthy or new one unhealthy (docs/alb.md 5.4)."""
    assert _states(alb.HealthCheck(healthy_threshold=3, unhealthy_threshold=2), begin, results) == seen


def test_state_with_thresholds_of_one_is_that_of_the_last_check() -> None:
    """Nothing waits for a second one."""
    assert _states(alb.HealthCheck(healthy_threshold=1, unhealthy_threshold=1), "i", "+-+--+") == "huhuuh"


@pytest.mark.parametrize(("up", "down"), [(5, 2), (1, 1), (2, 10), (10, 1)])
def test_state_is_what_the_rows_at_the_end_say(up: int, down: int) -> None:
    """For every order of ten checks: the state changes with just the check that completes a row, and never before."""
    check = alb.HealthCheck(healthy_threshold=up, unhealthy_threshold=down)
    for results in map("".join, product("+-", repeat=10)):
        state = "i"
        expected = ""
        for number in range(1, len(results) + 1):
            done = results[:number]
            passed, failed = number - len(done.rstrip("+")), number - len(done.rstrip("-"))
            if failed >= down:
                state = "u"
            elif passed >= up or (passed and state != "u"):
                state = "h"
            expected += state
        assert _states(check, "i", results) == expected, results


def test_state_takes_thresholds_that_changed_on_the_way() -> None:
    """The row that goes on is held against those of the check in force."""
    track = HealthTrack()
    patient, quick = alb.HealthCheck(unhealthy_threshold=10), alb.HealthCheck(unhealthy_threshold=3)
    state = alb.TargetHealthState.HEALTHY
    for check in (patient, patient):
        state = track.after(_FAIL, state, check)
    assert state == "healthy"
    assert track.after(_FAIL, state, quick) == "unhealthy"


def test_tracks_of_two_targets_share_nothing() -> None:
    """Each counts its own checks."""
    check = alb.HealthCheck(unhealthy_threshold=2)
    first, second = HealthTrack(), HealthTrack()
    healthy = alb.TargetHealthState.HEALTHY
    assert first.after(_FAIL, healthy, check) == "healthy"
    assert second.after(_FAIL, healthy, check) == "healthy"
    assert first.after(_FAIL, healthy, check) == "unhealthy"
