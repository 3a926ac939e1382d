"""One head has one reader: what could be read in two ways reaches no target, and is told by its name."""

from __future__ import annotations

import logging

import pytest

from tests.support.gateway import running
from tests.support.log_lines import failures
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


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nB: c\n\r\n\r\n",
        b"GET / HTTP/1.1\n",
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
async def test_line_that_ends_in_lf_alone_is_a_400_at_once(raw: bytes, size: int, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for a CR LF that does not come; the log names the reason."""
    caplog.set_level(logging.INFO, "albkit")
    async with target() as origin, running(origin.address, idle_timeout=60) as gateway:
        client = await gateway.client()
        for start in range(0, len(raw), size):
            client.send(raw[start : start + size])
            await client.drain()
        assert (await client.response()).status == 400
        assert await client.is_closed()
        assert not origin.heads
        assert gateway.counters["Failure_RequestBareLf"] == 1
        assert gateway.counters["DesyncMitigationMode_NonCompliant_Request_Count"] == 1
    assert "RequestBareLf" in caplog.text


@pytest.mark.parametrize("raw", [b"SSH-2.0-OpenSSH_9.2\r\n", b"EHLO example.com\r\n", b"GET /\r\n", b"USER anonymous\r\n"])
async def test_first_line_that_is_no_request_line_is_a_400_at_once(raw: bytes) -> None:
    """Peers of other protocols wait for us as long as we for them."""
    async with running(idle_timeout=60) as gateway:
        client = await gateway.client()
        client.send(raw)
        assert (await client.response()).status == 400
        assert await client.is_closed()


@pytest.mark.parametrize("mode", ["monitor", "defensive", "strictest"])
async def test_body_in_identity_coding_is_never_the_next_request(mode: str) -> None:
    """Its end cannot be known, so the connection ends (RFC 9112 section 6.3)."""
    async with target() as origin, running(origin.address, desync_mitigation_mode=mode) as gateway:
        client = await gateway.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n" + HONEST)
        assert (await client.response()).status == 400
        assert await client.is_closed()
        assert not origin.heads


@pytest.mark.parametrize(
    ("raw", "status", "named"),
    [
        (b"GET /x RTSP/1.1\r\nHost: a\r\n\r\n", 400, "BadVersion"),
        (b"SOURCE /x ICE/1.0\r\nHost: a\r\n\r\n", 400, "BadVersion"),
        (b"GET /x HTTP/3.0\r\nHost: a\r\n\r\n", 505, "BadVersion"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "an HTTP/1.1 request has no Host field"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "a b"),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "BadMethod"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA(: b\r\n\r\n", 400, "NonCompliantHeader"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", 400, "MultilineHeader"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, "BadContentLength"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "gzip"),
    ],
)
async def test_refused_request_is_counted_and_the_log_names_what_is_wrong(
    raw: bytes, status: int, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One more in ALB's metric, and a line by which it can be found."""
    caplog.set_level(logging.INFO, "albkit")
    async with running() as gateway:
        client = await gateway.client()
        client.send(raw)
        assert (await client.response()).status == status
        assert await client.is_closed()
        assert gateway.counters["DesyncMitigationMode_NonCompliant_Request_Count"] == 1
    (line,) = [record.getMessage() for record in failures(caplog.records)]
    assert named in line


@pytest.mark.parametrize(("size", "renewed"), [(6_000, False), (7_500, True)])
async def test_trace_id_of_a_long_head_is_renewed(size: int, renewed: bool) -> None:
    """Above 7 KB of request headers it is a bare new Root, as in ALB (docs/alb.md 2.7)."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        answer = await client.get("/", "X-Amzn-Trace-Id: Root=1-0-a", "Padding: " + "x" * size)
        assert answer.status == 200
    (line,) = [line for line in origin.heads[0].split(b"\r\n") if line.startswith(b"X-Amzn-Trace-Id: ")]
    assert (b"1-0-a" not in line) is renewed
    assert b"Root=" in line


async def test_request_that_is_ambiguous_ends_both_connections_behind_its_answer() -> None:
    """In defensive mode, as in ALB; what came behind it is read by nobody."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi" + HONEST)
        answer = await client.response()
        assert (answer.status, answer.get(b"connection")) == (200, b"close")
        assert await client.is_closed()
        assert len(origin.heads) == 1
        assert origin.heads[0].count(b"Content-Length: 2") == 1
        await client.close()
        other = await gateway.client()
        assert (await other.get("/")).status == 200
        assert len(origin.conversations) == 2


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
