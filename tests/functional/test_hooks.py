"""Actions of a program's own: what they are given, what they may answer, and what becomes of those that fail."""

from __future__ import annotations

import asyncio
import logging

import pytest

import albkit as alb
from tests.support.balancing import balancing, listener
from tests.support.peers import RawClient, Target, request, target


def hooked(origin: Target, *hooks: object) -> alb.Listener:
    """A listener that asks these hooks before it forwards."""
    return listener([*hooks, alb.Forward(alb.TargetGroup("group", origin.address))])


async def test_hook_answers_instead_of_the_target() -> None:
    """Status, fields and body as given; Date, Server and Content-Length are ours; HEAD without the body; RequestCount does not count it."""

    async def answer(request: alb.Request) -> alb.Response | None:
        if request.path == "/empty":
            return alb.Response(204)
        return alb.Response(418, headers={"X-Hook": request.headers["X-Name"], "Content-Type": "text/x"}, body=b"short and stout")

    async with target() as origin, balancing(hooked(origin, answer)) as it:
        client = await it.client()
        got = await client.get("/", "X-Name: teapot")
        assert (got.status, got.get(b"x-hook"), got.get(b"content-type"), got.body) == (418, b"teapot", b"text/x", b"short and stout")
        assert got.get(b"server") == b"awselb/2.0"
        assert got.get(b"date")
        head = await client.get("/", "X-Name: x", method="HEAD")
        assert (head.status, head.get(b"content-length")) == (418, b"15")
        empty = await client.get("/empty")
        assert (empty.status, empty.get(b"content-length")) == (204, None)
        client.send(request("POST", "/", "X-Name: y", "Content-Length: 4", body=b"body"))
        assert (await client.response()).status == 418
        assert (await client.get("/empty")).status == 204
        assert origin.heads == []
        assert "RequestCount" not in it.counters


async def test_hooks_pass_on_in_their_order() -> None:
    """None goes on to the next, and behind the last to the routing action; the one that answers is the last that is asked."""
    asked: list[str] = []

    async def first(_: alb.Request) -> None:
        asked.append("first")
        await asyncio.sleep(0)

    async def second(request: alb.Request) -> alb.Response | None:
        asked.append("second")
        return alb.Response(403) if request.path == "/secret" else None

    async def third(_: alb.Request) -> None:
        asked.append("third")

    async with target() as origin, balancing(hooked(origin, first, second, third)) as it:
        client = await it.client()
        assert (await client.get("/open")).status == 200
        assert (await client.get("/secret")).status == 403
        assert asked == ["first", "second", "third", "first", "second"]
        assert len(origin.heads) == 1


async def test_hooks_stand_before_fixed_answers_and_redirects_too() -> None:
    """Any routing action may have hooks before it."""

    async def stop(request: alb.Request) -> alb.Response | None:
        return alb.Response(401) if "authorization" not in request.headers else None

    rule = alb.Rule(1, alb.PathPattern("/away"), [stop, alb.Redirect(path="/")])
    async with balancing(listener([stop, alb.FixedResponse(200, "in")], rule)) as it:
        client = await it.client()
        assert (await client.get()).status == 401
        assert (await client.get("/away")).status == 401
        assert (await client.get("/", "Authorization: x")).body == b"in"
        assert (await client.get("/away", "Authorization: x")).status == 302


# The body.

BODY = b"0123456789" * 5000


class Reader:
    """A hook that reads the body, and keeps what it got."""

    def __init__(self, limit: int = 1 << 20, *, answer: alb.Response | None = None) -> None:
        self.limit = limit
        self.answer = answer
        self.bodies: list[bytes] = []
        self.too_large = 0

    async def __call__(self, request: alb.Request) -> alb.Response | None:
        try:
            self.bodies.append(await request.body(self.limit))
        except alb.BodyTooLarge:
            self.too_large += 1
        return self.answer


