"""Every algorithm with real targets: whom it chooses, what it is told, and what becomes of a request that has to be sent again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import albkit as alb
from albkit.extensions import AlgorithmTarget
from tests.support.balancing import Balancing, balancing, listener, named
from tests.support.clock import FakeClock, first_in_order
from tests.support.gateway import Running
from tests.support.peers import Conversation, RawClient, Response, Script, free_port, request, response, target
from tests.support.tunnels import UPGRADE, echo, switching

NAMES = (
    "round_robin",
    "least_outstanding_requests",
    "weighted_random",
    "ip_hash",
    "consistent_hash",
    "least_response_time",
    "by_traffic",
)
ALGORITHMS = {name: name for name in NAMES} | {"no-load-bound": alb.ConsistentHash(load_bound=None)}
any_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)


def using(algorithm: Any, *targets: Any, **settings: Any) -> alb.Listener:
    """A listener in front of one group with this algorithm."""
    return listener(alb.Forward(alb.TargetGroup("group", list(targets), algorithm=algorithm, **settings)), name="door")


async def client_from(it: Running, address: str) -> RawClient:
    """A client with this address of its own."""
    client = RawClient(*await asyncio.open_connection("127.0.0.1", it.port, local_addr=(address, 0), limit=2**26))
    it.clients.append(client)
    return client


async def get_from(it: Running, address: str, path: str = "/", *fields: str) -> Response:
    """One request from this address, on a connection of its own."""
    client = await client_from(it, address)
    answer = await client.get(path, *fields)
    await client.close()
    return answer


async def from_everywhere(it: Running, count: int) -> list[Response]:
    """As many requests, each from another address and for another path."""
    return [await get_from(it, f"127.0.0.{2 + number}", f"/{number}") for number in range(count)]


# All of them.


@any_algorithm
async def test_every_target_gets_its_part_and_a_weight_of_nothing_none(algorithm: Any) -> None:
    """Among 90 requests from as many addresses and for as many paths each of three targets has some; a fourth is there, with weight 0."""
    async with named("a", "b", "c", "d") as found:
        *targets, none = found
        idle = alb.Target("127.0.0.1", none.port, weight=0)
        chance = random.Random(1).random
        async with balancing(using(algorithm, *(one.address for one in targets), idle), clock=FakeClock(chance)) as it:
            seen = Counter([answer.body for answer in await from_everywhere(it, 90)])
            assert sum(seen.values()) == 90
            assert seen.keys() == {b"a", b"b", b"c"}
            assert min(seen.values()) > 8, seen
            assert not none.heads


async def closing(conversation: Conversation) -> None:
    """A target that closes in the place of an answer."""
    await conversation.head()


@any_algorithm
@pytest.mark.parametrize("how", ["refuses", "closes"])
async def test_request_whose_target_fails_is_tried_at_another_one(algorithm: Any, how: str) -> None:
    """Under every algorithm: all are answered 200, and the retries are counted."""
    async with target(closing) as broken, named("a", "b") as (a, b):
        bad = broken.address if how == "closes" else f"127.0.0.1:{free_port()}"
        async with balancing(using(algorithm, bad, a.address, b.address), clock=FakeClock(random.Random(2).random)) as it:
            answers = await from_everywhere(it, 30)
            assert {answer.status for answer in answers} == {200}
            assert {answer.body for answer in answers} == {b"a", b"b"}
            assert it.counters["RetryCount"] >= 1
            assert len(broken.conversations) == (it.counters["RetryCount"] if how == "closes" else 0)


@any_algorithm
async def test_request_that_nobody_answers_is_502(algorithm: Any) -> None:
    """Each of the three is tried once."""
    async with (
        target(closing) as a,
        target(closing) as b,
        target(closing) as c,
        balancing(using(algorithm, a.address, b.address, c.address)) as it,
    ):
        assert (await (await it.client()).get()).status == 502
        assert [len(one.conversations) for one in (a, b, c)] == [1, 1, 1]


@any_algorithm
async def test_targets_come_and_go_under_load(algorithm: Any) -> None:
    """No request fails, one that has left gets nothing, and one that has come gets some."""
    async with named("a", "b", "c") as (a, b, c), balancing(using(algorithm, a.address, b.address)) as it:
        seen: Counter[bytes] = Counter()
        over = False

        async def ask(place: int) -> None:
            client = await client_from(it, f"127.0.1.{place}")
            number = 0
            while not over:
                number += 1
                answer = await client.get(f"/{place}/{number}")
                assert answer.status == 200
                seen[answer.body] += 1

        asking = [asyncio.ensure_future(ask(place)) for place in range(1, 9)]
        for _ in range(10):
            await some_more(seen, 20)
            await it.load_balancer.deregister_targets("group", a.address)
            await it.load_balancer.register_targets("group", c.address)
            await it.load_balancer.drained("group", a.address, timeout=5)
            without = len(a.heads)
            await some_more(seen, 20)
            assert len(a.heads) == without
            await it.load_balancer.register_targets("group", alb.Target("127.0.0.1", a.port, weight=3))
            await it.load_balancer.deregister_targets("group", c.address)
        over = True
        await asyncio.gather(*asking)
        assert seen.keys() == {b"a", b"b", b"c"}


async def some_more(seen: Counter[bytes], count: int) -> None:
    """Wait until so many more answers have come."""
    wanted = sum(seen.values()) + count
    async with asyncio.timeout(5):
        while sum(seen.values()) < wanted:
            await asyncio.sleep(0)


@any_algorithm
async def test_algorithm_is_changed_while_requests_are_under_way(algorithm: Any) -> None:
    """From each to this one and on to another: what is under way ends well, and the new one begins with what is outstanding."""
    release = asyncio.Event()

    async def held(conversation: Conversation) -> None:
        while True:
            head = await conversation.head()
            if b" /held" in head:
                await release.wait()
            conversation.send(response(200, b"held"))

    async with target(held) as a, named("b") as (b,), balancing(using("round_robin", a.address, b.address), clock=first_in_order()) as it:
        waits = await it.client()
        waits.send(request("GET", "/held"))
        await a.arrived()
        for setting in (algorithm, "least_outstanding_requests", algorithm):
            await it.load_balancer.apply(using(setting, a.address, b.address))
            assert {answer.status for answer in await from_everywhere(it, 6)} == {200}
        release.set()
        assert (await waits.response()).status == 200
        assert {answer.status for answer in await from_everywhere(it, 6)} == {200}


# ip_hash.

ADDRESSES = [f"127.0.0.{number}" for number in range(2, 42)]


async def homes(it: Running) -> dict[str, bytes]:
    """The target of each address."""
    return {address: (await get_from(it, address)).body for address in ADDRESSES}


async def test_ip_hash_sends_an_address_to_one_target() -> None:
    """Whatever it asks for and on whichever connection, also behind a restart, in another load balancer, and as explain tells."""
    async with named("a", "b", "c") as found:
        addresses = [one.address for one in found]
        by_address = {one.address: name for one, name in zip(found, (b"a", b"b", b"c"), strict=True)}
        async with balancing(using("ip_hash", *addresses)) as it, balancing(using("ip_hash", *reversed(addresses))) as other:
            first = await homes(it)
            assert set(first.values()) == {b"a", b"b", b"c"}
            assert await homes(other) == first
            client = await client_from(it, "127.0.0.9")
            fields = ("X-Forwarded-For: 9.9.9.9", "Cookie: a=1")
            assert {(await client.get(f"/{number}?{number}", *fields)).body for number in range(9)} == {first["127.0.0.9"]}
            for address in ADDRESSES[:5]:
                told = it.load_balancer.explain("GET", "http://example.com/", client=address)
                assert by_address[str(told.target)] == first[address]
        async with balancing(using("ip_hash", *addresses)) as it:
            assert await homes(it) == first


async def test_ip_hash_moves_only_the_addresses_of_the_target_that_goes() -> None:
    """And they come back with it."""
    async with named("a", "b", "c") as found, balancing(using("ip_hash", *(one.address for one in found))) as it:
        first = await homes(it)
        await it.load_balancer.deregister_targets("group", found[1].address)
        without = await homes(it)
        assert {address for address in ADDRESSES if without[address] != first[address]} == {
            address for address in ADDRESSES if first[address] == b"b"
        }
        await it.load_balancer.register_targets("group", found[1].address)
        assert await homes(it) == first


# consistent_hash.

PATHS = [f"/item/{number}" for number in range(40)]


async def places(it: Running, *fields: str) -> dict[str, bytes]:
    """The target of each path."""
    client = await it.client()
    return {path: (await client.get(path, *fields)).body for path in PATHS}


async def test_consistent_hash_sends_a_path_to_one_target() -> None:
    """Whoever asks for it; host, path and query all count, and two load balancers agree."""
    async with named("a", "b", "c") as found:
        addresses = [one.address for one in found]
        async with balancing(using("consistent_hash", *addresses)) as it:
            first = await places(it)
            assert set(first.values()) == {b"a", b"b", b"c"}
            assert await places(it, "Cookie: a=1") == first
            assert {(await get_from(it, address, PATHS[3])).body for address in ADDRESSES[:8]} == {first[PATHS[3]]}
            client = await it.client()
            assert len({(await client.get(f"/x?{number}")).body for number in range(24)}) == 3
            assert len({(await client.get("/x", host=f"h{number}.example.com")).body for number in range(24)}) == 3
        async with balancing(using(alb.ConsistentHash(), *reversed(addresses))) as it:
            assert await places(it) == first


async def test_consistent_hash_moves_only_the_keys_of_the_target_that_goes() -> None:
    """And they come back with it."""
    async with named("a", "b", "c") as found, balancing(using("consistent_hash", *(one.address for one in found))) as it:
        first = await places(it)
        await it.load_balancer.deregister_targets("group", found[2].address)
        without = await places(it)
        assert {path for path in PATHS if without[path] != first[path]} == {path for path in PATHS if first[path] == b"c"}
        await it.load_balancer.register_targets("group", found[2].address)
        assert await places(it) == first


def user(request: alb.Request) -> Any:
    """A key by a field; awkward ones where that is asked for."""
    name = request.headers.get("X-User")
    if name == "raise":
        raise LookupError("who is this?")
    return 7 if name == "int" else name


async def test_consistent_hash_takes_a_key_of_the_programs_own() -> None:
    """The same user always goes to the same target; without a key any target is right."""
    async with named("a", "b", "c") as found:
        setting = alb.ConsistentHash(key=user)
        chance = random.Random(3).random
        async with balancing(using(setting, *(one.address for one in found)), clock=FakeClock(chance)) as it:
            client = await it.client()
            users = {}
            for number in range(20):
                seen = {(await client.get(path, f"X-User: {number}")).body for path in PATHS[:5]}
                assert len(seen) == 1
                users[number] = seen.pop()
            assert set(users.values()) == {b"a", b"b", b"c"}
            assert len({(await client.get("/same")).body for _ in range(24)}) == 3


@pytest.mark.parametrize("what", ["raise", "int"])
async def test_consistent_hash_key_that_fails_costs_its_exchange_only(what: str, caplog: pytest.LogCaptureFixture) -> None:
    """500, counted as the program's own failure, with a log line; the connection goes on."""
    async with named("a", "b") as (a, b), balancing(using(alb.ConsistentHash(key=user), a.address, b.address)) as it:
        client = await it.client()
        with caplog.at_level(logging.WARNING, "albkit"):
            assert (await client.get("/", f"X-User: {what}")).status == 500
        assert "group" in caplog.text
        assert it.counters["Failure_HookFailed"] == 1
        assert (await client.get("/", "X-User: me")).status == 200


