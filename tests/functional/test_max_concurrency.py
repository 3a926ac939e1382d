"""Targets that take so many requests at a time: never more, and the others wait in a line that loses nobody."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

import albkit as alb
from tests.support.balancing import Balancing, balancing, listener
from tests.support.clock import FakeClock
from tests.support.effort import cases
from tests.support.gateway import Running
from tests.support.peers import Conversation, RawClient, Target, request, response, target
from tests.support.tunnels import SWITCHED, UPGRADE, echo

PATIENT = 30.0
"""Seconds: a wait that no test sees the end of."""


class Worker:
    """A target that counts how many requests it has at once, and answers one for each `let`."""

    def __init__(self, name: str = "worker") -> None:
        self.name = name
        self.now = self.most = self.done = 0
        self.paths: list[str] = []
        """In the order in which they came."""
        self.bodies: list[bytes] = []
        self.gate = asyncio.Semaphore(0)
        self.origin: Target
        self.pause: Callable[[], float] | None = None
        """Seconds that it works on a request, where it waits for no `let`."""

    def let(self, count: int = 1) -> None:
        """Answer so many."""
        for _ in range(count):
            self.gate.release()

    async def __call__(self, conversation: Conversation) -> None:
        while True:
            head, body = await conversation.request()
            self.now += 1
            self.most = max(self.most, self.now)
            self.paths.append(head.split(b" ")[1].decode())
            self.bodies.append(body)
            try:
                if b"\r\nUpgrade:" in head:
                    conversation.send(SWITCHED)
                    await echo(conversation)
                    return
                if self.pause is None:
                    await self.gate.acquire()
                else:
                    await asyncio.sleep(self.pause())
            finally:
                self.now -= 1
            self.done += 1
            conversation.send(response(200, self.name.encode()))
            await conversation.drain()

    def taking(self, most: int | None) -> alb.Target:
        """As a target that takes so many."""
        return alb.Target("127.0.0.1", self.origin.port, max_concurrency=most)


@contextlib.asynccontextmanager
async def workers(*names: str) -> AsyncIterator[list[Worker]]:
    """Targets that count."""
    async with contextlib.AsyncExitStack() as stack:
        found = [Worker(name) for name in names]
        for worker in found:
            worker.origin = await stack.enter_async_context(target(worker))
        yield found


def group_of(*targets: Any, **settings: Any) -> alb.TargetGroup:
    settings.setdefault("waiting_timeout", PATIENT)
    return alb.TargetGroup("group", list(targets), **settings)


@contextlib.asynccontextmanager
async def limited(*targets: Any, clock: FakeClock | None = None, **settings: Any) -> AsyncIterator[Balancing]:
    """A load balancer in front of targets that take so many; at the end nobody waits and nothing is outstanding."""
    more: dict[str, Any] = {} if clock is None else {"clock": clock}
    async with balancing(listener(alb.Forward(group_of(*targets, **settings)), name="door"), **more) as it:
        yield it
        line = it.runtime.waiting_line(it.runtime.choices["group"])
        for client in it.clients:
            client.writer.transport.abort()
        await until(lambda: not line._places)
        assert it.load_balancer.counters["ActiveWaitingRequestCount"] == 0


async def until(holds: Callable[[], object], within: float = 5.0) -> None:
    """Wait until that is so."""
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0)


def waiting(it: Running) -> int:
    return it.load_balancer.counters["ActiveWaitingRequestCount"]


def outstanding(it: Running) -> int:
    """Of all targets of all groups."""
    return sum(member.outstanding for state in it.runtime.registry.groups for member in state.members.values())


def are_outstanding(it: Running, count: int) -> bool:
    return outstanding(it) == count


async def asks(it: Running, path: str = "/", *fields: str, body: bytes = b"", method: str = "GET") -> RawClient:
    """A client whose request is either with a target or in the line."""
    before = waiting(it) + outstanding(it)
    client = await it.client()
    client.send(request(method, path, *fields, body=body))
    await until(lambda: waiting(it) + outstanding(it) > before)
    return client


async def answered(client: RawClient) -> tuple[int, bytes]:
    async with asyncio.timeout(10):
        answer = await client.response()
    return answer.status, answer.body


# The limit.


@pytest.mark.parametrize("limits", [(1,), (3,), (1, 1), (2, 3), (1, 2, 5)])
async def test_burst_never_gives_a_target_more_than_it_takes_and_all_are_served(limits: tuple[int, ...]) -> None:
    """The targets are filled to the last place, and no further; whoever waits is served."""
    async with workers(*"abc"[: len(limits)]) as found:
        async with limited(*(worker.taking(most) for worker, most in zip(found, limits, strict=True))) as it:
            clients = [await asks(it, f"/{number}") for number in range(40)]
            await until(lambda: [worker.now for worker in found] == list(limits))
            assert waiting(it) == 40 - sum(limits)
            assert it.load_balancer.counters["RequestCount"] == sum(limits)
            for worker in found:
                worker.let(40)
            assert {(await answered(client))[0] for client in clients} == {200}
            assert [worker.most for worker in found] == list(limits)
            assert waiting(it) == 0
            assert sum(worker.done for worker in found) == 40
        assert "TargetControlRequestRejectCount" not in it.counters


async def test_those_who_wait_are_served_in_the_order_in_which_they_came() -> None:
    """Whichever target has room first."""
    async with workers("a", "b") as (a, b), limited(a.taking(1), b.taking(2)) as it:

        def came(count: int) -> bool:
            return len(a.paths) + len(b.paths) == count

        clients = [await asks(it, f"/{number}") for number in range(20)]
        await until(lambda: a.now + b.now == 3)
        for number in range(3, 20):
            worker = b if number % 3 else a
            worker.let()
            await until(partial(came, number + 1))
            assert worker.paths[-1] == f"/{number}"
        a.let(9)
        b.let(9)
        assert {(await answered(client))[0] for client in clients} == {200}


async def test_who_comes_while_others_wait_stands_behind_them() -> None:
    """Even one that comes in the very moment in which there is room."""
    async with workers("a") as (a,), limited(a.taking(1)) as it:
        first = await asks(it, "/0")
        second = await asks(it, "/1")
        a.let()
        late = [await it.client() for _ in range(5)]
        for number, client in enumerate(late):
            client.send(request("GET", f"/late{number}"))
        assert await answered(first) == (200, b"a")
        a.let(9)
        for client in (second, *late):
            assert await answered(client) == (200, b"a")
        assert a.paths[:2] == ["/0", "/1"]
        assert a.most == 1


async def test_target_without_a_limit_takes_what_the_others_do_not() -> None:
    """Nobody waits while there is one."""
    async with workers("a", "b") as (a, b), limited(a.taking(1), b.taking(None)) as it:
        clients = [await asks(it) for _ in range(12)]
        await until(lambda: a.now + b.now == 12)
        assert (a.now, b.now, waiting(it)) == (1, 11, 0)
        a.let(12)
        b.let(12)
        assert {(await answered(client))[0] for client in clients} == {200}


async def test_requests_one_after_the_other_find_room_each_time() -> None:
    """A connection is kept, nobody waits, and no target is preferred."""
    async with workers("a", "b") as (a, b), limited(a.taking(1), b.taking(1)) as it:
        a.let(99)
        b.let(99)
        client = await it.client()
        assert {(await client.get()).status for _ in range(20)} == {200}
        assert (a.done, b.done) == (10, 10)
        assert waiting(it) == 0


# Who is turned away.


async def test_line_that_is_full_is_503_at_once() -> None:
    """Counted; those in it are served all the same, and one more may come when one has left."""
    async with workers("a") as (a,), limited(a.taking(1), waiting_line=2) as it:
        inside = [await asks(it, f"/{number}") for number in range(3)]
        turned_away = await it.client()
        for count in (1, 2):
            turned_away.send(request("GET", "/no"))
            assert (await answered(turned_away))[0] == 503
            assert it.counters["TargetControlRequestRejectCount"] == count
            assert it.counters["Failure_WaitingLineFull"] == count
        a.let()
        assert await answered(inside[0]) == (200, b"a")
        await until(lambda: waiting(it) == 1)
        inside.append(await asks(it, "/3"))
        a.let(3)
        assert {(await answered(client))[0] for client in inside[1:]} == {200}
        assert a.paths == ["/0", "/1", "/2", "/3"]


async def test_line_of_nobody_is_503_as_soon_as_all_targets_are_full() -> None:
    """`waiting_line=0`, as ALB's target optimizer: nothing ever waits."""
    async with workers("a", "b") as (a, b), limited(a.taking(1), b.taking(2), waiting_line=0) as it:
        inside = [await asks(it) for _ in range(3)]
        client = await it.client()
        for _ in range(3):
            assert (await client.get()).status == 503
        assert waiting(it) == 0
        a.let(9)
        b.let(9)
        assert {(await answered(one))[0] for one in inside} == {200}
        assert (await client.get()).status == 200
        assert it.counters["TargetControlRequestRejectCount"] == 3