class Keeper(Target):
    """A target that keeps the bodies it was sent."""

    def __init__(self) -> None:
        super().__init__(self._script)
        self.bodies: list[bytes] = []

    async def _script(self, conversation) -> None:  # type: ignore[no-untyped-def]
        while True:
            head, body = await conversation.request()
            self.heads.append(head)
            self.bodies.append(body)
            conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await conversation.drain()

    async def __aenter__(self) -> Keeper:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def send_sized(client: RawClient, body: bytes, *fields: str) -> None:
    """A body with a length, in pieces that the loop sees one by one."""
    client.send(request("POST", "/", f"Content-Length: {len(body)}", *fields))
    for start in range(0, len(body), 20000):
        await asyncio.sleep(0)
        client.send(body[start : start + 20000])


async def send_chunked(client: RawClient, body: bytes, *fields: str) -> None:
    """The same in chunks, with a trailer."""
    client.send(request("POST", "/", "Transfer-Encoding: chunked", *fields))
    for start in range(0, len(body), 20000):
        await asyncio.sleep(0)
        piece = body[start : start + 20000]
        client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    client.send(b"0\r\nX-Trailer: kept\r\n\r\n")


@pytest.mark.parametrize("send", [send_sized, send_chunked])
@pytest.mark.parametrize("size", [1, 5, 10_000, 50_000])
async def test_body_that_a_hook_reads_reaches_the_target_whole(send: object, size: int) -> None:
    """Of any size and framing, twice on one connection, with the trailers of a chunked one."""
    reader = Reader()
    body = BODY[:size]
    async with Keeper() as origin, balancing(hooked(origin, reader)) as it:
        client = await it.client()
        for _ in range(2):
            await send(client, body)  # type: ignore[operator]
            assert (await client.response()).status == 200
        assert reader.bodies == origin.bodies == [body, body]
        if send is send_chunked:
            assert origin.conversations[0].received.count(b"0\r\nX-Trailer: kept\r\n\r\n") == 2
        assert (await client.get()).status == 200
        assert reader.bodies[-1] == b"", "a request without a body has an empty one"


async def test_body_read_by_two_hooks_is_the_same_for_both() -> None:
    """Reading does not use it up."""
    one, two = Reader(), Reader()
    async with Keeper() as origin, balancing(hooked(origin, one, two)) as it:
        client = await it.client()
        await send_sized(client, BODY)
        assert (await client.response()).status == 200
        assert one.bodies == two.bodies == origin.bodies == [BODY]


@pytest.mark.parametrize("reads", [True, False])
async def test_client_that_waits_for_100_continue_gets_it_once(reads: bool) -> None:
    """When the hook asks for the body, else when it is forwarded; the target is not told of the expectation."""
    reader = Reader()
    hooks = [reader] if reads else []
    async with Keeper() as origin, balancing(hooked(origin, *hooks)) as it:
        client = await it.client()
        client.send(request("POST", "/", "Content-Length: 5", "Expect: 100-continue"))
        async with asyncio.timeout(5):
            assert (await client.response()).status == 100
            client.send(b"hello")
            assert (await client.response()).status == 200
        assert origin.bodies == [b"hello"]
        assert reader.bodies == ([b"hello"] if reads else [])
        assert b"expect" not in origin.heads[0].lower()


async def test_client_that_waits_for_100_continue_may_be_refused_before() -> None:
    """A hook that answers without reading spares the client its body."""

    async def refuse(_: alb.Request) -> alb.Response:
        return alb.Response(413)

    async with Keeper() as origin, balancing(hooked(origin, refuse)) as it:
        client = await it.client()
        client.send(request("POST", "/", "Content-Length: 5", "Expect: 100-continue"))
        got = await client.response()
        assert (got.status, got.get(b"connection")) == (413, b"close")
        assert origin.heads == []