class Holding:
    """A target that answers its name, `/held` only when it is told to."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.release = asyncio.Event()

    async def __call__(self, conversation: Conversation) -> None:
        while True:
            if b" /held" in await conversation.head():
                await self.release.wait()
            conversation.send(response(200, self.name))
            await conversation.drain()


def outstanding(it: Balancing) -> list[int]:
    return [member.outstanding for member in it.runtime.registry.group("group").members.values()]


async def holds(it: Balancing, count: int) -> list[RawClient]:
    """So many clients whose requests for the same path are held."""
    clients = []
    for _ in range(count):
        before = sum(outstanding(it))
        client = await it.client()
        client.send(request("GET", "/held"))
        clients.append(client)
        async with asyncio.timeout(5):
            while sum(outstanding(it)) == before:
                await asyncio.sleep(0)
    return clients


@pytest.mark.parametrize(("bound", "expected"), [(None, [0, 0, 12]), (1.25, [2, 5, 5]), (2, [0, 4, 8])])
async def test_consistent_hash_hands_on_what_is_above_the_bound(bound: float | None, expected: list[int]) -> None:
    """A path that everybody wants fills its target up to the bound, then the next; later it is that target's alone again."""
    scripts = [Holding(name) for name in (b"a", b"b", b"c")]
    async with (
        target(scripts[0]) as a,
        target(scripts[1]) as b,
        target(scripts[2]) as c,
        balancing(using(alb.ConsistentHash(load_bound=bound), a.address, b.address, c.address)) as it,
    ):
        clients = await holds(it, 12)
        assert sorted(outstanding(it)) == expected
        for script in scripts:
            script.release.set()
        for client in clients:
            assert (await client.response()).status == 200
        assert len({(await clients[0].get("/held")).body for _ in range(6)}) == 1