async def test_wait_that_is_too_long_is_503() -> None:
    """Not before its time, counted; the connection goes on, and its place is free."""
    async with workers("a") as (a,), limited(a.taking(1), waiting_timeout=0.1, waiting_line=1) as it:
        inside = await asks(it, "/in")
        client = await it.client()
        for count in (1, 2):
            began = time.monotonic()
            async with asyncio.timeout(10):
                assert (await client.get("/out")).status == 503
            assert time.monotonic() - began > 0.09
            assert it.counters["TargetControlRequestRejectCount"] == count
            assert it.counters["Failure_WaitedTooLong"] == count
        a.let(2)
        assert await answered(inside) == (200, b"a")
        assert (await client.get("/again")).status == 200
        assert a.paths == ["/in", "/again"]


async def test_each_waits_for_its_own_time() -> None:
    """The first to come is the first to be turned away, and room that comes later is for the next."""
    async with workers("a") as (a,), limited(a.taking(1), waiting_timeout=0.2) as it:
        inside = await asks(it, "/in")
        first = await asks(it, "/first")
        await asyncio.sleep(0.1)
        second = await asks(it, "/second")
        assert (await answered(first))[0] == 503
        assert waiting(it) == 1
        a.let(2)
        assert await answered(inside) == (200, b"a")
        assert await answered(second) == (200, b"a")


