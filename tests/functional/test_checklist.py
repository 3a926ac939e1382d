"""Behaviours that the most trusted proxies test, each over real sockets. The headings name the behaviour."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest

import albkit as alb
from albkit.model.limits import Limits
from albkit.proxy.target.small_reads import SMALL_READ
from albkit.proxy.transports import SEGMENT
from tests.support.clock import FakeClock
from tests.support.gateway import Running, running
from tests.support.peers import HEAD_END, Conversation, Peer, RawClient, Script, free_port, request, response, target

MIB = 1024 * 1024
KERNEL = 16 * MIB
"""More than the kernel keeps for both sockets of a connection, at both of its ends."""

WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    """A hang is a failure with a place."""
    async with asyncio.timeout(40):
        yield


def saying(data: bytes, *, fin: bool = True) -> Script:
    """A script that reads one request and says this, once per connection; then it sends FIN, or waits for the other side to end."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        conversation.send(data)
        if not fin:
            await ended(conversation)

    return script


async def ended(peer: Peer) -> bytes:
    """What still comes until the other side ends, with FIN or RST."""
    data = b""
    try:
        while piece := await peer.read():
            data += piece
    except ConnectionError:
        pass
    return data


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something inside the load balancer of which nobody is told."""
    while not condition():
        await asyncio.sleep(0.005)


async def standstill(figure: Callable[[], int]) -> int:
    """The figure, once it has not moved for 30 looks: that nothing comes cannot be awaited."""
    same, last = 0, figure()
    while same < 30:
        await asyncio.sleep(0.01)
        same, last = (same + 1, last) if figure() == last else (0, figure())
    return last


def failures(gateway: Running) -> dict[str, int]:
    """The failures counted so far, by reason."""
    return {name.removeprefix("Failure_"): count for name, count in gateway.counters.items() if name.startswith("Failure_")}


# 1. The target closes in the middle of a body.


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ],
    ids=["length short", "head alone", "no last chunk", "inside a chunk", "inside the last chunk"],
)
async def test_target_closes_mid_body_breaks_client_connection(answer: bytes) -> None:
    """What came is passed on, and then the connection ends so that it cannot be taken for the whole."""
    async with target(saying(answer)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        got = await client.get()
        assert got.status == 200
        assert not got.complete
        assert await ended(client) == b""
        assert b"hello".startswith(got.body)
        assert failures(gateway) == {"ResponseBodyTruncated": 1}
        assert len(origin.conversations) == 1


async def test_target_resets_mid_body_breaks_client_connection() -> None:
    """RST is no better an end of a body than FIN."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await delivered.wait()
        conversation.reset()

    delivered = asyncio.Event()
    async with target(script) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/"))
        await client.read_until(b"hello")
        delivered.set()
        assert await ended(client) == b""
        assert failures(gateway) == {"ResponseBodyTruncated": 1}


async def test_target_resets_body_until_close_breaks_client_connection() -> None:
    """A body that ends with the connection is whole after FIN only; after RST the client gets no last chunk."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        conversation.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await delivered.wait()
        conversation.reset()

    delivered = asyncio.Event()
    async with target(script) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/"))
        await client.read_until(b"hello\r\n")
        delivered.set()
        assert await ended(client) == b""
        assert failures(gateway) == {"ResponseBodyTruncated": 1}


async def test_target_closes_mid_body_resets_http_1_0_client() -> None:
    """A client to which any FIN is a proper end is told with RST."""
    async with (
        target(saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")) as origin,
        running(origin.address) as gateway,
    ):
        client = await gateway.client()
        client.send(b"GET / HTTP/1.0\r\nHost: example.com\r\n\r\n")
        with pytest.raises(ConnectionError):
            await client.read_to_end()


# 2. The target closes an idle kept connection just as a request is sent.


def closing_on_second_request(heads: list[bytes]) -> Script:
    """A script whose first connection ends, without a word, when its second request has come."""
    connections = 0

    async def script(conversation: Conversation) -> None:
        nonlocal connections
        connections += 1
        first = connections == 1
        heads.append((await conversation.request())[0])
        conversation.send(response(200, b"first" if first else b"fresh"))
        heads.append((await conversation.request())[0])

    return script


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_kept_connection_closes_as_request_is_sent_retried_once(method: str) -> None:
    """An idempotent request is sent once more, on a fresh connection to the same target, and its client notices nothing."""
    heads: list[bytes] = []
    async with target(closing_on_second_request(heads)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        assert (await client.get()).body == b"first"
        client.send(request(method, "/again", "Content-Length: 4", body=b"body") if method == "PUT" else request(method, "/again"))
        assert (await client.response()).body == b"fresh"
        assert [head.split(b" ")[1] for head in heads] == [b"/", b"/again", b"/again"]
        assert len(origin.conversations) == 2
        assert gateway.counters["RetryCount"] == 1
        assert failures(gateway) == {}


async def test_kept_connection_closes_as_post_is_sent_not_replayed() -> None:
    """The target may have acted on a POST: 502, and it was sent exactly once."""
    heads: list[bytes] = []
    async with target(closing_on_second_request(heads)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        await client.get()
        client.send(request("POST", "/order", "Content-Length: 4", body=b"body"))
        assert (await client.response()).status == 502
        assert [head.split(b" ")[1] for head in heads] == [b"/", b"/order"]
        assert failures(gateway) == {"TargetClosed": 1}


async def test_kept_connection_closed_before_post_is_sent_uses_fresh_one() -> None:
    """A connection that the target has left is never handed out, least of all to what cannot be sent twice."""
    async with target(saying(response())) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        for _ in range(3):
            client.send(request("POST", "/", "Content-Length: 4", body=b"body"))
            assert (await client.response()).status == 200
        assert len(origin.conversations) == 3
        assert failures(gateway) == {}


async def test_kept_connection_with_unread_fin_is_not_used_for_post() -> None:
    """The next POST is at hand when the answer comes, so that the loop cannot have told yet of the FIN right behind the answer."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        conversation.send(response())
        conversation.send_fin()
        await ended(conversation)

    async with target(script) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/", "Content-Length: 4", body=b"body") * 5)
        assert [(await client.response()).status for _ in range(5)] == [200] * 5
        assert len(origin.conversations) == 5
        assert failures(gateway) == {}


