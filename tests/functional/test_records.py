"""Whatever a client begins has one end, which is counted, logged and told of once (`proxy/finish.py`)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

import albkit as alb
from albkit.errors import FailureKind
from albkit.state.counters import Counters
from albkit.state.record import ExchangeRecord
from tests.support.balancing import balancing, listener
from tests.support.h2_client import H2Client
from tests.support.peers import HEAD_END, Conversation, RawClient, free_port, request, target
from tests.support.tunnels import UPGRADE, echo, gone, switching

Records = list[ExchangeRecord]


async def answering(request: alb.Request) -> alb.Response:
    return alb.Response(200, body=request.method.encode())


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Records:
    """Every record that is counted, in its order."""
    seen: Records = []
    count = ExchangeRecord.count

    def note(record: ExchangeRecord, counters: Counters) -> None:
        seen.append(record)
        count(record, counters)

    monkeypatch.setattr(ExchangeRecord, "count", note)
    return seen


async def settled(records: Records, count: int = 1) -> ExchangeRecord:
    """The last of so many records, as soon as it is there."""
    async with asyncio.timeout(5):
        while len(records) < count:
            await asyncio.sleep(0)
    assert len(records) == count
    return records[-1]


def in_order(record: ExchangeRecord) -> bool:
    """Whether every step of a forwarded exchange was taken, one after the other."""
    times = [record.received_at, record.sent_at, record.answered_at, record.ended_at]
    return times == sorted(times) and min(times) > 0


async def test_forwarded_request_is_recorded_with_all_its_steps(records: Records) -> None:
    """Action, rule, group and target, both statuses, the times of its steps, and the trace id that the target was sent."""
    async with target() as origin, balancing(listener(alb.FixedResponse(404), rule(alb.Forward(group(origin.address))))) as it:
        client = await it.client()
        await client.get("/api")
        record = await settled(records)
        member = it.runtime.registry.group("api").members[origin.address]
        assert (record.action, record.matched_rule_priority, record.attempts, record.failed_attempts) == ("forward", 10, 1, None)
        assert (record.group, record.target) == (it.runtime.registry.group("api"), member)
        assert record.protocol == "HTTP/1.1"
        assert (record.elb_status_code, record.target_status_code, record.failure) == (200, 200, None)
        assert (record.received_bytes, record.sent_bytes) == (client.sent, len(client.received))
        assert in_order(record)
        assert record.request is not None
        assert b"\r\nX-Amzn-Trace-Id: " + record.request.trace_id + b"\r\n" in origin.heads[0]


async def test_redirect_is_recorded_with_its_url(records: Records) -> None:
    """The Location as the client got it; nobody was asked."""
    async with balancing(listener(alb.Redirect(host="www.example.com", port=443, protocol="HTTPS", status_code=301))) as it:
        answer = await (await it.client()).get("/a?b=c")
        record = await settled(records)
        assert record.action == "redirect"
        assert record.redirect_url == answer.get(b"location") == b"https://www.example.com:443/a?b=c"
        assert (record.group, record.target, record.sent_at, record.elb_status_code) == (None, None, 0.0, 301)


@pytest.mark.parametrize(
    ("actions", "action"),
    [
        (alb.FixedResponse(200), "fixed-response"),
        ([answering, alb.FixedResponse(404)], "hook"),
    ],
    ids=["fixed response", "hook"],
)
async def test_answer_of_our_own_is_recorded_with_its_action(records: Records, actions: Any, action: str) -> None:
    """Who answered can be told from the record."""
    async with balancing(listener(actions)) as it:
        assert (await (await it.client()).get("/")).status == 200
        assert (await settled(records)).action == action


async def test_refused_request_is_recorded_without_an_action(records: Records) -> None:
    """Its head could not be read, so there is no request, no rule and no action."""
    async with balancing(listener(alb.FixedResponse(200))) as it:
        client = await it.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n")
        assert (await client.response()).status == 400
        record = await settled(records)
        assert (record.request, record.action, record.matched_rule_priority) == (None, "", -1)
        assert record.failure is not None
        assert record.failure.kind is FailureKind.REQUEST_MALFORMED


async def test_failed_attempts_are_recorded_in_their_order(records: Records) -> None:
    """A target that refuses the connection, then one that answers: the latter is the target of the record."""
    dead = f"127.0.0.1:{free_port()}"
    async with target() as origin, balancing(listener(alb.Forward(group(dead, origin.address)))) as it:
        for _ in range(2):
            client = await it.client()
            assert (await client.get("/")).status == 200
        await settled(records, 2)
        (record,) = [record for record in records if record.failed_attempts]
        assert record.failed_attempts is not None
        assert [(member.address, failure.kind) for member, failure in record.failed_attempts] == [
            (dead, FailureKind.TARGET_CONNECTION_REFUSED)
        ]
        assert (record.attempts, record.target, record.failure) == (2, it.runtime.registry.group("api").members[origin.address], None)
        assert record.failed_attempts[0][1].__traceback__ is None
        of_group, of_dead = it.load_balancer.counters_of("api"), it.load_balancer.counters_of("api", dead)
        assert (of_group["RequestCount"], of_group["RetryCount"], of_group["TargetConnectionErrorCount"]) == (2, 1, 1)
        assert of_dead["TargetConnectionErrorCount"] == 1
        assert it.load_balancer.counters_of("api", origin.address)["HTTPCode_Target_2XX_Count"] == 2


async def test_tunnel_is_recorded_once_at_its_end(records: Records) -> None:
    """With the bytes of both directions; before its end there is no record."""
    async with target(switching(then=echo)) as origin, balancing(listener(alb.Forward(group(origin.address)))) as it:
        client = await it.client()
        client.send(request("GET", "/ws", *UPGRADE))
        await client.read_until(HEAD_END)
        client.send(b"\x81\x80abcd")
        await client.read_exactly(6)
        assert records == []
        await client.close()
        await gone(it)
        record = await settled(records)
        assert (record.action, record.elb_status_code, record.target_status_code) == ("forward", 101, 101)
        assert (record.received_bytes, record.sent_bytes) == (client.sent, len(client.received))
        assert in_order(record)


async def test_connection_of_layer_4_is_recorded_once_at_its_end(records: Records) -> None:
    """With its group and target."""
    async with target(echo) as origin:
        tcp = alb.TargetGroup("tcp", origin.address, protocol="TCP")
        async with balancing(listener(alb.Forward(tcp), protocol="TCP")) as it:
            client = await it.client()
            client.send(b"hello")
            assert await client.read_exactly(5) == b"hello"
            await client.close()
            record = await settled(records)
            assert record.group is it.runtime.registry.group("tcp")
            assert (record.target is not None, record.received_bytes, record.sent_bytes) == (True, 5, 5)


async def test_connection_of_layer_4_without_a_target_is_recorded(records: Records) -> None:
    """It was refused: the attempts say where."""
    dead = f"127.0.0.1:{free_port()}"
    async with balancing(listener(alb.Forward(alb.TargetGroup("tcp", dead, protocol="TCP")), protocol="TCP")) as it:
        client = await it.client()
        assert await client.is_closed()
        record = await settled(records)
        assert record.failure is not None
        assert record.failure.kind is FailureKind.TARGET_CONNECTION_REFUSED
        assert record.ended_at >= record.received_at > 0


async def test_connection_that_is_turned_away_is_recorded(records: Records) -> None:
    """Before any byte of it."""
    async with balancing(listener(alb.FixedResponse(200), max_connections=1)) as it:
        first = await it.client()
        await first.get("/")
        second = await it.client()
        assert await second.is_closed()
        record = await settled(records, 2)
        assert record.failure is not None
        assert record.failure.kind is FailureKind.TOO_MANY_CONNECTIONS


async def test_exchange_whose_task_is_cancelled_is_recorded(records: Records) -> None:
    """As when the program cancels every task: what was going on is counted, and the client's connection is closed."""
    asked = asyncio.Event()

    async def silent(conversation: Any) -> None:
        await conversation.head()
        asked.set()
        await asyncio.Event().wait()

    async with target(silent) as origin, balancing(listener(alb.Forward(group(origin.address)))) as it:
        client = await it.client()
        client.send(request("GET", "/"))
        await asked.wait()
        (connection,) = it.runtime.clients
        connection._task.cancel()  # type: ignore[attr-defined]
        assert await client.is_closed()
        record = await settled(records)
        assert record.failure is not None
        assert record.failure.kind is FailureKind.STOPPED
        assert it.load_balancer.counters_of("api")["ActiveRequestCount"] == 0


