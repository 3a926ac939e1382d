from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from email.utils import formatdate

import pytest

import albkit as alb
from albkit.model.health import TargetHealthState
from albkit.policy.group_choice import GroupChoice
from albkit.policy.target_choice import TargetChoice
from albkit.state.target_group import TargetGroupState
from tests.policy.requests import request_for
from tests.support.clock import FakeClock

_NOW = 1_790_000_123.5


def _scripted(*numbers: float) -> Callable[[], float]:
    script: Iterator[float] = iter(numbers)
    return lambda: next(script)


class _Groups:
    """A forward to several groups, of which those named as empty have no targets."""

    def __init__(
        self,
        weights: dict[str, int],
        stickiness: float | None = None,
        *,
        on_failure: str = "rebalance",
        empty: tuple[str, ...] = (),
        chance: Callable[[], float] = lambda: 0.0,
    ) -> None:
        groups = {name: alb.TargetGroup(name, () if name in empty else f"{name}:80") for name in weights}
        self.choices = {name: TargetChoice(TargetGroupState(group), FakeClock()) for name, group in groups.items()}
        forward = alb.Forward({groups[name]: weight for name, weight in weights.items()}, stickiness, on_failure=on_failure)
        self.choice = GroupChoice(forward, self.choices, FakeClock(chance))

    def pick(self, cookies: bytes = b"", now: float = _NOW) -> str | None:
        choice, _ = self.choice.pick(request_for(cookie=cookies), now)
        return choice.group.group.name if choice is not None else None

    def value(self, name: str, now: float = _NOW) -> bytes:
        """What the cookie that binds to a group says."""
        assert self.choice._cookie is not None
        match = re.match(rb"Set-Cookie: AWSALBTG=([^;]+);", self.choice._cookie.lines(self.choices[name], now))
        assert match is not None
        return match[1]

    def cookie(self, name: str, now: float = _NOW) -> bytes:
        return b"AWSALBTG=" + self.value(name, now)

    def drain(self, name: str) -> None:
        for member in self.choices[name].group.members.values():
            member.state = TargetHealthState.DRAINING
        self.choices[name].refresh()


def test_group_choice_of_one_group_has_nothing_to_choose() -> None:
    """One group, no stickiness: it is `only`, and picking it costs no chance and sets no cookie."""
    groups = _Groups({"a": 1}, chance=_scripted())
    assert groups.choice.only is groups.choices["a"]
    assert _Groups({"a": 1, "b": 1}).choice.only is None
    assert _Groups({"a": 1}, 60).choice.only is None


@pytest.mark.parametrize("weights", [{"a": 1, "b": 1}, {"a": 90, "b": 10}, {"a": 1, "b": 0, "c": 3}, {"a": 999, "b": 1}, {"a": 0, "b": 5}])
@pytest.mark.parametrize("stickiness", [None, 60])
def test_group_choice_gives_each_group_its_share(weights: dict[str, int], stickiness: float | None) -> None:
    """Share is weight by sum (docs/alb.md 4.1): exactly that of chances that lie evenly in [0, 1)."""
    total = sum(weights.values()) * 4
    groups = _Groups(weights, stickiness, chance=_scripted(*[(place + 0.5) / total for place in range(total)]))
    assert Counter(groups.pick() for _ in range(total)) == {name: weight * 4 for name, weight in weights.items() if weight}


@pytest.mark.parametrize(("chance", "expected"), [(0.0, "b"), (0.4999, "b"), (0.5, "d"), (1 - 2**-53, "d")])
def test_group_choice_at_the_edges_of_chance_stays_among_those_with_weight(chance: float, expected: str) -> None:
    """Weight 0 gets no new session, at whichever end it stands."""
    groups = _Groups({"a": 0, "b": 1, "c": 0, "d": 1, "e": 0}, chance=lambda: chance)
    assert groups.pick() == expected


def test_group_choice_with_all_weights_0_has_no_group() -> None:
    """Nobody gets new sessions, and no cookie is set."""
    assert _Groups({"a": 0, "b": 0}).choice.pick(request_for(), _NOW) == (None, b"")
    assert _Groups({"a": 0, "b": 0}, 60).choice.pick(request_for(), _NOW) == (None, b"")


@pytest.mark.parametrize("empty", ["a", "b"])
def test_group_choice_without_a_session_never_turns_to_a_sibling(empty: str) -> None:
    """No failover from an empty group to another (docs/alb.md 4.1): its share is answered 503."""
    groups = _Groups({"a": 1, "b": 1}, empty=(empty,), chance=_scripted(0.2, 0.7))
    assert [groups.pick(), groups.pick()] == ["a", "b"]


def test_group_choice_sets_both_cookies() -> None:
    """AWSALBTG and AWSALBTGCORS with one value, Expires 7 days ahead, SameSite=None on the second (docs/alb.md 5.3)."""
    groups = _Groups({"a": 1, "b": 1}, 60)
    choice, lines = groups.choice.pick(request_for(), _NOW)
    assert choice is groups.choices["a"]
    value, date = groups.value("a"), formatdate(1_790_000_123 + 7 * 86400, usegmt=True).encode()
    assert lines == (
        b"Set-Cookie: AWSALBTG=" + value + b"; Expires=" + date + b"; Path=/\r\n"
        b"Set-Cookie: AWSALBTGCORS=" + value + b"; Expires=" + date + b"; Path=/; SameSite=None"
    )
    assert re.fullmatch(rb"[0-9a-f]{40}", value)