# least_outstanding_requests, least_response_time, by_traffic.


async def test_least_outstanding_goes_where_least_is_to_be_done() -> None:
    """Tunnels and requests that are held count alike."""
    scripts = [Holding(name) for name in (b"a", b"b", b"c")]
    async with (
        target(scripts[0]) as a,
        target(scripts[1]) as b,
        target(scripts[2]) as c,
        balancing(using("least_outstanding_requests", a.address, b.address, c.address)) as it,
    ):
        clients = await holds(it, 7)
        assert sorted(outstanding(it)) == [2, 2, 3]
        clients += await holds(it, 2)
        assert outstanding(it) == [3, 3, 3]
        for script in scripts:
            script.release.set()
        assert {(await client.response()).status for client in clients} == {200}


class Timed:
    """A target whose work takes time of the test's clock, now a little more and now a little less."""

    def __init__(self, name: bytes, clock: FakeClock, seconds: float, spread: float = 0.0) -> None:
        self.name = name
        self.clock = clock
        self.seconds = seconds
        self.spread = spread
        self.chance = random.Random(name)

    async def __call__(self, conversation: Conversation) -> None:
        while True:
            await conversation.head()
            self.clock.advance(self.seconds * (1 + self.spread * (self.chance.random() - 0.5)))
            conversation.send(response(200, self.name))