async def test_idle_connection_whose_task_is_cancelled_leaves_no_record(records: Records) -> None:
    """Nothing was going on."""
    async with balancing(listener(alb.FixedResponse(200))) as it:
        client = await it.client()
        await client.get("/")
        await settled(records)
        (connection,) = it.runtime.clients
        connection._task.cancel()  # type: ignore[attr-defined]
        assert await client.is_closed()
        assert len(records) == 1


async def test_counts_survive_the_target_the_group_and_the_run() -> None:
    """Sums never go down: what has left its place has left its counts to the next one up."""
    async with target() as origin:
        balancer = alb.LoadBalancer(listener(alb.Forward(group(origin.address, deregistration_delay=0))))
        async with balancer:
            await served(balancer)
            await balancer.deregister_targets("api", origin.address)
            await balancer.drained("api", origin.address, timeout=5)
            assert (balancer.counters["RequestCount"], balancer.counters_of("api")["RequestCount"]) == (1, 1)
            with pytest.raises(LookupError, match="has no target"):
                balancer.counters_of("api", origin.address)
            await balancer.apply(listener(alb.Forward(alb.TargetGroup("other", origin.address))))
            assert balancer.counters["RequestCount"] == 1
            with pytest.raises(LookupError, match="no target group"):
                balancer.counters_of("api")
            await served(balancer)
        assert balancer.counters["RequestCount"] == 2
        async with balancer:
            assert balancer.counters["RequestCount"] == 2
            await served(balancer)
        assert balancer.counters["RequestCount"] == balancer.counters["HTTPCode_Target_2XX_Count"] == 3


