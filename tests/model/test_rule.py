from __future__ import annotations

from typing import Any

import attrs
import pytest

import albkit as alb

_PATH = alb.PathPattern("/a")
_HOST = alb.HostHeader("a")
_ANSWER = alb.FixedResponse(200)


def _paths(error: alb.ConfigurationError) -> list[str]:
    return [fault.partition(":")[0] for fault in error.faults]


@pytest.mark.parametrize("priority", [1, 50000])
def test_rule_takes_albs_priorities(priority: int) -> None:
    """1 to 50000, at both ends (docs/alb.md 1.4)."""
    assert alb.Rule(priority, _PATH, _ANSWER).priority == priority


@pytest.mark.parametrize("priority", [0, -1, 50001, "10", 1.0, None, True], ids=repr)
def test_rule_refuses_other_priorities(priority: Any) -> None:
    """Out of range, or no whole number."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Rule(priority, _PATH, _ANSWER)
    assert _paths(raised.value) == ["priority"]


def test_rule_takes_one_condition_and_action_or_lists() -> None:
    """Lists and single items make equal rules, and equal rules are one key."""
    rule = alb.Rule(1, _PATH, _ANSWER)
    assert rule == alb.Rule(1, [_PATH], (_ANSWER,))
    assert {rule, alb.Rule(1, [_PATH], [_ANSWER])} == {rule}
    assert rule.conditions == (_PATH,)
    assert rule.action is _ANSWER
    assert alb.Rule(1, [_PATH, _HOST], _ANSWER).conditions == (_PATH, _HOST)


@pytest.mark.parametrize("conditions", [[], None, ()], ids=repr)
def test_rule_without_a_condition_is_refused(conditions: Any) -> None:
    """Only the default rule has no conditions (docs/alb.md 1.3)."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Rule(1, conditions, _ANSWER)
    assert _paths(raised.value) == ["conditions"]


@pytest.mark.parametrize(
    "condition",
    [_PATH, _HOST, alb.HttpRequestMethod("GET"), alb.SourceIp("10.0.0.0/8")],
    ids=["PathPattern", "HostHeader", "HttpRequestMethod", "SourceIp"],
)
def test_rule_with_a_condition_twice_is_refused(condition: Any) -> None:
    """At most one of each but http-header and query-string (docs/alb.md 1.4)."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Rule(1, [condition, condition], _ANSWER)
    assert _paths(raised.value) == ["conditions"]
    assert type(condition).__name__ in raised.value.faults[0]


@pytest.mark.parametrize(
    "condition", [alb.HttpHeader("X", "a"), alb.QueryString("a"), lambda _: True], ids=["HttpHeader", "QueryString", "callable"]
)
def test_rule_takes_other_conditions_any_number_of_times(condition: Any) -> None:
    """http-header and query-string any number of times (docs/alb.md 1.4), and callables too."""
    assert alb.Rule(1, [condition] * 3, _ANSWER).conditions == (condition,) * 3


@pytest.mark.parametrize("condition", ["/a", None, 7, alb.PathPattern, _ANSWER], ids=["text", "None", "number", "a class", "an action"])
def test_rule_condition_that_is_none_is_refused(condition: Any) -> None:
    """A condition or a callable; the class of one is a slip."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Rule(1, [_PATH, condition], _ANSWER)
    assert _paths(raised.value) == ["conditions[1]"]


async def _hook(request: alb.Request) -> None:
    """Lets everything pass."""


def test_rule_takes_callables_before_its_routing_action() -> None:
    """Any number of them, in their order."""
    rule = alb.Rule(1, _PATH, [_hook, _hook, _ANSWER])
    assert rule.actions == (_hook, _hook, _ANSWER)
    assert rule.action is _ANSWER


@pytest.mark.parametrize(
    ("actions", "paths"),
    [
        ([_hook], ["actions"]),
        ([_ANSWER, _hook], ["actions[0]"]),
        ([_hook, _ANSWER, _hook], ["actions[1]"]),
        ([alb.FixedResponse, _ANSWER], ["actions[0]"]),
        ([None, _ANSWER], ["actions[0]"]),
        ([_ANSWER, alb.Redirect(path="/a")], ["actions"]),
    ],
    ids=["hook alone", "hook behind", "hook on both sides", "a class", "None", "two routing actions"],
)
def test_rule_with_actions_in_disorder_is_refused(actions: Any, paths: list[str]) -> None:
    """Exactly one routing action, and it is the last (docs/alb.md 1.6)."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Rule(1, _PATH, actions)
    assert _paths(raised.value) == paths


_FORWARD = alb.Forward(alb.TargetGroup("api"))
_URL, _HOST_REWRITE = alb.UrlRewrite("a", "b"), alb.HostHeaderRewrite("a", "b")


@pytest.mark.parametrize("transforms", [(), _URL, [_URL], [_HOST_REWRITE, _URL]], ids=["none", "one", "a list of one", "both"])
def test_rule_takes_at_most_one_transform_of_each_kind(transforms: Any) -> None:
    """0 or 1 url-rewrite, 0 or 1 host-header-rewrite (docs/alb.md 1.4)."""
    expected = tuple(transforms) if isinstance(transforms, list | tuple) else (transforms,)
    assert alb.Rule(1, _PATH, _FORWARD, transforms=transforms).transforms == expected


@pytest.mark.parametrize(
    ("transforms", "action", "paths"),
    [
        ([_URL, _URL], _FORWARD, ["transforms"]),
        ([_HOST_REWRITE, _HOST_REWRITE, _URL], _FORWARD, ["transforms"]),
        ([_URL, "x"], _FORWARD, ["transforms[1]"]),
        (_URL, _ANSWER, ["transforms"]),
        (_URL, alb.Redirect(path="/a"), ["transforms"]),
    ],
    ids=["two url", "two host", "text", "fixed response", "redirect"],
)
def test_rule_with_other_transforms_is_refused(transforms: Any, action: Any, paths: list[str]) -> None:
    """Twice of a kind, something else, or where nothing is forwarded."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Rule(1, _PATH, action, transforms=transforms)
    assert _paths(raised.value) == paths


@pytest.mark.parametrize("actions", [[], [_ANSWER, _ANSWER]], ids=["none", "two"])
def test_rule_without_exactly_one_routing_action_is_refused(actions: Any) -> None:
    """Exactly one routing action (docs/alb.md 1.6)."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Rule(1, _PATH, actions)
    assert _paths(raised.value) == ["actions"]


def test_rule_with_every_fault_tells_them_all() -> None:
    """Each wrong item by its place, all at once."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Rule(0, ["/a", _PATH, _PATH, _ANSWER], [_PATH, "404"])
    assert raised.value.subject == "Rule"
    assert _paths(raised.value) == ["priority", "conditions[0]", "conditions[3]", "conditions", "actions[0]", "actions[1]", "actions"]


def test_rule_cannot_be_changed() -> None:
    """A rule is a value."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        alb.Rule(1, _PATH, _ANSWER).priority = 2  # type: ignore[misc]