async def test_wait_longer_than_the_idle_timeout_is_no_fault_of_a_target() -> None:
    """No target has the request yet, so none can have been silent."""
    clock = FakeClock()
    async with workers("a", "b") as (a, b), limited(a.taking(1), clock=clock) as it:
        tunnel = await it.client()
        tunnel.send(request("GET", "/ws", *UPGRADE))
        assert (await tunnel.response()).status == 101
        waits = await asks(it, "/waits")
        for _ in range(4):
            tunnel.send(b"x")
            await tunnel.read_exactly(1)
            clock.advance(20)
            it.runtime.sweep.look(clock.now)
        await it.load_balancer.register_targets("group", b.taking(None))
        b.let(9)
        assert await answered(waits) == (200, b"b"), it.counters


# Who leaves.


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_client_that_leaves_while_it_waits_frees_its_place(how: str) -> None:
    """No target hears of it, and the next one moves up."""
    async with workers("a") as (a,), limited(a.taking(1), waiting_line=2) as it:
        inside = await asks(it, "/in")
        leaves, stays = await asks(it, "/leaves"), await asks(it, "/stays")
        if how == "fin":
            await leaves.close()
        else:
            leaves.reset()
        await until(lambda: waiting(it) == 1)
        moves_up = await asks(it, "/up")
        assert waiting(it) == 2
        a.let(9)
        for client in (inside, stays, moves_up):
            assert await answered(client) == (200, b"a")
        assert a.paths == ["/in", "/stays", "/up"]
        await until(lambda: it.counters.get("Failure_ClientClosed") == 1)
        assert "TargetControlRequestRejectCount" not in it.counters