@pytest.mark.parametrize("send", [send_sized, send_chunked])
@pytest.mark.parametrize("limit", [0, 100, 49_999])
async def test_body_above_the_limit_is_forwarded_all_the_same(send: object, limit: int) -> None:
    """The hook is told BodyTooLarge, and the target gets every byte."""
    reader = Reader(limit)
    async with Keeper() as origin, balancing(hooked(origin, reader)) as it:
        client = await it.client()
        await send(client, BODY)  # type: ignore[operator]
        async with asyncio.timeout(10):
            assert (await client.response()).status == 200
        assert (reader.bodies, reader.too_large) == ([], 1)
        assert origin.bodies == [BODY]
        if send is send_chunked:
            assert b"0\r\nX-Trailer: kept\r\n\r\n" in origin.conversations[0].received


async def test_body_of_exactly_the_limit_is_read() -> None:
    """The limit is the largest body that passes."""
    reader = Reader(len(BODY))
    async with Keeper() as origin, balancing(hooked(origin, reader)) as it:
        client = await it.client()
        await send_sized(client, BODY)
        assert (await client.response()).status == 200
        assert reader.bodies == [BODY]


async def test_hook_with_a_small_limit_and_one_with_a_large_both_get_their_due() -> None:
    """What the first gave up on the second may still read."""
    small, large = Reader(10), Reader()
    async with Keeper() as origin, balancing(hooked(origin, small, large)) as it:
        client = await it.client()
        await send_chunked(client, BODY)
        assert (await client.response()).status == 200
        assert (small.too_large, large.bodies, origin.bodies) == (1, [BODY], [BODY])


async def test_answer_behind_a_body_that_was_read_keeps_the_connection() -> None:
    """The body is over, so the next request follows."""
    reader = Reader(answer=alb.Response(200, body=b"mine"))
    async with Keeper() as origin, balancing(hooked(origin, reader)) as it:
        client = await it.client()
        for send in (send_sized, send_chunked):
            await send(client, BODY)
            got = await client.response()
            assert (got.body, got.get(b"connection")) == (b"mine", None)


async def test_answer_before_the_body_is_read_closes_the_connection() -> None:
    """What is still to come cannot be told from the next request."""
    reader = Reader(10, answer=alb.Response(413))
    async with Keeper() as origin, balancing(hooked(origin, reader)) as it:
        client = await it.client()
        client.send(request("POST", "/", "Content-Length: 100000", body=b"x" * 50_000))
        got = await client.response()
        assert (got.status, got.get(b"connection")) == (413, b"close")
        assert await client.is_closed()