async def test_post_to_refusing_target_goes_to_another() -> None:
    """Of this POST nothing was sent, so another target may get it."""
    async with target() as origin, running(f"127.0.0.1:{free_port()}", origin.address) as gateway:
        client = await gateway.client()
        for _ in range(2):
            client.send(request("POST", "/", "Content-Length: 4", body=b"body"))
            assert (await client.response()).status == 200
        assert len(origin.heads) == 2
        assert gateway.counters["RetryCount"] == gateway.counters["TargetConnectionErrorCount"] == 1


# 3. The target answers before the whole request body was sent.


@pytest.mark.parametrize("answer", [response(413, b"too large"), response(302, b"", b"Location: /elsewhere")], ids=["413", "redirect"])
@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
async def test_target_answers_early_answer_is_delivered_and_connection_not_reused(answer: bytes, framing: str) -> None:
    """The client gets the answer although it goes on sending, then an orderly end; the target connection serves nobody else."""
    heads: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        heads.append(await conversation.head())
        conversation.send(answer)
        await ended(conversation)
        over.set()

    over = asyncio.Event()
    async with target(script) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        part = b"x" * 1000 if framing.startswith("Content") else b"3e8\r\n" + b"x" * 1000 + b"\r\n"
        client.send(request("POST", "/", framing, body=part))
        await origin.arrived()
        for _ in range(200):
            client.send(part)
        got = await client.response()
        assert (got.status, got.complete) == (int(answer[9:12]), True)
        assert got.get(b"connection") == b"close"
        client.send(part)
        assert await client.is_closed()
        await over.wait()
        await (await gateway.client()).get()
        assert len(origin.conversations) == len(heads) == 2


# 4. The client disconnects while its request is queued or its target slow.


def waiting(arrived: asyncio.Event, over: asyncio.Event) -> Script:
    """A script that reads a request and never answers; it notes when the other side ends."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        arrived.set()
        await ended(conversation)
        over.set()

    return script


@pytest.mark.parametrize("how", ["close", "reset", "FIN"])
async def test_client_leaves_while_target_is_slow_cancels_request(how: str) -> None:
    """The target's connection ends at once, the target is not blamed, and the client is sent nothing."""
    arrived, over = asyncio.Event(), asyncio.Event()
    async with target(waiting(arrived, over)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/slow"))
        await arrived.wait()
        if how == "close":
            client.writer.close()
        elif how == "reset":
            client.reset()
        else:
            client.send_fin()
            assert await ended(client) == b""
        await over.wait()
        await until(lambda: not gateway.runtime.clients)
        assert failures(gateway) == {"ClientClosed": 1}
        assert "ActiveConnectionCount" not in gateway.counters
        (member,) = gateway.runtime.registry.groups[0].members.values()
        assert (member.outstanding, member.counters.target_connection_errors) == (0, 0)
        assert gateway.counters["HTTPCode_ELB_4XX_Count"] == 1
        assert "HTTPCode_ELB_5XX_Count" not in gateway.counters


async def test_client_leaves_mid_response_cancels_request() -> None:
    """A target that streams to nobody is told to stop."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        conversation.send(b"HTTP/1.1 200 OK\r\n\r\nevent")
        await ended(conversation)
        over.set()

    over = asyncio.Event()
    async with target(script) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/events"))
        await client.read_until(b"event\r\n")
        client.reset()
        await over.wait()
        await until(lambda: not gateway.runtime.clients)
        assert failures(gateway) == {"ClientClosedInResponse": 1}
        assert "HTTPCode_ELB_5XX_Count" not in gateway.counters


async def test_client_leaves_with_pipelined_request_queued_which_is_never_sent() -> None:
    """What waits behind a slow exchange dies with its client."""
    arrived, over = asyncio.Event(), asyncio.Event()
    async with target(waiting(arrived, over)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/slow") + request("POST", "/order", "Content-Length: 4", body=b"body"))
        await arrived.wait()
        client.writer.close()
        await over.wait()
        await until(lambda: not gateway.runtime.clients)
        assert failures(gateway) == {"ClientClosed": 1}
        assert len(origin.conversations) == 1
        assert b"/order" not in origin.conversations[0].received


async def test_client_leaves_while_target_accepts_no_connection_cancels_request() -> None:
    """A connection attempt that hangs ends with the client that it was for."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as sockets:
        deaf = sockets.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        # Its queue is filled; from then on the kernel drops every further attempt.
        for _ in range(4):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await loop.sock_connect(filler, ("127.0.0.1", port))
        async with running(f"127.0.0.1:{port}") as gateway:
            client = await gateway.client()
            client.send(request("GET", "/"))
            (member,) = gateway.runtime.registry.groups[0].members.values()
            await until(lambda: member.outstanding == 1)
            client.writer.close()
            await until(lambda: not gateway.runtime.clients)
            assert member.outstanding == 0
            assert failures(gateway) == {"ClientClosed": 1}
            assert "TargetConnectionErrorCount" not in gateway.counters


# 5. Response sanity.


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\0A: a\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A : a\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\r\n folded\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n X-A: a\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\rX-B: b\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\nX-B: b\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 33000 + b"\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-A: a\r\n" * 5000 + b"Content-Length: 2\r\n\r\n",
        b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    ],
    ids=lambda head: repr(head[:60])[2:-1],
)
async def test_target_sends_malformed_head_502_and_connection_dropped(head: bytes) -> None:
    """The client gets 502 and none of it, the request is not tried again, and the target's connection ends."""
    async with target(saying(head + b"ok", fin=False)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        got = await client.get()
        assert (got.status, got.complete, got.get(b"server")) == (502, True, b"awselb/2.0")
        assert b"X-A" not in client.received
        assert len(origin.conversations) == 1
        assert sum(failures(gateway).values()) == gateway.counters["HTTPCode_ELB_502_Count"] == 1
        assert gateway.runtime.connections.count == 0
        assert (await client.get("/next")).status == 502


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"5\r\nhello\r\n0\r\nA b: c\r\n\r\n",
    ],
    ids=repr,
)
async def test_target_sends_malformed_chunks_client_never_sees_a_whole_body(body: bytes) -> None:
    """Where nothing was sent yet that is a 502, later a cut; in no case a body with a proper end."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    async with target(saying(answer, fin=False)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        got = await client.get()
        assert got.status == 502 or not got.complete
        assert len(origin.conversations) == 1
        assert gateway.runtime.connections.count == 0


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"])
async def test_target_closes_in_response_head_502(part: bytes) -> None:
    """Half a head is no answer, and since something was read the request is not tried again."""
    async with target(saying(part)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        assert (await client.get()).status == 502
        assert len(origin.conversations) == 1
        assert failures(gateway) == {"ResponseHeadTruncated": 1}


# 6. Extra bytes behind a complete response.


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
    ids=["length", "chunked", "no body"],
)
@pytest.mark.parametrize("extra", [b"!", response(200, b"poison")], ids=["a byte", "a response"])
async def test_target_sends_more_than_response_not_delivered_and_not_reused(answer: bytes, extra: bytes) -> None:
    """The next request goes over a fresh connection and gets its own answer."""
    async with target(saying(answer + extra, fin=False)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        for _ in range(2):
            got = await client.get()
            assert got.body == (b"" if got.status == 204 else b"ok")
        await client.get("/last", "Connection: close")
        assert await client.is_closed()
        assert b"poison" not in client.received
        assert len(origin.conversations) == 3
        assert failures(gateway) == {}


async def test_target_sends_unasked_bytes_on_idle_connection_not_delivered() -> None:
    """Bytes that nobody asked for end the kept connection at once."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        conversation.send(response(200, b"own"))
        await answered.wait()
        conversation.send(response(200, b"poison"))
        await ended(conversation)
        dropped.set()

    answered, dropped = asyncio.Event(), asyncio.Event()
    async with target(script) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        assert (await client.get()).body == b"own"
        answered.set()
        await dropped.wait()
        assert (await client.get()).body == b"own"
        assert len(origin.conversations) == 2


