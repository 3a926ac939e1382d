from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

import albkit as alb


def _paths(error: alb.ConfigurationError) -> list[str]:
    return [fault.partition(":")[0] for fault in error.faults]


async def _well(_: alb.Target) -> bool:
    return True


@pytest.mark.parametrize(
    "targets",
    [
        pytest.param("a:80", id="one text"),
        pytest.param(alb.Target("a", 80), id="one Target"),
        pytest.param(["a:80"], id="list"),
        pytest.param((alb.Target("a", 80),), id="tuple"),
    ],
)
def test_target_group_takes_one_target_or_a_list(targets: Any) -> None:
    """However they are given, the group holds a tuple of targets, and equal groups are equal."""
    group = alb.TargetGroup("api", targets)
    assert group.targets == (alb.Target("a", 80),)
    assert group == alb.TargetGroup("api", [alb.Target("a", 80)])
    assert hash(group) == hash(alb.TargetGroup("api", "a:80"))


@pytest.mark.parametrize(
    ("group", "target", "spoken"),
    [
        (None, "a:80", "HTTP"),
        (None, "http://a", "HTTP"),
        (None, "https://a", "HTTPS"),
        ("HTTP", "a:80", "HTTP"),
        ("HTTPS", "a:80", "HTTPS"),
        ("HTTPS", "https://a", "HTTPS"),
    ],
)
def test_target_group_speaks_the_targets_protocol_else_its_own(group: str | None, target: str, spoken: str) -> None:
    """The scheme of a target wins (docs/alb.md 1.8); without one the group's protocol holds, and without that HTTP."""
    made = alb.TargetGroup("api", target, protocol=group)
    assert made.protocol_of(made.fixed_targets[0]) == spoken


@pytest.mark.parametrize(("group", "target"), [("HTTP", "https://a"), ("HTTPS", "http://a")])
def test_target_group_with_another_protocol_than_its_target_is_refused(group: str, target: str) -> None:
    """A clash of schemes is a fault, at the target's place."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", ["a:81", target], protocol=group)
    assert _paths(raised.value) == ["targets[1]"]


def test_target_group_with_weighted_random_and_stickiness_is_refused() -> None:
    """An invalid combination of docs/alb.md 1.8."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", algorithm="weighted_random", stickiness=alb.LbCookie())
    assert _paths(raised.value) == ["stickiness"]


@pytest.mark.parametrize("algorithm", [object(), object, None, 7], ids=["no methods", "a class", "None", "number"])
def test_target_group_algorithm_that_is_none_is_refused(algorithm: Any) -> None:
    """A name or an object with the five methods, not a class of such objects."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", algorithm=algorithm)
    assert _paths(raised.value) == ["algorithm"]


@pytest.mark.parametrize("delay", [0, 0.1, 3600])
def test_target_group_takes_albs_deregistration_delays(delay: float) -> None:
    """0 to 3600 seconds (docs/alb.md 1.8), fractions too."""
    assert alb.TargetGroup("api", deregistration_delay=delay).deregistration_delay == delay


@pytest.mark.parametrize("delay", [-1, 3601, "300", None, True, float("nan")], ids=repr)
def test_target_group_refuses_other_deregistration_delays(delay: Any) -> None:
    """The fault names the setting."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", deregistration_delay=delay)
    assert _paths(raised.value) == ["deregistration_delay"]


def test_target_group_may_be_empty() -> None:
    """A group without targets is a group; its requests are answered 503."""
    assert alb.TargetGroup("api").targets == ()
    assert alb.TargetGroup("api", []).targets == ()


def test_target_group_keeps_the_order_of_its_targets() -> None:
    """Round robin goes in the order in which they were written."""
    assert [str(target) for target in alb.TargetGroup("api", ["b:1", "a:1", "c:1"]).targets] == ["b:1", "a:1", "c:1"]