async def served(balancer: alb.LoadBalancer) -> None:
    client = await RawClient.connect(balancer.listeners[0].port)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        assert (await client.get("/")).status == 200


def group(*targets: str, **settings: Any) -> alb.TargetGroup:
    settings.setdefault("ejection", None)
    return alb.TargetGroup("api", targets, **settings)


def rule(action: Any) -> alb.Rule:
    return alb.Rule(10, alb.PathPattern("/api*"), action)


async def test_record_has_the_protocol_of_the_client(records: Records) -> None:
    """That of an HTTP/2 stream, and none for a connection of a TCP listener, whose bytes are not read."""
    async with (
        target(echo) as origin,
        balancing(listener(alb.FixedResponse(404)), listener(alb.Forward(group(origin.address)), protocol="TCP")) as it,
    ):
        client = await H2Client(await it.client()).start()
        assert (await client.get()).status == 404
        assert (await settled(records)).protocol == "HTTP/2"
        stream = await it.client_of(1)
        stream.send(b"x")
        await stream.read_exactly(1)
        await stream.close()
        assert (await settled(records, 2)).protocol == ""


async def test_listener_counts_what_its_clients_got_and_rules_count_their_hits() -> None:
    """From targets and from the load balancer itself; after `apply` the counts go on."""
    teapot = alb.Rule(10, alb.PathPattern("/teapot"), alb.FixedResponse(418))
    async with target() as origin:
        first = listener(alb.Forward(group(origin.address)), teapot, name="web")
        async with balancing(first) as it:
            client = await it.client()
            for path in ("/teapot", "/", "/teapot"):
                await client.get(path)
            runtime = it.load_balancer.listeners[0].listener_runtime
            state, rules = runtime.listener_state, runtime.rules
            counters = state.counters
            assert (counters.exchanges, counters.responses_2xx, counters.responses_4xx) == (3, 1, 2)
            assert counters.processed_bytes == client.sent + len(client.received)
            assert (rules.default.hits, [rule.hits for rule in rules.rules]) == (1, [2])
            await it.load_balancer.apply(listener(alb.Forward(group(origin.address)), teapot, name="web", max_connections=10))
            await (await it.client()).get("/teapot")
            assert (runtime.listener_state, counters.exchanges) == (state, 4)
            assert (runtime.rules.default.hits, [rule.hits for rule in runtime.rules.rules]) == (1, [3])


async def test_response_that_needs_more_than_one_write_is_recorded_with_its_beginning(records: Records) -> None:
    """A response in one write began when it ended, so its record does not repeat that."""
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    rest = asyncio.Event()

    async def in_parts(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(whole[:-1])
        await rest.wait()
        conversation.send(whole[-1:])

    async with target(None, whole) as quick, target(in_parts) as slow:
        to_slow = alb.Rule(1, alb.PathPattern("/slow"), alb.Forward(alb.TargetGroup("slow", slow.address)))
        async with balancing(listener(alb.Forward(group(quick.address)), to_slow)) as it:
            client = await it.client()
            await client.get("/")
            assert (await settled(records)).responded_at == 0.0
            client.send(request("GET", "/slow"))
            await client.read_until(HEAD_END)
            rest.set()
            record = await settled(records, 2)
            assert 0 < record.answered_at <= record.responded_at <= record.ended_at
            member = it.runtime.registry.group("slow").members[slow.address]
            assert member.last_active_at == record.ended_at
