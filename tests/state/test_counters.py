from __future__ import annotations

import re
from pathlib import Path

import pytest

import albkit
from albkit.errors import FailureKind
from albkit.model.message import ClientAddress
from albkit.model.tunnel import TunnelEnd
from albkit.state.counters import Counters, TrafficCounters
from albkit.state.metrics import METRICS, TRAFFIC_METRICS
from albkit.state.record import ExchangeRecord

_ALB = {
    # docs/alb.md 8, by the attribute that counts it
    "active_connections": "ActiveConnectionCount",
    "new_connections": "NewConnectionCount",
    "rejected_connections": "RejectedConnectionCount",
    "rule_evaluations": "RuleEvaluations",
    "fixed_responses": "HTTP_Fixed_Response_Count",
    "redirects": "HTTP_Redirect_Count",
    "redirect_url_limit_exceeded": "HTTP_Redirect_Url_Limit_Exceeded_Count",
    "elb_3xx": "HTTPCode_ELB_3XX_Count",
    "elb_4xx": "HTTPCode_ELB_4XX_Count",
    "elb_5xx": "HTTPCode_ELB_5XX_Count",
    "elb_500": "HTTPCode_ELB_500_Count",
    "elb_502": "HTTPCode_ELB_502_Count",
    "elb_503": "HTTPCode_ELB_503_Count",
    "elb_504": "HTTPCode_ELB_504_Count",
    "desync_non_compliant": "DesyncMitigationMode_NonCompliant_Request_Count",
    "dropped_invalid_headers": "DroppedInvalidHeaderRequestCount",
    "forwarded_invalid_headers": "ForwardedInvalidHeaderRequestCount",
    "non_sticky_requests": "NonStickyRequestCount",
}

_OF_TARGETS = {
    # docs/alb.md 8: those that ALB has per target group as well
    "requests": "RequestCount",
    "grpc_requests": "GrpcRequestCount",
    "target_2xx": "HTTPCode_Target_2XX_Count",
    "target_3xx": "HTTPCode_Target_3XX_Count",
    "target_4xx": "HTTPCode_Target_4XX_Count",
    "target_5xx": "HTTPCode_Target_5XX_Count",
    "target_connection_errors": "TargetConnectionErrorCount",
    "target_tls_errors": "TargetTLSNegotiationErrorCount",
    "unhealthy_routing_requests": "UnhealthyRoutingRequestCount",
    # and those of our own
    "processed_bytes": "ProcessedBytes",
    "retries": "RetryCount",
    "tunnels": "TunnelCount",
    "flows": "NewFlowCount",
    "ejections": "TargetEjectionCount",
    "rejected_requests": "TargetControlRequestRejectCount",
}

_OF_HTTP2 = {
    "http2_connections": "Http2ConnectionCount",
    "http2_stream_resets": "Http2StreamResetCount",
}

_OF_TUNNELS = {
    "active_tunnels": "ActiveTunnelCount",
    "tunnel_pings": "TunnelPingCount",
}

_ENDS = {
    "client": "TunnelEnd_Client",
    "target": "TunnelEnd_Target",
    "idle": "TunnelEnd_Idle",
    "pong timeout": "TunnelEnd_PongTimeout",
    "max age": "TunnelEnd_MaxAge",
    "recheck": "TunnelEnd_Recheck",
    "drain": "TunnelEnd_Drain",
    "stop": "TunnelEnd_Stop",
    "closed": "TunnelEnd_Closed",
    "message too large": "TunnelEnd_MessageTooLarge",
    "error": "TunnelEnd_Error",
}


def test_counters_begin_at_zero() -> None:
    """Every counter is there from the start, so that a reader never meets a missing name."""
    counts = Counters().as_mapping()
    assert set(counts.values()) == {0}
    assert set(counts) >= {*_ALB.values(), *_OF_TARGETS.values(), *_OF_TUNNELS.values(), *_ENDS.values()}


@pytest.mark.parametrize(("attribute", "metric"), _ALB.items(), ids=_ALB.values())
def test_counter_is_read_under_albs_name(attribute: str, metric: str) -> None:
    """What is counted shows under its name and nowhere else."""
    counters = Counters()
    setattr(counters, attribute, 7)
    assert {name: count for name, count in counters.as_mapping().items() if count} == {metric: 7}


