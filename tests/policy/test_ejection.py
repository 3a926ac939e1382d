"""Who is ejected, for how long, how many at a time, and how they come back."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import attrs
import pytest

import albkit as alb
from albkit.model.message import ResponseHead
from albkit.policy.target_choice import TargetChoice
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState
from tests.policy.requests import request_for
from tests.support.clock import FakeClock

HEALTHY, UNHEALTHY, UNAVAILABLE, DRAINING = (
    alb.TargetHealthState.HEALTHY,
    alb.TargetHealthState.UNHEALTHY,
    alb.TargetHealthState.UNAVAILABLE,
    alb.TargetHealthState.DRAINING,
)


REFUSED = "the target refused the connection"


class Group:
    """Targets a, b, c, ... whose answers a test gives."""

    def __init__(self, names: str = "abcd", *, weights: dict[str, int] | None = None, ejection: Any = None, **settings: Any) -> None:
        weights = weights or {}
        self.clock = FakeClock(random.Random(7).random)
        targets = [alb.Target(name, 80, weight=weights.get(name, 1), standby=name.isupper()) for name in names]
        ejection = ejection if ejection is not None else alb.Ejection(consecutive_failures=3, duration=10, max_duration=60, probation=2)
        self.state = TargetGroupState(alb.TargetGroup("group", targets, ejection=ejection, **settings))
        self.members = dict(zip(names, self.state.members.values(), strict=True))
        self.names = {member: name for name, member in self.members.items()}
        self.choice = TargetChoice(self.state, self.clock)
        self.told: list[tuple[str, str]] = []
        self.state.on_ejected = lambda member, _seconds, why: self.told.append((self.names[member], why))

    @property
    def ejected(self) -> str:
        return "".join(sorted(self.names[member] for member in self.state.ejected))

    @property
    def eligible(self) -> str:
        return "".join(self.names[member] for member in self.state.eligible)

    def left(self, name: str) -> float | None:
        """Seconds for which a target stays ejected."""
        until = self.members[name].ejected_until
        return None if until is None else until - self.clock.monotonic()

    def play(self, script: str) -> None:
        """`a!` no answer, `ax` no connection, `a+` an answer, `a5` a 503, `a<` back on probation, `a-` unhealthy, `a*` healthy again."""
        for step in script.split():
            self._step(self.members[step[0]], step[1])

    def _step(self, member: TargetState, what: str) -> None:
        if what in "!x+5":
            self.choice.started(member)
            if what == "!":
                self.choice.failed(member, member.epoch)
            elif what == "x":
                self.choice.failed(member, member.epoch, REFUSED)
            else:
                self.choice.answered(member, 503 if what == "5" else 200, member.epoch)
            self.choice.finished(member)
        elif what == "<":
            self.choice.readmit(member)
        else:
            member.state = UNHEALTHY if what == "-" else UNAVAILABLE
            self.choice.refresh()

    def picks(self, count: int) -> Counter[str]:
        """Of so many requests that are all under way at a time, by target."""
        counted: Counter[str] = Counter()
        for number in range(count):
            member = self.choice.pick(request_for(client=f"192.0.2.{number % 250}"))
            assert member is not None
            self.choice.started(member)
            counted[self.names[member]] += 1
        return counted

    def apply(self, **settings: Any) -> None:
        """As apply() does with a description whose targets are the same."""
        self.state.group = attrs.evolve(self.state.group, **settings)
        self.choice.refresh()


@pytest.mark.parametrize(
    ("script", "ejected"),
    [
        ("", ""),
        ("a! a!", ""),
        ("a! a! a!", "a"),
        # An answer, of whatever status, begins the row anew.
        ("a! a! a+ a! a!", ""),
        ("a! a! a5 a! a!", ""),
        ("a! a! a+ a! a! a!", "a"),
        # What others do matters not.
        ("a! b! a! b! b+ a!", "a"),
        ("a! a! b+ b+ c+ a!", "a"),
        # 5xx alone are no failures in a row: they are for the shares of errors to find.
        ("a5 a5 a5 a5 a5 a5", ""),
        # Two of four is half of them; the third is one too many.
        ("a! a! a! b! b! b!", "ab"),
        ("a! a! a! b! b! b! c! c! c! c! c!", "ab"),
        # One too many is ejected as soon as there is room, at its next failure.
        ("a! a! a! b! b! b! c! c! c! a< c!", "bc"),
        # Failures of an ejected one, whose requests were under way, change nothing.
        ("a! a! a! a! a! a!", "a"),
        ("a! a! a! a+ a5", "a"),
        # Probation: its failure and its 5xx eject it again, so many answers end it.
        ("a! a! a! a<", ""),
        ("a! a! a! a< a!", "a"),
        ("a! a! a! a< a5", "a"),
        ("a! a! a! a< a+ a!", "a"),
        ("a! a! a! a< a+ a5", "a"),
        ("a! a! a! a< a+ a+ a!", ""),
        ("a! a! a! a< a+ a+ a5", ""),
        ("a! a! a! a< a+ a+ a! a! a!", "a"),
        # What was counted against it while it was ejected is not held against it.
        ("a! a! a! a! a! a! a< a+ a+ a!", ""),
        # Not healthy: there is nothing to eject, and an ejection goes on whatever the checks say.
        ("a- a! a! a! a!", ""),
        ("a- a! a! a! a* a!", "a"),
        ("a! a! a! a-", "a"),
        ("a! a! a! a- a*", "a"),
    ],
)
def test_ejection_is_a_matter_of_what_a_target_did(script: str, ejected: str) -> None:
    """Of four targets, with three failures, two answers on probation and half of the group at most."""
    group = Group()
    group.play(script)
    assert group.ejected == ejected
    assert set(group.eligible).isdisjoint(ejected)


@pytest.mark.parametrize("most", [1, 2, 7])
def test_so_many_failures_in_a_row_eject(most: int) -> None:
    """Not one less."""
    group = Group(ejection=alb.Ejection(consecutive_failures=most))
    for _ in range(most - 1):
        group.play("a!")
    assert group.ejected == ""
    group.play("a!")
    assert group.ejected == "a"


def test_without_a_limit_on_failures_none_eject() -> None:
    """`consecutive_failures=None` leaves it to the shares of errors."""
    group = Group(ejection=alb.Ejection(consecutive_failures=None))
    group.play("a! " * 100)
    assert group.ejected == ""


def test_group_without_ejection_ejects_nobody() -> None:
    """Whatever fails."""
    group = Group()
    group.apply(ejection=None)
    group.play("a! " * 100)
    group.choice.eject(group.members["a"], "because")
    assert (group.ejected, group.eligible, group.told) == ("", "abcd", [])


def test_whoever_wants_to_know_is_told_once_of_each_ejection() -> None:
    """With a reason for a person."""
    group = Group()
    group.play("a! a! a! a! a< a5 a< a!")
    assert [name for name, _ in group.told] == ["a", "a", "a"]
    assert group.told[0][1] == "3 requests in a row got no connection or no response"
    assert "503" in group.told[1][1]
    assert all(why for _, why in group.told)
    assert group.members["a"].eject_reason.startswith("Ejected for 40 s: ")
    group.play("a<")
    assert group.members["a"].eject_reason == ""


@pytest.mark.parametrize(
    ("duration", "longest", "expected"),
    [
        (10, 60, [10, 20, 40, 60, 60]),
        (10, 10, [10, 10]),
        (30, 5, [30, 30]),
        (0.5, 300, [0.5, 1, 2, 4, 8]),
        (30, 300, [30, 60, 120, 240, 300]),
    ],
)
def test_each_ejection_in_a_row_is_twice_as_long(duration: float, longest: float, expected: list[float]) -> None:
    """Up to a maximum, which is never less than the first."""
    group = Group(ejection=alb.Ejection(consecutive_failures=1, duration=duration, max_duration=longest))
    durations = []
    for _ in expected:
        group.play("a!")
        durations.append(group.left("a"))
        group.clock.advance(durations[-1] or 0)
        group.play("a<")
    assert durations == expected


def test_thousandth_ejection_is_as_long_as_the_longest() -> None:
    """No overflow."""
    group = Group(ejection=alb.Ejection(consecutive_failures=1, duration=10, max_duration=60))
    for _ in range(2_000):
        group.play("a! a<")
    group.play("a!")
    assert group.left("a") == 60


def test_probation_that_is_passed_begins_the_durations_anew() -> None:
    """And one that is not doubles them."""
    group = Group()
    group.play("a! a! a! a< a+ a!")
    assert group.left("a") == 20
    group.play("a< a+ a+ a! a! a!")
    assert group.left("a") == 10


@pytest.mark.parametrize(
    ("count", "percent", "most"),
    [
        (1, 100, 0),
        (2, 1, 1),
        (2, 100, 1),
        (3, 50, 1),
        (3, 67, 2),
        (3, 100, 2),
        (4, 50, 2),
        (4, 1, 1),
        (10, 30, 3),
        (10, 39, 3),
        (10, 100, 9),
    ],
)
def test_no_more_than_so_many_percent_are_ejected(count: int, percent: int, most: int) -> None:
    """One always may be, the last one never."""
    names = "abcdefghij"[:count]
    group = Group(names, ejection=alb.Ejection(consecutive_failures=1, max_percent=percent))
    for name in names:
        group.play(f"{name}! {name}!")
    assert len(group.ejected) == most
    assert group.eligible


@pytest.mark.parametrize(("names", "script"), [("abc", "b- c- a! a!"), ("ab", "b- a! a!"), ("a", "a! a!"), ("abc", "a! b- c!")])
def test_last_good_target_is_never_ejected(names: str, script: str) -> None:
    """The others may be ill: then this one is better than none."""
    group = Group(names, ejection=alb.Ejection(consecutive_failures=1, max_percent=100))
    group.play(script)
    assert group.eligible
    assert not group.state.fails_open


def test_ejected_target_that_is_ill_as_well_takes_no_others_place() -> None:
    """Of the good ones all but the last may be ejected, whatever became of one that was ejected before."""
    group = Group("abc", ejection=alb.Ejection(consecutive_failures=1, max_percent=100))
    group.play("a! a- b!")
    assert (group.ejected, group.eligible) == ("ab", "c")


def test_standby_takes_the_place_of_ejected_targets() -> None:
    """It is there for that."""
    group = Group("aS", ejection=alb.Ejection(consecutive_failures=1))
    assert group.eligible == "a"
    group.play("a!")
    assert (group.ejected, group.eligible) == ("a", "S")
    group.play("a<")
    assert group.eligible == "a"


@pytest.mark.parametrize("algorithm", ["round_robin", "least_outstanding_requests", "weighted_random", "least_response_time", "by_traffic"])
def test_ejected_target_gets_no_request(algorithm: str) -> None:
    """The others share what it had; behind its probation it has its share again."""
    group = Group(algorithm=algorithm)
    group.play("a! a! a!")
    assert set(group.picks(60)) == {"b", "c", "d"}
    for name in "bcd":
        while group.members[name].outstanding:
            group.choice.finished(group.members[name])
    group.play("a< a+ a+")
    assert group.picks(60)["a"] > 5


@pytest.mark.parametrize(
    "algorithm", ["round_robin", "least_outstanding_requests", "weighted_random", "least_response_time", "by_traffic", "ip_hash"]
)
def test_target_on_probation_has_one_request_at_a_time(algorithm: str) -> None:
    """The next one when that is answered, and any number behind the last answer."""
    group = Group("ab", algorithm=algorithm)
    group.play("a! a! a! a<")
    member = group.members["a"]
    for answer in range(2):
        for number in range(200):
            picked = group.choice.pick(request_for(client=f"192.0.2.{number}"))
            assert picked is not None
            group.choice.started(picked)
            if picked is not member:
                group.choice.finished(picked)
            assert member.outstanding <= 1
        assert member.outstanding == 1, f"no request number {answer}"
        group.choice.answered(member, 200, member.epoch)
        group.choice.finished(member)
    assert member.probation == 0
    assert group.picks(100)["a"] > 10


def test_all_on_probation_with_a_request_each_take_more() -> None:
    """Better than no answer."""
    group = Group("ab", ejection=alb.Ejection(consecutive_failures=1, max_percent=100))
    group.play("a! a< b! b<")
    assert sum(group.picks(10).values()) == 10


def test_requests_that_probation_keeps_away_go_where_weights_say() -> None:
    """A target with weight 0 gets none of them, and the others as much as their weights say."""
    group = Group("abcd", weights={"a": 4, "b": 1, "c": 3, "d": 0}, algorithm="weighted_random")
    group.play("a! a! a! a<")
    seen = group.picks(4_000)
    assert seen["a"] == 1
    assert seen["d"] == 0
    assert 0.18 < seen["b"] / 4_000 < 0.32


def test_retry_does_not_go_to_a_target_that_has_its_one_request() -> None:
    """There are others."""
    group = Group("abc")
    group.play("a! a! a! a<")
    group.choice.started(group.members["a"])
    seen = {group.choice.pick_other({group.members["b"]}, request_for()) for _ in range(20)}
    assert seen == {group.members["c"]}


def test_sessions_bound_to_a_target_on_probation_wait_for_its_one_request_elsewhere() -> None:
    """A key that many requests share must not bring them all at once."""
    group = Group("abc", stickiness=alb.SourceAddress())
    member = group.members["a"]
    clients = [f"192.0.2.{number}" for number in range(60)]
    bound = [client for client in clients if group.choice.bound(request_for(client=client), 0.0) is member]
    assert len(bound) > 3
    group.play("a! a! a!")
    assert all(group.choice.bound(request_for(client=client), 0.0) is not member for client in bound)
    group.play("a<")
    most = 0
    for client in bound:
        picked = group.choice.bound(request_for(client=client), 0.0) or group.choice.pick(request_for(client=client))
        assert picked is not None
        group.choice.started(picked)
        most = max(most, member.outstanding)
    assert most == 1


def test_tunnel_does_not_keep_a_target_from_its_probation() -> None:
    """It may live for days: the one request at a time is one beside it."""
    group = Group("ab")
    member = group.members["a"]
    group.choice.started(member)
    member.tunnels += 1
    group.play("a! a! a! a<")
    assert "a" in group.picks(20)


def test_failure_of_a_request_from_before_the_ejection_ejects_nobody_again() -> None:
    """It was sent before, and tells nothing of how the target does now."""
    group = Group("ab")
    member = group.members["a"]
    group.choice.started(member)
    group.play("a! a! a!")
    group.clock.advance(10)
    group.play("a<")
    group.choice.failed(member, 0)
    group.choice.finished(member)
    assert group.ejected == ""


def test_probation_ends_with_the_setting() -> None:
    """apply() without ejection: such a target is as any other at once."""
    group = Group("ab")
    group.play("a! a! a! a<")
    group.apply(ejection=None)
    assert group.picks(20)["a"] == 10


def test_answer_on_probation_that_cannot_eject_is_not_counted_as_good() -> None:
    """Too many are ejected already: it stays on probation until it answers well."""
    group = Group("ab", ejection=alb.Ejection(consecutive_failures=1, probation=2))
    group.play("a! a< b! a5 a! a+")
    assert (group.ejected, group.members["a"].probation) == ("b", 1)


@pytest.mark.parametrize(("least", "ejected"), [(1, "a"), (3, "a"), (4, ""), ("75%", "a"), ("100%", "")])
def test_nobody_is_ejected_whom_the_group_must_have(least: Any, ejected: str) -> None:
    """Or it would fail open, and the target would get its requests all the same."""
    group = Group(minimum_healthy_targets=least)
    group.play("a! a! a!")
    assert group.ejected == ejected
    assert not group.state.fails_open


def test_group_that_fails_open_sends_to_its_ejected_targets_as_well() -> None:
    """Others have become ill since: an ejected one is none of those that the group must have, and any answer is better than none."""
    group = Group(minimum_healthy_targets=2)
    group.play("a! a! a! b- c-")
    assert (group.state.fails_open, group.eligible, group.ejected) == (True, "abcd", "a")
    group.play("a<")
    assert (group.state.fails_open, group.eligible) == (False, "ad")


def test_cookie_session_of_an_ejected_target_goes_elsewhere() -> None:
    """As where it is unhealthy."""
    group = Group("ab", stickiness=alb.LbCookie())
    assert group.choice.stickiness is not None
    fields = group.choice.stickiness.fields(group.members["a"], request_for(), ResponseHead(), group.clock.time())
    cookie = fields.removeprefix(b"Set-Cookie: ").partition(b";")[0]
    assert group.choice.bound(request_for(cookie=cookie), group.clock.time()) is group.members["a"]
    group.play("a! a! a!")
    assert group.choice.bound(request_for(cookie=cookie), group.clock.time()) is None
    assert group.choice.pick(request_for()) is group.members["b"]
