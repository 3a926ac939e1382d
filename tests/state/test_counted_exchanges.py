from __future__ import annotations

import pytest

import albkit as alb
from albkit.errors import Failure, FailureKind
from albkit.model.message import ClientAddress, RequestHead
from albkit.state.counters import Counters
from albkit.state.record import ExchangeRecord
from albkit.state.target import TargetState
from tests.support.gateway import running
from tests.support.peers import target


def _counted(record: ExchangeRecord) -> dict[str, int]:
    counters = Counters()
    record.count(counters)
    traffic = [record.target.counters] if record.target is not None else []
    return {name: count for name, count in counters.as_mapping(traffic).items() if count}


def _record(target_status: int = 0, elb_status: int = 0, failure: FailureKind | None = None) -> ExchangeRecord:
    record = ExchangeRecord(ClientAddress("192.0.2.1", 1))
    record.target = TargetState(alb.Target("a", 80)) if target_status else None
    record.target_status_code = target_status
    record.elb_status_code = elb_status
    record.failure = Failure(failure) if failure is not None else None
    return record


def _request(*, classification: tuple[str, str] | None = None, irregular: bool = False) -> RequestHead:
    request = RequestHead()
    request.classification = classification
    request.irregular_names = irregular
    request.dropped_names = False
    return request


@pytest.mark.parametrize(
    ("status", "metric"),
    [
        (200, "HTTPCode_Target_2XX_Count"),
        (299, "HTTPCode_Target_2XX_Count"),
        (300, "HTTPCode_Target_3XX_Count"),
        (304, "HTTPCode_Target_3XX_Count"),
        (400, "HTTPCode_Target_4XX_Count"),
        (499, "HTTPCode_Target_4XX_Count"),
        (500, "HTTPCode_Target_5XX_Count"),
        (599, "HTTPCode_Target_5XX_Count"),
    ],
)
def test_target_status_counts_under_its_class_only(status: int, metric: str) -> None:
    """What a target answers is never counted as the load balancer's own (docs/alb.md 8)."""
    assert _counted(_record(status, status)) == {metric: 1}


def test_target_status_101_belongs_to_no_class() -> None:
    """ALB counts 2XX to 5XX only."""
    assert _counted(_record(101, 101)) == {}


@pytest.mark.parametrize(
    ("status", "metrics"),
    [
        (400, {"HTTPCode_ELB_4XX_Count"}),
        (408, {"HTTPCode_ELB_4XX_Count"}),
        (460, {"HTTPCode_ELB_4XX_Count"}),
        (463, {"HTTPCode_ELB_4XX_Count"}),
        (500, {"HTTPCode_ELB_5XX_Count", "HTTPCode_ELB_500_Count"}),
        (501, {"HTTPCode_ELB_5XX_Count"}),
        (502, {"HTTPCode_ELB_5XX_Count", "HTTPCode_ELB_502_Count"}),
        (503, {"HTTPCode_ELB_5XX_Count", "HTTPCode_ELB_503_Count"}),
        (504, {"HTTPCode_ELB_5XX_Count", "HTTPCode_ELB_504_Count"}),
        (505, {"HTTPCode_ELB_5XX_Count"}),
        (0, set()),
    ],
)
def test_own_error_counts_under_its_class_and_code(status: int, metrics: set[str]) -> None:
    """Every error that the load balancer generates is counted (docs/alb.md 6), by class and where ALB has one by code."""
    counted = _counted(_record(0, status, FailureKind.INTERNAL_ERROR))
    assert counted == {"Failure_InternalError": 1, **dict.fromkeys(metrics, 1)}


@pytest.mark.parametrize("status", [200, 302, 404, 503])
@pytest.mark.parametrize(
    "failure", [FailureKind.CLIENT_CLOSED_IN_RESPONSE, FailureKind.RESPONSE_BODY_TRUNCATED, FailureKind.REQUEST_BODY_MALFORMED]
)
def test_failure_in_mid_response_counts_under_its_reason_and_the_status_as_the_targets(status: int, failure: FailureKind) -> None:
    """The client has got the target's status: it is no error code of the load balancer's, whatever it is."""
    counted = _counted(_record(status, status, failure))
    assert counted == {f"Failure_{failure.reason}": 1, f"HTTPCode_Target_{status // 100}XX_Count": 1}


@pytest.mark.parametrize("target_status", [200, 502])
def test_response_that_is_refused_counts_as_the_targets_and_as_our_error(target_status: int) -> None:
    """The target has answered, and the client was told something else, even where the two agree by chance."""
    assert _counted(_record(target_status, 502, FailureKind.RESPONSE_MALFORMED)) == {
        "Failure_ResponseMalformed": 1,
        f"HTTPCode_Target_{target_status // 100}XX_Count": 1,
        "HTTPCode_ELB_5XX_Count": 1,
        "HTTPCode_ELB_502_Count": 1,
    }


def test_bytes_of_both_directions_are_processed() -> None:
    """ProcessedBytes counts heads and payload, both ways."""
    record = _record(200, 200)
    record.received_bytes, record.sent_bytes = 34, 366
    assert _counted(record) == {"HTTPCode_Target_2XX_Count": 1, "ProcessedBytes": 400}


def test_non_compliant_request_counts() -> None:
    """Any class but Compliant (docs/alb.md 2.4)."""
    record = _record(200, 200)
    record.request = _request(classification=("Acceptable", "GetHeadZeroContentLength"))
    assert _counted(record) == {"HTTPCode_Target_2XX_Count": 1, "DesyncMitigationMode_NonCompliant_Request_Count": 1}


def test_request_with_irregular_names_counts_as_forwarded() -> None:
    """Requests having such fields are counted, once each (docs/alb.md 2.7, 8)."""
    record = _record(200, 200)
    record.request = _request(irregular=True)
    assert _counted(record) == {"HTTPCode_Target_2XX_Count": 1, "ForwardedInvalidHeaderRequestCount": 1}


def test_ordinary_exchange_counts_nothing_else() -> None:
    """A compliant request that a fixed response answered is no error and no target's."""
    record = _record(0, 404)
    record.request = _request()
    assert _counted(record) == {}


@pytest.mark.parametrize(
    ("drop", "metric", "other"),
    [
        (False, "ForwardedInvalidHeaderRequestCount", "DroppedInvalidHeaderRequestCount"),
        (True, "DroppedInvalidHeaderRequestCount", "ForwardedInvalidHeaderRequestCount"),
    ],
    ids=["forwarded", "dropped"],
)
async def test_request_with_irregular_names_counts_as_what_became_of_them(drop: bool, metric: str, other: str) -> None:
    """Dropped where `drop_invalid_header_fields` is on, forwarded where it is off, one per request (docs/alb.md 2.7, 8)."""
    async with target() as origin, running(origin.address, drop_invalid_header_fields=drop) as gateway:
        client = await gateway.client()
        await client.get("/", "A_b: c", "D_e: f")
        counters = gateway.load_balancer.counters
        assert (counters[metric], counters[other]) == (1, 0)
