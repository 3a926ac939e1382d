"""Which client is too slow with its body, sweep by sweep."""

from __future__ import annotations

from albkit.proxy.client.min_body_rate import MinBodyRate

RATE = 100.0


class Upload:
    """A client that is looked at each half second, for as long as a test says."""

    def __init__(self) -> None:
        self.pace = MinBodyRate(RATE)
        self.now = 7000.25
        self.request = 1
        self.received = 0

    def look(self, *, awaited: bool = True) -> bool:
        return self.pace.is_too_slow(self.now, self.request, self.received, awaited=awaited)

    def goes_on(self, seconds: float, rate: float, *, awaited: bool = True) -> float | None:
        """So many bytes a second for so long; after how many seconds it was found too slow, `None` for never."""
        begin = self.now
        while self.now < begin + seconds:
            self.now += 0.5
            self.received += int(rate / 2)
            if self.look(awaited=awaited):
                return self.now - begin
        return None

    def next_request(self, head: int = 100) -> None:
        self.request += 1
        self.received = head


def test_slow_client_is_found_after_five_seconds() -> None:
    """Half of what it must send is too slow, once a window is over; not before."""
    upload = Upload()
    upload.look()
    assert upload.goes_on(60, RATE / 2) == 5.0


def test_client_at_the_rate_is_never_found() -> None:
    """The rate itself is enough."""
    upload = Upload()
    upload.look()
    assert upload.goes_on(60, RATE) is None


def test_pause_of_a_quick_client_is_made_up_for() -> None:
    """Less than a window of silence, between seconds in which it sends plenty."""
    upload = Upload()
    upload.look()
    for _ in range(10):
        assert upload.goes_on(1, RATE * 10) is None
        assert upload.goes_on(4, 0) is None


def test_client_that_is_not_waited_for_is_never_found() -> None:
    """While nobody reads of it, it cannot send."""
    upload = Upload()
    assert upload.goes_on(60, 0, awaited=False) is None


def test_time_that_is_not_waited_does_not_count() -> None:
    """The target reads for two seconds and rests for ten: only the two count."""
    upload = Upload()
    upload.look()
    assert upload.goes_on(2, RATE / 2) is None
    assert upload.goes_on(10, 0, awaited=False) is None
    upload.look()
    assert upload.goes_on(2.5, RATE * 2) is None


def test_client_that_was_slow_in_one_window_is_judged_anew_in_the_next() -> None:
    """A window that was good enough is no credit for the next one."""
    upload = Upload()
    upload.look()
    assert upload.goes_on(5, RATE * 100) is None
    assert upload.goes_on(60, RATE / 2) == 5.0


def test_next_request_begins_anew() -> None:
    """A window does not go on in the next request, whatever each has sent: even looked at in the same place each time."""
    upload = Upload()
    for _ in range(60):
        upload.next_request()
        assert not upload.look()
        upload.now += 0.5


def test_next_request_that_has_sent_more_gets_no_credit() -> None:
    """What a new request has received is no progress of the one before."""
    upload = Upload()
    upload.look()
    assert upload.goes_on(4, 0) is None
    upload.next_request(head=5000)
    upload.look()
    assert upload.goes_on(60, 0) == 5.0


def test_slow_client_is_not_found_where_it_has_just_sent_all() -> None:
    """At the end of its window nothing is awaited of it any more: there is nobody to blame."""
    upload = Upload()
    upload.look()
    assert upload.goes_on(4.5, RATE / 2) is None
    upload.now += 0.5
    assert not upload.look(awaited=False)


def test_loop_that_stood_still_is_not_the_clients_slowness() -> None:
    """It could send no more than the kernel takes, while nobody took that."""
    upload = Upload()
    upload.look()
    for _ in range(4):
        upload.now += 60
        upload.received += int(RATE * 2)
        assert not upload.look()