@pytest.mark.parametrize("spread", [0.4, 0.0], ids=["varying", "steady"])
async def test_least_response_time_spares_the_slow_target_until_it_is_quick_again(spread: float) -> None:
    """Ten times as slow gets less than half of its share; when it is as quick as the others it gets about as much as they."""
    clock = FakeClock(random.Random(4).random)
    slow = Timed(b"s", clock, 0.1, spread)
    async with (
        target(slow) as origin,
        target(Timed(b"a", clock, 0.01, spread)) as a,
        target(Timed(b"b", clock, 0.01, spread)) as b,
        balancing(using("least_response_time", origin.address, a.address, b.address), clock=clock) as it,
    ):
        client = await it.client()
        seen = Counter([(await client.get()).body for _ in range(200)])
        assert seen[b"s"] < 30, seen
        assert min(seen[b"a"], seen[b"b"]) > 50, seen
        slow.seconds = 0.01
        for _ in range(150):
            clock.advance(0.3)
            await client.get()
        seen = Counter([(await client.get()).body for _ in range(200)])
        assert seen[b"s"] > 30, seen


async def test_least_response_time_counts_what_is_still_to_be_done() -> None:
    """Of two equally quick targets the one with requests that are held gets fewer new ones."""
    script = Holding(b"a")
    clock = FakeClock(random.Random(5).random)
    async with target(script) as a, named("b") as (b,), balancing(using("least_response_time", a.address, b.address), clock=clock) as it:
        client = await it.client()
        for _ in range(10):
            await client.get()
        clients = []
        while not outstanding(it)[0]:
            one = await it.client()
            one.send(request("GET", "/held"))
            clients.append(one)
            before = it.load_balancer.counters["RequestCount"]
            async with asyncio.timeout(5):
                while it.load_balancer.counters["RequestCount"] == before:
                    await asyncio.sleep(0)
            if outstanding(it)[1]:
                await one.response()
        seen = Counter([(await client.get()).body for _ in range(40)])
        assert seen == {b"b": 40}
        script.release.set()
        await asyncio.sleep(0)