# 7. Responses without a body.


@pytest.mark.parametrize(
    ("method", "head", "expected_length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: a\r\n\r\n", b"1000"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: a\r\n\r\n", None),
        ("HEAD", b"HTTP/1.1 200 OK\r\nETag: a\r\n\r\n", None),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: a\r\n\r\n", b"1000"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: a\r\n\r\n", None),
        ("GET", b"HTTP/1.1 204 No Content\r\nETag: a\r\n\r\n", None),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\nETag: a\r\n\r\n", None),
    ],
)
@pytest.mark.parametrize("body", [b"", b"body"], ids=["as it should", "with a body nonetheless"])
async def test_bodiless_response_keeps_its_length_and_the_connection(
    method: str, head: bytes, expected_length: bytes | None, body: bytes
) -> None:
    """The client gets the head with Content-Length as the target sent it, no byte of a body, and goes on with the next request."""
    async with target(None, head + body) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        for _ in range(3):
            got = await client.get("/", method=method)
            assert got.status == int(head[9:12])
            assert got.get(b"content-length") == expected_length
            assert (got.get(b"etag"), got.get(b"transfer-encoding"), got.get(b"connection")) == (b"a", None, None)
        client.send(request(method, "/last", "Connection: close"))
        await client.read_until(HEAD_END)
        assert await client.is_closed()
        assert b"body" not in client.received
        assert len(origin.conversations) == (4 if body else 1)
        assert failures(gateway) == {}


async def test_bodiless_responses_let_target_connection_be_reused() -> None:
    """HEAD, 204 and 304 in a row go over one target connection, and the GET behind them gets its body."""
    answers = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
        response(),
    )
    async with target(None, *answers) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        statuses = [(await client.get("/", method=method)).status for method in ("HEAD", "GET", "GET")]
        assert statuses == [200, 204, 304]
        assert (await client.get()).body == b"ok"
        assert len(origin.conversations) == 1


# 8. 100-continue and other interim responses.


async def test_expectation_is_met_once_and_not_forwarded() -> None:
    """The client is told to continue before the target says anything, and the target's own 100 is not a second one."""

    async def script(conversation: Conversation) -> None:
        heads.append(await conversation.head())
        conversation.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        bodies.append(await conversation.read_exactly(4))
        conversation.send(response())
        await ended(conversation)

    heads: list[bytes] = []
    bodies: list[bytes] = []
    async with target(script) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/", "Content-Length: 4", "Expect: 100-continue"))
        assert (await client.response()).status == 100
        client.send(b"body")
        assert (await client.response()).status == 200
        assert bodies == [b"body"]
        assert b"expect" not in heads[0].lower()
        assert client.received.count(b"100 Continue") == 1


@pytest.mark.parametrize("refusal", ["rule", "no targets"])
async def test_request_with_expectation_is_refused_body_never_asked_for(refusal: str) -> None:
    """The final answer comes first and alone; nothing is said about continuing, and the connection ends in order."""
    rules = [alb.Rule(1, alb.PathPattern("/refused"), alb.FixedResponse(403, "no"))]
    targets = [f"127.0.0.1:{free_port()}"] if refusal == "rule" else []
    async with running(*targets, rules=rules if refusal == "rule" else ()) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/refused", "Content-Length: 4", "Expect: 100-continue"))
        got = await client.response()
        assert got.status == (403 if refusal == "rule" else 503)
        assert got.get(b"connection") == b"close"
        assert await client.is_closed()


@pytest.mark.parametrize("status", [102, 103])
async def test_interim_responses_pass_with_their_own_fields(status: int) -> None:
    """102 and 103 come before the final response, in order, each with its own fields and none of the other's."""
    hint = b"HTTP/1.1 %d Hint\r\nLink: </style.css>; rel=preload\r\n\r\n" % status
    answer = hint + hint.replace(b"style", b"more") + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Final: yes\r\n\r\nok"
    async with target(None, answer) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        first, second, final = [await client.get(), await client.response(), await client.response()]
        assert (first.status, first.get(b"link"), first.get(b"x-final")) == (status, b"</style.css>; rel=preload", None)
        assert second.get(b"link") == b"</more.css>; rel=preload"
        assert (final.status, final.body, final.get(b"link")) == (200, b"ok", None)
        assert (await client.get()).status == status


