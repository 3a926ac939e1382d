"""Times, durations and fields, as all formats of the access log write them."""

from __future__ import annotations

import random

import pytest

from albkit.model.message import ClientAddress
from albkit.report.access_log.context import Moments, field_value, keep, processing_times, seconds
from albkit.state.record import ExchangeRecord
from tests.support.effort import cases


def _expected(moment: float, digits: int) -> str:
    from datetime import UTC, datetime

    micro = int((moment - int(moment)) * 1_000_000)
    cut = micro - micro % 10 ** (6 - digits)
    return f"{datetime.fromtimestamp(int(moment), UTC):%Y-%m-%dT%H:%M:%S}.{cut:06d}Z"


def test_moments_are_those_of_the_calendar_in_any_order() -> None:
    """What is kept from one moment to the next must not show: seconds and milliseconds that repeat, go on, or go back."""
    chance = random.Random(7)
    moments = Moments()
    moment = 1_700_000_000.0
    for _ in range(cases(20_000)):
        moment += chance.choice((0.0, 1e-6, 0.0004, 0.3, 1.0, 7.5, -0.2, -3.0, 86_400.0 * chance.random()))
        earlier = moment - chance.choice((0.0, 0.0001, 0.02, 0.9, 5.0, 100_000.0))
        ended, begun = moments.texts(moment, earlier)
        # A float of this size is exact to a quarter of a microsecond, and is cut and not rounded.
        assert abs(int(ended[20:26]) - int(_expected(moment, 6)[20:26])) <= 1
        assert ended[:20] == _expected(moment, 6)[:20]
        apart = (int(begun[20:23]) - int(_expected(earlier, 3)[20:23])) % 1000
        assert apart in (0, 1, 999)
        assert begun[23:] == "000Z"


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param((10.0, 10.0001, 10.0123, 0.0, 10.0125), "0.000 0.012 0.000", id="ordinary"),
        pytest.param((10.0, 10.02, 12.5, 0.0, 12.6), "0.020 2.480 0.100", id="longer"),
        pytest.param((10.0, 10.0001, 10.9999, 11.0004, 99.0), "0.000 1.000 0.001", id="response in several writes"),
        pytest.param((10.0, 0.0, 0.0, 0.0, 10.1), "-1 -1 -1", id="not sent"),
        pytest.param((10.0, 10.1, 0.0, 0.0, 10.2), "-1 -1 -1", id="not answered"),
        pytest.param((10.0, 10.5, 10.3, 0.0, 10.7), "-1 -1 -1", id="answered before the last attempt"),
    ],
)
def test_processing_times(times: tuple[float, ...], expected: str) -> None:
    """Three decimals, and -1 for each without an answer."""
    record = ExchangeRecord(ClientAddress("a", 1))
    record.received_at, record.sent_at, record.answered_at, record.responded_at, record.ended_at = times
    assert processing_times(record) == expected


@pytest.mark.parametrize(
    ("duration", "expected"),
    [(0.0, "0.000000"), (0.001358, "0.001358"), (0.9999999, "1.000000"), (1.5, "1.500000"), (-0.001, "0.000000"), (-5.0, "0.000000")],
)
def test_seconds_have_six_decimals(duration: float, expected: str) -> None:
    """A clock that went back gives no negative duration."""
    assert seconds(duration) == expected


@pytest.mark.parametrize("name", [b"user-agent", b"User-Agent", b"USER-agent"])
def test_field_is_found_in_any_spelling(name: bytes) -> None:
    """The first one, without the spaces around it, and no other that only looks alike."""
    block = b"\r\nX-User-Agent: no\r\nHost: a\r\n" + name + b": \t yes \xff \r\n" + name + b": second\r\n\r\n"
    assert field_value(block, b"user-agent") == "yes \xff"
    assert field_value(b"\r\nHost: user-agent: x\r\n\r\n", b"user-agent") == ""


def test_cache_of_request_lines_is_bounded() -> None:
    """Clients choose the keys: neither many nor long ones take much memory."""
    cache: dict[bytes, str] = {}
    for number in range(5000):
        keep(cache, b"GET /%d HTTP/1.1" % number, "x")
        assert len(cache) <= 512
    keep(cache, b"x" * 513, "x")
    assert b"x" * 513 not in cache
