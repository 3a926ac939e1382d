"""Who is left out where nobody asked for a health check or for ejections, and where requests go that have failed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import albkit as alb
from albkit.model.message import ResponseHead
from albkit.policy import target_choice
from albkit.policy.eligibility import Census
from albkit.state.target import TargetState
from tests.policy.requests import request_for
from tests.policy.test_ejection import REFUSED, Group

_ALGORITHMS = ["round_robin", "least_outstanding_requests", "weighted_random", "least_response_time", "by_traffic", "ip_hash"]


def group_of(names: str = "abcd", **settings: Any) -> Group:
    return Group(names, ejection="auto", **settings)


@pytest.mark.parametrize(
    ("script", "ejected"),
    [
        ("", ""),
        # One connection that does not come about is enough.
        ("ax", "a"),
        ("a+ ax", "a"),
        ("ax bx", "ab"),
        # The last one stays, whatever becomes of it.
        ("ax bx cx", "abc"),
        ("ax bx cx dx dx dx", "abc"),
        # It may go when another one is back.
        ("ax bx cx a< dx", "bcd"),
        # No answer is no matter of this, nor is any answer.
        ("a! a! a! a! a! a! a! a!", ""),
        ("a5 a5 a5 a5 a5 a5 a5 a5", ""),
        # What was under way with an ejected one changes nothing.
        ("ax ax ax", "a"),
        # On probation any connection will do: what comes over it is no matter of this.
        ("ax a<", ""),
        ("ax a< ax", "a"),
        ("ax a< a5 a5", ""),
        ("ax a< a! a!", ""),
        ("ax a< a+ ax", "a"),
        # One that is ill has a health check, which decides alone; it is here for the sake of apply().
        ("a- ax", ""),
    ],
)
def test_ejection_is_a_matter_of_connections_alone(script: str, ejected: str) -> None:
    """Of four targets."""
    group = group_of()
    group.play(script)
    assert group.ejected == ejected
    assert group.eligible


def test_each_ejection_in_a_row_is_twice_as_long_up_to_a_minute() -> None:
    """Until a connection comes about: then the next one is short again."""
    group = group_of()
    for seconds in (10, 20, 40, 60, 60):
        group.play("ax")
        assert group.left("a") == seconds
        group.clock.advance(seconds)
        group.play("a<")
    group.play("a5 ax")
    assert group.left("a") == 10
    group.clock.advance(10)
    group.play("a< a! ax")
    assert group.left("a") == 10


def test_description_tells_why_nothing_was_connected() -> None:
    """In the words of the log."""
    group = group_of()
    group.play("ax")
    assert group.members["a"].eject_reason == f"Ejected for 10 s: {REFUSED}"
    assert group.told == [("a", REFUSED)]


@pytest.mark.parametrize("settings", [{"ejection": None}, {"ejection": "auto", "health_check": alb.HealthCheck()}], ids=["None", "checked"])
def test_nobody_is_ejected_where_that_is_switched_off_or_a_health_check_decides(settings: dict[str, Any]) -> None:
    """However many connections fail."""
    group = Group()
    group.apply(**settings)
    for member in group.members.values():
        member.state = alb.TargetHealthState.HEALTHY
    group.play("ax " * 50 + "bx " * 50)
    assert (group.ejected, group.eligible) == ("", "abcd")


@pytest.mark.parametrize("settings", [{"ejection": None}, {"health_check": alb.HealthCheck()}], ids=["None", "checked"])
def test_probation_ends_with_the_setting(settings: dict[str, Any]) -> None:
    """apply(): such a target is as any other at once."""
    group = group_of("ab")
    group.play("ax a<")
    group.apply(**settings)
    assert group.members["a"].probation == 0
    assert group.picks(20)["a"] == 10


def test_ejection_of_another_kind_goes_on_and_ends_as_the_new_setting_says() -> None:
    """apply() while a target is out: its time stays, and its probation is that of the description in force."""
    group = Group(ejection=alb.Ejection(consecutive_failures=1, duration=100, probation=7))
    group.play("a!")
    group.apply(ejection="auto")
    assert group.left("a") == 100
    group.play("a<")
    assert group.members["a"].probation == 1
    group.play("a+ bx")
    group.apply(ejection=alb.Ejection(consecutive_failures=1, duration=100, probation=7))
    assert (group.ejected, group.left("b")) == ("b", 10)
    group.play("b<")
    assert group.members["b"].probation == 7
    group.play("b!")
    assert group.left("b") == 200


def test_whoever_wants_to_know_is_told_when_a_target_is_as_any_other() -> None:
    """Once, and not while it is only tried."""
    group = group_of("ab")
    back: list[str] = []
    group.state.on_recovered = lambda member: back.append(group.names[member])
    group.play("a+ ax a< ax a<")
    assert back == []
    group.play("a+")
    assert back == ["a"]
    group.play("a+ a+ b+")
    assert back == ["a"]


def test_answer_of_an_ejected_target_ends_its_time() -> None:
    """One that was asked because all others had failed is well: the next sweep takes it back. What was sent before tells nothing."""
    group = group_of("ab")
    member = group.members["a"]
    group.choice.started(member)
    group.play("ax")
    group.choice.answered(member, 200, 0)
    group.choice.finished(member)
    assert group.left("a") == 10
    group.play("ax")
    assert group.left("a") == 10
    group.play("a5")
    assert group.left("a") == 0
    assert group.ejected == "a"


def test_answer_of_a_target_that_was_ejected_for_more_does_not_end_its_time() -> None:
    """`Ejection(...)` says for how long."""
    group = Group("ab", ejection=alb.Ejection(consecutive_failures=1, duration=10))
    group.play("a! a+")
    assert group.left("a") == 10


@pytest.mark.parametrize("algorithm", _ALGORITHMS)
def test_target_that_is_back_has_one_request_until_a_connection_came_about(algorithm: str) -> None:
    """No more than one client waits for it."""
    group = group_of("abc", algorithm=algorithm)
    group.play("ax a<")
    member = group.members["a"]
    for number in range(300):
        picked = group.choice.pick(request_for(client=f"192.0.2.{number % 250}"))
        assert picked is not None
        group.choice.started(picked)
        if picked is not member:
            group.choice.finished(picked)
        assert member.outstanding <= 1
    assert member.outstanding == 1


def test_retry_goes_first_to_a_target_of_which_nothing_bad_is_known() -> None:
    """Then to one that has failed of late or is on probation, in the end to nobody."""
    group = group_of("abcd")
    members = group.members
    group.play("ax a< b!")
    tried = [members["c"]]
    for _ in range(10):
        assert group.choice.pick_other(tried, request_for()) is members["d"]
    tried.append(members["d"])
    seen = {group.choice.pick_other(tried, request_for()) for _ in range(50)}
    assert seen <= {members["a"], members["b"]}
    assert group.choice.pick_other(members.values(), request_for()) is None


@pytest.mark.parametrize("algorithm", _ALGORITHMS)
def test_retry_reaches_a_standby_where_the_others_have_failed(algorithm: str) -> None:
    """It is not in use, and its algorithm does not know it; another one of those in use comes first."""
    group = group_of("abS", algorithm=algorithm)
    a, b, s = group.members.values()
    for _ in range(10):
        assert group.choice.pick_other([a], request_for()) is b
        assert group.choice.pick_other([a, b], request_for()) is s
    assert group.choice.pick_other([a, b, s], request_for()) is None
    group.play("b!")
    for _ in range(10):
        assert group.choice.pick_other([a], request_for()) is s
        assert group.choice.pick_other([a, s], request_for()) is b


def test_last_try_goes_to_a_standby() -> None:
    """Of fifty that may all be dead no request can try more than three."""
    group = group_of("abcdS")
    a, b, _, _, s = group.members.values()
    assert group.choice.pick_other([a, b], request_for(), last=True) is s
    assert group_of("abcd").choice.pick_other([], request_for(), last=True) is not None


@pytest.mark.parametrize(
    ("states", "standby"),
    [
        ({}, True),
        ({"state": alb.TargetHealthState.UNHEALTHY}, False),
        ({"state": alb.TargetHealthState.INITIAL}, False),
        ({"state": alb.TargetHealthState.DRAINING}, False),
        ({"ejected_until": 1.0}, False),
        ({"outstanding": 1}, False),
    ],
    ids=str,
)
def test_standby_must_be_well_and_have_room(states: dict[str, Any], standby: bool) -> None:
    """As any target."""
    targets = [alb.Target("a", 80), alb.Target("s", 80, standby=True, max_concurrency=1)]
    state = target_choice.TargetGroupState(alb.TargetGroup("group", targets))
    group = group_of()
    choice = target_choice.TargetChoice(state, group.clock)
    a, s = state.members.values()
    for name, value in states.items():
        setattr(s, name, value)
    assert (choice.pick_other([a], request_for()) is s) is standby


def test_standbys_share_retries_as_their_weights_say() -> None:
    """One of weight 0 gets none beside others."""
    group = group_of("aSTU", weights={"S": 3, "U": 0})
    seen = Counter(group.choice.pick_other([group.members["a"]], request_for()) for _ in range(4000))
    assert 0.7 < seen[group.members["S"]] / 4000 < 0.8
    assert seen[group.members["U"]] == 0


@pytest.mark.parametrize("percent", [1, 50, 100])
@pytest.mark.parametrize("mains", ["a", "ab", "abcdef"])
def test_standby_takes_over_where_all_others_fail_whatever_max_percent_says(percent: int, mains: str) -> None:
    """One that still answers keeps its place, and those that may not be ejected beside it keep theirs."""
    settings = alb.Ejection(consecutive_failures=2, max_percent=percent)
    group = Group(f"{mains}S", ejection=settings)
    for _ in range(3):
        group.play(" ".join(f"{name}!" for name in mains))
    assert (group.ejected, group.eligible) == (mains, "S")
    group.play("S! S! S!")
    assert group.eligible == "S"
    if len(mains) > 1:
        group = Group(f"{mains}S", ejection=settings)
        for _ in range(3):
            group.play(" ".join(f"{name}!" for name in mains[1:]) + f" {mains[0]}+")
        assert len(group.ejected) == min(len(mains) - 1, max(1, (len(mains) + 1) * percent // 100))
        assert mains[0] in group.eligible


def test_standby_gets_what_a_main_on_probation_is_not_to_get() -> None:
    """While the first client waits for the main that may be dead still, all others have an answer."""
    group = group_of("aS")
    a, s = group.members.values()
    group.play("ax")
    assert group.eligible == "S"
    group.play("a<")
    assert group.eligible == "a"
    assert group.choice.pick(request_for()) is a
    group.choice.started(a)
    assert [group.choice.pick(request_for()) for _ in range(5)] == [s] * 5
    group.choice.answered(a, 200, a.epoch)
    group.choice.finished(a)
    assert [group.choice.pick(request_for()) for _ in range(5)] == [a] * 5


def test_standby_takes_no_upgrade_for_which_the_targets_in_use_have_no_room() -> None:
    """That is no failure; and nobody who is ejected takes it either."""
    group = group_of("abcS")
    a, b, c, _ = group.members.values()
    group.play("cx")
    assert group.choice.pick_in_use({a}, request_for()) is b
    assert group.choice.pick_in_use({a, b}, request_for()) is None
    assert c.ejected_until is not None


def test_ejected_targets_are_asked_one_request_at_a_time() -> None:
    """Where all others failed: any of them, by chance, for each may be well again; a tunnel that lives there is no request."""
    group = group_of("abcd")
    a, b, c, d = group.members.values()
    group.play("ax bx cx")
    assert {group.choice.pick_ejected([d]) for _ in range(100)} == {a, b, c}
    group.choice.started(a)
    c.outstanding = c.tunnels = 1
    assert {group.choice.pick_ejected([d]) for _ in range(100)} == {b, c}
    assert group.choice.pick_ejected([b, c]) is None
    group.play("a<")
    assert {group.choice.pick_ejected([d]) for _ in range(100)} == {b, c}


@pytest.mark.parametrize("weights", [{"a": 0, "b": 0, "c": 0}, {"c": 0}, {"a": 0}], ids=str)
def test_weight_0_is_the_last_resort(weights: dict[str, int]) -> None:
    """No request goes there by an ejection, while a retry may; where all have 0 they are as any others."""
    group = group_of("abc", weights=weights)
    group.play("ax bx cx")
    assert group.eligible
    weighty = [name for name in group.eligible if group.members[name].weight]
    assert bool(weighty) is any(member.weight for member in group.members.values())
    group = group_of("abc", weights={"c": 0})
    a, b, c = group.members.values()
    group.play("b!")
    assert group.choice.pick_other([a], request_for()) is b
    assert group.choice.pick_other([a, b], request_for()) is c


def test_session_of_a_target_that_is_back_waits_for_its_first_answer_elsewhere() -> None:
    """Or each of its clients would wait for a target that is dead still; with the answer they all come."""
    group = group_of("ab", stickiness=alb.LbCookie())
    a = group.members["a"]
    assert group.choice.stickiness is not None
    fields = group.choice.stickiness.fields(a, request_for(), ResponseHead(), group.clock.time())
    request = request_for(cookie=fields.removeprefix(b"Set-Cookie: ").partition(b";")[0])

    def bound() -> TargetState | None:
        return group.choice.bound(request, group.clock.time())

    assert bound() is a
    group.play("ax")
    assert bound() is None
    group.play("a<")
    assert bound() is a
    group.choice.started(a)
    assert bound() is None
    group.choice.answered(a, 200, a.epoch)
    assert bound() is a


def test_thousand_targets_of_which_one_lives_are_not_gone_through_for_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """All others are back and have their one request: what is too much for them goes to the living one without a search."""

    def search(*_: Any) -> None:
        raise AssertionError("all targets are gone through")

    targets = [alb.Target(f"t{number}", 80) for number in range(1000)]
    for algorithm in _ALGORITHMS:
        group = group_of()
        state = target_choice.TargetGroupState(alb.TargetGroup("group", targets, algorithm=algorithm))
        choice = target_choice.TargetChoice(state, group.clock)
        alive, *dead = state.members.values()
        for member in dead:
            member.probation = 1
        choice.refresh()
        for member in dead:
            choice.started(member)
        with monkeypatch.context() as patched:
            patched.setattr(target_choice.TargetChoice, "pick_other", search)
            picked = {choice.pick(request_for(client=f"192.0.2.{number % 250}")) for number in range(500)}
        assert picked == {alive}
        proven = dead[0]
        choice.answered(proven, 200, proven.epoch)
        if algorithm in ("round_robin", "weighted_random", "ip_hash"):
            assert {choice.pick(request_for(client=f"192.0.2.{number}")) for number in range(100)} == {alive, proven}


def test_sessions_come_to_a_target_on_probation_behind_its_first_answer() -> None:
    """Also where it has to give more of them before others come as they did."""
    group = Group("ab", ejection=alb.Ejection(consecutive_failures=1, probation=3), stickiness=alb.LbCookie())
    a = group.members["a"]
    assert group.choice.stickiness is not None
    fields = group.choice.stickiness.fields(a, request_for(), ResponseHead(), group.clock.time())
    request = request_for(cookie=fields.removeprefix(b"Set-Cookie: ").partition(b";")[0])
    group.play("a! a<")
    group.choice.started(a)
    assert group.choice.bound(request, group.clock.time()) is None
    group.choice.answered(a, 200, a.epoch)
    assert group.choice.bound(request, group.clock.time()) is a
    assert a.probation == 2


def test_standby_stands_in_for_a_main_with_a_limit_that_is_on_probation() -> None:
    """It is not among those whose room is counted."""
    targets = [alb.Target("a", 80, max_concurrency=5), alb.Target("s", 80, standby=True)]
    clock = group_of().clock
    choice = target_choice.TargetChoice(target_choice.TargetGroupState(alb.TargetGroup("group", targets)), clock)
    a, s = choice.group.members.values()
    choice.failed(a, a.epoch, REFUSED)
    assert choice.pick(request_for()) is s
    choice.readmit(a)
    assert choice.pick(request_for()) is a
    choice.started(a)
    assert choice.pick(request_for()) is s


def test_thousand_targets_come_back_with_one_look_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many were ejected at the same time."""
    looks = 0

    def counted(method: Any) -> Any:
        def counting(*given: Any) -> Any:
            nonlocal looks
            looks += 1
            return method(*given)

        return counting

    for name in ("take", "change"):
        monkeypatch.setattr(Census, name, counted(getattr(Census, name)))
    group = group_of("abcdefgh")
    group.play("ax bx cx dx ex fx gx")
    looks = 0
    group.choice.readmit(*group.state.ejected)
    assert looks == 1
    assert group.eligible == "abcdefgh"
