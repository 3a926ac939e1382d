from __future__ import annotations

from albkit.wire.memory import Memory


def _used(memory: Memory[int], key: bytes, value: int) -> int | None:
    """As a reader uses it."""
    known = memory.recall(key)
    if known is not None:
        memory.count()
        return known
    if not memory.rests():
        memory.remember(key, value)
    return None


def test_memory_tells_what_it_was_told() -> None:
    """And nothing else."""
    memory: Memory[int] = Memory()
    assert [_used(memory, key, value) for key, value in ((b"a", 1), (b"b", 2), (b"a", 3), (b"b", 4), (b"c", 5))] == [None, None, 1, 2, None]


def test_memory_keeps_so_many_and_no_more() -> None:
    """Keys are an adversary's to choose."""
    memory: Memory[int] = Memory()
    for number in range(40_000):
        _used(memory, b"%d" % number, number)
        assert len(memory) <= 512


def test_memory_that_does_not_pay_rests() -> None:
    """Behind 512 things that nobody asked for again nothing is remembered for 16,384 more; then it is tried anew."""
    memory: Memory[int] = Memory()
    for number in range(513):
        _used(memory, b"%d" % number, number)
    assert _used(memory, b"512", 0) == 512
    for number in range(16_384):
        _used(memory, b"x%d" % number, number)
    assert memory.recall(b"x0") is None
    assert memory.recall(b"x16383") is None
    _used(memory, b"y", 7)
    assert memory.recall(b"y") == 7


def test_memory_that_pays_goes_on() -> None:
    """As many were recalled as were remembered: those that do not come back make room."""
    memory: Memory[int] = Memory()
    for number in range(512):
        _used(memory, b"%d" % number, number)
        _used(memory, b"%d" % number, number)
    for number in range(100):
        _used(memory, b"x%d" % number, number)
        assert memory.recall(b"x%d" % number) == number
    assert len(memory) == 100