async def test_interim_response_reaches_client_before_the_final_one_exists() -> None:
    """A hint that comes with the answer would be no hint."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        conversation.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
        await seen.wait()
        conversation.send(response())
        await ended(conversation)

    seen = asyncio.Event()
    async with target(script) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        assert (await client.get()).status == 103
        seen.set()
        assert (await client.response()).status == 200


async def test_interim_responses_are_kept_from_http_1_0_client() -> None:
    """HTTP/1.0 knows no 1xx: its client gets the final response and no 100 either."""
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" + response()
    async with target(None, answer) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(b"POST / HTTP/1.0\r\nHost: example.com\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
        assert (await client.response()).status == 200
        assert await client.is_closed()
        assert b" 10" not in client.received
        assert b"expect" not in origin.heads[0].lower()


async def test_target_dies_behind_interim_response_502() -> None:
    """An interim response is no answer: the client still gets a final status."""
    async with target(saying(b"HTTP/1.1 103 Early Hints\r\n\r\n")) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/", "Content-Length: 4", body=b"body"))
        assert (await client.response()).status == 103
        assert (await client.response()).status == 502


# 9. Upgrade.


async def upgraded(gateway: Running, *, slow: bool = False) -> RawClient:
    """A client whose connection has become a tunnel."""
    client = await gateway.client(slow=slow)
    assert (await client.get("/chat", *WEBSOCKET)).status == 101
    return client


def tunnelling(talk: Callable[[Conversation], object] | None = None) -> tuple[Script, asyncio.Queue[Conversation]]:
    """A script that accepts an upgrade and leaves the conversation to the test until it is over; and where the test finds it."""
    open_tunnels: asyncio.Queue[Conversation] = asyncio.Queue()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(SWITCH + b"\r\n")
        open_tunnels.put_nowait(conversation)
        # The test holds the other end: the conversation is closed behind it, when the target is.
        await asyncio.get_running_loop().create_future()

    return script, open_tunnels


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ((), SWITCH),
        (WEBSOCKET, SWITCH.replace(b"websocket", b"h2c")),
        (WEBSOCKET, SWITCH.replace(b"websocket", b"other")),
        (WEBSOCKET, b"HTTP/1.1 101 Switching Protocols\r\n"),
        (WEBSOCKET, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"),
        (WEBSOCKET, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"),
    ],
    ids=["nobody asked", "h2c", "another protocol", "none named", "no Upgrade", "no Connection"],
)
async def test_target_switches_protocol_unasked_502(fields: tuple[str, ...], answer: bytes) -> None:
    """A 101 is passed on only where it names what was asked for."""
    async with target(saying(answer + b"\r\n", fin=False)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        assert (await client.get("/", *fields)).status == 502
        assert gateway.runtime.connections.count == 0
        assert "TunnelCount" not in gateway.counters
        assert len(origin.conversations) == 1


async def test_upgrade_token_differs_in_case_switches() -> None:
    """Protocol names are compared without case."""
    async with (
        target(saying(SWITCH.replace(b"websocket", b"WebSocket") + b"\r\n", fin=False)) as origin,
        running(origin.address) as gateway,
    ):
        await upgraded(gateway)
        assert gateway.counters["TunnelCount"] == 1


async def test_upgrade_is_refused_connection_stays_http() -> None:
    """An answer other than 101 is an ordinary response, and the next request goes the ordinary way."""
    refusal = response(426, b"no", b"Sec-WebSocket-Version: 13")
    async with target(None, refusal, response()) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        got = await client.get("/chat", *WEBSOCKET)
        assert (got.status, got.body, got.get(b"sec-websocket-version")) == (426, b"no", b"13")
        assert (await client.get()).status == 200
        assert len(origin.conversations) == 1
        assert b"upgrade" not in origin.heads[1].lower()


async def test_bytes_around_the_101_are_kept_in_order() -> None:
    """What the client sent early waits for the 101 and comes first; what came right behind the 101 comes right behind it."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        with pytest.raises(TimeoutError):
            # That the early bytes do not come can only be shown by waiting for them.
            async with asyncio.timeout(0.1):
                await conversation.read()
        conversation.send(SWITCH + b"\r\nbehind-")
        conversation.send(b"later")
        got.put_nowait(await conversation.read_exactly(len(b"early-late")))
        await ended(conversation)

    got: asyncio.Queue[bytes] = asyncio.Queue()
    async with target(script) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/chat", *WEBSOCKET) + b"early-")
        assert (await client.response()).status == 101
        client.send(b"late")
        assert await client.read_exactly(len(b"behind-later")) == b"behind-later"
        assert await got.get() == b"early-late"


async def test_early_bytes_are_the_next_request_where_the_upgrade_is_refused() -> None:
    """Bytes behind a request for an upgrade are a pipelined request when nothing is upgraded; the target gets them as that only."""
    async with target(None, response(426, b"no"), response()) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/chat", *WEBSOCKET) + request("GET", "/next"))
        assert (await client.response()).status == 426
        assert (await client.response()).status == 200
        assert [head.split(b" ")[1] for head in origin.heads] == [b"/chat", b"/next"]


async def test_101_carries_every_cookie() -> None:
    """The target's cookies and the load balancer's own ride on the 101."""
    answer = SWITCH + b"Set-Cookie: a=1\r\nSet-Cookie: b=2; Path=/\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    async with target(saying(answer, fin=False)) as origin, running(origin.address, stickiness=alb.LbCookie()) as gateway:
        client = await gateway.client()
        got = await client.get("/chat", *WEBSOCKET)
        names = [value.partition(b"=")[0] for value in got.all(b"set-cookie")]
        assert names == [b"a", b"b", b"AWSALB", b"AWSALBCORS"]
        assert got.get(b"sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert (got.get(b"connection"), got.get(b"upgrade")) == (b"Upgrade", b"websocket")


async def test_target_closes_before_the_101_gives_502() -> None:
    """No tunnel is opened towards nobody."""
    async with target(saying(b"")) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        assert (await client.get("/chat", *WEBSOCKET)).status == 502
        assert "TunnelCount" not in gateway.counters
        assert 1 <= len(origin.conversations) <= 3


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["h2c", "no Connection", "Connection without it", "HTTP/1.0", "with chunks"],
)
async def test_upgrade_that_may_not_be_is_an_ordinary_request(head: bytes) -> None:
    """The target sees neither field, and a 101 in spite of that is a 502."""
    async with target(None, response(), SWITCH + b"\r\n") as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(head)
        assert (await client.response()).status == 200
        assert b"upgrade" not in origin.heads[0].lower()
        assert b"settings" not in origin.heads[0].lower()
        client = await gateway.client()
        client.send(head)
        assert (await client.response()).status == 502


