"""`LoadBalancer.subscribe` reports each exchange, tunnel and failed connection when it has ended (`control/exchange_events.py`)."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

import albkit as alb
from albkit import events
from tests.support.balancing import balancing, listener
from tests.support.h2_client import H2Client
from tests.support.peers import HEAD_END, Conversation, RawClient, free_port, request, target
from tests.support.tunnels import UPGRADE, echo, gone, switching


class Subscriber:
    """Collects events."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: Any) -> None:
        self.events.append(event)

    async def event(self, count: int = 1) -> Any:
        """The last of so many events, as soon as it is there."""
        async with asyncio.timeout(5):
            while len(self.events) < count:
                await asyncio.sleep(0)
        assert len(self.events) == count
        return self.events[-1]


def group(*targets: str, **settings: Any) -> alb.TargetGroup:
    settings.setdefault("ejection", None)
    return alb.TargetGroup("api", targets, **settings)


async def reading(conversation: Conversation) -> None:
    """Reads until the end, and answers nothing."""
    while await conversation.read():
        pass


async def leaving(conversation: Conversation) -> None:
    """Closes after the first bytes."""
    await conversation.read()


def masked(*frame: int) -> bytes:
    """A frame of a client with the masking key 0, so that its payload stands as it is."""
    return bytes((frame[0], frame[1] | 0x80, 0, 0, 0, 0, *frame[2:]))


async def test_forwarded_exchange_is_reported_with_all_that_is_known() -> None:
    """Client, request, rule, target, statuses, bytes, and times that add up."""
    subscriber = Subscriber()
    async with target() as origin:
        rule = alb.Rule(10, alb.PathPattern("/api*"), alb.Forward(group(origin.address)))
        async with balancing(listener(alb.FixedResponse(404), rule, name="web")) as it:
            it.load_balancer.subscribe(subscriber, *events.TRAFFIC)
            before = time.time()
            client = await it.client()
            await client.get("/api/%C3%A9?a=b")
            event = await subscriber.event()
            assert type(event) is events.ExchangeFinished
            assert (event.listener, event.port, event.protocol) == ("web", it.load_balancer.listeners[0].port, "HTTP/1.1")
            assert (event.client.host, event.method, event.path, event.query_string) == ("127.0.0.1", "GET", "/api/%C3%A9", "a=b")
            assert event.trace_id.startswith("Root=1-")
            assert (event.rule_priority, event.action, event.group, str(event.target)) == (10, "forward", "api", origin.address)
            assert (event.status, event.target_status, event.attempts, event.failed_attempts) == (200, 200, 1, ())
            assert (event.error_reason, event.error_side, event.error_detail) == (None, None, "")
            assert (event.received_bytes, event.sent_bytes) == (client.sent, len(client.received))
            assert before <= event.received_at <= event.ended_at <= time.time()
            assert event.ended_at - event.received_at == pytest.approx(event.duration, abs=1e-6)
            steps = (event.request_processing_time, event.target_processing_time, event.response_processing_time)
            assert min(steps) >= 0
            assert sum(steps) == pytest.approx(event.duration)


async def test_own_response_is_reported_without_a_target() -> None:
    """What did not happen is `None`."""
    subscriber = Subscriber()
    async with balancing(listener(alb.FixedResponse(404))) as it:
        it.load_balancer.subscribe(subscriber, *events.TRAFFIC)
        await (await it.client()).get("/")
        event = await subscriber.event()
        assert (event.status, event.target_status, event.action, event.rule_priority) == (404, 0, "fixed-response", 0)
        assert (event.listener, event.group, event.target, event.attempts) == (None, None, None, 0)
        assert event.request_processing_time is event.target_processing_time is event.response_processing_time is None
        assert event.error_reason is None


async def test_failed_exchange_is_reported_with_its_attempts() -> None:
    """A target that refuses the connection, then one that answers; then both refuse it."""
    subscriber = Subscriber()
    dead = f"127.0.0.1:{free_port()}"
    async with target() as origin, balancing(listener(alb.Forward(group(dead, origin.address)))) as it:
        it.load_balancer.subscribe(subscriber, *events.TRAFFIC)
        for _ in range(2):
            await (await it.client()).get("/")
        await subscriber.event(2)
        (retried,) = [event for event in subscriber.events if event.failed_attempts]
        assert [(str(attempt.target), attempt.error_reason) for attempt in retried.failed_attempts] == [(dead, "TargetConnectionRefused")]
        assert (retried.attempts, str(retried.target), retried.error_reason, retried.status) == (2, origin.address, None, 200)
        await it.load_balancer.deregister_targets("api", origin.address)
        await (await it.client()).get("/")
        failed = await subscriber.event(3)
        assert (failed.status, failed.target_status) == (502, 0)
        assert (failed.error_reason, failed.error_side) == ("TargetConnectionRefused", "target")
        assert failed.target_processing_time is failed.response_processing_time is None