def test_target_group_has_albs_defaults() -> None:
    """Nothing but a name need be given (docs/alb.md 1.8)."""
    group = alb.TargetGroup("api")
    assert (group.stickiness, group.algorithm, group.deregistration_delay) == (None, "round_robin", 300)
    assert (group.protocol, group.protocol_version, group.verify) == (None, "HTTP1", False)
    assert group.tunnel == alb.TunnelPolicy()
    assert (group.health_check, group.minimum_healthy_targets) == (None, (1,))


def test_target_group_with_every_fault_tells_them_all() -> None:
    """Faults of its own and of the raw targets come at once, each with its path."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup(
            "-api",
            ["a:80", "nonsense", "a:99999", 7, "http://a:99999/"],
            stickiness=3600,  # type: ignore[arg-type]
            algorithm="roundrobin",
            protocol="SPDY",
            protocol_version="h2",
            verify="",
            deregistration_delay=-1,
            health_check="/up",  # type: ignore[arg-type]
            minimum_healthy_targets=0,
            tunnel=300,  # type: ignore[arg-type]
        )
    assert raised.value.subject == "TargetGroup"
    assert _paths(raised.value) == [
        "name",
        "targets[1]",
        "targets[2]",
        "targets[3]",
        "targets[4]",
        "algorithm",
        "stickiness",
        "protocol",
        "protocol_version",
        "verify",
        "deregistration_delay",
        "health_check",
        "minimum_healthy_targets",
        "tunnel",
    ]


@pytest.mark.parametrize("second", ["a:80", "http://a", alb.Target("a", 80)], ids=["same text", "other form", "Target"])
def test_target_group_with_a_target_twice_is_refused(second: Any) -> None:
    """A target's identity is its address, however it is written; the fault names both places."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", ["a:80", "b:80", second])
    assert _paths(raised.value) == ["targets[2]"]
    assert "targets[0]" in raised.value.faults[0]


def test_target_group_takes_one_host_on_several_ports() -> None:
    """ALB lets one target stand in a group several times with different ports (docs/alb.md 1)."""
    assert len(alb.TargetGroup("api", ["a:80", "a:81"]).targets) == 2


def test_target_group_cannot_be_changed() -> None:
    """A group is a value; changes go through the load balancer."""
    group = alb.TargetGroup("api", "a:80")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        group.name = "web"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        group.targets.append("b:80")  # type: ignore[attr-defined]


def test_target_group_does_not_follow_the_list_it_was_given() -> None:
    """A list that its owner changes later changes no group."""
    targets = ["a:80"]
    group = alb.TargetGroup("api", targets)
    targets.append("b:80")
    assert len(group.targets) == 1


def test_target_group_is_another_one_with_another_tunnel_policy() -> None:
    """A policy is part of what the group is: equal ones make equal groups, and one key."""
    policy = alb.TunnelPolicy(max_age=3600)
    group = alb.TargetGroup("chat", tunnel=policy)
    assert group.tunnel is policy
    assert {group, alb.TargetGroup("chat", tunnel=alb.TunnelPolicy(max_age=3600))} == {group}
    assert group != alb.TargetGroup("chat")


@pytest.mark.parametrize("tunnel", [None, 300, {"max_age": 300}, alb.TunnelPolicy, "chat"], ids=repr)
def test_target_group_refuses_a_tunnel_policy_that_is_none(tunnel: Any) -> None:
    """A group without a policy of its own has the default one: to give none is to leave it out."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("chat", tunnel=tunnel)
    assert _paths(raised.value) == ["tunnel"]


def test_target_group_is_another_one_with_another_health_check() -> None:
    """A health check is part of what the group is: equal ones make equal groups, and one key."""
    check = alb.HealthCheck("/up")
    group = alb.TargetGroup("web", health_check=check)
    assert group.health_check is check
    assert {group, alb.TargetGroup("web", health_check=alb.HealthCheck("/up"))} == {group}
    assert group != alb.TargetGroup("web")


@pytest.mark.parametrize("check", ["/up", True, False, 30, {"path": "/up"}, alb.HealthCheck], ids=repr)
def test_target_group_refuses_a_health_check_that_is_none(check: Any) -> None:
    """Neither a path alone nor the class will do; `None` is for no checks."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("web", health_check=check)
    assert _paths(raised.value) == ["health_check"]