async def test_h2c_among_other_protocols_is_taken_out() -> None:
    """What else was offered is passed on."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        await client.get("/", "Connection: Upgrade", "Upgrade: h2c, websocket")
        assert b"\r\nUpgrade: websocket\r\n" in origin.heads[0]
        assert b"h2c" not in origin.heads[0]


# 10. Tunnels: half-close, reset, idle.


@pytest.mark.parametrize("first", ["client", "target"])
async def test_tunnel_fin_on_one_side_lets_the_other_direction_finish(first: str) -> None:
    """FIN comes through behind the last byte; the other direction goes on, flushes, and then both ends are closed."""
    script, tunnels = tunnelling()
    async with target(script) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway)
        conversation = await tunnels.get()
        near, far = (client, conversation) if first == "client" else (conversation, client)
        near.send(b"n" * MIB)
        near.send_fin()
        assert await far.read_to_end() == b"n" * MIB
        far.send(b"still ")
        assert await near.read_exactly(6) == b"still "
        far.send(b"f" * MIB)
        far.send_fin()
        assert await near.read_to_end() == b"f" * MIB
        await until(lambda: not gateway.runtime.tunnels)
        assert failures(gateway) == {}


@pytest.mark.parametrize("first", ["client", "target"])
async def test_tunnel_half_closed_and_silent_ends(first: str) -> None:
    """The direction that goes on after a FIN ends after 30 s of silence, not before."""
    clock = FakeClock()
    script, tunnels = tunnelling()
    async with target(script) as origin, running(origin.address, clock=clock, idle_timeout=3600) as gateway:
        client = await upgraded(gateway)
        conversation = await tunnels.get()
        near, far = (client, conversation) if first == "client" else (conversation, client)
        near.send_fin()
        assert await far.read_to_end() == b""
        sweep = gateway.runtime.sweep
        for _ in range(3):
            far.send(b"x")
            assert await near.read_exactly(1) == b"x"
            sweep.look(clock.now)
            clock.advance(29)
            sweep.look(clock.now)
        clock.advance(2)
        sweep.look(clock.now)
        assert await ended(near) == b""
        await until(lambda: not gateway.runtime.tunnels)


@pytest.mark.parametrize("talking", ["client", "target"])
async def test_tunnel_idle_timeout_counts_bytes_of_either_direction(talking: str) -> None:
    """A byte in one direction keeps both alive; silence for the idle timeout ends both in order."""
    clock = FakeClock()
    script, tunnels = tunnelling()
    async with target(script) as origin, running(origin.address, clock=clock, idle_timeout=60) as gateway:
        client = await upgraded(gateway)
        conversation = await tunnels.get()
        near, far = (client, conversation) if talking == "client" else (conversation, client)
        sweep = gateway.runtime.sweep
        for _ in range(5):
            near.send(b"x")
            assert await far.read_exactly(1) == b"x"
            sweep.look(clock.now)
            clock.advance(59)
            sweep.look(clock.now)
        assert failures(gateway) == {}
        clock.advance(1)
        sweep.look(clock.now)
        assert await client.read_to_end() == b""
        assert await conversation.read_to_end() == b""
        await client.close()
        await conversation.close()
        await until(lambda: not gateway.runtime.tunnels)
        assert failures(gateway) == {"TunnelIdle": 1}


@pytest.mark.parametrize("first", ["client", "target"])
async def test_tunnel_reset_on_one_side_reaches_the_other(first: str) -> None:
    """RST is passed on as RST, and nothing is left open or counted."""
    script, tunnels = tunnelling()
    async with target(script) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway)
        conversation = await tunnels.get()
        near, far = (client, conversation) if first == "client" else (conversation, client)
        far.send(b"hello")
        assert await near.read_exactly(5) == b"hello"
        near.reset()
        with pytest.raises(ConnectionError):
            await far.read_to_end()
        await until(lambda: not gateway.runtime.tunnels)
        assert failures(gateway) == {f"TunnelResetBy{first.capitalize()}": 1}


# 11. Back-pressure.


class Source:
    """Sends much to a peer that may not read, and counts what was taken off its hands."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pushed = 0

    async def push(self, peer: Peer, head: bytes = b"", at_once: int = 0) -> None:
        """All of it, the first `at_once` bytes in one piece with the head."""
        block = b"0123456789abcdef" * 4096
        peer.send(head + block * (at_once // len(block)))
        self.pushed = at_once
        while self.pushed < self.size:
            peer.send(block)
            await peer.drain()
            self.pushed += len(block)


def buffered(gateway: Running) -> int:
    """Bytes that the load balancer holds for its peers."""
    legs = [leg.transport for tunnel in gateway.runtime.tunnels for leg in (tunnel.client_leg, tunnel.target_leg)]  # type: ignore[attr-defined]
    clients = [client.socket.transport for client in gateway.runtime.clients]  # type: ignore[attr-defined]
    targets = [connection.transport for connection in gateway.runtime.connections._open]
    return max(transport.get_write_buffer_size() for transport in (*legs, *clients, *targets) if transport is not None)


async def assert_held_back(gateway: Running, source: Source, read_before: int = 0) -> None:
    """The source stands still long before its end, the load balancer holds little, and another client is served all the while."""
    held = 0

    async def look() -> int:
        nonlocal held
        held = max(held, buffered(gateway))
        return await standstill(lambda: source.pushed)

    watched = asyncio.create_task(look())
    other = await gateway.client()
    while not watched.done():
        async with asyncio.timeout(2):
            assert (await other.get("/other")).status == 200
        held = max(held, buffered(gateway))
    pushed = await watched
    assert 0 < pushed <= read_before + KERNEL < source.size
    assert 0 < held <= read_before + Limits().in_flight + 2 * SEGMENT + MIB


def narrow(gateway: Running) -> None:
    """Have the kernel keep little for the clients, so that what they do not read stays with the load balancer."""
    for connection in gateway.runtime.clients:
        connection.socket.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # type: ignore[attr-defined]


def speed_up(client: RawClient) -> None:
    """Give a slow client's socket an ordinary receive buffer."""
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)


async def count_to_end(peer: Peer, size: int, count: int = 0) -> int:
    """How many bytes have come when `size` have, `count` of them before; what they were is checked in samples and not kept."""
    while count < size and (data := await peer.reader.read(65536)):
        assert data[0] == b"0123456789abcdef"[count % 16]
        count += len(data)
    return count


@pytest.mark.parametrize("at_once", [0, 8 * MIB])
async def test_slow_reader_of_a_large_response_holds_the_target_back(at_once: int) -> None:
    """The target can push no more than the sockets hold; other clients are served; then all of it arrives."""
    source = Source(64 * MIB)

    async def script(conversation: Conversation) -> None:
        while True:
            head = await conversation.head()
            if b" /other " in head:
                conversation.send(response())
            else:
                await source.push(conversation, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % source.size, at_once)

    async with target(script) as origin, running(origin.address, limits=Limits(in_flight=64 * 1024)) as gateway:
        client = await gateway.client(slow=True)
        assert (await client.get("/other")).status == 200
        narrow(gateway)
        client.send(request("GET", "/large"))
        await client.read_until(HEAD_END)
        await assert_held_back(gateway, source)
        for connection in gateway.runtime.clients:
            connection.sweep(gateway.runtime.clock.monotonic())  # type: ignore[attr-defined]
        taken = await count_to_end(client, 2 * MIB)
        assert await standstill(lambda: buffered(gateway)) <= 64 * 1024 + SMALL_READ
        speed_up(client)
        assert await count_to_end(client, source.size, taken) == source.size
        assert (await client.get("/other")).status == 200
        assert failures(gateway) == {}
        kept = gateway.runtime.connections._open
        assert [connection.transport.get_protocol() for connection in kept if connection.transport is not None] == list(kept)


@pytest.mark.parametrize("read_before", [0, 4 * MIB])
async def test_large_upload_to_a_slow_target_holds_the_client_back(read_before: int) -> None:
    """The client can push no more than the sockets hold until the target reads; then all of it arrives.

    So it is where a hook has read more of it than the target's connection can take at once.
    """
    source = Source(64 * MIB)

    async def script(conversation: Conversation) -> None:
        while True:
            head = await conversation.head()
            if b" /large " in head:
                transport = conversation.writer.transport
                transport.pause_reading()  # type: ignore[attr-defined]
                await reading.wait()
                transport.resume_reading()  # type: ignore[attr-defined]
                conversation.received = b""
                arrived.put_nowait(await count_to_end(conversation, source.size))
            conversation.send(response())

    async def hook(request: alb.Request) -> None:
        if read_before:
            with contextlib.suppress(alb.BodyTooLarge):
                await request.body(read_before)

    reading = asyncio.Event()
    arrived: asyncio.Queue[int] = asyncio.Queue()
    async with target(script) as origin, running(origin.address, hooks=[hook], limits=Limits(in_flight=64 * 1024)) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/large", f"Content-Length: {source.size}"))
        pushing = asyncio.create_task(source.push(client))
        await origin.arrived()
        await assert_held_back(gateway, source, read_before)
        reading.set()
        assert await arrived.get() == source.size
        await pushing
        assert (await client.response()).status == 200
        assert failures(gateway) == {}


async def test_firehose_through_a_tunnel_to_a_slow_reader_holds_the_target_back() -> None:
    """A tunnel pushes no harder than its reader reads, and loses nothing."""
    source = Source(64 * MIB)

    async def script(conversation: Conversation) -> None:
        while True:
            head = await conversation.head()
            if b" /other " in head:
                conversation.send(response())
            else:
                conversation.send(SWITCH + b"\r\n")
                await source.push(conversation)
                await ended(conversation)

    async with target(script) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway, slow=True)
        await assert_held_back(gateway, source)
        speed_up(client)
        assert await count_to_end(client, source.size) == source.size


