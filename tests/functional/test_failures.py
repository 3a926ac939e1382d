"""Targets that are dead, refuse, lie or truncate, and clients that leave: status, counter, log line, and nothing left behind."""

from __future__ import annotations

import asyncio
import logging

import pytest

import albkit as alb
from tests.support.clock import first_in_order
from tests.support.gateway import running
from tests.support.peers import Conversation, RawClient, answering, free_port, request, response, target


async def test_refusing_target_is_a_502_with_a_reason_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """One line tells reason, phase, side, client, target and rule."""
    port = free_port()
    async with running(f"127.0.0.1:{port}") as gateway:
        client = await gateway.client()
        with caplog.at_level(logging.INFO, "albkit"):
            answer = await client.get("/x")
        assert answer.status == 502
        assert answer.get(b"server") == b"awselb/2.0"
        assert answer.get(b"content-type") == b"text/html"
        assert len(answer.body) == 122
        (line,) = [record.getMessage() for record in caplog.records]
        for part in (
            "TargetConnectionRefused",
            "phase=connect",
            "side=target",
            f"client=127.0.0.1:{client.port}",
            f"target=127.0.0.1:{port}",
        ):
            assert part in line
        assert "rule=0" in line
        assert gateway.counters["HTTPCode_ELB_502_Count"] == 1
        assert gateway.counters["TargetConnectionErrorCount"] == 3
        # The request was complete, so the connection goes on.
        assert (await client.get("/x")).status == 502


async def test_group_without_targets_is_a_503() -> None:
    """docs/alb.md 2.8: no registered targets."""
    async with running() as gateway:
        client = await gateway.client()
        answer = await client.get()
        assert (answer.status, len(answer.body)) == (503, 162)
        assert gateway.counters["Failure_NoTargets"] == 1
        assert "RequestCount" not in gateway.counters


async def test_missing_unix_socket_is_a_502() -> None:
    """A path where nobody listens."""
    async with running("unix:/nonexistent/albkit.sock") as gateway:
        client = await gateway.client()
        assert (await client.get()).status == 502
        assert gateway.counters["Failure_TargetUnreachable"] == 1


async def test_unresolvable_name_is_a_502() -> None:
    """A name that the resolver does not know."""
    async with running("no-such-host.invalid:80") as gateway:
        client = await gateway.client()
        assert (await client.get()).status == 502
        assert gateway.counters["Failure_TargetUnreachable"] == 1


BAD_RESPONSES = [
    pytest.param(b"garbage\r\n\r\n", id="garbage"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", id="two-lengths"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello", id="listed-lengths"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", id="negative-length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nhello", id="huge-length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="length-and-coding"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="coding-not-known"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", id="chunked-not-last"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunked-twice"),
    pytest.param(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunked-in-1.0"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", id="blank-before-colon"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX-Bad: a\x00b\r\nContent-Length: 2\r\n\r\nok", id="nul"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX-Bad: a\x01b\r\nContent-Length: 2\r\n\r\nok", id="control-byte"),
    pytest.param(b"HTTP/1.1 200 O\x00K\r\nContent-Length: 2\r\n\r\nok", id="nul-in-reason"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX-A: b\r\n folded\r\nContent-Length: 2\r\n\r\nok", id="folded"),
    pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok", id="bare-lf"),
    pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="version-2"),
    pytest.param(b"HTTP/1.1 999 No\r\nContent-Length: 2\r\n\r\nok", id="status-999"),
    pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", id="101-unasked"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", id="bad-first-chunk"),
]