@pytest.mark.parametrize(
    ("least", "kept"),
    [
        (1, (1,)),
        (1000, (1000,)),
        ("1%", ("1%",)),
        ("100%", ("100%",)),
        ((2, "50%"), (2, "50%")),
        (["50%", 2], ("50%", 2)),
        ([3], (3,)),
    ],
    ids=repr,
)
def test_target_group_takes_a_least_number_of_healthy_targets(least: Any, kept: tuple[object, ...]) -> None:
    """A count, a percentage as text, or one of each (docs/alb.md 1.8)."""
    group = alb.TargetGroup("web", minimum_healthy_targets=least)
    assert group.minimum_healthy_targets == kept
    assert hash(group) == hash(alb.TargetGroup("web", minimum_healthy_targets=kept))


@pytest.mark.parametrize(
    "least",
    [0, -1, 1.0, 0.5, True, "", "%", "0%", "101%", "50", "50 %", " 50%", "+50%", "5.5%", "50%%", "²%", "half", b"50%", None, [], {}],
    ids=repr,
)
def test_target_group_refuses_other_least_numbers(least: Any) -> None:
    """A percentage has its sign, and a count is whole; there is no group that needs nobody. The fault names the setting."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("web", minimum_healthy_targets=least)
    assert set(_paths(raised.value)) == {"minimum_healthy_targets"}


def test_target_group_refuses_a_percentage_too_long_to_read() -> None:
    """What no number can be made of is a fault as any other."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("web", minimum_healthy_targets="9" * 5000 + "%")
    assert _paths(raised.value) == ["minimum_healthy_targets"]


@pytest.mark.parametrize("least", [(1, 2), ("10%", "50%"), (1, "50%", 2)], ids=repr)
def test_target_group_with_two_counts_or_two_percentages_is_refused(least: Any) -> None:
    """Of two of a kind one would say nothing."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("web", minimum_healthy_targets=least)
    assert _paths(raised.value) == ["minimum_healthy_targets"]


@pytest.mark.parametrize(
    ("least", "healthy", "targets", "too_few"),
    [
        (1, 0, 5, True),
        (1, 1, 5, False),
        (3, 2, 5, True),
        (3, 3, 5, False),
        (3, 2, 2, True),
        ("50%", 1, 4, True),
        ("50%", 2, 4, False),
        ("50%", 2, 5, True),
        ("50%", 3, 5, False),
        ("34%", 1, 3, True),
        ("33%", 1, 3, False),
        ("100%", 99, 100, True),
        ("100%", 100, 100, False),
        ("1%", 0, 1000, True),
        ("1%", 9, 1000, True),
        ("1%", 10, 1000, False),
        ((2, "50%"), 1, 2, True),
        ((2, "50%"), 2, 5, True),
        ((2, "50%"), 3, 5, False),
        (("50%", 2), 1, 2, True),
        ("50%", 0, 0, False),
    ],
)
def test_too_few_are_healthy_below_any_of_the_thresholds(least: Any, healthy: int, targets: int, too_few: bool) -> None:
    """Below the count, or below the percentage of the targets; exactly as many are enough (docs/alb.md 5.5)."""
    assert alb.TargetGroup("web", minimum_healthy_targets=least).too_few(healthy, targets) is too_few


# What does not go together (docs/alb.md 1.8)


class _Own:
    """An algorithm of the program's own."""

    def joined(self, target: object) -> None: ...

    def left(self, target: object) -> None: ...

    def started(self, target: object) -> None: ...

    def finished(self, target: object) -> None: ...

    def choose(self, candidates: Sequence[Any], _chance: object) -> Any:
        return candidates[0]


_STICKY = [alb.LbCookie(), alb.AppCookie("SID"), alb.RouteSuffix("SID"), alb.SourceAddress(), lambda request: request.host]
_STICKY_IDS = ["LbCookie", "AppCookie", "RouteSuffix", "SourceAddress", "key"]
_OTHERS = [
    "least_outstanding_requests",
    "weighted_random",
    "ip_hash",
    "consistent_hash",
    "least_response_time",
    "by_traffic",
    alb.ConsistentHash(),
    alb.ConsistentHash(load_bound=None),
]