async def test_client_that_leaves_its_target_gives_its_place_to_the_next() -> None:
    """As one that was answered."""
    async with workers("a") as (a,), limited(a.taking(1)) as it:
        leaves, waits = await asks(it, "/leaves"), await asks(it, "/waits")
        leaves.reset()
        await until(lambda: a.paths == ["/leaves", "/waits"])
        a.let(9)
        assert await answered(waits) == (200, b"a")


async def test_client_that_leaves_in_the_moment_of_its_turn_passes_the_turn_on() -> None:
    """However the two fall together."""
    async with workers("a") as (a,), limited(a.taking(1)) as it:
        for _ in range(30):
            inside = await asks(it, "/in")
            leaves, stays = await asks(it, "/leaves"), await asks(it, "/stays")
            a.let()
            leaves.reset()
            assert await answered(inside) == (200, b"a")
            a.let(2)
            assert await answered(stays) == (200, b"a")
            await until(lambda: not waiting(it) and not outstanding(it))
            while not a.gate.locked():
                await a.gate.acquire()


async def test_tunnel_counts_as_long_as_it_lives() -> None:
    """And an upgrade waits as any other request."""
    async with workers("a") as (a,), limited(a.taking(2)) as it:
        tunnels = [await it.client() for _ in range(2)]
        for tunnel in tunnels:
            tunnel.send(request("GET", "/ws", *UPGRADE))
            assert (await tunnel.response()).status == 101
        third = await asks(it, "/third", *UPGRADE)
        fourth = await asks(it, "/fourth")
        assert waiting(it) == 2
        tunnels[0].reset()
        assert (await answered(third))[0] == 101
        assert waiting(it) == 1
        a.let(9)
        tunnels[1].reset()
        assert await answered(fourth) == (200, b"a")
        assert a.most == 2


async def test_refused_upgrade_frees_its_place() -> None:
    """A 200 in the place of a 101 is a response as any other."""
    async with target() as origin, limited(alb.Target("127.0.0.1", origin.port, max_concurrency=1)) as it:
        client = await it.client()
        assert {(await client.get("/ws", *UPGRADE)).status for _ in range(5)} == {200}
        assert outstanding(it) == 0


# More room.


async def test_another_target_takes_those_who_wait() -> None:
    """As many as it may have, at once and in their order."""
    async with workers("a", "b") as (a, b), limited(a.taking(1)) as it:
        clients = [await asks(it, f"/{number}") for number in range(6)]
        await it.load_balancer.register_targets("group", b.taking(3))
        await until(lambda: b.paths == ["/1", "/2", "/3"])
        assert waiting(it) == 2
        a.let(9)
        b.let(9)
        assert {(await answered(client))[0] for client in clients} == {200}


@pytest.mark.parametrize("how", ["register", "apply"])
@pytest.mark.parametrize("most", [3, None])
async def test_larger_limit_takes_those_who_wait(how: str, most: int | None) -> None:
    """At once; without a limit all of them."""
    async with workers("a") as (a,), limited(a.taking(1)) as it:
        clients = [await asks(it, f"/{number}") for number in range(8)]
        if how == "register":
            await it.load_balancer.register_targets("group", a.taking(most))
        else:
            await it.load_balancer.apply(listener(alb.Forward(group_of(a.taking(most))), name="door"))
        await until(lambda: a.now == (most or 8))
        assert waiting(it) == 8 - (most or 8)
        a.let(9)
        assert {(await answered(client))[0] for client in clients} == {200}
        assert a.most == (most or 8)


async def test_smaller_limit_holds_for_those_who_come() -> None:
    """What is under way goes on; the next one goes out when there are fewer than the new limit."""
    async with workers("a") as (a,), limited(a.taking(None)) as it:
        clients = [await asks(it, f"/{number}") for number in range(4)]
        await it.load_balancer.register_targets("group", a.taking(2))
        late = await asks(it, "/late")
        for left in (3, 2):
            a.let()
            await until(partial(are_outstanding, it, left))
            assert waiting(it) == 1
        a.let()
        await until(lambda: a.paths[-1] == "/late")
        a.let(9)
        assert {(await answered(client))[0] for client in (*clients, late)} == {200}