async def test_malformed_body_is_400_whatever_the_hook_makes_of_it() -> None:
    """A hook that swallows every exception cannot let a broken body through to the target."""

    async def swallow(request: alb.Request) -> None:
        try:
            await request.body()
        except Exception:  # noqa: BLE001 - that is what is tested
            return

    async with Keeper() as origin, balancing(hooked(origin, swallow)) as it:
        client = await it.client()
        client.send(request("POST", "/", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\nnonsense\r\n\r\n0\r\n\r\n"))
        async with asyncio.timeout(5):
            got = await client.response()
        assert (got.status, got.get(b"connection")) == (400, b"close")
        assert origin.bodies == []


# Hooks that fail.


async def raises(_: alb.Request) -> None:
    raise LookupError("not my day")


async def answers_nonsense(_: alb.Request) -> alb.Response | None:
    return "nonsense"  # type: ignore[return-value]


async def answers_a_status_that_is_none(_: alb.Request) -> alb.Response | None:
    return alb.Response(99)


async def answers_an_evil_field(_: alb.Request) -> alb.Response | None:
    return alb.Response(200, headers={"X-Evil": "a\r\nSet-Cookie: b"})


async def answers_framing(_: alb.Request) -> alb.Response | None:
    return alb.Response(200, headers={"Content-Length": "1"})


async def hangs(_: alb.Request) -> None:
    await asyncio.Event().wait()


async def hangs_on_its_own_time_out(_: alb.Request) -> None:
    raise TimeoutError("of its own")


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        (raises, "HookFailed"),
        (answers_nonsense, "HookFailed"),
        (answers_a_status_that_is_none, "HookFailed"),
        (answers_an_evil_field, "HookFailed"),
        (answers_framing, "HookFailed"),
        (hangs_on_its_own_time_out, "HookFailed"),
        (hangs, "HookTimeout"),
    ],
)
async def test_hook_that_fails_costs_its_own_exchange_500(hook: object, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """500, a counter and a log line that names the hook; nothing reaches the target, and the next request is fine."""
    async with target() as origin:
        group = alb.TargetGroup("group", origin.address)
        rule = alb.Rule(1, alb.PathPattern("/hook"), [hook, alb.Forward(group)])
        with caplog.at_level(logging.WARNING, "albkit"):
            async with balancing(listener(alb.Forward(group), rule), limits=alb.Limits(hook_timeout=0.1)) as it:
                client = await it.client()
                async with asyncio.timeout(5):
                    assert (await client.get("/hook")).status == 500
                assert it.counters[f"Failure_{reason}"] == 1
                assert it.counters["HTTPCode_ELB_500_Count"] == 1
                assert origin.heads == []
                assert (await client.get("/")).status == 200
    lines = [record.message for record in caplog.records if record.message.startswith(f"{reason}:")]
    assert len(lines) == 1
    assert hook.__name__ in lines[0]  # type: ignore[attr-defined]


async def test_hook_that_hangs_on_the_body_is_500() -> None:
    """A client that sends half of its body keeps a hook no longer than the hook may take."""
    async with target() as origin, balancing(hooked(origin, Reader()), limits=alb.Limits(hook_timeout=0.1)) as it:
        client = await it.client()
        client.send(request("POST", "/", "Content-Length: 10", body=b"half"))
        async with asyncio.timeout(5):
            got = await client.response()
        assert (got.status, got.get(b"connection")) == (500, b"close")
        assert it.counters["Failure_HookTimeout"] == 1
        assert origin.heads == []


class Waiter:
    """A hook that waits until it is cancelled."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, _: alb.Request) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@pytest.mark.parametrize("goes", ["fin", "reset"])
async def test_client_that_leaves_cancels_its_hook_at_once(goes: str) -> None:
    """No waiting for the hook's time-out; counted as 460, and nothing is sent to the target."""
    hook = Waiter()
    async with target() as origin, balancing(hooked(origin, hook)) as it:
        client = await it.client()
        client.send(request("GET", "/"))
        async with asyncio.timeout(5):
            await hook.began.wait()
            if goes == "fin":
                await client.close()
            else:
                client.reset()
            await hook.cancelled.wait()
            while it.runtime.clients:
                await asyncio.sleep(0)
        assert it.counters["Failure_ClientClosed"] == 1
        assert "Failure_HookTimeout" not in it.counters
        assert origin.heads == []


async def test_client_that_leaves_while_its_body_is_read_cancels_the_hook() -> None:
    """The body will never be whole."""
    reader = Reader()
    async with target() as origin, balancing(hooked(origin, reader)) as it:
        client = await it.client()
        client.send(request("POST", "/", "Content-Length: 10", body=b"half"))
        async with asyncio.timeout(5):
            while not any(one.exchange.received_bytes for one in it.runtime.clients):  # type: ignore[attr-defined]
                await asyncio.sleep(0)
            client.reset()
            while it.runtime.clients:
                await asyncio.sleep(0)
        assert it.counters["Failure_ClientClosed"] == 1
        assert reader.bodies == []
        assert origin.heads == []


async def test_stop_does_not_wait_for_a_hook() -> None:
    """Behind `stop_timeout` a hook that still waits is cancelled."""
    hook = Waiter()
    async with target() as origin, balancing(hooked(origin, hook), stop_timeout=0.1) as it:
        client = await it.client()
        client.send(request("GET", "/"))
        async with asyncio.timeout(5):
            await hook.began.wait()
            await it.load_balancer.stop()
        assert hook.cancelled.is_set()
        assert await client.is_closed()