async def test_rejected_request_is_an_exchange_and_a_rejected_connection_is_not() -> None:
    """A 400 is a response; a connection above the limit gets none."""
    subscriber = Subscriber()
    async with balancing(listener(alb.FixedResponse(200), max_connections=1)) as it:
        it.load_balancer.subscribe(subscriber, *events.TRAFFIC)
        client = await it.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n")
        second = await it.client()
        assert await second.is_closed()
        await subscriber.event(2)
        by_kind = {type(event): event for event in subscriber.events}
        rejected = by_kind[events.ExchangeFinished]
        assert (rejected.status, rejected.error_reason, rejected.error_side) == (400, "RequestMalformed", "client")
        assert (rejected.method, rejected.path, rejected.rule_priority, rejected.action) == ("", "", None, "")
        failed = by_kind[events.ConnectionFailed]
        assert (failed.error_reason, failed.error_side, failed.protocol) == ("TooManyConnections", "client", "")
        assert failed.client.host == "127.0.0.1"
        assert failed.ended_at == pytest.approx(time.time(), abs=60)


async def test_client_that_leaves_is_reported_with_460() -> None:
    """As in ALB's access log."""
    subscriber = Subscriber()
    asked = asyncio.Event()

    async def silent(conversation: Conversation) -> None:
        await conversation.head()
        asked.set()
        await asyncio.Event().wait()

    async with target(silent) as origin, balancing(listener(alb.Forward(group(origin.address)))) as it:
        it.load_balancer.subscribe(subscriber, *events.TRAFFIC)
        client = await it.client()
        client.send(request("GET", "/"))
        await asked.wait()
        await client.close()
        event = await subscriber.event()
        assert (event.status, event.error_reason) == (460, "ClientClosed")
        assert event.request_processing_time is not None