@pytest.mark.parametrize("kind", FailureKind, ids=lambda kind: kind.name)
def test_failure_of_each_kind_has_a_counter(kind: FailureKind) -> None:
    """Failures are visible from the first day, each kind for itself."""
    counters = Counters()
    counters.failures[kind] += 1
    assert {name: count for name, count in counters.as_mapping().items() if count} == {f"Failure_{kind.reason}": 1}


@pytest.mark.parametrize(("attribute", "metric"), (_OF_HTTP2 | _OF_TUNNELS).items(), ids=(_OF_HTTP2 | _OF_TUNNELS).values())
def test_counter_of_tunnels_and_http2_is_read_under_a_name_of_our_own(attribute: str, metric: str) -> None:
    """ALB has no such metrics; what is counted shows under its name and nowhere else."""
    counters = Counters()
    setattr(counters, attribute, 7)
    assert {name: count for name, count in counters.as_mapping().items() if count} == {metric: 7}


@pytest.mark.parametrize("end", TunnelEnd, ids=lambda end: end.name)
def test_tunnel_end_of_each_kind_has_a_counter(end: TunnelEnd) -> None:
    """Whoever reads sees what ends the tunnels, each cause for itself."""
    counters = Counters()
    counters.tunnel_ends[end] += 1
    assert {name: count for name, count in counters.as_mapping().items() if count} == {_ENDS[str(end)]: 1}


@pytest.mark.parametrize(("attribute", "metric"), _OF_TARGETS.items(), ids=_OF_TARGETS.values())
def test_counter_of_a_target_is_summed_up_for_the_load_balancer(attribute: str, metric: str) -> None:
    """What targets count shows under its name, together with what those that are gone have left."""
    counters, one, other = Counters(), TrafficCounters(), TrafficCounters()
    setattr(one, attribute, 7)
    setattr(other, attribute, 5)
    setattr(counters.traffic, attribute, 1)
    assert {name: count for name, count in counters.as_mapping([one, other]).items() if count} == {metric: 13}
    assert one.as_mapping()[metric] == 7


def test_every_number_kept_is_read_and_no_two_share_a_name() -> None:
    """Nothing is counted that nobody can see."""
    counters = Counters()
    numbers = [name for name in Counters.__slots__ if name not in ("failures", "tunnel_ends", "traffic")]
    assert set(numbers) == set(METRICS)
    assert set(TrafficCounters.__slots__) - {"response_times"} == set(TRAFFIC_METRICS)
    for value, name in enumerate(numbers, 1):
        setattr(counters, name, value)
    for value, name in enumerate(TRAFFIC_METRICS, len(numbers) + 1):
        setattr(counters.traffic, name, value)
    everything = range(1, len(numbers) + len(TRAFFIC_METRICS) + 1)
    assert sorted(count for count in counters.as_mapping().values() if count) == list(everything)


def test_bytes_of_own_answers_are_processed_bytes_too() -> None:
    """They belong to no target, and to the load balancer."""
    counters = Counters()
    record = ExchangeRecord(ClientAddress("192.0.2.1", 1))
    record.received_bytes, record.sent_bytes = 3, 4
    record.count(counters)
    assert counters.as_mapping()["ProcessedBytes"] == 7


_INCREMENT = re.compile(r"counters(\.traffic)?\.\w+(\[[^]]*\])? (\+|-)=")


def test_nobody_but_the_counters_adds_to_a_counter() -> None:
    """Each number has one owner: others tell it what has happened, by a method's name."""
    package = Path(albkit.__file__).parent
    offenders = [
        f"{path.relative_to(package)}:{number}"
        for path in package.rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if _INCREMENT.search(line)
    ]
    assert not offenders


def test_counters_mapping_is_a_copy() -> None:
    """Who reads cannot write, and later counts do not change what was read."""
    counters = Counters()
    read = counters.as_mapping()
    counters.traffic.request_routed(False)
    assert read["RequestCount"] == 0


def test_counter_misspelt_is_an_error() -> None:
    """A new name has to be declared before it counts."""
    with pytest.raises(AttributeError):
        Counters().request = 1  # type: ignore[attr-defined]
