from __future__ import annotations

from typing import Any

import attrs
import pytest

import albkit as alb

_ANSWER = alb.FixedResponse(200)


def _paths(error: alb.ConfigurationError) -> list[str]:
    return [fault.partition(":")[0] for fault in error.faults]


def _rule(priority: int, action: Any = _ANSWER) -> alb.Rule:
    return alb.Rule(priority, alb.PathPattern("/a"), action)


@pytest.mark.parametrize("port", [0, 1, 65535])
def test_listener_takes_any_port(port: int) -> None:
    """1 to 65535 as ALB, and 0 for a free one (alb-reference 1.3)."""
    assert alb.Listener(port, _ANSWER).port == port


@pytest.mark.parametrize("port", [-1, 65536, "80", 80.0, None, True], ids=repr)
def test_listener_refuses_other_ports(port: Any) -> None:
    """Out of range, or no whole number."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Listener(port, _ANSWER)
    assert _paths(raised.value) == ["port"]


def test_listener_takes_one_rule_and_action_or_lists() -> None:
    """Lists and single items make equal listeners, and equal listeners are one key."""
    listener = alb.Listener(80, _ANSWER, _rule(1))
    assert listener == alb.Listener(80, [_ANSWER], rules=[_rule(1)])
    assert {listener, alb.Listener(80, [_ANSWER], [_rule(1)])} == {listener}
    assert listener.default_action is _ANSWER
    assert alb.Listener(80, _ANSWER).rules == ()


def test_listener_has_the_decided_defaults() -> None:
    """HTTP on all interfaces, without a name."""
    listener = alb.Listener(80, _ANSWER)
    assert (listener.name, listener.host, listener.protocol) == (None, None, "HTTP")


def test_listener_with_a_priority_twice_is_refused() -> None:
    """Priorities are unique per listener (alb-reference 1.4); the fault names both rules."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Listener(80, _ANSWER, [_rule(1), _rule(2), _rule(1), _rule(1)])
    assert _paths(raised.value) == ["rules[2].priority", "rules[3].priority"]
    assert "rules[0]" in raised.value.faults[0]


def test_listener_with_every_fault_tells_them_all() -> None:
    """All at once, each with its path from the listener."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Listener(70000, [], ["/a", _rule(1), _rule(1)], name="-a", host="", protocol="HTTPS")
    assert raised.value.subject == "Listener"
    assert sorted(_paths(raised.value)) == ["default_actions", "host", "name", "port", "protocol", "rules[0]", "rules[2].priority"]


@pytest.mark.parametrize("action", ["404", None, alb.TargetGroup("api")], ids=["text", "None", "a group"])
def test_listener_without_a_default_action_is_refused(action: Any) -> None:
    """DefaultActions are required (alb-reference 1.3), and only actions are."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Listener(80, action)
    assert _paths(raised.value)[0].startswith("default_actions")


@pytest.mark.parametrize("host", ["", 7, b"127.0.0.1"], ids=repr)
def test_listener_host_that_is_no_text_is_refused(host: Any) -> None:
    """None means all interfaces; nothing else does."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Listener(80, _ANSWER, host=host)
    assert _paths(raised.value) == ["host"]


def test_listener_knows_its_groups_once_each() -> None:
    """Every group that a rule or the default action sends to, in order of appearance."""
    first, second = alb.TargetGroup("first"), alb.TargetGroup("second")
    rules = [_rule(1, alb.Forward(second)), _rule(2), _rule(3, alb.Forward(first)), _rule(4, alb.Forward(second))]
    assert alb.Listener(80, alb.Forward(first), rules).groups == (first, second)
    assert alb.Listener(80, _ANSWER).groups == ()


def test_listener_cannot_be_changed() -> None:
    """A listener is a value."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        alb.Listener(80, _ANSWER).port = 81  # type: ignore[misc]
