"""A request body on its way, and again on its way to another target."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from albkit.proxy.target.request_body_writer import LARGEST_WHOLE, RequestBodyWriter


class Upstream:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, bool, list[bytes]]] = []
        self.flushed = 0

    def write_body(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        self.calls.append((b"".join(pieces), over, trailers))

    def flush(self) -> None:
        self.flushed += 1


def writer(method: str = "PUT") -> RequestBodyWriter:
    head: Any = SimpleNamespace(method=method)
    return RequestBodyWriter(head)


def begun(it: RequestBodyWriter) -> Upstream:
    upstream: Any = Upstream()
    it.begin(upstream)
    return upstream  # type: ignore[no-any-return]


def test_second_target_gets_what_the_first_got_with_what_comes_next() -> None:
    """In one write, so that the head goes with it."""
    it = writer()
    begun(it)
    it.feed([b"ab"], False, [])
    second = begun(it)
    it.feed([b"cd"], True, [b"X: 1"])
    it.flush()
    assert second.calls == [(b"abcd", True, [b"X: 1"])]


@pytest.mark.parametrize("pieces", [[b"ab", b"cd"], []])
def test_second_target_gets_a_body_that_is_complete(pieces: list[bytes]) -> None:
    """Nothing more comes that could take it along: `flush` sends it, and its end once, be it an empty one."""
    it = writer()
    first = begun(it)
    it.feed(pieces, True, [b"X: 1"])
    it.flush()
    assert first.calls == [(b"".join(pieces), True, [b"X: 1"])]
    second = begun(it)
    it.flush()
    it.flush()
    assert second.calls == first.calls


@pytest.mark.parametrize(
    ("method", "size", "repeatable"), [("PUT", LARGEST_WHOLE, True), ("PUT", LARGEST_WHOLE + 1, False), ("POST", 1, False)]
)
def test_body_can_be_sent_again_if_the_request_is_idempotent_and_so_much_is_kept(method: str, size: int, repeatable: bool) -> None:
    """Nothing sent can always be sent again."""
    it = writer(method)
    begun(it)
    assert it.repeatable
    it.feed([b"x" * size], False, [])
    assert it.repeatable is repeatable


def test_nothing_is_written_for_nothing() -> None:
    """An empty part is no part; the head leaves all the same."""
    it = writer()
    upstream = begun(it)
    it.feed([], False, [])
    it.flush()
    assert (upstream.calls, upstream.flushed) == ([], 1)