# 12. Hop-by-hop fields, and trailers.


def names_in(head: bytes) -> list[bytes]:
    """The field names of a head, in lower case."""
    return [line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line]


async def test_request_fields_named_by_any_connection_line_are_dropped() -> None:
    """Every Connection line counts, an empty one too; what none of them names stays, in order and case."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        await client.get(
            "/",
            "Connection: X-First, keep-alive",
            "X-First: 1",
            "x-SECOND: 2",
            "X-Kept: 3",
            "Connection:",
            "connection: x-second , X-THIRD",
            "X-Third: 4",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "Proxy-Authorization: Basic eDp5",
            "x-also-kept: 5",
        )
        names = names_in(origin.heads[0])
        dropped = {b"connection", b"x-first", b"x-second", b"x-third", b"keep-alive", b"proxy-connection", b"proxy-authorization"}
        assert not dropped.intersection(names)
        assert origin.heads[0].index(b"\r\nX-Kept: 3\r\n") < origin.heads[0].index(b"\r\nx-also-kept: 5\r\n")


async def test_response_fields_named_by_any_connection_line_are_dropped() -> None:
    """The same towards the client, whose connection is not the target's."""
    answer = response(
        200,
        b"ok",
        b"Connection: X-First, close",
        b"X-First: 1",
        b"X-Kept: 2",
        b"Connection:",
        b"connection: x-second",
        b"X-Second: 3",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: close",
        b"x-also-kept: 4",
    )
    async with target(None, answer) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        got = await client.get()
        assert not {b"connection", b"x-first", b"x-second", b"keep-alive", b"proxy-connection"}.intersection(names_in(got.head))
        assert (got.get(b"X-Kept"), got.get(b"x-also-kept")) == (b"2", b"4")
        assert (await client.get()).status == 200
        assert len(origin.conversations) == 2