def sized(name: bytes, size: int) -> Script:
    """A target with bodies of one size, that takes bodies of any."""

    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.request()
            conversation.send(response(200, name * size))
            await conversation.drain()

    return script


async def test_by_traffic_gives_each_target_as_many_bytes() -> None:
    """Bodies of 40,000, 4,000 and 400 bytes: the smaller the answers, the more of them."""
    async with (
        target(sized(b"a", 40_000)) as a,
        target(sized(b"b", 4_000)) as b,
        target(sized(b"c", 400)) as c,
        balancing(using("by_traffic", a.address, b.address, c.address)) as it,
    ):
        client = await it.client()
        through: Counter[bytes] = Counter()
        for _ in range(900):
            before = client.sent + len(client.received)
            answer = await client.get()
            through[answer.body[:1]] += client.sent + len(client.received) - before
        assert max(through.values()) - min(through.values()) < 45_000, through
        assert min(through.values()) > 200_000


async def test_by_traffic_counts_what_is_sent_up_and_weights() -> None:
    """A target of weight 2 takes twice the bytes, requests with large bodies among them."""
    async with target(sized(b"a", 1)) as a, target(sized(b"b", 1)) as b:
        heavy = alb.Target("127.0.0.1", a.port, weight=2)
        async with balancing(using("by_traffic", heavy, b.address)) as it:
            client = await it.client()
            through: Counter[bytes] = Counter()
            chance = random.Random(6)
            for _ in range(300):
                body = b"u" * chance.randrange(20_000)
                client.send(request("POST", "/", f"Content-Length: {len(body)}", body=body))
                through[(await client.response()).body] += len(body)
            assert 1.8 < through[b"a"] / through[b"b"] < 2.2, through


async def test_by_traffic_counts_a_tunnels_bytes() -> None:
    """What went through a tunnel that is over keeps requests away until the other one has had as much."""
    async with target(switching(then=echo)) as ws, target(sized(b"b", 1000)) as b, balancing(using("by_traffic", ws.address)) as it:
        tunnel = await it.client()
        tunnel.send(request("GET", "/ws", *UPGRADE))
        assert (await tunnel.response()).status == 101
        await it.load_balancer.register_targets("group", b.address)
        tunnel.send(b"\x82\x7e\x4e\x20" + b"x" * 20_000)
        await tunnel.read_exactly(20_004)
        await tunnel.close()
        async with asyncio.timeout(5):
            while it.load_balancer.tunnels:
                await asyncio.sleep(0)
        client = await it.client()
        assert {(await client.get()).body[:1] for _ in range(20)} == {b"b"}


# Algorithms of the program's own.