def _word(algorithm: Any) -> str:
    return algorithm if isinstance(algorithm, str) else type(algorithm).__name__


@pytest.mark.parametrize("algorithm", _OTHERS, ids=str)
def test_slow_start_with_anything_but_round_robin_is_refused(algorithm: Any) -> None:
    """Where the algorithm decides by something else a share cannot grow; the fault names the algorithm."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", algorithm=algorithm, slow_start=30)
    assert _paths(raised.value) == ["slow_start"]
    assert f"cannot be combined with {_word(algorithm)}" in raised.value.faults[0]
    assert alb.TargetGroup("api", algorithm=algorithm, slow_start=0).slow_start == 0


@pytest.mark.parametrize("stickiness", _STICKY, ids=_STICKY_IDS)
def test_stickiness_of_every_kind_with_weighted_random_is_refused(stickiness: Any) -> None:
    """The fault is at the stickiness; with any other algorithm it goes."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", algorithm="weighted_random", stickiness=stickiness)
    assert _paths(raised.value) == ["stickiness"]
    assert "weighted_random" in raised.value.faults[0]
    for algorithm in ("round_robin", *_OTHERS, _Own()):
        if algorithm != "weighted_random":
            assert alb.TargetGroup("api", algorithm=algorithm, stickiness=stickiness).stickiness is stickiness


@pytest.mark.parametrize(
    "target", [alb.Target("b", 80, max_concurrency=5), alb.DnsName("b", 80, max_concurrency=5)], ids=["Target", "DnsName"]
)
@pytest.mark.parametrize("stickiness", _STICKY, ids=_STICKY_IDS)
def test_max_concurrency_with_stickiness_is_refused(stickiness: Any, target: Any) -> None:
    """At the target's place, be it declared or registered later."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", ["a:80", target], stickiness=stickiness)
    assert _paths(raised.value) == ["targets[1]"]
    assert "stickiness" in raised.value.faults[0]
    wrong = alb.TargetGroup("api", stickiness=stickiness).fault_of_member(target)
    assert wrong is not None
    assert raised.value.faults[0] == f"targets[1]: {wrong}"


@pytest.mark.parametrize(
    "target", [alb.Target("b", 80, max_concurrency=5), alb.DnsName("b", 80, max_concurrency=5)], ids=["Target", "DnsName"]
)
@pytest.mark.parametrize("algorithm", _OTHERS, ids=str)
def test_max_concurrency_with_anything_but_round_robin_is_refused(algorithm: Any, target: Any) -> None:
    """At the target's place, be it declared or registered later; the fault names the algorithm."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", ["a:80", target], algorithm=algorithm)
    assert _paths(raised.value) == ["targets[1]"]
    assert f"cannot be combined with {_word(algorithm)}" in raised.value.faults[0]
    wrong = alb.TargetGroup("api", algorithm=algorithm).fault_of_member(target)
    assert wrong is not None
    assert raised.value.faults[0] == f"targets[1]: {wrong}"


@pytest.mark.parametrize("algorithm", ["round_robin", *(name for name in _OTHERS if name != "weighted_random"), _Own()], ids=_word)
@pytest.mark.parametrize("on", ["on", True])
def test_anomaly_mitigation_without_weighted_random_is_refused(algorithm: Any, on: Any) -> None:
    """Only chance can give a target less than its weight; off goes with everything."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", algorithm=algorithm, anomaly_mitigation=on)
    assert _paths(raised.value) == ["anomaly_mitigation"]
    assert "weighted_random" in raised.value.faults[0]
    assert alb.TargetGroup("api", algorithm=algorithm, anomaly_mitigation="off").anomaly_mitigation == "off"


@pytest.mark.parametrize(("given", "kept"), [("on", "on"), ("off", "off"), (True, "on"), (False, "off")])
def test_anomaly_mitigation_with_weighted_random_is_on_or_off(given: Any, kept: str) -> None:
    """In words or as a truth value, and the group is the same."""
    group = alb.TargetGroup("api", algorithm="weighted_random", anomaly_mitigation=given)
    assert group == alb.TargetGroup("api", algorithm="weighted_random", anomaly_mitigation=kept)


@pytest.mark.parametrize("value", ["On", "yes", "", None, 1, 0, {}], ids=repr)
def test_anomaly_mitigation_of_another_word_is_refused(value: Any) -> None:
    """The fault names the setting."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", algorithm="weighted_random", anomaly_mitigation=value)
    assert _paths(raised.value) == ["anomaly_mitigation"]