@pytest.mark.parametrize("answer", BAD_RESPONSES)
async def test_bad_response_is_a_502_and_its_connection_is_dropped(answer: bytes) -> None:
    """Checklist 5: response sanity."""
    heads: list[bytes] = []
    async with target(answering(heads, answer)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        assert (await client.get()).status == 502
        await (await origin.arrived()).over.wait()
        assert len(heads) == 1, "a malformed answer is not asked for again"
        assert gateway.runtime.connections.count == 0


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", b"hello", id="short"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"hello", id="no-last-chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", b"hel", id="in-a-chunk"),
    ],
)
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_target_that_dies_in_its_response_never_looks_complete(answer: bytes, body: bytes, reset: bool) -> None:
    """The client's connection is cut: no last chunk, length short."""
    go = asyncio.Event()

    async def dying(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(answer)
        await conversation.drain()
        await go.wait()
        if reset:
            conversation.reset()

    async with target(dying) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/"))
        head = await client.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        await client.read_until(body)
        go.set()
        try:
            rest = await client.read_to_end()
        except ConnectionError:
            rest = b""
        assert b"0\r\n\r\n" not in rest
        assert gateway.counters["Failure_ResponseBodyTruncated"] == 1


async def test_response_until_close_that_is_reset_is_cut() -> None:
    """A reset is no end of a body that ends with its connection."""
    go = asyncio.Event()

    async def dying(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await conversation.drain()
        await go.wait()
        conversation.reset()

    async with target(dying) as origin, running(origin.address) as gateway:
        modern = await gateway.client()
        modern.send(request("GET", "/"))
        await modern.read_until(b"hello")
        old = await gateway.client()
        old.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        await old.read_until(b"hello")
        go.set()
        assert b"0\r\n\r\n" not in await modern.read_to_end()
        with pytest.raises(ConnectionError):
            await old.read_to_end()


async def test_malformed_chunk_in_mid_response_is_cut() -> None:
    """What came before it has been passed on already."""
    go = asyncio.Event()

    async def lying(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await go.wait()
        conversation.send(b"0x5\r\nworld\r\n0\r\n\r\n")
        await conversation.read_to_end()

    async with target(lying) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/"))
        await client.read_until(b"hello\r\n")
        go.set()
        assert await client.is_closed()
        assert gateway.counters["Failure_ResponseBodyMalformed"] == 1


async def test_target_that_closes_in_its_head_is_a_502() -> None:
    """Half a head is no answer, and is not asked for again."""

    async def dying(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Le")

    async with target(dying) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        assert (await client.get()).status == 502
        assert gateway.counters["Failure_ResponseHeadTruncated"] == 1
        assert len(origin.conversations) == 1


@pytest.mark.parametrize(("method", "tries"), [("GET", 3), ("PUT", 3), ("DELETE", 3), ("POST", 1), ("PATCH", 1), ("FROB", 1)])
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_target_that_closes_without_an_answer_is_asked_again_where_that_is_safe(method: str, tries: int, reset: bool) -> None:
    """Idempotent requests are tried three times in all, others once."""

    async def dying(conversation: Conversation) -> None:
        await conversation.request()
        if reset:
            conversation.reset()

    async with target(dying) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        answer = await client.get("/", "Content-Length: 0", method=method)
        assert answer.status == 502
        assert len(origin.conversations) == tries
        assert gateway.counters["Failure_TargetReset" if reset else "Failure_TargetClosed"] == 1


async def test_body_of_an_idempotent_request_is_sent_again_whole() -> None:
    """What the first target had taken the second gets as well, chunked or not."""
    bodies: list[bytes] = []

    async def dying(conversation: Conversation) -> None:
        await conversation.request()

    async def living(conversation: Conversation) -> None:
        while True:
            _, body = await conversation.request()
            bodies.append(body)
            conversation.send(response())

    async with target(dying) as first, target(living) as second, running(first.address, second.address) as gateway:
        client = await gateway.client()
        client.send(request("PUT", "/", "Content-Length: 30000") + b"a" * 30000)
        assert (await client.response()).status == 200
        client.send(request("PUT", "/", "Transfer-Encoding: chunked"))
        for size in (1, 2000, 3):
            client.send(b"%x\r\n%s\r\n" % (size, b"b" * size))
            await asyncio.sleep(0.01)
        client.send(b"0\r\n\r\n")
        assert (await client.response()).status == 200
        assert bodies == [b"a" * 30000, b"b" * 2004]
        assert first.conversations


async def test_body_too_large_to_keep_is_not_sent_again() -> None:
    """Half a body is worse than a 502."""

    async def dying(conversation: Conversation) -> None:
        await conversation.request()

    async with target(dying) as first, target() as second, running(first.address, second.address, clock=first_in_order()) as gateway:
        client = await gateway.client()
        client.send(request("PUT", "/", "Content-Length: 1000000") + b"a" * 1000000)
        assert (await client.response()).status == 502
        assert second.conversations == []


async def test_refused_connection_is_tried_elsewhere_for_any_method() -> None:
    """Nothing was sent, so nothing can happen twice."""
    async with target() as living, running(f"127.0.0.1:{free_port()}", living.address) as gateway:
        client = await gateway.client()
        for _ in range(4):
            client.send(request("POST", "/", "Content-Length: 3") + b"abc")
            assert (await client.response()).status == 200
        assert gateway.counters["RetryCount"] == 1
        assert len(living.heads) == 4


async def test_retries_are_limited_by_the_groups_budget() -> None:
    """A group that fails as a whole is not asked three times as often."""
    async with running(f"127.0.0.1:{free_port()}") as gateway:
        (state,) = gateway.runtime.registry.groups
        state.retry_tokens = 0.0
        client = await gateway.client()
        for _ in range(10):
            assert (await client.get()).status == 502
        assert gateway.counters["RetryCount"] == 10


async def test_client_that_leaves_is_a_460_and_the_targets_request_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """The target learns at once; it is not to blame."""

    async def slow(conversation: Conversation) -> None:
        await conversation.head()
        assert await conversation.read() == b""

    async with target(slow) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        with caplog.at_level(logging.INFO, "albkit"):
            client.send(request("GET", "/"))
            conversation = await origin.arrived()
            await client.close()
            await conversation.over.wait()
        assert gateway.counters["Failure_ClientClosed"] == 1
        assert gateway.counters["HTTPCode_ELB_4XX_Count"] == 1
        assert "status=460" in caplog.text
        assert len(origin.conversations) == 1


async def test_client_that_resets_while_connecting_leaves_nothing_behind() -> None:
    """The connection that was being made is closed."""
    async with target() as origin, running(origin.address) as gateway:
        for _ in range(20):
            client = await RawClient.connect(gateway.port)
            client.send(request("GET", "/"))
            await client.drain()
            client.reset()
        async with asyncio.timeout(5):
            while gateway.runtime.clients:
                await asyncio.sleep(0.01)


async def test_client_that_leaves_in_mid_response_ends_the_targets() -> None:
    """An endless response ends when nobody reads it."""

    async def endless(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            conversation.send(b"5\r\nhello\r\n")
            await conversation.drain()
            await asyncio.sleep(0)

    async with target(endless) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/"))
        await client.read_until(b"hello")
        client.reset()
        await (await origin.arrived()).over.wait()
        async with asyncio.timeout(5):
            while "Failure_ClientClosedInResponse" not in gateway.counters:
                await asyncio.sleep(0.01)


async def test_body_that_ends_short_is_a_400() -> None:
    """docs/alb.md 6: the client closed before sending its whole body."""

    async def patient(conversation: Conversation) -> None:
        await conversation.request()

    async with target(patient) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/", "Content-Length: 10") + b"12345")
        client.send_fin()
        assert (await client.response()).status == 400
        await (await origin.arrived()).over.wait()
        assert gateway.counters["Failure_RequestBodyTruncated"] == 1


async def test_malformed_request_body_is_a_400_and_the_target_sees_no_end_of_it() -> None:
    """The target must not take half a body for a whole one."""
    seen = asyncio.Event()

    async def patient(conversation: Conversation) -> None:
        try:
            await conversation.request()
            seen.set()
        finally:
            pass

    async with target(patient) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
        await origin.arrived()
        client.send(b"5;\r\nworld\r\n0\r\n\r\n")
        assert (await client.response()).status == 400
        await (await origin.arrived()).over.wait()
        assert not seen.is_set()


async def test_error_inside_the_gateway_is_a_500_and_costs_one_exchange(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong in our own code, the others go on."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        choice = gateway.runtime.choices["group"]
        with monkeypatch.context() as patch:
            patch.setattr(type(choice), "pick", lambda *_, **__: 1 / 0)
            answer = await client.get()
        assert answer.status == 500
        assert "ZeroDivisionError" in caplog.text
        assert gateway.counters["Failure_InternalError"] == 1
        assert (await client.get()).status == 200


async def test_one_failing_target_does_not_disturb_another_group() -> None:
    """Groups do not share fate."""
    async with target() as origin:
        dead = alb.TargetGroup("dead", [f"127.0.0.1:{free_port()}"])
        rules = [alb.Rule(1, alb.PathPattern("/dead"), alb.Forward(dead))]
        async with running(origin.address, rules=rules) as gateway:
            client = await gateway.client()
            assert (await client.get("/dead")).status == 502
            assert (await client.get("/")).status == 200