async def test_target_that_comes_back_from_its_drain_takes_those_who_wait() -> None:
    """With what it still has to do counted."""
    async with workers("a", "b") as (a, b), limited(a.taking(2), b.taking(1)) as it:
        inside = [await asks(it) for _ in range(3)]
        await until(lambda: a.now == 2 and b.now == 1)
        await it.load_balancer.deregister_targets("group", a.taking(2))
        a.let()
        await until(lambda: outstanding(it) == 2)
        waits = [await asks(it, "/x"), await asks(it, "/y")]
        await it.load_balancer.register_targets("group", a.taking(2))
        await until(lambda: a.paths[2:] == ["/x"])
        assert waiting(it) == 1
        a.let(9)
        b.let(9)
        assert {(await answered(client))[0] for client in (*inside, *waits)} == {200}
        assert a.most == 2


# Targets that fail.


async def test_target_that_dies_leaves_those_who_wait_to_the_others() -> None:
    """Its own request is tried again, all are served, and the other one is not given more than it takes."""
    async with workers("a", "b") as (a, b), limited(a.taking(1), b.taking(1)) as it:
        clients = [await asks(it, f"/{number}") for number in range(6)]
        await until(lambda: a.now == b.now == 1)
        await a.origin.close()
        b.let(99)
        statuses = Counter([(await answered(client))[0] for client in clients])
        assert statuses[200] >= 5, statuses
        assert b.most == 1
        assert waiting(it) == outstanding(it) == 0


async def test_only_target_that_dies_ends_every_wait() -> None:
    """Each finds out for itself, and none is left in the line."""
    async with workers("a") as (a,), limited(a.taking(1)) as it:
        clients = [await asks(it, f"/{number}") for number in range(6)]
        await a.origin.close()
        assert {(await answered(client))[0] for client in clients} == {502}
        assert waiting(it) == outstanding(it) == 0


async def test_last_target_that_is_deregistered_is_503_for_all_who_wait() -> None:
    """At once, without waiting for their time; what it has goes on."""
    async with workers("a") as (a,), limited(a.taking(1)) as it:
        inside, *waits = [await asks(it, f"/{number}") for number in range(6)]
        await it.load_balancer.deregister_targets("group", a.taking(1))
        assert {(await answered(client))[0] for client in waits} == {503}
        assert it.counters["Failure_NoTargets"] == 5
        a.let()
        assert await answered(inside) == (200, b"a")
        assert (await inside.get()).status == 503


async def test_retry_gives_no_target_more_than_it_takes() -> None:
    """Every second request is not answered by one target; the other one never has two."""
    turn = iter(range(10_000))

    async def moody(conversation: Conversation) -> None:
        while True:
            await conversation.head()
            if next(turn) % 2:
                return
            conversation.send(response(200, b"moody"))

    async with target(moody) as other, workers("b") as (b,):
        b.pause = lambda: 0.001
        async with limited(alb.Target("127.0.0.1", other.port, max_concurrency=1), b.taking(1)) as it:
            clients = [await it.client() for _ in range(10)]

            async def ask(client: RawClient) -> list[int]:
                return [(await client.get()).status for _ in range(15)]

            async with asyncio.timeout(10):
                statuses = Counter(status for some in await asyncio.gather(*map(ask, clients)) for status in some)
            assert statuses[200] > 140, statuses
            assert b.most == 1


async def test_group_that_goes_away_ends_every_wait() -> None:
    """With an answer of ours, at once."""
    async with workers("a") as (a,), balancing(listener(alb.Forward(group_of(a.taking(1))), name="door")) as it:
        inside, *waits = [await asks(it, f"/{number}") for number in range(4)]
        await it.load_balancer.apply(listener(alb.FixedResponse(200, "none"), name="door"))
        assert {(await answered(client))[0] for client in waits} == {503}
        a.let()
        assert await answered(inside) == (200, b"a")
        assert (await inside.get()).body == b"none"
        assert waiting(it) == 0


