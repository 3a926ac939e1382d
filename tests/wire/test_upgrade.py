from __future__ import annotations

import pytest

from albkit.wire.upgrade import accepts, protocols_to_offer


@pytest.mark.parametrize(
    ("value", "offered"),
    [
        (b"websocket", b"websocket"),
        (b"WebSocket", b"WebSocket"),
        (b"foo/2", b"foo/2"),
        (b"websocket, foo", b"websocket, foo"),
        (b"h2c", b""),
        (b"H2C", b""),
        (b"h2c, websocket", b"websocket"),
        (b"websocket , H2c", b"websocket"),
        (b"h2c,h2c", b""),
        (b"a,,b", b"a, b"),
        (b",", b""),
        (b"", b""),
        (b"h2c2", b"h2c2"),
    ],
    ids=repr,
)
def test_offer_is_everything_but_h2c(value: bytes, offered: bytes) -> None:
    """Any token may be asked for in its order and case; h2c is never passed on (design 6)."""
    assert protocols_to_offer(value) == offered


@pytest.mark.parametrize(
    ("offered", "answered", "accepted"),
    [
        (b"websocket", b"websocket", True),
        (b"websocket", b"WebSocket", True),
        (b"WEBSOCKET", b"websocket", True),
        (b"foo, websocket", b"websocket", True),
        (b"foo, websocket", b"foo", True),
        (b"websocket", b" websocket\t", True),
        (b"websocket", b"foo", False),
        (b"websocket", b"", False),
        (b"websocket", b"web", False),
        (b"web", b"websocket", False),
        (b"foo, websocket", b"foo, websocket", False),
        (b"foo,, bar", b"", False),
        (b"", b"websocket", False),
        (b"", b"", False),
        (b"websocket", b"h2c", False),
    ],
    ids=repr,
)
def test_answer_is_accepted_when_it_was_asked_for(offered: bytes, answered: bytes, accepted: bool) -> None:
    """One of the protocols offered, compared without case; anything else is a 502 (design 6)."""
    assert accepts(offered, answered) is accepted
