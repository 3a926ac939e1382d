from __future__ import annotations

import tracemalloc

import pytest

import albkit as alb
from albkit.model.settings import Settings
from albkit.state.bounded_cache import SHARED_BUDGET, BoundedCache, CacheBudget
from albkit.wire.http1.fields import connection_options
from albkit.wire.http1.request import RequestReader
from albkit.wire.http1.response import read_response


def _used(cache: BoundedCache[bytes, int], key: bytes, value: int) -> int | None:
    """Look up a key and store its value, as the docstring of the class says."""
    found = cache.get(key)
    if found is not None:
        cache.count_hit()
        return found
    if not cache.skip_put():
        cache.put(key, value, 0)
    return None


@pytest.fixture
def cache() -> BoundedCache[bytes, int]:
    return BoundedCache(CacheBudget(2**30))


def test_cache_returns_what_was_stored(cache: BoundedCache[bytes, int]) -> None:
    """The first value of each key, and nothing for other keys."""
    assert [_used(cache, key, value) for key, value in ((b"a", 1), (b"b", 2), (b"a", 3), (b"b", 4), (b"c", 5))] == [None, None, 1, 2, None]


def test_cache_has_at_most_512_entries(cache: BoundedCache[bytes, int]) -> None:
    """An attacker may choose the keys."""
    for number in range(40_000):
        _used(cache, b"%d" % number, number)
        assert len(cache) <= 512


def test_cache_without_hits_skips_new_keys_for_a_while(cache: BoundedCache[bytes, int]) -> None:
    """After 512 entries that were never used again, the next 16,384 keys are not stored. Then the cache stores again."""
    for number in range(513):
        _used(cache, b"%d" % number, number)
    assert _used(cache, b"512", 0) == 512
    for number in range(16_384):
        _used(cache, b"x%d" % number, number)
    assert cache.get(b"x0") is None
    assert cache.get(b"x16383") is None
    _used(cache, b"y", 7)
    assert cache.get(b"y") == 7


def test_cache_with_enough_hits_keeps_storing(cache: BoundedCache[bytes, int]) -> None:
    """With as many hits as entries, a full cache is cleared and goes on at once."""
    for number in range(512):
        _used(cache, b"%d" % number, number)
        _used(cache, b"%d" % number, number)
    for number in range(100):
        _used(cache, b"x%d" % number, number)
        assert cache.get(b"x%d" % number) == number
    assert len(cache) == 100


# The shared budget


def test_largest_cache_is_cleared_when_the_budget_is_used_up() -> None:
    """The others keep their entries, and no cache gets more than half of the budget."""
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


def test_entry_that_is_too_large_is_not_stored() -> None:
    """The other entries stay."""
    budget = CacheBudget(512_000)
    cache = BoundedCache[bytes, int](budget)
    cache.put(b"a", 1, 0)
    cache.put(b"b", 2, 1_000)
    cache.put(b"c" * 1_000, 3, 0)
    assert (cache.get(b"a"), len(cache)) == (1, 1)


def test_bytes_of_a_cache_that_no_longer_exists_are_released() -> None:
    """The cache of a listener that apply() replaces goes with it."""
    budget = CacheBudget(1_000_000)
    for _ in range(50):
        cache = BoundedCache[bytes, int](budget)
        for number in range(100):
            cache.put(b"%d" % number, number, 1_000)
    assert budget.used_bytes <= 1_000_000
    assert len(cache) == 100


@pytest.mark.no_cover
@pytest.mark.timeout(120)
def test_all_caches_of_the_process_stay_within_the_shared_budget() -> None:
    """Many listeners, each kind of cached object, and more bytes than fit that are always different: at most 8 MiB are kept."""
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
            # A second time, so that the caches have hits and keep storing.
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
    assert kept > 1024 * 1024, "nothing was cached at all"


@pytest.mark.no_cover
def test_cookie_that_is_kept_several_times_is_charged() -> None:
    """A header block has its Cookie three times: in the key, in the lines to send, and to choose a target."""
    readers = [RequestReader(Settings(alb.Listener(80, alb.FixedResponse(200))), 80, lambda _: pytest.fail("clean")) for _ in range(4)]
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: %d=%s\r\n\r\n"
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(2_000):
            for _ in range(2):
                readers[number % 4].read(raw % (number, b"x" * 4_500))
            assert tracemalloc.get_traced_memory()[0] - before <= 8 * 1024 * 1024
        assert tracemalloc.get_traced_memory()[0] - before > 1024 * 1024, "nothing was cached at all"
    finally:
        tracemalloc.stop()
