from __future__ import annotations

import pytest

from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.proxy.inbox import Inbox

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_blank_lines_are_counted_however_they_come(size: int) -> None:
    """Up to eight stand before each head; a ninth is refused, whatever was taken of those before it."""
    inbox = Inbox(Limits())
    heads = []
    data = (b"\r\n" * 8 + HEAD) * 2
    for start in range(0, len(data), size):
        inbox.add(data[start : start + size])
        while (head := inbox.next_head()) is not None:
            heads.append(head)
    assert heads == [HEAD, HEAD]
    data = b"\r\n" * 9
    with pytest.raises(Failure) as caught:
        for start in range(0, len(data), size):
            inbox.add(data[start : start + size])
            assert inbox.next_head() is None
    assert caught.value.kind is FailureKind.REQUEST_MALFORMED
