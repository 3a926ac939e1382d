"""What stands before a request line: blank lines of CR LF are skipped, and nothing else is taken."""

from __future__ import annotations

import pytest

from tests.support.gateway import running
from tests.support.peers import HEAD_END, target

pytestmark = pytest.mark.usefixtures("loop_guard")

HONEST = b"GET /honest HTTP/1.1\r\nHost: example.com\r\n\r\n"
HIDDEN = b"GET /admin HTTP/1.1\r\nX: abc"
SMUGGLING = (
    b"POST /p HTTP/1.1\r\nHost: a\r\nX-Forwarded-Port: 1\r\nContent-Length: %d\r\nX-Forwarded-Proto: https\r\n\r\n" % len(HIDDEN) + HIDDEN
)
"""Were its lines shifted by one against its fields, the length would go and the body would be the next request."""


@pytest.mark.parametrize("mode", ["monitor", "defensive", "strictest"])
@pytest.mark.parametrize("lead", [b"\r", b"\n", b"\r\n\n", b"\n\r\n", b"\r\r\n", b"\r\n\r\r\n", b" ", b"\0", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("behind", [b"", HONEST], ids=["first", "pipelined"])
async def test_bytes_before_a_request_line_are_a_400(behind: bytes, lead: bytes, mode: str) -> None:
    """No line break but CR LF, no blank and no mark may stand there: two readers might find the request line in two places."""
    async with target() as origin, running(origin.address, desync_mitigation_mode=mode) as gateway:
        client = await gateway.client()
        if behind:
            client.send(behind + lead + SMUGGLING)
            assert (await client.response()).status == 200
        else:
            client.send(lead + SMUGGLING)
        answer = await client.response()
        assert (answer.status, answer.get(b"connection")) == (400, b"close")
        assert await client.is_closed()
        assert [head.split(b" ")[1] for head in origin.heads] == ([b"/honest"] if behind else [])


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("blank", [b"\r\n", b"\r\n" * 8])
async def test_blank_lines_before_a_request_line_are_skipped(blank: bytes, size: int) -> None:
    """A robust server ignores at least one (RFC 9112 section 2.2), however the bytes come."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        for data in (blank + HONEST, blank + HONEST):
            for start in range(0, len(data), size):
                client.send(data[start : start + size])
                await client.drain()
            assert (await client.response()).status == 200
        assert all(head.startswith(b"GET /honest HTTP/1.1\r\n") and head.count(HEAD_END) == 1 for head in origin.heads)


async def test_too_many_blank_lines_are_a_400() -> None:
    """Nobody is read for ever without a request."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(b"\r\n" * 9 + HONEST)
        assert (await client.response()).status == 400
        assert not origin.heads


async def test_request_behind_a_body_that_came_whole_is_read() -> None:
    """Nothing of the body is left to be taken for the next request, be it that request or nothing that has come."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        for _ in range(2):
            client.send(b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n\r\nhi")
            assert (await client.response()).status == 200
        client.send(HONEST)
        assert (await client.response()).status == 200
        assert [head.split(b" ")[0] for head in origin.heads] == [b"POST", b"POST", b"GET"]
