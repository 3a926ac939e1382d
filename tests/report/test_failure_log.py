from __future__ import annotations

import logging

import pytest

import albkit as alb
from albkit.errors import Failure, FailureKind, Side
from albkit.model.message import ClientAddress, RequestHead
from albkit.report.failure_log import log_failure
from albkit.state.record import ExchangeRecord
from albkit.state.target_group import TargetGroupState


def _record(failure: Failure | None, path: str | None = "/a") -> ExchangeRecord:
    record = ExchangeRecord(ClientAddress("192.0.2.1", 2817))
    record.failure = failure
    if path is not None:
        record.request = RequestHead()
        record.request.method = "GET"
        record.request.path = path
        record.request.trace_id = b"Root=1-5759e988-bd862e3fe1be46a994272793"
    return record


def test_failure_is_one_line_with_all_that_is_known(caplog: pytest.LogCaptureFixture) -> None:
    """Reason, phase, side, client, target and rule stand in the line."""
    caplog.set_level(logging.INFO, "albkit")
    record = _record(Failure(FailureKind.TARGET_TIMEOUT, "60 s"))
    record.group = TargetGroupState(alb.TargetGroup("api", "10.0.0.1:80"))
    (record.target,) = record.group.members.values()
    record.matched_rule_priority, record.attempts, record.elb_status_code = 20, 2, 504
    log_failure(record)
    (entry,) = caplog.records
    text = entry.getMessage()
    assert entry.name == "albkit"
    assert text.startswith("TargetTimeout: ")
    for part in ("phase=response head", "side=target", "status=504", "client=192.0.2.1:2817", "target=10.0.0.1:80", "group=api", "rule=20"):
        assert part in text
    assert "attempts=2" in text
    assert "GET /a" in text
    assert "60 s" in text


@pytest.mark.parametrize("kind", FailureKind, ids=lambda kind: kind.name)
def test_failure_of_a_client_is_info_and_any_other_a_warning(kind: FailureKind, caplog: pytest.LogCaptureFixture) -> None:
    """What clients do wrong wakes nobody."""
    caplog.set_level(logging.INFO, "albkit")
    log_failure(_record(Failure(kind)))
    (entry,) = caplog.records
    assert entry.levelno == (logging.INFO if kind.side is Side.CLIENT else logging.WARNING)
    assert entry.getMessage().startswith(kind.reason)


def test_exchange_without_a_failure_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Only failures make lines here."""
    caplog.set_level(logging.DEBUG, "albkit")
    log_failure(_record(None))
    assert caplog.records == []


def test_failure_before_a_request_was_read_is_logged_without_it(caplog: pytest.LogCaptureFixture) -> None:
    """What is not known is a hyphen."""
    caplog.set_level(logging.INFO, "albkit")
    log_failure(_record(Failure(FailureKind.REQUEST_MALFORMED), None))
    text = caplog.records[0].getMessage()
    for part in ("status=-", "target=-", "group=-", "rule=-1", "request=-", "detail=-"):
        assert part in text


@pytest.mark.parametrize(
    "path", ["/a\nWARNING forged", "/a\r\n", "/\x1b[31m", "/\udcff\udc80", "/é%n%s", "/" + "a" * 100_000], ids=lambda path: ascii(path)[:20]
)
def test_request_from_the_wire_cannot_forge_or_flood_the_log(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a client writes, the line stays one printable line of bounded length."""
    caplog.set_level(logging.INFO, "albkit")
    log_failure(_record(Failure(FailureKind.NO_TARGETS), path))
    text = caplog.records[0].getMessage()
    assert text.isprintable()
    assert len(text) < 1000


def test_failure_detail_cannot_break_the_line(caplog: pytest.LogCaptureFixture) -> None:
    """The system's error texts hold what they like; one failure is one line all the same."""
    caplog.set_level(logging.INFO, "albkit")
    log_failure(_record(Failure(FailureKind.TARGET_UNREACHABLE, "first\nsecond")))
    assert "\n" not in caplog.records[0].getMessage()


def test_failure_below_the_level_is_not_put_into_words(caplog: pytest.LogCaptureFixture) -> None:
    """A logger that does not want it costs nothing."""
    caplog.set_level(logging.ERROR, "albkit")
    log_failure(_record(Failure(FailureKind.TARGET_TIMEOUT)))
    assert caplog.records == []