@pytest.mark.parametrize("name", ["Host", "Content-Length", "X-Forwarded-For", "X-Amzn-Trace-Id", "Cookie"])
async def test_connection_line_cannot_strip_what_is_not_hop_by_hop(name: str) -> None:
    """Whoever names framing, Host or our own fields as hop-by-hop hides nothing from the target but fields of its own."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/", f"Connection: {name}", "Content-Length: 4", "Cookie: a=b", body=b"body"))
        assert (await client.response()).status == 200
        names = names_in(origin.heads[0])
        for field in (b"host", b"content-length", b"x-forwarded-for", b"x-amzn-trace-id"):
            assert names.count(field) == 1
        assert names.count(b"cookie") == (0 if name == "Cookie" else 1)


@pytest.mark.parametrize(
    ("value", "forwarded"),
    [("trailers", True), ("gzip, trailers;q=0.5, Trailers", True), ("gzip", False), ("deflate;q=0.5", False), ("", False)],
)
async def test_te_other_than_trailers_is_dropped(value: str, forwarded: bool) -> None:
    """Codings are between two neighbours; that trailers are welcome is worth telling."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        await client.get("/", f"TE: {value}", "Connection: TE")
        lines = [line for line in origin.heads[0].split(b"\r\n") if line.lower().startswith(b"te:")]
        assert lines == ([b"TE: trailers"] if forwarded else [])


async def test_request_trailers_are_forwarded_as_trailers() -> None:
    """Trailer and the trailers pass, announced or not, and none becomes a field of the head."""

    async def script(conversation: Conversation) -> None:
        got.put_nowait(await conversation.read_until(b"\r\n0\r\n") + await conversation.read_until(HEAD_END))
        conversation.send(response())
        await ended(conversation)

    got: asyncio.Queue[bytes] = asyncio.Queue()
    async with target(script) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        chunks = b"4\r\nbody\r\n0\r\nX-Sum: 1\r\nX-Unannounced: 2\r\n\r\n"
        client.send(request("POST", "/", "Transfer-Encoding: chunked", "Trailer: X-Sum", body=chunks))
        assert (await client.response()).status == 200
        head, _, body = (await got.get()).partition(HEAD_END)
        assert b"\r\nTrailer: X-Sum" in head
        assert b"x-unannounced" not in names_in(head)
        assert body == chunks


async def test_response_trailers_are_forwarded_as_trailers() -> None:
    """The same towards the client."""
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 1\r\nX-Unannounced: 2\r\n\r\n"
    )
    async with target(None, answer) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        got = await client.get("/", "TE: trailers")
        assert (got.body, got.trailers) == (b"body", [b"X-Sum: 1", b"X-Unannounced: 2"])
        assert got.get(b"trailer") == b"X-Sum"
        assert (await client.get()).complete


@pytest.mark.parametrize("trailer", [b"Transfer-Encoding: chunked", b"Content-Length: 4", b"Host: evil.example.com"])
async def test_framing_field_among_request_trailers_is_refused(trailer: bytes) -> None:
    """What would frame or route a message cannot come behind it: 400, and the target gets no complete request."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        got.put_nowait(await ended(conversation))

    got: asyncio.Queue[bytes] = asyncio.Queue()
    async with target(script) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/", "Transfer-Encoding: chunked", body=b"4\r\nbody\r\n"))
        await origin.arrived()
        client.send(b"0\r\n" + trailer + b"\r\n\r\n")
        assert (await client.response()).status == 400
        assert await client.is_closed()
        assert not (await got.get()).endswith(HEAD_END)


# 18. Host and forms of the request target.


PATHS = (
    b"//a//b/",
    b"/a%2Fb",
    b"/a%2fb",
    b"/line%0Aend",
    b"/crlf%0d%0ax",
    b"/a;b=c;d",
    b"/caf\xc3\xa9",
    b"/\xff\xfe",
    b"/%C3%A9%zz",
    b"/a/../b/./c",
    b"/~!$&'()*+,=:@\"<>[]{}|^`",
    b"/back\\slash",
    b"/?",
    b"/?a=1&a=2;b=3&c=%zz",
    b"/a?b?c=/d//e",
)


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("form", ["origin-form", "absolute-form"])
async def test_request_target_reaches_the_target_byte_for_byte(path: bytes, form: str) -> None:
    """Nothing is decoded, encoded, merged or normalised on the way, whatever the form it came in."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        start = b"" if form == "origin-form" else b"http://example.com"
        client.send(b"GET " + start + path + b" HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert (await client.response()).status == 200
        assert origin.heads[0].split(b"\r\n")[0] == b"GET " + path + b" HTTP/1.1"


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("/admin/x", True),
        ("/admin/%0A", True),
        ("/admin//x", True),
        ("/x/../admin/y", True),
        ("/./admin/x", True),
        ("//admin/x", False),
        ("/%61dmin/x", False),
        ("/admin%2Fx", False),
        ("/ADMIN/x", False),
        ("/admin", False),
        ("/x?/admin/", False),
        ("http://example.com/admin/x", True),
        ("http://other.example.com/admin/x", True),
    ],
)
async def test_path_is_matched_raw_with_dot_segments_resolved(path: str, matches: bool) -> None:
    """Rules see what the target will see, except that `.` and `..` cannot lead around them."""
    rules = [alb.Rule(1, alb.PathPattern("/admin/*"), alb.FixedResponse(403))]
    async with target() as origin, running(origin.address, rules=rules) as gateway:
        client = await gateway.client()
        assert (await client.get(path)).status == (403 if matches else 200)


async def test_path_of_a_newline_is_routed_like_any_other() -> None:
    """An encoded line end is three ordinary characters to a wildcard."""
    rules = [alb.Rule(1, alb.PathPattern("/a*z"), alb.FixedResponse(200, "rule"))]
    async with running(rules=rules) as gateway:
        client = await gateway.client()
        assert (await client.get("/a%0A%0Dz")).body == b"rule"


