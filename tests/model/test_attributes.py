from __future__ import annotations

import math
from typing import Any

import pytest

from albkit.model.attributes import ATTRIBUTES, default, fault
from albkit.policy.algorithms import ALGORITHMS

_ALB = [
    # docs/alb.md 1.2, 1.4, 1.3, 1.8 and 4.3: owner, name, ALB's key, default, least and greatest of ALB's values
    ("LoadBalancer", "idle_timeout", "idle_timeout.timeout_seconds", 60, 1, 4000),
    ("LoadBalancer", "client_keep_alive", "client_keep_alive.seconds", 3600, 60, 604800),
    ("Rule", "priority", "Priority", None, 1, 50000),
    ("Listener", "port", "Port", None, 1, 65535),
    ("TargetGroup", "deregistration_delay", "deregistration_delay.timeout_seconds", 300, 0, 3600),
    ("LbCookie", "duration", "stickiness.lb_cookie.duration_seconds", 86400, 1, 604800),
    ("FixedResponse", "status_code", "StatusCode", None, 200, 599),
]
_ALB_WORDS = [
    ("LoadBalancer", "desync_mitigation_mode", "routing.http.desync_mitigation_mode", "defensive", {"monitor", "defensive", "strictest"}),
    ("LoadBalancer", "xff_header_processing", "routing.http.xff_header_processing.mode", "append", {"append", "preserve", "remove"}),
    (
        "TargetGroup",
        "algorithm",
        "load_balancing.algorithm.type",
        "round_robin",
        {"round_robin", "least_outstanding_requests", "weighted_random", *ALGORITHMS},
    ),
    ("TargetGroup", "anomaly_mitigation", "load_balancing.algorithm.anomaly_mitigation", "off", {"on", "off"}),
    (
        "FixedResponse",
        "content_type",
        "ContentType",
        "text/plain",
        {"text/plain", "text/css", "text/html", "application/javascript", "application/json"},
    ),
]
_ALB_SWITCHES = [
    ("LoadBalancer", "drop_invalid_header_fields", "routing.http.drop_invalid_header_fields.enabled"),
    ("LoadBalancer", "preserve_host_header", "routing.http.preserve_host_header.enabled"),
    ("LoadBalancer", "xff_client_port", "routing.http.xff_client_port.enabled"),
]


@pytest.mark.parametrize(("owner", "name", "key", "standard", "least", "greatest"), _ALB, ids=str)
def test_number_takes_albs_whole_range(owner: str, name: str, key: str, standard: int | None, least: int, greatest: int) -> None:
    """Key and default are ALB's, and so is the upper bound; nothing that ALB takes is refused."""
    attribute = ATTRIBUTES[owner, name]
    assert attribute.key == key
    assert default(owner, name) == standard
    assert fault(owner, name, least) is None
    assert fault(owner, name, greatest) is None
    wrong = fault(owner, name, greatest + 1)
    assert wrong is not None
    assert str(greatest) in wrong


@pytest.mark.parametrize(("owner", "name", "key", "standard", "words"), _ALB_WORDS, ids=[row[1] for row in _ALB_WORDS])
def test_word_is_one_of_albs(owner: str, name: str, key: str, standard: str, words: set[str]) -> None:
    """Key, default and words are ALB's; any other word is a fault that names the right ones."""
    attribute = ATTRIBUTES[owner, name]
    assert attribute.key == key
    assert attribute.default == standard
    assert set(attribute.choices) == words
    for word in words:
        assert fault(owner, name, word) is None
    for wrong in ("", standard.upper(), None, 1, [standard]):
        said = fault(owner, name, wrong)
        assert said is not None
        assert all(word in said for word in words)


@pytest.mark.parametrize(("owner", "name", "key"), _ALB_SWITCHES, ids=[row[1] for row in _ALB_SWITCHES])
def test_switch_is_off_and_takes_only_true_and_false(owner: str, name: str, key: str) -> None:
    """ALB's switches are off by default, and neither 1 nor "true" is taken for True."""
    assert ATTRIBUTES[owner, name].key == key
    assert default(owner, name) is False
    assert fault(owner, name, True) is None
    assert fault(owner, name, False) is None
    for wrong in (1, 0, "true", None):
        assert fault(owner, name, wrong) is not None


@pytest.mark.parametrize("name", ["idle_timeout", "client_keep_alive"])
def test_duration_takes_fractions_above_zero(name: str) -> None:
    """ALB's lower bound protects only AWS: a test may run in milliseconds, but nothing may time out at once."""
    assert fault("LoadBalancer", name, 0.001) is None
    assert fault("LoadBalancer", name, 0) is not None
    assert fault("LoadBalancer", name, -1) is not None


def test_stop_timeout_may_be_nothing() -> None:
    """No patience at all is a sensible wish; less than none is not."""
    assert default("LoadBalancer", "stop_timeout") == 5
    assert fault("LoadBalancer", "stop_timeout", 0) is None
    assert fault("LoadBalancer", "stop_timeout", -0.1) is not None


@pytest.mark.parametrize(("owner", "name"), [row[:2] for row in _ALB], ids=[row[1] for row in _ALB])
@pytest.mark.parametrize("value", [None, "60", True, False, math.nan, math.inf, -math.inf, [1], 1 + 0j], ids=repr)
def test_number_takes_nothing_but_finite_numbers(owner: str, name: str, value: Any) -> None:
    """Text, booleans, NaN and infinity are no values of a bounded number."""
    assert fault(owner, name, value) is not None


@pytest.mark.parametrize(("owner", "name"), [("Rule", "priority"), ("Listener", "port"), ("FixedResponse", "status_code")])
def test_count_takes_only_whole_numbers(owner: str, name: str) -> None:
    """Half a port is none."""
    assert fault(owner, name, 200.0) is not None
    assert fault(owner, name, 200.5) is not None


@pytest.mark.parametrize("attribute", ATTRIBUTES.values(), ids=lambda attribute: f"{attribute.owner}.{attribute.name}")
def test_attribute_can_be_documented(attribute: Any) -> None:
    """The reference page finds a meaning and a range for each, and each default is a value that is taken."""
    assert attribute.meaning.endswith(".")
    assert attribute.range
    if attribute.default is not None:
        assert fault(attribute.owner, attribute.name, attribute.default) is None