async def test_streams_of_http2_are_reported_one_by_one() -> None:
    """And a violation of HTTP/2 is a failure of the connection."""
    subscriber = Subscriber()
    async with balancing(listener(alb.FixedResponse(404))) as it:
        it.load_balancer.subscribe(subscriber, *events.TRAFFIC)
        raw = await it.client()
        client = await H2Client(raw).start()
        for count in (1, 2):
            await client.get()
            assert (await subscriber.event(count)).protocol == "HTTP/2"
        raw.send(b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x")  # DATA on stream 0.
        failed = await subscriber.event(3)
        assert (type(failed), failed.error_reason, failed.protocol) == (events.ConnectionFailed, "Http2ProtocolError", "HTTP/2")


@pytest.mark.parametrize(
    ("frame", "code"),
    [(masked(0x88, 2, 0x0F, 0xA1), 4001), (masked(0x88, 0), 1005), (b"", None)],
    ids=["Close 4001", "Close without a code", "FIN"],
)
async def test_tunnel_is_reported_once_with_its_end(frame: bytes, code: int | None) -> None:
    """The exchange that opened it is no event of its own."""
    subscriber = Subscriber()
    async with target(switching(then=reading)) as origin, balancing(listener(alb.Forward(group(origin.address)))) as it:
        it.load_balancer.subscribe(subscriber, *events.TRAFFIC)
        client = await it.client()
        client.send(request("GET", "/ws", *UPGRADE))
        await client.read_until(HEAD_END)
        client.send(masked(0x81, 1, 0x61))
        assert subscriber.events == []
        (tunnel,) = it.load_balancer.tunnels
        assert tunnel.close_code is None
        client.send(frame)
        await client.close()
        await gone(it)
        event = await subscriber.event()
        assert type(event) is events.TunnelClosed
        assert (event.id, event.tunnel_protocol, event.end, event.close_code) == (1, "websocket", alb.TunnelEnd.CLIENT, code)
        assert (event.status, event.method, event.path, event.group) == (101, "GET", "/ws", "api")
        assert event.frames_in == (2 if frame else 1)
        assert event.received_bytes == client.sent
        assert 0 <= event.duration <= event.ended_at - event.received_at + 0.001
        assert event.response_processing_time is None


async def test_tunnel_that_the_program_closes_is_reported_with_its_code() -> None:
    """The code of the load balancer's own Close frame."""
    subscriber = Subscriber()
    async with target(switching(then=leaving)) as origin, balancing(listener(alb.Forward(group(origin.address)))) as it:
        it.load_balancer.subscribe(subscriber, events.TunnelClosed)
        client = await it.client()
        client.send(request("GET", "/ws", *UPGRADE))
        await client.read_until(HEAD_END)
        (tunnel,) = it.load_balancer.tunnels
        closing = asyncio.ensure_future(tunnel.close(1012, "restarting"))
        await client.read_exactly(4)
        await client.close()
        await closing
        event = await subscriber.event()
        assert (event.end, event.close_code, tunnel.close_code) == (alb.TunnelEnd.CLOSED, 1012, 1012)


async def test_connection_of_layer_4_is_a_tunnel() -> None:
    """Also if no target could be connected: then it has neither an id nor an end."""
    subscriber = Subscriber()
    dead = alb.TargetGroup("dead", f"127.0.0.1:{free_port()}", protocol="TCP")
    async with target(echo) as origin:
        tcp = alb.TargetGroup("tcp", origin.address, protocol="TCP")
        listeners = listener(alb.Forward(tcp), protocol="TCP"), listener(alb.Forward(dead), protocol="TCP")
        async with balancing(*listeners) as it:
            it.load_balancer.subscribe(subscriber, *events.TRAFFIC)
            client = await it.client()
            client.send(b"hello")
            assert await client.read_exactly(5) == b"hello"
            await client.close()
            event = await subscriber.event()
            assert type(event) is events.TunnelClosed
            assert (event.id, event.tunnel_protocol, event.end, event.close_code) == (1, "tcp", alb.TunnelEnd.CLIENT, None)
            assert (event.group, event.received_bytes, event.sent_bytes, event.protocol, event.frames_in) == ("tcp", 5, 5, "", None)
            refused = await it.client_of(1)
            assert await refused.is_closed()
            event = await subscriber.event(2)
            assert (type(event), event.id, event.tunnel_protocol, event.end) == (events.TunnelClosed, 0, "tcp", None)
            assert (event.error_reason, event.group) == ("TargetConnectionRefused", "dead")


async def test_events_are_built_only_for_those_who_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a subscriber nothing observes the exchanges; with one for another class, none is built."""
    built: list[type] = []
    for kind in events.TRAFFIC:

        def init(self: Any, *values: Any, _kind: type = kind, _original: Any = kind.__init__, **fields: Any) -> None:
            built.append(_kind)
            _original(self, *values, **fields)

        monkeypatch.setattr(kind, "__init__", init)
    subscriber = Subscriber()
    async with balancing(listener(alb.FixedResponse(404))) as it:
        assert it.runtime.ended is None
        rare = it.load_balancer.subscribe(subscriber, events.TargetStateChanged)
        assert it.runtime.ended is None
        other = it.load_balancer.subscribe(subscriber, events.TunnelClosed)
        await (await it.client()).get("/")
        assert built == []
        all_of_them = it.load_balancer.subscribe(subscriber)
        await (await it.client()).get("/")
        await subscriber.event()
        assert built == [events.ExchangeFinished]
        for unsubscribe in (rare, other, all_of_them):
            assert it.runtime.ended is not None or unsubscribe is rare
            unsubscribe()
        assert it.runtime.ended is None


async def test_subscription_outlasts_a_stop() -> None:
    """It belongs to the load balancer, not to a run."""
    subscriber = Subscriber()
    balancer = alb.LoadBalancer(listener(alb.FixedResponse(404)))
    balancer.subscribe(subscriber, events.ExchangeFinished)
    for count in (1, 2):
        async with balancer:
            client = await RawClient.connect(balancer.listeners[0].port)
            await client.get("/")
            await subscriber.event(count)
            await client.close()


async def test_subscriber_that_raises_costs_no_exchange_and_one_line_per_second(caplog: pytest.LogCaptureFixture) -> None:
    """Every request would write a traceback otherwise."""
    subscriber = Subscriber()

    def raises(_: Any) -> None:
        raise RuntimeError("a subscriber's own fault")

    async with balancing(listener(alb.FixedResponse(200))) as it:
        it.load_balancer.subscribe(raises, events.ExchangeFinished)
        it.load_balancer.subscribe(subscriber, events.ExchangeFinished)
        client = await it.client()
        with caplog.at_level(logging.ERROR, logger="albkit"):
            for _ in range(20):
                assert (await client.get("/")).status == 200
        await subscriber.event(20)
        assert 1 <= len(caplog.records) < 20
        assert "a subscriber's own fault" in caplog.text


async def test_event_outlives_its_exchange_without_keeping_it_alive() -> None:
    """It holds plain data, so a program may keep a million of them."""
    subscriber = Subscriber()
    async with balancing(listener(alb.FixedResponse(200))) as it:
        it.load_balancer.subscribe(subscriber, events.ExchangeFinished)
        await (await it.client()).get("/")
        event = await subscriber.event()
        for name in event.__attrs_attrs__:
            assert type(getattr(event, name.name)).__module__ in ("builtins", "albkit.model.message", "albkit.model.target")
        assert event.client.tls is None
