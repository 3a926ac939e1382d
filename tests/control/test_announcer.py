from __future__ import annotations

import logging
from typing import Any

import pytest

import albkit as alb
from albkit import events
from albkit.control.announcer import Announcer, TunnelAnnouncer

_EVENT = events.ConfigurationApplied(1, 2)
_TUNNEL: Any = "a tunnel"


def test_announcer_tells_all_in_their_order() -> None:
    """Every subscriber gets every event, in the order in which they came."""
    announcer = Announcer()
    told: list[tuple[str, events.Event]] = []
    announcer.subscribe(lambda event: told.append(("first", event)))
    announcer.subscribe(lambda event: told.append(("second", event)))
    announcer.publish(_EVENT)
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
        announcer.publish(_EVENT)
        announcer.publish(_EVENT)
    assert raised == told == [_EVENT, _EVENT]
    assert len(caplog.records) == 2
    assert "a subscriber's own trouble" in caplog.text


def test_announcer_tells_nobody_who_has_left() -> None:
    """Unsubscribing ends it, and doing so twice is no fault."""
    announcer = Announcer()
    told: list[events.Event] = []
    unsubscribe = announcer.subscribe(told.append)
    unsubscribe()
    unsubscribe()
    announcer.publish(_EVENT)
    assert told == []


def test_announcer_delivers_to_a_callable_as_often_as_it_was_added() -> None:
    """Each subscription ends on its own, even twice."""
    announcer = Announcer()
    told: list[events.Event] = []
    unsubscribe = announcer.subscribe(told.append)
    announcer.subscribe(told.append)
    unsubscribe()
    unsubscribe()
    announcer.publish(_EVENT)
    assert told == [_EVENT]


def test_announcer_delivers_only_the_classes_that_were_named() -> None:
    """A subscriber that names none gets all."""
    announcer = Announcer()
    told: list[tuple[str, events.Event]] = []
    other = events.TargetReadmitted("api", alb.Target("127.0.0.1", 80))
    announcer.subscribe(lambda event: told.append(("all", event)))
    announcer.subscribe(lambda event: told.append(("one", event)), events.ConfigurationApplied)
    announcer.subscribe(lambda event: told.append(("two", event)), events.ConfigurationApplied, events.TargetReadmitted)
    announcer.publish(_EVENT)
    announcer.publish(other)
    assert told == [("all", _EVENT), ("one", _EVENT), ("two", _EVENT), ("all", other), ("two", other)]
    assert announcer.subscribers_of(events.TunnelClosed)
    assert not Announcer().subscribers_of(events.TunnelClosed)


@pytest.mark.parametrize("kind", [events.Event, "ExchangeFinished", object, None, events.FailedAttempt], ids=str)
def test_announcer_refuses_what_is_no_class_of_events(kind: Any) -> None:
    """A subscriber would wait for it for ever."""
    announcer = Announcer()
    with pytest.raises(TypeError, match=r"give classes of albkit\.events"):
        announcer.subscribe(print, events.TunnelClosed, kind)
    assert announcer.subscribers_of(events.TunnelClosed) == ()


def test_announcer_logs_an_event_before_it_delivers_it() -> None:
    """Also if nobody has subscribed; events of exchanges are only delivered."""
    told: list[tuple[str, events.Event]] = []
    announcer = Announcer(lambda event: told.append(("log", event)))
    announcer.publish(_EVENT)
    announcer.subscribe(lambda event: told.append(("subscriber", event)))
    announcer.publish(_EVENT)
    announcer.deliver(_EVENT, announcer.subscribers_of(type(_EVENT)))
    assert [place for place, _ in told] == ["log", "log", "subscriber", "subscriber"]