def test_group_choice_without_stickiness_reads_and_sets_no_cookie() -> None:
    """A cookie means nothing to a forward without stickiness."""
    cookie = _Groups({"a": 1, "b": 1}, 60).cookie("b")
    assert _Groups({"a": 1, "b": 1}).choice.pick(request_for(cookie=cookie), _NOW)[1] == b""
    assert _Groups({"a": 1, "b": 1}).pick(cookie) == "a"


@pytest.mark.parametrize("name", [b"AWSALBTG", b"AWSALBTGCORS"])
def test_group_choice_follows_a_valid_cookie_of_either_name(name: bytes) -> None:
    """Later requests go to the recorded group whatever the weights say (docs/alb.md 4.1), and the cookie is renewed."""
    groups = _Groups({"a": 999, "b": 1}, 60)
    cookies = b"theme=dark; " + name + b"=" + groups.value("b")
    assert groups.pick(cookies) == "b"
    assert groups.value("b") in groups.choice.pick(request_for(cookie=cookies), _NOW)[1]


def test_group_choice_lets_the_cors_cookie_take_precedence() -> None:
    """When both arrive AWSALBTGCORS decides, in either order."""
    groups = _Groups({"a": 1, "b": 1}, 60)
    assert groups.pick(b"AWSALBTG=%s; AWSALBTGCORS=%s" % (groups.value("a"), groups.value("b"))) == "b"
    assert groups.pick(b"AWSALBTGCORS=%s; AWSALBTG=%s" % (groups.value("b"), groups.value("a"))) == "b"
    assert groups.pick(b"AWSALBTGCORS=garbage; AWSALBTG=%s" % groups.value("b")) == "b"


def test_group_choice_of_weight_0_is_honoured_for_a_valid_cookie() -> None:
    """Weight 0 gets no new session and keeps those that it has."""
    groups = _Groups({"a": 1, "b": 0}, 60)
    assert groups.pick() == "a"
    assert groups.pick(groups.cookie("b")) == "b"
    emptied = _Groups({"a": 0, "b": 0}, 60)
    assert emptied.pick(emptied.cookie("b")) == "b"


@pytest.mark.parametrize("cookies", [b"", b"AWSALBTG=", b"AWSALBTG=garbage", b"AWSALBTG=" + b"0" * 40, b"AWSALB=%s", b"xAWSALBTG=%s"])
def test_group_choice_takes_any_other_cookie_for_a_new_session(cookies: bytes) -> None:
    """What binds nobody is a fresh choice by weight, never an error."""
    groups = _Groups({"a": 1, "b": 1}, 60)
    assert groups.pick(cookies.replace(b"%s", groups.value("b"))) == "a"


def test_group_choice_cookie_holds_for_its_duration_and_no_longer() -> None:
    """The forward's own duration is what is enforced."""
    groups = _Groups({"a": 1, "b": 1}, 60)
    cookie = groups.cookie("b", 1_790_000_000.0)
    assert groups.pick(cookie, 1_790_000_059.0) == "b"
    assert groups.pick(cookie, 1_790_000_060.0) == "a"


def test_group_choice_takes_the_cookie_of_another_forward_with_this_group() -> None:
    """A group is known by its name, in any rule and any instance; one that this forward does not send to is a fresh choice."""
    first = _Groups({"a": 1, "b": 1, "c": 1}, 60)
    second = _Groups({"b": 1, "a": 1}, 3600)
    assert second.pick(first.cookie("a")) == "a"
    assert second.pick(first.cookie("c")) == "b"


@pytest.mark.parametrize("empty_by", ["no targets", "all draining"])
def test_group_choice_rebalances_a_session_whose_group_has_no_targets(empty_by: str) -> None:
    """`"rebalance"`: again by weight, among the groups that have some, with a cookie for the new one."""
    groups = _Groups(
        {"a": 1, "b": 1, "c": 3, "d": 0},
        60,
        empty=("a", "b") if empty_by == "no targets" else ("a",),
        chance=lambda: 0.0,
    )
    if empty_by == "all draining":
        groups.drain("b")
    assert groups.pick(groups.cookie("b")) == "c"
    assert groups.value("c") in groups.choice.pick(request_for(cookie=groups.cookie("b")), _NOW)[1]


def test_group_choice_rebalances_by_weight() -> None:
    """Those that have targets share by their own weights."""
    groups = _Groups({"a": 5, "b": 1, "c": 3}, 60, empty=("a",), chance=_scripted(0.1, 0.2, 0.3, 0.9))
    assert [groups.pick(groups.cookie("a")) for _ in range(4)] == ["b", "b", "c", "c"]


def test_group_choice_with_nobody_left_does_not_raise() -> None:
    """No group has targets: some group by weight, which then has nobody to offer."""
    groups = _Groups({"a": 1, "b": 1}, 60, empty=("a", "b"))
    assert groups.pick(groups.cookie("b")) in ("a", "b")


def test_group_choice_that_shall_fail_stays_with_the_sessions_group() -> None:
    """`"fail"`: the empty group is kept, and its client told 503 as in ALB."""
    groups = _Groups({"a": 1, "b": 1}, 60, on_failure="fail", empty=("b",))
    assert groups.pick(groups.cookie("b")) == "b"


def test_group_choice_names_its_groups() -> None:
    """In the order of the action."""
    assert _Groups({"b": 1, "a": 0}).choice.names == ("b", "a")
