"""What goes out at once, and in which framing."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.gateway import running
from tests.support.peers import Conversation, request, target


async def test_head_alone_and_each_event_go_out_at_once() -> None:
    """An event stream is not held back for more."""
    steps: asyncio.Queue[bytes] = asyncio.Queue()

    async def streaming(conversation: Conversation) -> None:
        await conversation.head()
        while data := await steps.get():
            conversation.send(data)
            await conversation.drain()

    async with target(streaming) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/events"))
        steps.put_nowait(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        head = await client.read_until(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        for number in range(5):
            event = b"data: %d\n\n" % number
            steps.put_nowait(event)
            assert await client.read_until(b"\n\n\r\n") == b"%x\r\n%s\r\n" % (len(event), event)
        steps.put_nowait(b"")
        assert await client.read_until(b"0\r\n\r\n") == b"0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nabcde", id="until-close"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nabcde", id="until-close-1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", id="sized"),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("segment", [1, 7, 10_000])
async def test_every_framing_reaches_every_client(answer: bytes, version: str, segment: int) -> None:
    """HTTP/1.0 clients get no chunks, HTTP/1.1 clients an end that they can see; however the bytes are cut."""

    async def cut(conversation: Conversation) -> None:
        await conversation.head()
        for place in range(0, len(answer), segment):
            conversation.send(answer[place : place + segment])
            await conversation.drain()
            await asyncio.sleep(0)

    async with target(cut) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(f"GET / HTTP/{version}\r\nHost: a\r\n\r\n".encode())
        got = await client.response()
        assert (got.status, got.body, got.complete) == (200, b"abcde", True)
        assert got.status_line.startswith(b"HTTP/1.1 ")
        if version == "1.0":
            assert got.get(b"transfer-encoding") is None
            assert await client.is_closed()


async def test_trailers_pass_both_ways_and_never_become_fields() -> None:
    """Those that frame, route or authenticate do not pass at all."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nSet-Cookie: sid=a\r\n\r\n"
    seen: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.request()
            seen.append(conversation.received)
            conversation.received = b""
            conversation.send(answer)

    async with target(script) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/", "Transfer-Encoding: chunked") + b"2\r\nhi\r\n0\r\nX-Check: 7\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
        got = await client.response()
        assert got.trailers == [b"X-Sum: 1"]
        assert got.get(b"trailer") == b"X-Sum"
        assert b"0\r\nX-Check: 7\r\n\r\n" in seen[0]
        assert b"6.6.6.6" not in seen[0]
        again = await client.get()
        assert again.get(b"set-cookie") is None
        assert b"X-Check" not in seen[1]
        assert len(origin.conversations) == 1


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    """One at a time, bodies among them, in one segment."""

    async def numbered(conversation: Conversation) -> None:
        while True:
            head, body = await conversation.request()
            path = head.split(b" ")[1]
            conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s" % (len(path) + len(body), path, body))

    async with target(numbered) as a, target(numbered) as b, running(a.address, b.address) as gateway:
        client = await gateway.client()
        wire = b""
        for number in range(30):
            wire += request("GET", f"/g{number}")
            wire += request("POST", f"/p{number}", "Content-Length: 3") + b"abc"
            wire += request("POST", f"/c{number}", "Transfer-Encoding: chunked") + b"2\r\nxy\r\n0\r\n\r\n"
        client.send(wire)
        for number in range(30):
            assert (await client.response()).body == b"/g%d" % number
            assert (await client.response()).body == b"/p%dabc" % number
            assert (await client.response()).body == b"/c%dxy" % number


async def test_good_request_before_a_bad_one_is_answered() -> None:
    """One bad byte does not take back what came before it."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/") + b"G\x00T / HTTP/1.1\r\n\r\n")
        assert (await client.response()).status == 200
        assert (await client.response()).status == 400
        assert await client.is_closed()


async def test_bytes_behind_a_close_are_not_served() -> None:
    """The request that says close is the last one."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/", "Connection: close") + request("GET", "/two"))
        assert (await client.response()).status == 200
        assert await client.is_closed()
        assert len(origin.heads) == 1


async def test_response_without_a_date_gets_one() -> None:
    """RFC 9110 section 6.6.1; a target's own stays."""
    dated = b"HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Length: 0\r\n\r\n"
    async with target(None, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", dated) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        ours = (await client.get()).get(b"date")
        assert ours is not None
        assert ours.endswith(b" GMT")
        assert (await client.get()).get(b"date") == b"Tue, 15 Nov 1994 08:12:31 GMT"