async def test_stop_waits_for_nobody_in_the_line_for_longer_than_it_may() -> None:
    """Their connections end with the others."""
    async with workers("a") as (a,), balancing(listener(alb.Forward(group_of(a.taking(1))))) as it:
        clients = [await asks(it, f"/{number}") for number in range(4)]
        async with asyncio.timeout(5):
            await it.load_balancer.stop()
        for client in clients:
            with contextlib.suppress(ConnectionError):
                assert await client.read_to_end() == b"" or client.received.startswith(b"HTTP/1.1 5")
        assert it.load_balancer.counters["ActiveWaitingRequestCount"] == 0
        await it.load_balancer.start()


# Requests that bring more.


async def test_pipelined_requests_wait_one_after_the_other() -> None:
    """Only the first of a connection stands in the line, and the answers come in their order."""
    async with workers("a") as (a,), limited(a.taking(1)) as it:
        inside = await asks(it, "/in")
        client = await it.client()
        client.send(b"".join(request("GET", f"/{number}") for number in range(4)))
        await until(lambda: waiting(it) == 1)
        other = await asks(it, "/other")
        assert waiting(it) == 2
        a.let(9)
        assert [await answered(client) for _ in range(4)] == [(200, b"a")] * 4
        assert await answered(inside) == await answered(other) == (200, b"a")
        assert a.paths[:3] == ["/in", "/0", "/other"]
        assert a.paths[3:] == ["/1", "/2", "/3"]


CHUNKED = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (b"first", b"x" * 5000, b"last")) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "sent", "body"),
    [
        pytest.param(("Content-Length: 5",), b"hello", b"hello", id="short"),
        pytest.param(("Content-Length: 3000000",), b"y" * 3_000_000, b"y" * 3_000_000, id="long"),
        pytest.param(("Transfer-Encoding: chunked",), CHUNKED, b"first" + b"x" * 5000 + b"last", id="chunked"),
    ],
)
@pytest.mark.parametrize("outcome", ["served", "turned-away", "leaves"])
async def test_body_of_a_request_that_waits(fields: tuple[str, ...], sent: bytes, body: bytes, outcome: str) -> None:
    """It arrives whole where its request is served, and is in nobody's way where it is not."""
    async with workers("a") as (a,), limited(a.taking(1), waiting_timeout=0.1 if outcome == "turned-away" else PATIENT) as it:
        inside = await asks(it, "/in")
        client = await asks(it, "/post", *fields, body=sent, method="POST")
        assert waiting(it) == 1
        if outcome == "served":
            a.let(9)
            assert await answered(client) == (200, b"a")
            assert a.bodies == [b"", body]
            assert (await client.get("/next")).status == 200
        elif outcome == "turned-away":
            assert (await answered(client))[0] == 503
            a.let()
        else:
            client.reset()
            await until(lambda: waiting(it) == 0)
            a.let()
        assert await answered(inside) == (200, b"a")
        if outcome != "served":
            assert a.paths == ["/in"]
            a.let()
            assert (await inside.get("/on")).status == 200


async def test_body_that_is_waited_for_is_asked_for_when_there_is_room() -> None:
    """100 Continue comes with the turn, not before."""
    async with workers("a") as (a,), limited(a.taking(1)) as it:
        inside = await asks(it, "/in")
        client = await asks(it, "/post", "Expect: 100-continue", "Content-Length: 5", method="POST")
        a.let()
        assert await answered(inside) == (200, b"a")
        assert (await answered(client))[0] == 100
        client.send(b"hello")
        a.let()
        assert await answered(client) == (200, b"a")
        assert client.received.count(b"HTTP/1.1 ") == 2