@pytest.mark.parametrize("algorithm", ["round_robin", _Own()], ids=_word)
def test_round_robin_and_an_algorithm_of_the_programs_own_go_with_everything_else(algorithm: Any) -> None:
    """Slow start, limits and stickiness, as far as those go with each other."""
    target = alb.Target("a", 80, max_concurrency=5)
    assert alb.TargetGroup("api", target, algorithm=algorithm, slow_start=30).targets == (target,)
    assert alb.TargetGroup("api", "a:80", algorithm=algorithm, slow_start=30, stickiness=alb.LbCookie()).slow_start == 30
    assert alb.TargetGroup("api", algorithm=algorithm).fault_of_member(target) is None


def test_member_of_another_protocol_is_a_fault() -> None:
    """Before anything else that is wrong with it."""
    group = alb.TargetGroup("api", protocol="HTTP", stickiness=alb.LbCookie())
    wrong = group.fault_of_member(alb.Target("a", 80, protocol="HTTPS", max_concurrency=1))
    assert wrong is not None
    assert "differs" in wrong
    assert group.fault_of_member(alb.Target("a", 80, protocol="HTTP")) is None
    assert group.fault_of_member(alb.Target("a", 80)) is None


def test_group_with_every_invalid_combination_tells_them_all() -> None:
    """Each at its own place, at once."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup(
            "api",
            [alb.Target("a", 80, max_concurrency=1), "b:80", alb.Target("c", 80, max_concurrency=1)],
            algorithm="weighted_random",
            stickiness=alb.LbCookie(),
            slow_start=30,
        )
    assert sorted(_paths(raised.value)) == ["slow_start", "stickiness", "targets[0]", "targets[2]"]


@pytest.mark.parametrize(
    ("name", "good", "wrong"),
    [
        ("slow_start", [0, 0.5, 30, 900], [-1, 901, "30", None, True, float("nan")]),
        ("waiting_line", [0, 1, 1000000], [-1, 1000001, 1.5, "1", None, True]),
        ("waiting_timeout", [0.001, 1, 4000], [0, -1, 4001, "1", None, True, float("nan")]),
    ],
)
def test_target_group_takes_settings_in_range_and_nothing_else(name: str, good: list[Any], wrong: list[Any]) -> None:
    """Each range at both ends; the fault names the setting."""
    for value in good:
        assert getattr(alb.TargetGroup("api", **{name: value}), name) == value
    for value in wrong:
        with pytest.raises(alb.ConfigurationError) as raised:
            alb.TargetGroup("api", **{name: value})
        assert set(_paths(raised.value)) == {name}


@pytest.mark.parametrize("missing", ["joined", "left", "started", "finished", "choose"])
def test_algorithm_of_the_programs_own_needs_each_of_its_methods(missing: str) -> None:
    """The optional ones it may have or not."""
    own: Any = _Own()
    assert alb.TargetGroup("api", algorithm=own).algorithm is own
    setattr(own, missing, None)
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", algorithm=own)
    assert _paths(raised.value) == ["algorithm"]


@pytest.mark.parametrize("algorithm", ["roundrobin", "ROUND_ROBIN", "", "least_time"])
def test_algorithm_of_an_unknown_name_is_refused_with_those_that_are_known(algorithm: str) -> None:
    """A typing error is found at once."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", algorithm=algorithm)
    assert _paths(raised.value) == ["algorithm"]
    assert all(name in raised.value.faults[0] for name in ("round_robin", "by_traffic", "ip_hash", "consistent_hash"))


