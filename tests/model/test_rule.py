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
    """1 to 50000, at both ends (alb-reference 1.4)."""
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
    """Only the default rule has no conditions (alb-reference 1.3)."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Rule(1, conditions, _ANSWER)
    assert _paths(raised.value) == ["conditions"]


@pytest.mark.parametrize("condition", [_PATH, _HOST], ids=["PathPattern", "HostHeader"])
def test_rule_with_a_condition_twice_is_refused(condition: Any) -> None:
    """At most one host-header and one path-pattern (alb-reference 1.4)."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Rule(1, [condition, condition], _ANSWER)
    assert _paths(raised.value) == ["conditions"]
    assert type(condition).__name__ in raised.value.faults[0]


@pytest.mark.parametrize("actions", [[], [_ANSWER, _ANSWER]], ids=["none", "two"])
def test_rule_without_exactly_one_routing_action_is_refused(actions: Any) -> None:
    """Exactly one routing action (alb-reference 1.6)."""
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