async def test_body_that_is_waited_for_is_not_asked_for_where_there_is_no_room() -> None:
    """503 in the place of 100 Continue."""
    async with workers("a") as (a,), limited(a.taking(1), waiting_line=0) as it:
        inside = await asks(it, "/in")
        client = await it.client()
        client.send(request("POST", "/post", "Expect: 100-continue", "Content-Length: 5"))
        assert (await answered(client))[0] == 503
        assert client.received.count(b"HTTP/1.1 ") == 1
        a.let()
        assert await answered(inside) == (200, b"a")


# Everything at once.

EACH = cases(80, part=4)
"""Requests of each of forty clients."""


class Crowd:
    """Clients that ask, wait, give up and come again, by a seed."""

    def __init__(self, it: Running, seed: int) -> None:
        self.it = it
        self.chance = random.Random(seed)
        self.statuses: Counter[int] = Counter()
        self.left = 0

    async def member(self, requests: int) -> None:
        """One client after the other, so many requests in all."""
        client: RawClient | None = None
        for number in range(requests):
            if client is None:
                client = await RawClient.connect(self.it.port)
            whim = self.chance.random()
            if whim < 0.15:
                client.send(request("POST", f"/{number}", "Content-Length: 6", body=b"posted"))
            else:
                client.send(request("GET", f"/{number}"))
            if whim > 0.75:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.chance.random() * 0.01):
                        await client.response()
                self.left += 1
                client.reset() if whim > 0.87 else await client.close()
                client = None
                continue
            async with asyncio.timeout(10):
                self.statuses[(await client.response()).status] += 1
        if client is not None:
            await client.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_thousands_of_requests_with_clients_that_give_up_lose_no_wake_up(seed: int) -> None:
    """All are answered in bounded time, no target has more than it takes, and at the end nobody waits and nothing is outstanding."""
    async with (
        workers("a", "b", "c") as found,
        limited(*(worker.taking(most) for worker, most in zip(found, (1, 2, 3), strict=True))) as it,
    ):
        chance = random.Random(seed)
        most: Counter[str] = Counter()

        def pause(worker: Worker) -> float:
            member = it.runtime.registry.group("group").members[worker.origin.address]
            most[worker.name] = max(most[worker.name], member.outstanding)
            return chance.random() * 0.002

        for worker in found:
            worker.pause = partial(pause, worker)
        crowd = Crowd(it, seed)
        async with asyncio.timeout(18):
            await asyncio.gather(*(crowd.member(EACH) for _ in range(40)))
        await until(lambda: not waiting(it) and not outstanding(it))
        assert crowd.statuses.keys() == {200}
        assert crowd.left > 6 * EACH
        assert most == {"a": 1, "b": 2, "c": 3}
        client = await it.client()
        assert {(await client.get()).status for _ in range(6)} == {200}


async def test_thousands_of_requests_while_targets_come_and_go_lose_no_wake_up() -> None:
    """The limits change, a target drains and comes back, all the time: only 200, and 503 where the line is full."""
    async with workers("a", "b", "c") as (a, b, c), limited(a.taking(2), b.taking(1), waiting_line=30) as it:
        for worker in (a, b, c):
            worker.pause = lambda: 0.001
        crowd = Crowd(it, 3)
        stirring = True

        async def stir() -> None:
            balancer = it.load_balancer
            for turn in range(10_000):
                if not stirring:
                    return
                await asyncio.sleep(0.003)
                if turn % 3 == 0:
                    await balancer.register_targets("group", a.taking(1 + turn % 4))
                elif turn % 3 == 1:
                    await balancer.deregister_targets("group", b.taking(1))
                else:
                    await balancer.register_targets("group", [b.taking(1 + turn % 2), c.taking(1)])

        async with asyncio.timeout(18):
            stirs = asyncio.ensure_future(stir())
            await asyncio.gather(*(crowd.member(EACH) for _ in range(40)))
            stirring = False
            await stirs
        await until(lambda: not waiting(it) and not outstanding(it))
        assert crowd.statuses.keys() <= {200, 503}, crowd.statuses
        assert crowd.statuses[200] > 6 * EACH
        assert crowd.statuses[503] <= it.load_balancer.counters["TargetControlRequestRejectCount"]