async def test_absolute_form_outranks_host() -> None:
    """The authority of the target routes and becomes Host; the path goes on in origin-form."""
    rules = [alb.Rule(1, alb.HostHeader("ruled.example.com"), alb.FixedResponse(200, "rule"))]
    async with target() as origin, running(origin.address, rules=rules) as gateway:
        client = await gateway.client()
        assert (await client.get("http://ruled.example.com/", host="other.example.com")).body == b"rule"
        assert (await client.get("http://other.example.com/path?query", host="ruled.example.com")).body == b"ok"
        assert (await client.get("HTTP://OTHER.example.com", host="ruled.example.com")).body == b"ok"
        expected = b"Host: other.example.com:%d" % gateway.port
        first, second = [head.split(b"\r\n") for head in origin.heads]
        assert (first[0], second[0]) == (b"GET /path?query HTTP/1.1", b"GET / HTTP/1.1")
        for lines in (first, second):
            assert [line for line in lines if line.lower().startswith(b"host:")] == [expected]


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: a.example.com\r\nHost: a.example.com\r\n",
        "Host: a.example.com\r\nHost: b.example.com\r\n",
        "Host: a.example.com\r\nhOST: b.example.com\r\n",
        "Host: a.example.com, b.example.com\r\n",
        "Host: user@a.example.com\r\n",
        "Host: user:password@a.example.com\r\n",
        "Host: a.example.com/path\r\n",
        "Host: http://a.example.com\r\n",
        "Host: a.example.com:port\r\n",
        "Host: a.example.com:65536\r\n",
        "Host: a.example.com:80:80\r\n",
        "Host: a example.com\r\n",
        "Host: [::1\r\n",
        "Host: a.example.com\r\n b.example.com\r\n",
        "Host : a.example.com\r\n",
    ],
    ids=repr,
)
async def test_unusable_host_400(lines: str) -> None:
    """Missing, empty, several, lists, userinfo, paths: nobody is asked, the client is told and the connection ends."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(f"GET / HTTP/1.1\r\n{lines}\r\n".encode())
        assert (await client.response()).status == 400
        assert await client.is_closed()
        assert not origin.heads


@pytest.mark.parametrize("authority", ["", "user@a.example.com", "a.example.com:port", "a.example.com,b.example.com"])
async def test_unusable_authority_in_absolute_form_400(authority: str) -> None:
    """An absolute-form target is judged as strictly as Host, and a good Host does not save it."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        assert (await client.get(f"http://{authority}/")).status == 400
        assert not origin.heads


@pytest.mark.parametrize(
    ("host", "sent_on"),
    [
        ("Example.COM", "example.com:{port}"),
        ("example.com:80", "example.com:80"),
        ("example.com:{port}", "example.com:{port}"),
        ("example.com:", "example.com:{port}"),
        ("[2001:DB8::1]", "[2001:db8::1]:{port}"),
        ("127.0.0.1", "127.0.0.1:{port}"),
    ],
)
@pytest.mark.parametrize("preserve", [False, True])
async def test_host_is_normalised_unless_preserved_and_routes_the_same(host: str, sent_on: str, preserve: bool) -> None:
    """The target gets lower case with the listener's port, or with `preserve_host_header` the client's bytes; rules see no difference."""
    rules = [alb.Rule(1, [alb.HostHeader("example.com"), alb.PathPattern("/ruled")], alb.FixedResponse(200, "rule"))]
    async with target() as origin, running(origin.address, rules=rules, preserve_host_header=preserve) as gateway:
        host, sent_on = host.format(port=gateway.port), sent_on.format(port=gateway.port)
        client = await gateway.client()
        assert (await client.get("/ruled", host=host)).body == (b"rule" if "example" in host.lower() else b"ok")
        await client.get("/", host=host)
        assert f"\r\nHost: {host if preserve else sent_on}\r\n".encode() in origin.heads[-1]


async def test_options_asterisk_is_forwarded_as_it_is() -> None:
    """`OPTIONS *` asks the target as a whole, through every path rule but a wildcard's."""
    rules = [alb.Rule(1, alb.PathPattern("/*"), alb.FixedResponse(403))]
    async with target() as origin, running(origin.address, rules=rules) as gateway:
        client = await gateway.client()
        assert (await client.get("*", method="OPTIONS")).status == 200
        assert origin.heads[0].startswith(b"OPTIONS * HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("CONNECT example.com:443", 405),
        ("CONNECT /", 405),
        ("TRACE /", 405),
        ("GET *", 400),
        ("GET example.com", 400),
        ("GET path", 400),
        ("GET ftp://example.com/", 400),
        ("GET /#fragment", 400),
        ("GET /a b", 400),
    ],
)
async def test_request_target_of_a_form_not_served_is_refused(line: str, status: int) -> None:
    """Nothing of it reaches the target."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(f"{line} HTTP/1.1\r\nHost: example.com\r\n\r\n".encode())
        assert (await client.response()).status == status
        assert not origin.heads


async def test_http_1_0_request_without_host_is_asked_of_the_load_balancers_name() -> None:
    """HTTP/1.0 need not bring a Host; the target gets one."""
    async with target() as origin, running(origin.address, name="front") as gateway:
        client = await gateway.client()
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.response()).status == 200
        assert origin.heads[0].startswith(b"GET / HTTP/1.1\r\nHost: front:%d\r\n" % gateway.port)


# What ALB does with a request that two servers might read in two ways.


async def test_ambiguous_request_is_forwarded_and_both_connections_close() -> None:
    """ALB's default mode lets a GET with a body through, and nothing that follows it on either connection."""

    async def script(conversation: Conversation) -> None:
        heads.append((await conversation.request())[0])
        conversation.send(response())
        await ended(conversation)
        closed.set()

    heads: list[bytes] = []
    closed = asyncio.Event()
    async with target(script) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/", "Content-Length: 4", body=b"body") + request("GET", "/smuggled"))
        got = await client.response()
        assert (got.status, got.get(b"connection")) == (200, b"close")
        assert await client.is_closed()
        await closed.wait()
        assert len(heads) == len(origin.conversations) == 1
        assert gateway.counters["DesyncMitigationMode_NonCompliant_Request_Count"] == 1
