from __future__ import annotations

import pytest

from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.proxy.client.receive_buffer import ReceiveBuffer

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def _heads(inbox: ReceiveBuffer, data: bytes, size: int) -> list[bytes]:
    heads = []
    for start in range(0, len(data), size):
        inbox.add(data[start : start + size])
        while (head := inbox.next_head()) is not None:
            heads.append(head)
    return heads


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_blank_lines_are_counted_however_they_come(size: int) -> None:
    """Up to eight stand before each head; a ninth is refused, whatever was taken of those before it."""
    inbox = ReceiveBuffer(Limits())
    assert _heads(inbox, (b"\r\n" * 8 + HEAD) * 2, size) == [HEAD, HEAD]
    with pytest.raises(Failure) as caught:
        _heads(inbox, b"\r\n" * 9, size)
    assert caught.value.kind is FailureKind.REQUEST_MALFORMED
