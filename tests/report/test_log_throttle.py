from __future__ import annotations

import logging

import pytest

from albkit.errors import Failure, FailureKind
from albkit.model.message import ClientAddress
from albkit.report import failure_log
from albkit.report.failure_log import log_failure, log_out_of_sockets
from albkit.report.log_throttle import LogThrottle
from albkit.state.record import ExchangeRecord
from tests.support.clock import FakeClock


def test_seldom_lets_one_line_a_second_through_and_counts_the_others() -> None:
    """The next one says how many there were."""
    clock = FakeClock()
    seldom = LogThrottle(clock.monotonic)
    assert [seldom.may_say() for _ in range(5)] == [True, False, False, False, False]
    clock.advance(0.99)
    assert not seldom.may_say()
    clock.advance(0.01)
    assert seldom.may_say()
    assert seldom.also() == "; 5 times more since the last such line"
    clock.advance(1)
    assert seldom.may_say()
    assert seldom.also() == ""


def test_lines_about_descriptors_share_one_a_second(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that are turned away, and requests that find no descriptor for a target; other failures are told each time."""
    clock = FakeClock()
    monkeypatch.setattr(failure_log, "_out_of_sockets", LogThrottle(clock.monotonic))
    caplog.set_level(logging.INFO, "albkit")
    record = ExchangeRecord(ClientAddress("192.0.2.1", 2817))
    record.failure = Failure(FailureKind.OUT_OF_SOCKETS, "Too many open files")
    for _ in range(1000):
        log_out_of_sockets("%d are here", 7)
        log_failure(record)
    assert [entry.getMessage() for entry in caplog.records] == ["out of file descriptors: 7 are here"]
    caplog.clear()
    clock.advance(1)
    log_failure(record)
    log_out_of_sockets("%d are here", 7)
    (entry,) = caplog.records
    assert entry.levelno == logging.WARNING
    assert entry.getMessage().endswith("detail=Too many open files; 1999 times more since the last such line")
    caplog.clear()
    record.failure = Failure(FailureKind.NO_TARGETS)
    for _ in range(3):
        log_failure(record)
    assert len(caplog.records) == 3


def test_throttle_may_let_more_lines_per_second_through() -> None:
    """The rest is counted until it is asked for."""
    now = [0.0]
    throttle = LogThrottle(lambda: now[0], lines=3)
    assert [throttle.may_say() for _ in range(5)] == [True] * 3 + [False] * 2
    now[0] = 0.9
    assert not throttle.may_say()
    now[0] = 1.0
    assert throttle.may_say()
    assert throttle.take_suppressed() == 3
    assert throttle.take_suppressed() == 0
    assert [throttle.may_say() for _ in range(3)] == [True, True, False]