class Own:
    """Chooses by the path, and keeps what it is told; fails where it is asked to."""

    def __init__(self, *fails: str) -> None:
        self.told: list[tuple[str, str, Any]] = []
        self.fails = set(fails)
        self.offered: list[list[str]] = []

    def _note(self, what: str, one: AlgorithmTarget, detail: Any) -> None:
        self.told.append((what, str(one.target), detail))
        if what in self.fails:
            raise RuntimeError(f"{what} went wrong")

    def joined(self, one: AlgorithmTarget, /) -> None:
        self._note("joined", one, one.weight)

    def left(self, one: AlgorithmTarget, /) -> None:
        self._note("left", one, one.weight)

    def started(self, one: AlgorithmTarget, /) -> None:
        self._note("started", one, one.outstanding)

    def finished(self, one: AlgorithmTarget, /) -> None:
        self._note("finished", one, one.outstanding)

    def answered(self, one: AlgorithmTarget, seconds: float, /) -> None:
        self._note("answered", one, seconds)

    def transferred(self, one: AlgorithmTarget, count: int, /) -> None:
        self._note("transferred", one, count)

    def choose(self, _candidates: Sequence[AlgorithmTarget], _chance: Callable[[], float], /) -> AlgorithmTarget | None:
        raise AssertionError("choose_for is there to be asked")

    def choose_for(
        self, request: alb.Request, candidates: Sequence[AlgorithmTarget], _chance: Callable[[], float], /
    ) -> AlgorithmTarget | None:
        self.offered.append([str(one.target) for one in candidates])
        if "choose_for" in self.fails and request.path.startswith("/fail"):
            raise RuntimeError("no idea")
        if "again" in self.fails and len(candidates) == 1:
            raise RuntimeError("no idea of a second one")
        if request.path == "/nobody":
            return None
        if request.path == "/else":
            return "somebody else"  # type: ignore[return-value]
        return candidates[int(request.path.rpartition("/")[2] or 0) % len(candidates)]


async def test_algorithm_of_ones_own_chooses_by_the_request() -> None:
    """It is asked with the request and all targets, and never by `choose`."""
    async with named("a", "b", "c") as found, balancing(using(Own(), *(one.address for one in found))) as it:
        client = await it.client()
        assert [(await client.get(f"/{number}")).body for number in (2, 0, 1, 1)] == [b"c", b"a", b"b", b"b"]


async def test_algorithm_of_ones_own_hears_of_seconds_and_bytes() -> None:
    """started, answered, transferred, finished, in this order; seconds by the clock until the head, bytes both ways with the bodies."""
    own = Own()
    clock = FakeClock()
    async with target(Timed(b"x" * 5000, clock, 1.5)) as a, balancing(using(own, a.address), clock=clock) as it:
        client = await it.client()
        own.told.clear()
        client.send(request("POST", "/", "Content-Length: 3000", body=b"y" * 3000))
        # The target reads no body, so that what it takes for the next head is the body; one answer is all it gives.
        assert (await client.response()).status == 200
        await client.close()
        async with asyncio.timeout(5):
            while sum(outstanding(it)):
                await asyncio.sleep(0)
        (started, answered, transferred, finished) = own.told
        assert started == ("started", a.address, 1)
        assert answered == ("answered", a.address, 1.5)
        assert transferred[:2] == ("transferred", a.address)
        assert 8000 < transferred[2] < 9000
        assert finished == ("finished", a.address, 0)


async def test_algorithm_of_ones_own_hears_of_a_tunnel_at_its_end() -> None:
    """Bytes both ways; until then it is outstanding."""
    own = Own()
    async with target(switching(then=echo)) as a, balancing(using(own, a.address)) as it:
        tunnel = await it.client()
        tunnel.send(request("GET", "/ws/0", *UPGRADE))
        assert (await tunnel.response()).status == 101
        assert [what for what, _, _ in own.told] == ["joined", "started", "answered"]
        tunnel.send(b"\x82\x7e\x4e\x20" + b"x" * 20_000)
        await tunnel.read_exactly(20_004)
        await tunnel.close()
        async with asyncio.timeout(5):
            while it.load_balancer.tunnels or sum(outstanding(it)):
                await asyncio.sleep(0)
        assert [what for what, _, _ in own.told[3:]] == ["transferred", "finished"]
        assert own.told[3][2] >= 40_008


