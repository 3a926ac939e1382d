from __future__ import annotations

import logging

import pytest

from albkit import events
from albkit.control.announcer import Announcer

_EVENT = events.ConfigurationApplied(1, 2)


def test_announcer_tells_all_in_their_order() -> None:
    """Every subscriber gets every event, in the order in which they came."""
    announcer = Announcer()
    told: list[tuple[str, events.Event]] = []
    announcer.subscribe(lambda event: told.append(("first", event)))
    announcer.subscribe(lambda event: told.append(("second", event)))
    announcer.tell(_EVENT)
    assert told == [("first", _EVENT), ("second", _EVENT)]


def test_announcer_survives_a_subscriber_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, stays subscribed, and keeps no other from being told."""
    announcer = Announcer()
    told: list[events.Event] = []
    raised: list[events.Event] = []

    def raises(event: events.Event) -> None:
        raised.append(event)
        raise RuntimeError("a subscriber's own trouble")

    announcer.subscribe(raises)
    announcer.subscribe(told.append)
    with caplog.at_level(logging.ERROR, logger="albkit"):
        announcer.tell(_EVENT)
        announcer.tell(_EVENT)
    assert raised == told == [_EVENT, _EVENT]
    assert len(caplog.records) == 2
    assert "a subscriber's own trouble" in caplog.text


def test_announcer_tells_nobody_who_has_left() -> None:
    """Unsubscribing ends it, and doing so twice is no fault."""
    announcer = Announcer()
    told: list[events.Event] = []
    announcer.subscribe(told.append)
    announcer.unsubscribe(told.append)
    announcer.unsubscribe(told.append)
    announcer.tell(_EVENT)
    assert told == []


def test_announcer_lets_a_subscriber_leave_while_it_is_told() -> None:
    """Leaving in the middle of an event keeps no other from hearing of it."""
    announcer = Announcer()
    told: list[str] = []

    def once(event: events.Event) -> None:
        told.append("once")
        announcer.unsubscribe(once)

    announcer.subscribe(once)
    announcer.subscribe(lambda _: told.append("other"))
    announcer.tell(_EVENT)
    announcer.tell(_EVENT)
    assert told == ["once", "other", "other"]