@pytest.mark.parametrize("protocol", [None, "HTTP", "HTTPS"])
@pytest.mark.parametrize("version", ["HTTP1", "HTTP2", "GRPC"])
def test_protocol_version_goes_with_http_and_https(version: str, protocol: str | None) -> None:
    """All nine combinations are valid."""
    assert alb.TargetGroup("api", "a:80", protocol=protocol, protocol_version=version).protocol_version == version


@pytest.mark.parametrize("protocol", ["TCP", "TLS"])
@pytest.mark.parametrize("version", ["HTTP2", "GRPC"])
def test_protocol_version_does_not_go_with_bytes(version: str, protocol: str) -> None:
    """A group of a TCP or TLS listener has no HTTP version."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", protocol=protocol, protocol_version=version)
    assert _paths(raised.value) == ["protocol_version"]
    assert alb.TargetGroup("api", protocol=protocol).protocol_version == "HTTP1"


@pytest.mark.parametrize("version", ["http1", "HTTP/2", "HTTP3", "grpc", "", None, 2, ["GRPC"]], ids=repr)
def test_unknown_protocol_version_is_one_fault(version: Any) -> None:
    """The fault lists the valid versions. The health check is not judged by an unknown version."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", protocol_version=version, health_check=alb.HealthCheck(matcher="0"))
    (fault,) = raised.value.faults
    assert fault.startswith("protocol_version: ")
    assert "'HTTP1', 'HTTP2', 'GRPC'" in fault


@pytest.mark.parametrize(
    ("version", "check"),
    [
        ("HTTP1", alb.HealthCheck()),
        ("HTTP2", alb.HealthCheck("/up", matcher="200-299")),
        ("GRPC", alb.HealthCheck()),
        ("GRPC", alb.HealthCheck(protocol="HTTPS")),
        ("GRPC", alb.HealthCheck("/grpc.health.v1.Health/Check", matcher="0")),
        ("GRPC", alb.HealthCheck(matcher="0-99")),
        ("GRPC", alb.HealthCheck("/up", protocol="TCP", matcher="404")),
        ("GRPC", alb.HealthCheck("/up", probe=_well, matcher="404")),
        ("HTTP1", alb.HealthCheck(protocol="TCP", matcher="0")),
        ("HTTP1", alb.HealthCheck("/ws", protocol="WEBSOCKET")),
        ("HTTP2", alb.HealthCheck("/ws", protocol="WEBSOCKET")),
    ],
    ids=map(str, range(10)),
)
def test_health_check_that_fits_the_protocol_version_has_no_fault(version: str, check: alb.HealthCheck) -> None:
    """Statuses for HTTP, gRPC codes and methods for gRPC; checks that read neither fit every group."""
    assert alb.TargetGroup("api", protocol_version=version, health_check=check).health_check is check


@pytest.mark.parametrize(
    ("version", "check", "paths"),
    [
        ("HTTP1", alb.HealthCheck(matcher="0"), ["health_check.matcher"]),
        ("HTTP2", alb.HealthCheck(matcher="12"), ["health_check.matcher"]),
        ("GRPC", alb.HealthCheck(matcher="200-299"), ["health_check.matcher"]),
        ("GRPC", alb.HealthCheck("/up"), ["health_check.path"]),
        ("GRPC", alb.HealthCheck("/a/b/c"), ["health_check.path"]),
        ("GRPC", alb.HealthCheck("/a/b?c", protocol="HTTP", matcher="404"), ["health_check.matcher", "health_check.path"]),
        ("GRPC", alb.HealthCheck("/ws", protocol="WEBSOCKET"), ["health_check.protocol"]),
    ],
    ids=map(str, range(8)),
)
def test_health_check_that_does_not_fit_the_protocol_version_is_a_fault(version: str, check: alb.HealthCheck, paths: list[str]) -> None:
    """Each fault names the setting of the check."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", protocol_version=version, health_check=check)
    assert _paths(raised.value) == paths