def test_announcer_lets_a_subscriber_leave_while_it_is_told() -> None:
    """Leaving in the middle of an event keeps no other from hearing of it."""
    announcer = Announcer()
    told: list[str] = []

    def once(event: events.Event) -> None:
        told.append("once")
        unsubscribe()

    unsubscribe = announcer.subscribe(once)
    announcer.subscribe(lambda _: told.append("other"))
    announcer.publish(_EVENT)
    announcer.publish(_EVENT)
    assert told == ["once", "other", "other"]


def test_tunnel_announcer_tells_all_in_their_order() -> None:
    """Of each tunnel that opens or is over, with that tunnel, whoever asked for it."""
    announcer = TunnelAnnouncer()
    told: list[tuple[str, object]] = []
    announcer.subscribe(lambda tunnel: told.append(("opened", tunnel)), lambda tunnel: told.append(("closed", tunnel)))
    announcer.subscribe(lambda tunnel: told.append(("opened too", tunnel)), None)
    announcer.subscribe(None, lambda tunnel: told.append(("closed too", tunnel)))
    announcer.opened(_TUNNEL)
    assert told == [("opened", _TUNNEL), ("opened too", _TUNNEL)]
    told.clear()
    announcer.closed(_TUNNEL)
    assert told == [("closed", _TUNNEL), ("closed too", _TUNNEL)]


def test_tunnel_announcer_survives_a_callback_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, stays, and keeps no other from being told."""
    announcer = TunnelAnnouncer()
    told: list[object] = []
    raised: list[object] = []

    def raises(tunnel: object) -> None:
        raised.append(tunnel)
        raise RuntimeError("a callback's own trouble")

    announcer.subscribe(raises, raises)
    announcer.subscribe(told.append, told.append)
    with caplog.at_level(logging.ERROR, logger="albkit"):
        announcer.opened(_TUNNEL)
        announcer.closed(_TUNNEL)
    assert raised == told == [_TUNNEL, _TUNNEL]
    assert len(caplog.records) == 2
    assert "a callback's own trouble" in caplog.text


def test_tunnel_announcer_tells_nobody_who_has_left() -> None:
    """Leaving ends both callbacks and nobody else's, and doing so twice is no fault."""
    announcer = TunnelAnnouncer()
    told: list[str] = []
    leave = announcer.subscribe(lambda _: told.append("opened"), lambda _: told.append("closed"))
    announcer.subscribe(lambda _: told.append("other opened"), lambda _: told.append("other closed"))
    leave()
    leave()
    announcer.opened(_TUNNEL)
    announcer.closed(_TUNNEL)
    assert told == ["other opened", "other closed"]


def test_tunnel_announcer_tells_a_callback_as_often_as_it_asked() -> None:
    """Two who brought the same callable are two: one leaves, even twice, and the other is told on."""
    announcer = TunnelAnnouncer()
    told: list[object] = []
    leave = announcer.subscribe(told.append, None)
    announcer.subscribe(told.append, None)
    announcer.opened(_TUNNEL)
    assert len(told) == 2
    leave()
    leave()
    announcer.opened(_TUNNEL)
    assert len(told) == 3


def test_tunnel_announcer_lets_a_callback_leave_while_it_is_told() -> None:
    """Leaving in the middle keeps no other from hearing of it."""
    announcer = TunnelAnnouncer()
    told: list[str] = []

    def once(_: object) -> None:
        told.append("once")
        leave()

    leave = announcer.subscribe(once, None)
    announcer.subscribe(lambda _: told.append("other"), None)
    announcer.opened(_TUNNEL)
    announcer.opened(_TUNNEL)
    assert told == ["once", "other", "other"]


def test_tunnel_announcer_lets_a_callback_bring_another_while_it_is_told() -> None:
    """The new one hears of the next tunnel, not of this one."""
    announcer = TunnelAnnouncer()
    told: list[object] = []

    def brings_another(_: object) -> None:
        announcer.subscribe(told.append, None)

    announcer.subscribe(brings_another, None)
    announcer.opened(_TUNNEL)
    assert told == []
    announcer.opened(_TUNNEL)
    assert told == [_TUNNEL]
