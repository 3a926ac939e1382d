from __future__ import annotations

from typing import Any

import attrs
import pytest

import albkit as alb


def _paths(error: alb.ConfigurationError) -> list[str]:
    return [fault.partition(":")[0] for fault in error.faults]


def test_ejection_has_defaults() -> None:
    """Those that its description says."""
    assert attrs.asdict(alb.Ejection()) == {
        "consecutive_failures": 5,
        "anomalies": True,
        "duration": 30,
        "max_duration": 300,
        "max_percent": 50,
        "probation": 5,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("consecutive_failures", 1),
        ("consecutive_failures", 1000),
        ("consecutive_failures", None),
        ("anomalies", False),
        ("duration", 0.001),
        ("duration", 86400),
        ("max_duration", 0.001),
        ("max_duration", 86400),
        ("max_percent", 1),
        ("max_percent", 100),
        ("probation", 1),
        ("probation", 1000),
    ],
)
def test_ejection_takes_what_is_in_range(name: str, value: Any) -> None:
    """Either end of each range, and `None` where there may be no limit."""
    assert getattr(alb.Ejection(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("consecutive_failures", [0, 1001, -1, 1.5, 5.0, "5", True]),
        ("anomalies", [0, 1, None, "on"]),
        ("duration", [0, -1, 86401, "30", None, True, float("nan")]),
        ("max_duration", [0, -1, 86401, "300", None, True, float("inf")]),
        ("max_percent", [0, 101, 50.0, "50%", None, True]),
        ("probation", [0, 1001, 1.0, None, "5", False]),
    ],
)
def test_ejection_of_anything_else_is_refused(name: str, values: list[Any]) -> None:
    """The fault names the setting."""
    for value in values:
        with pytest.raises(alb.ConfigurationError) as raised:
            alb.Ejection(**{name: value})
        assert _paths(raised.value) == [name]


def test_ejection_for_nothing_is_refused() -> None:
    """Neither failures in a row nor anomalies: a setting that does nothing is a mistake."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Ejection(consecutive_failures=None, anomalies=False)
    assert len(raised.value.faults) == 1
    assert alb.Ejection(consecutive_failures=None).anomalies
    assert alb.Ejection(anomalies=False).consecutive_failures == 5


def test_ejection_with_every_fault_tells_them_all() -> None:
    """All at once, with their subject."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Ejection(consecutive_failures=0, anomalies=1, duration=0, max_duration=0, max_percent=0, probation=0)  # type: ignore[arg-type]
    assert raised.value.subject == "Ejection"
    assert sorted(_paths(raised.value)) == ["anomalies", "consecutive_failures", "duration", "max_duration", "max_percent", "probation"]


def test_ejection_is_a_value_given_by_name() -> None:
    """Equal ones are one key, and make equal groups."""
    assert {alb.Ejection(duration=5), alb.Ejection(duration=5)} == {alb.Ejection(duration=5)}
    group = alb.TargetGroup("api", ejection=alb.Ejection(duration=5))
    assert {group, alb.TargetGroup("api", ejection=alb.Ejection(duration=5))} == {group}
    assert group != alb.TargetGroup("api")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        alb.Ejection().duration = 6  # type: ignore[misc]
    with pytest.raises(TypeError):
        alb.Ejection(5)  # type: ignore[call-arg]


def test_group_ejects_whom_it_cannot_connect_to_unless_it_is_told_otherwise() -> None:
    """A health check decides alone; what is given holds; `None` is for never."""
    group = alb.TargetGroup("api")
    assert group == alb.TargetGroup("api", ejection="auto")
    assert hash(group) == hash(alb.TargetGroup("api", ejection="auto"))
    assert group != alb.TargetGroup("api", ejection=None)
    assert "ejection='auto'" in repr(group)
    assert group.ejects_unconnected_only
    assert group.ejection_in_force is not None
    assert (group.ejection_in_force.duration, group.ejection_in_force.max_duration) == (10, 60)
    checked = attrs.evolve(group, health_check=alb.HealthCheck())
    assert (checked.ejection, checked.ejection_in_force, checked.ejects_unconnected_only) == ("auto", None, False)
    assert attrs.evolve(checked, health_check=None) == group
    for given in (None, alb.Ejection(), alb.Ejection(consecutive_failures=1, duration=10, max_duration=60)):
        for check in (None, alb.HealthCheck()):
            told = attrs.evolve(group, ejection=given, health_check=check)
            assert told.ejection_in_force is given
            assert not told.ejects_unconnected_only


@pytest.mark.parametrize("ejection", [True, False, 5, "on", "AUTO", "", ["auto"], alb.Ejection, {"duration": 5}], ids=repr)
def test_group_refuses_an_ejection_that_is_none(ejection: Any) -> None:
    """`None` is for never, and the one word says what holds where nothing is given."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", ejection=ejection)
    assert _paths(raised.value) == ["ejection"]


@pytest.mark.parametrize("algorithm", ["round_robin", "weighted_random", "least_response_time", alb.ConsistentHash()], ids=str)
def test_ejection_goes_with_every_algorithm(algorithm: Any) -> None:
    """And with anomaly mitigation, where that may be."""
    mitigation = "on" if algorithm == "weighted_random" else "off"
    group = alb.TargetGroup("api", algorithm=algorithm, ejection=alb.Ejection(), anomaly_mitigation=mitigation)
    assert group.ejection == alb.Ejection()
