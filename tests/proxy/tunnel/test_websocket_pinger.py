from __future__ import annotations

import pytest

from albkit.proxy.tunnel.websocket_pinger import Pinger

_NONCE = b"\xf0\x0f\x00\xff"
_START = 7_340_033.25


class _Side:
    """A side that only remembers what it was sent."""

    def __init__(self) -> None:
        self.owes_pong = False
        self.has_pending_frame = False
        self.is_within_frame = False
        self.busy = False
        self.pings: list[bytes] = []

    def ping(self, payload: bytes) -> None:
        self.pings.append(payload)
        self.has_pending_frame = self.busy


class _Watched:
    """A pinger with an interval of 10 seconds and a timeout of 4, its side, and time that a test sets forward."""

    def __init__(self) -> None:
        self.side = _Side()
        self.pinger = Pinger(self.side, 10, 4, _NONCE, _START)

    def dead_at(self, seconds: float, *, heard: bool = False) -> bool:
        """Look at so many seconds behind the start."""
        return self.pinger.check(_START + seconds, alive=heard)

    @property
    def pings(self) -> int:
        return len(self.side.pings)


@pytest.fixture
def watched() -> _Watched:
    return _Watched()


def _ping(number: int) -> bytes:
    return _NONCE + number.to_bytes(4, "big")


def test_silent_side_is_pinged_when_the_interval_is_over(watched: _Watched) -> None:
    """Not a moment before, and with four bytes of chance and a number."""
    assert not watched.dead_at(9.99)
    assert watched.pings == 0
    assert not watched.pinger.expects_pong
    assert not watched.dead_at(10)
    assert watched.side.pings == [_ping(1)]
    assert watched.pinger.expects_pong


def test_side_that_says_something_is_not_pinged(watched: _Watched) -> None:
    """The interval begins anew with whatever comes."""
    for seconds in (9, 18, 27):
        assert not watched.dead_at(seconds, heard=True)
    assert not watched.dead_at(36.99)
    assert watched.pings == 0
    watched.dead_at(37)
    assert watched.pings == 1


def test_side_that_does_not_answer_is_dead_when_the_timeout_is_over(watched: _Watched) -> None:
    """Counted from the ping; there is no second ping meanwhile, and it stays dead."""
    watched.dead_at(12)
    assert not watched.dead_at(14)
    assert not watched.dead_at(15.99)
    assert watched.dead_at(16)
    assert watched.dead_at(17)
    assert watched.pings == 1


def test_side_that_says_anything_behind_a_ping_lives(watched: _Watched) -> None:
    """Be it a pong or not; the next ping comes after another interval and has the next number."""
    watched.dead_at(10)
    assert not watched.dead_at(13.9, heard=True)
    assert not watched.dead_at(23.8)
    assert watched.pings == 1
    assert not watched.dead_at(23.9)
    assert watched.side.pings == [_ping(1), _ping(2)]
    assert not watched.dead_at(27.8)
    assert watched.dead_at(27.9)


def test_pong_for_us_is_taken_once(watched: _Watched) -> None:
    """A second one with the same payload is somebody else's affair."""
    watched.dead_at(10)
    assert watched.pinger.take_pong(_ping(1))
    assert not watched.pinger.expects_pong
    assert not watched.pinger.take_pong(_ping(1))


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="empty"),
        pytest.param(_NONCE, id="chance alone"),
        pytest.param(_ping(1)[:-1], id="cut short"),
        pytest.param(_ping(1) + b"\0", id="longer"),
        pytest.param(_NONCE + b"\1", id="the number in one byte"),
        pytest.param(_NONCE + b"\0" + _ping(1)[4:], id="the number in five bytes"),
        pytest.param(b"\0" + _NONCE[1:] + _ping(1)[4:], id="other chance"),
        pytest.param(_ping(1)[::-1], id="turned round"),
        pytest.param(_ping(0), id="number 0"),
        pytest.param(_ping(2), id="a number that was not sent yet"),
        pytest.param(_ping(2**32 - 1), id="the largest number"),
    ],
)
def test_pong_of_another_payload_is_not_for_us(watched: _Watched, payload: bytes) -> None:
    """It is passed on; ours is waited for all the same."""
    watched.dead_at(10)
    assert not watched.pinger.take_pong(payload)
    assert watched.pinger.expects_pong
    assert watched.pinger.take_pong(_ping(1))