async def test_algorithm_of_ones_own_is_offered_who_was_not_tried() -> None:
    """On a retry; the failed try is started and finished, and neither answered nor transferred."""
    own = Own()
    async with target(closing) as broken, named("b", "c") as (b, c), balancing(using(own, broken.address, b.address, c.address)) as it:
        assert (await (await it.client()).get("/0")).body == b"b"
        assert own.offered == [[broken.address, b.address, c.address], [b.address, c.address]]
        about = [what for what, address, _ in own.told if address == broken.address]
        assert about == ["joined", "started", "finished"]
        about = [what for what, address, _ in own.told if address == b.address]
        assert about == ["joined", "started", "answered", "transferred", "finished"]


async def test_client_that_leaves_is_finished_and_not_answered() -> None:
    """Whatever the target would have said."""
    own = Own()
    async with target(Holding(b"a")) as a, balancing(using(own, a.address)) as it:
        client = await it.client()
        client.send(request("GET", "/held/0"))
        await a.arrived()
        client.reset()
        async with asyncio.timeout(5):
            while ("finished", a.address, 0) not in own.told:
                await asyncio.sleep(0)
        assert [what for what, _, _ in own.told] == ["joined", "started", "finished"]


@pytest.mark.parametrize("path", ["/fail", "/else"])
async def test_algorithm_of_ones_own_that_cannot_choose_costs_its_exchange_only(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """500, counted and logged; others on the same connection are served."""
    async with named("a", "b") as (a, b), balancing(using(Own("choose_for"), a.address, b.address)) as it:
        client = await it.client()
        with caplog.at_level(logging.WARNING, "albkit"):
            assert (await client.get(path)).status == 500
        assert "the algorithm of group group" in caplog.text
        assert it.counters["Failure_HookFailed"] == 1
        assert (await client.get("/1")).body == b"b"
        told = it.load_balancer.explain("GET", f"http://example.com{path}")
        assert told.target is None


async def test_algorithm_of_ones_own_that_chooses_nobody_is_503() -> None:
    """As an empty group."""
    async with named("a") as (a,), balancing(using(Own(), a.address)) as it:
        client = await it.client()
        assert (await client.get("/nobody")).status == 503
        assert (await client.get("/0")).status == 200


async def test_algorithm_of_ones_own_that_chooses_nobody_is_503_at_once_where_targets_have_limits() -> None:
    """There is room: it is no use to wait for some."""
    async with named("a") as (a,):
        limited = alb.Target("127.0.0.1", a.port, max_concurrency=1)
        async with balancing(using(Own(), limited, waiting_timeout=60)) as it:
            client = await it.client()
            async with asyncio.timeout(2):
                assert (await client.get("/nobody")).status == 503
            assert (await client.get("/0")).status == 200


async def test_algorithm_of_ones_own_that_fails_on_the_second_try_is_500() -> None:
    """And nothing is left outstanding."""
    async with target(closing) as broken, named("b") as (b,), balancing(using(Own("again"), broken.address, b.address)) as it:
        client = await it.client()
        assert (await client.get("/0")).status == 500
        assert outstanding(it) == [0, 0]
        assert (await client.get("/1")).body == b"b"


@pytest.mark.parametrize("method", ["joined", "left", "started", "finished", "answered", "transferred"])
async def test_algorithm_of_ones_own_that_fails_where_it_is_told_costs_nobody_anything(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A log line that names group and method; requests, tunnels and changes go on."""
    with caplog.at_level(logging.WARNING, "albkit"):
        own = Own(method)
        async with (
            named("a", "b") as (a, b),
            target(switching(then=echo)) as ws,
            balancing(using(own, a.address, b.address, ws.address)) as it,
        ):
            client = await it.client()
            assert [(await client.get(f"/{number}")).body for number in (0, 1)] == [b"a", b"b"]
            tunnel = await it.client()
            tunnel.send(request("GET", "/2", *UPGRADE))
            assert (await tunnel.response()).status == 101
            await tunnel.close()
            await it.load_balancer.deregister_targets("group", b.address)
            assert (await client.get("/0")).body == b"a"
            await it.load_balancer.register_targets("group", b.address)
            assert (await client.get("/0")).status == 200
    lines = [record.getMessage() for record in caplog.records]
    assert lines
    assert {line for line in lines if "the algorithm of group group failed in" in line} == {
        f"the algorithm of group group failed in {method}"
    }
