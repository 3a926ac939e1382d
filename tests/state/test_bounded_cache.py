from __future__ import annotations

import tracemalloc

import pytest

import albkit as alb
from albkit.model.settings import Settings
from albkit.state.bounded_cache import SHARED_BUDGET, BoundedCache, CacheBudget
from albkit.wire.http1.fields import connection_options
from albkit.wire.http1.request import RequestReader
from albkit.wire.http1.response import read_response


def _used(memory: BoundedCache[bytes, int], key: bytes, value: int) -> int | None:
    """As a reader uses it."""
    known = memory.get(key)
    if known is not None:
        memory.count_hit()
        return known
    if not memory.skip_put():
        memory.put(key, value, 0)
    return None


@pytest.fixture
def memory() -> BoundedCache[bytes, int]:
    return BoundedCache(CacheBudget(2**30))


def test_memory_tells_what_it_was_told(memory: BoundedCache[bytes, int]) -> None:
    """And nothing else."""
    assert [_used(memory, key, value) for key, value in ((b"a", 1), (b"b", 2), (b"a", 3), (b"b", 4), (b"c", 5))] == [None, None, 1, 2, None]


def test_memory_keeps_so_many_and_no_more(memory: BoundedCache[bytes, int]) -> None:
    """Keys are an adversary's to choose."""
    for number in range(40_000):
        _used(memory, b"%d" % number, number)
        assert len(memory) <= 512


def test_memory_that_does_not_pay_rests(memory: BoundedCache[bytes, int]) -> None:
    """Behind 512 things that nobody asked for again nothing is remembered for 16,384 more; then it is tried anew."""
    for number in range(513):
        _used(memory, b"%d" % number, number)
    assert _used(memory, b"512", 0) == 512
    for number in range(16_384):
        _used(memory, b"x%d" % number, number)
    assert memory.get(b"x0") is None
    assert memory.get(b"x16383") is None
    _used(memory, b"y", 7)
    assert memory.get(b"y") == 7


def test_memory_that_pays_goes_on(memory: BoundedCache[bytes, int]) -> None:
    """As many were recalled as were remembered: those that do not come back make room."""
    for number in range(512):
        _used(memory, b"%d" % number, number)
        _used(memory, b"%d" % number, number)
    for number in range(100):
        _used(memory, b"x%d" % number, number)
        assert memory.get(b"x%d" % number) == number
    assert len(memory) == 100


# The budget that all share


def test_whoever_holds_the_most_forgets_where_the_budget_is_used_up() -> None:
    """Others keep what they know, and nobody gets more than half."""
    budget = CacheBudget(1_000_000)
    small, large, third = (BoundedCache[bytes, int](budget) for _ in range(3))
    small.put(b"a", 1, 1_000)
    for number in range(200):
        large.put(b"%d" % number, number, 1_500)
    assert (len(small), len(large)) == (1, 200)
    for number in range(400):
        third.put(b"%d" % number, number, 1_000)
        assert budget.used_bytes <= 1_000_000
        assert third.size_bytes <= 500_000
    assert small.get(b"a") == 1


def test_thing_that_is_too_large_is_not_remembered_and_harms_nothing() -> None:
    """Nothing that is common is so large."""
    budget = CacheBudget(512_000)
    memory = BoundedCache[bytes, int](budget)
    memory.put(b"a", 1, 0)
    memory.put(b"b", 2, 1_000)
    memory.put(b"c" * 1_000, 3, 0)
    assert (memory.get(b"a"), len(memory)) == (1, 1)


def test_holders_that_are_gone_do_not_count_for_ever() -> None:
    """A listener that is replaced by apply() takes its memory along."""
    budget = CacheBudget(1_000_000)
    for _ in range(50):
        memory = BoundedCache[bytes, int](budget)
        for number in range(100):
            memory.put(b"%d" % number, number, 1_000)
    assert budget.used_bytes <= 1_000_000
    assert len(memory) == 100


@pytest.mark.timeout(120)
def test_what_peers_send_is_kept_within_the_common_budget() -> None:
    """Many listeners, and each kind of thing that is remembered, with more than that of what is never the same: 8 MiB are kept at most."""
    listeners = [Settings(alb.Listener(80 + number, alb.FixedResponse(200))) for number in range(6)]
    readers = [RequestReader(settings, 80, lambda _: pytest.fail("nothing is ambiguous")) for settings in listeners]

    def send(number: int) -> None:
        reader = readers[number % len(readers)]
        host = b"Host: %d.example.com" % number
        many = b"\r\n".join(b"%x:" % (number << 8 | field) for field in range(190))
        long = b"%d" % number + b"x" * 3_000
        options = b",".join(b"%x" % (number << 8 | option) for option in range(40))
        for fields in (many, b"Cookie: " + long, b"Connection: " + options, b"A: b", b"X-%d" % number + b"x" * 50 + b": y"):
            reader.read(b"GET /%d HTTP/1.1\r\n%s\r\n%s\r\n\r\n" % (number, host, fields))
            # What comes again is worth to be remembered, so that nobody rests.
            reader.read(b"GET /%d HTTP/1.1\r\n%s\r\n%s\r\n\r\n" % (number, host, fields))
        connection_options(options)
        for _ in range(2):
            date = b"Date: Sun, 06 Nov 1994 08:49:37 GMT"
            read_response(b"HTTP/1.1 200 OK\r\n%s\r\nX: %d\r\n%s\r\nContent-Length: 0\r\n\r\n" % (date, number, many), "GET")

    send(0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1, 600):
            send(number)
            assert SHARED_BUDGET.used_bytes <= 8 * 1024 * 1024
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept <= 8 * 1024 * 1024
    assert kept > 1024 * 1024, "nothing was remembered at all"


def test_cookie_that_is_kept_beside_its_line_counts() -> None:
    """A block keeps the bytes of its Cookie three times: to be known by, to be sent on, and to choose a target."""
    readers = [RequestReader(Settings(alb.Listener(80, alb.FixedResponse(200))), 80, lambda _: pytest.fail("clean")) for _ in range(4)]
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: %d=%s\r\n\r\n"
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(2_000):
            for _ in range(2):
                readers[number % 4].read(raw % (number, b"x" * 4_500))
            assert tracemalloc.get_traced_memory()[0] - before <= 8 * 1024 * 1024
        assert tracemalloc.get_traced_memory()[0] - before > 1024 * 1024, "nothing was remembered at all"
    finally:
        tracemalloc.stop()