def test_pong_without_a_ping_is_not_for_us(watched: _Watched) -> None:
    """Before the first ping nothing is ours, whatever it says."""
    assert not watched.pinger.take_pong(_ping(0))
    assert not watched.pinger.take_pong(_ping(1))


def test_pong_for_the_latest_ping_stands_for_all_before_it(watched: _Watched) -> None:
    """A side may answer the latest ping alone (RFC 6455 section 5.5.3)."""
    watched.dead_at(10)
    watched.dead_at(11, heard=True)
    watched.dead_at(21)
    assert watched.pinger.take_pong(_ping(2))
    assert not watched.pinger.expects_pong
    assert not watched.pinger.take_pong(_ping(1))


def test_pongs_for_two_pings_are_both_taken_in_their_order(watched: _Watched) -> None:
    """A late answer to the first is ours as well, and the second is still waited for."""
    watched.dead_at(10)
    watched.dead_at(11, heard=True)
    watched.dead_at(21)
    assert watched.pinger.take_pong(_ping(1))
    assert watched.pinger.expects_pong
    assert watched.pinger.take_pong(_ping(2))
    assert not watched.pinger.expects_pong


def test_side_that_owes_a_pong_is_asked_nothing_more_and_dies_of_its_silence(watched: _Watched) -> None:
    """The other side's ping asks it already; a pong then is never taken for ours."""
    watched.side.owes_pong = True
    assert not watched.dead_at(10)
    assert watched.pings == 0
    assert not watched.pinger.expects_pong
    assert not watched.dead_at(13.99)
    assert watched.dead_at(14)


def test_side_that_has_paid_its_pong_is_pinged_by_us_the_next_time(watched: _Watched) -> None:
    """With number 1: no number was spent on the ping of the other side."""
    watched.side.owes_pong = True
    watched.dead_at(10)
    assert not watched.dead_at(12, heard=True)
    watched.side.owes_pong = False
    assert not watched.dead_at(22)
    assert watched.side.pings == [_ping(1)]


def test_side_in_the_middle_of_a_frame_is_pinged_when_that_is_over(watched: _Watched) -> None:
    """Some endpoints would put their pong into the frame: until its end nobody asks, and nothing counts against it."""
    watched.side.is_within_frame = True
    for seconds in (10, 14, 100):
        assert not watched.dead_at(seconds)
    assert watched.pings == 0
    assert not watched.pinger.expects_pong
    watched.side.is_within_frame = False
    assert not watched.dead_at(101)
    assert watched.side.pings == [_ping(1)]
    assert not watched.dead_at(104.99)
    assert watched.dead_at(105)


def test_side_that_begins_a_frame_behind_a_ping_and_stops_is_dead(watched: _Watched) -> None:
    """It was asked; what it began then is no answer for ever."""
    watched.dead_at(10)
    watched.side.is_within_frame = True
    assert not watched.dead_at(13.99)
    assert watched.dead_at(14)


def test_ping_that_was_put_off_is_given_its_whole_time_from_when_it_goes(watched: _Watched) -> None:
    """While it waits for the end of a frame it cannot be answered, and no other is sent."""
    watched.side.busy = True
    for seconds in (10, 13, 20, 100):
        assert not watched.dead_at(seconds)
    assert watched.pings == 1
    watched.side.has_pending_frame = False
    assert not watched.dead_at(101)
    assert not watched.dead_at(104.99)
    assert watched.dead_at(105)
    assert watched.pings == 1


def test_ping_that_was_put_off_and_answered_leaves_nothing_to_wait_for(watched: _Watched) -> None:
    """It went and was answered between two looks: from then on the whole interval is silence as any other."""
    watched.side.busy = True
    watched.dead_at(10)
    watched.side.busy = watched.side.has_pending_frame = False
    assert not watched.dead_at(11, heard=True)
    for seconds in (12, 16, 20.99):
        assert not watched.dead_at(seconds)
    assert watched.pings == 1
    assert not watched.dead_at(21)
    assert watched.pings == 2


def test_side_that_is_heard_while_its_ping_is_put_off_lives(watched: _Watched) -> None:
    """Nothing that comes before the ping has gone counts against it, and its time begins when it goes."""
    watched.side.busy = True
    watched.dead_at(10)
    assert not watched.dead_at(12, heard=True)
    watched.side.has_pending_frame = False
    assert not watched.dead_at(50)
    assert not watched.dead_at(53.99)
    assert watched.dead_at(54)
