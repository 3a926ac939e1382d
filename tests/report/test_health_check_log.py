"""The formats of the health check log (`report/health_check_log.py`)."""

from __future__ import annotations

import json
import re

import pytest

import albkit as alb
from albkit.policy.health import CheckFailure
from albkit.report.health_check_log import FORMATS, health_check_log_for
from albkit.state.health_check_record import HealthCheckRecord

EVERY_BYTE = bytes(range(256)).decode("latin-1")
LINE = (
    r"http 2025-10-31T12:54:58\.500000Z 1\.121980746 10\.0\.0\.1:80 HCLogsTestIPs FAIL 502 TargetError "
    r"app/albkit/[0-9a-f]{16} 198\.51\.100\.1"
)


def line(record: HealthCheckRecord, name: str = "alb") -> str:
    lines: list[str] = []
    health_check_log_for(name, lines.append, "albkit")(record)
    (text,) = lines
    assert text.isascii()
    assert text.isprintable()
    return text


def record(
    *, failure: str = "", status: int | None = 200, reason: str = "", target: str = "10.0.0.1:80", seconds: float = 1.121980746
) -> HealthCheckRecord:
    result = alb.HealthCheckResult(1761915298.5, not failure, seconds, status, reason)
    return HealthCheckRecord("http", "HCLogsTestIPs", target, result, failure, "198.51.100.1")


def test_all_fields_stand_in_the_order_of_alb() -> None:
    """One line, as in AWS's example."""
    assert re.fullmatch(LINE, line(record(failure="TargetError", status=502)))
    assert line(record()).split(" ")[5:8] == ["PASS", "200", "-"]


@pytest.mark.parametrize("text", [EVERY_BYTE, " ".join(map(chr, (0x2028, 0xD800, 0xDC80, 0x1F600)))], ids=["bytes", "unicode"])
def test_any_text_leaves_the_line_whole(text: str) -> None:
    """10 fields in ALB's format; JSON with the text as it is."""
    made = record(failure="TimedOut", status=None, reason=text, target=f"unix:/{text}")
    assert len(line(made).split(" ")) == 10
    assert '"' not in line(made)
    found = json.loads(line(made, "json"))
    assert (found["reason"], found["target_addr"]) == (text, f"unix:/{text}")
    assert (found["status_code"], found["reason_code"]) == (None, "TimedOut")


def test_clock_that_jumps_back_gives_no_negative_latency() -> None:
    """A field of ALB's log is never negative."""
    assert line(record(seconds=-1.0)).split(" ")[2] == "0.000000000"


def test_reasons_are_those_of_alb() -> None:
    """All of AWS's reason codes, and no others (docs/alb.md 7.3)."""
    reasons = "TimedOut ConnectionReset ResponseCodeMismatch ResponseStringMismatch InternalError TargetError GRPCStatusHeaderEmpty"
    assert {str(failure) for failure in CheckFailure} == {*reasons.split(), "GRPCUnexpectedStatus"}


def test_formats_are_those_of_the_setting() -> None:
    """Each name that the setting takes has a function."""
    for name in FORMATS:
        assert alb.HealthCheckLog("log", name).format == name
