"""What a policy allows: who may upgrade to what, how many, for how long, and who is asked about it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

import albkit as alb
from tests.support.balancing import balancing, listener
from tests.support.clock import FakeClock
from tests.support.frames import CLOSE, TEXT, frame, read_frame
from tests.support.gateway import Running, running
from tests.support.peers import Conversation, RawClient, Target, request, response, target
from tests.support.tunnels import SWITCHED, UPGRADE, Ends, echo, ends, gone, switching, upgraded

HELLO = frame(TEXT, b"hello")


async def asked(client: RawClient, *fields: str) -> int:
    """The status of an upgrade."""
    client.send(request("GET", "/ws", *(fields or UPGRADE)))
    return (await client.response()).status


# How many.


@contextlib.asynccontextmanager
async def crowded(targets: int, most: int, **settings: object) -> AsyncIterator[tuple[Running, list[Target]]]:
    """Echoing targets that may each have so many tunnels."""
    async with contextlib.AsyncExitStack() as stack:
        origins = [await stack.enter_async_context(target(switching(then=echo))) for _ in range(targets)]
        addresses = [origin.address for origin in origins]
        policy = alb.TunnelPolicy(max_tunnels=most)
        yield await stack.enter_async_context(running(*addresses, tunnel=policy, **settings)), origins


async def test_upgrade_goes_to_a_target_with_room_and_is_refused_where_none_has() -> None:
    """503 with a counter, and the client's connection stays usable."""
    async with crowded(2, 3) as (gateway, origins):
        for _ in range(6):
            await upgraded(gateway)
        assert [len(origin.conversations) for origin in origins] == [3, 3]
        client = await gateway.client()
        assert await asked(client) == 503
        assert await asked(client) == 503
        assert gateway.counters["Failure_NoRoomForTunnel"] == 2
        assert gateway.counters["HTTPCode_ELB_503_Count"] == 2


async def test_room_is_there_again_when_a_tunnel_is_over() -> None:
    """However it ended."""
    async with crowded(1, 1) as (gateway, _):
        for end in ("reset", "fin", "close"):
            client = await upgraded(gateway)
            assert await asked(await gateway.client()) == 503
            if end == "reset":
                client.reset()
            elif end == "fin":
                client.send_fin()
                await client.read_to_end()
            else:
                (tunnel,) = gateway.load_balancer.tunnels
                closed = asyncio.ensure_future(tunnel.close())
                client.send(frame(CLOSE, (await read_frame(client)).payload))
                client.send_fin()
                await closed
            await gone(gateway)


async def test_many_upgrades_at_once_do_not_get_past_the_limit() -> None:
    """Those that are not answered yet count as well."""
    release = asyncio.Event()

    async def slow(conversation: Conversation) -> None:
        await conversation.head()
        await release.wait()
        conversation.send(SWITCHED)
        await echo(conversation)

    async with target(slow) as origin, running(origin.address, tunnel=alb.TunnelPolicy(max_tunnels=3)) as gateway:
        clients = [await gateway.client() for _ in range(10)]
        answers = [asyncio.ensure_future(asked(client)) for client in clients]
        done = 0
        async with asyncio.timeout(5):
            while done < 7:
                await asyncio.sleep(0)
                done = sum(answer.done() for answer in answers)
        release.set()
        assert sorted(await asyncio.gather(*answers)) == [101] * 3 + [503] * 7
        assert len(origin.conversations) == 3


async def test_refused_upgrade_leaves_its_room_to_others() -> None:
    """A target that answers 401 opens no tunnel; one that dies neither."""

    async def dying(conversation: Conversation) -> None:
        await conversation.head()
        conversation.reset()

    refusing = target(None, response(401))
    async with refusing as first, target(dying) as second, running(first.address, tunnel=alb.TunnelPolicy(max_tunnels=1)) as gateway:
        for _ in range(3):
            assert await asked(await gateway.client()) == 401
        await gateway.load_balancer.register_targets("group", second.address)
        await gateway.load_balancer.deregister_targets("group", first.address)
        for _ in range(3):
            assert await asked(await gateway.client()) == 502
        (member,) = gateway.runtime.registry.group("group").members.values()
        assert member.tunnels == 0


async def test_ordinary_requests_know_no_such_limit() -> None:
    """Nor are they sent elsewhere because of tunnels."""
    policy = alb.TunnelPolicy(max_tunnels=1)
    async with target(None) as origin, running(origin.address, tunnel=policy) as gateway:
        for state in gateway.runtime.registry.group("group").members.values():
            state.tunnels = 1
        assert (await (await gateway.client()).get()).status == 200
        assert await asked(await gateway.client()) == 503
        for state in gateway.runtime.registry.group("group").members.values():
            state.tunnels = 0


async def test_session_whose_target_is_full_is_not_sent_elsewhere() -> None:
    """Its state lives there: another target would not know it. It is told to come again."""
    async with crowded(2, 1, stickiness=alb.LbCookie()) as (gateway, origins):
        client = await gateway.client()
        client.send(request("GET", "/ws", *UPGRADE))
        cookie = (await client.response()).all(b"set-cookie")[0].split(b";")[0].decode()
        assert await asked(await gateway.client(), *UPGRADE, f"Cookie: {cookie}") == 503
        assert await asked(await gateway.client()) == 101
        assert [len(origin.conversations) for origin in origins] == [1, 1]


async def test_retry_does_not_get_past_the_limit() -> None:
    """A target that dies sends the upgrade on to one with room only."""

    async def dying(conversation: Conversation) -> None:
        await conversation.head()
        conversation.reset()

    policy = alb.TunnelPolicy(max_tunnels=1)
    async with (
        target(dying) as bad,
        target(switching(then=echo)) as good,
        target(switching(then=echo)) as other,
        running(bad.address, good.address, other.address, tunnel=policy) as gateway,
    ):
        for _ in range(2):
            await upgraded(gateway)
        assert [len(good.conversations), len(other.conversations)] == [1, 1]
        assert await asked(await gateway.client()) == 502
        assert [len(good.conversations), len(other.conversations)] == [1, 1]


# Upgrade to what.


@pytest.mark.parametrize(
    ("protocols", "wanted", "offered"),
    [
        (("websocket",), "websocket", b"websocket"),
        (("websocket",), "WebSocket", b"WebSocket"),
        (("websocket", "foo/2"), "bar, foo/2 , WEBSOCKET", b"foo/2, WEBSOCKET"),
        (("foo",), "foo, h2c", b"foo"),
    ],
)
async def test_protocols_that_are_allowed_are_offered(protocols: tuple[str, ...], wanted: str, offered: bytes) -> None:
    """In the client's words and order, without the others."""
    answer = SWITCHED.replace(b"websocket", offered.split(b", ")[0])
    policy = alb.TunnelPolicy(protocols=protocols)
    async with target(switching(answer, then=echo)) as origin, running(origin.address, tunnel=policy) as gateway:
        assert await asked(await gateway.client(), "Connection: Upgrade", f"Upgrade: {wanted}") == 101
        assert b"\r\nUpgrade: " + offered + b"\r\n" in origin.conversations[0].received


@pytest.mark.parametrize("protocols", [(), ("websocket",), "websocket"])
async def test_upgrade_to_what_is_not_allowed_is_an_ordinary_request(protocols: tuple[str, ...] | str) -> None:
    """Without the fields that ask for it; the target's answer is passed on."""
    policy = alb.TunnelPolicy(protocols=protocols)
    async with target() as origin, running(origin.address, tunnel=policy) as gateway:
        assert await asked(await gateway.client(), "Connection: Upgrade", "Upgrade: other") == 200
        assert b"pgrade" not in origin.heads[0]


async def test_target_that_switches_to_what_was_not_allowed_is_a_502() -> None:
    """It was not asked."""
    policy = alb.TunnelPolicy(protocols=())
    async with target(switching(then=echo)) as origin, running(origin.address, tunnel=policy) as gateway:
        assert await asked(await gateway.client()) == 502


# Whose policy.


async def test_policy_of_the_rule_comes_before_that_of_the_group() -> None:
    """Also where the action sends to several groups."""
    async with target(switching(then=echo)) as first, target(switching(then=echo)) as second:
        never = alb.TunnelPolicy(protocols=())
        one = alb.TargetGroup("one", first.address, tunnel=never)
        two = alb.TargetGroup("two", second.address)
        rules = [
            alb.Rule(1, alb.PathPattern("/open"), alb.Forward(one, tunnel=alb.TunnelPolicy())),
            alb.Rule(2, alb.PathPattern("/both"), alb.Forward({one: 1, two: 1}, tunnel=alb.TunnelPolicy(max_tunnels=1))),
            alb.Rule(3, alb.PathPattern("/shut"), alb.Forward(two, tunnel=never)),
        ]
        # Chance takes the groups in turn.
        async with balancing(listener(alb.Forward(one), *rules), clock=FakeClock((0.2, 0.8))) as gateway:

            async def status(path: str) -> int:
                client = await gateway.client()
                client.send(request("GET", path, *UPGRADE))
                return (await client.response()).status

            assert await status("/") == 502
            assert await status("/shut") == 502
            assert await status("/open") == 101
            statuses = [await status("/both") for _ in range(8)]
            assert statuses.count(101) == 1, "the first group's target has one tunnel already"
            assert statuses.count(503) == 7


async def test_open_tunnel_keeps_its_policy_over_apply() -> None:
    """Only the next one lives under the new."""
    async with target(switching(then=echo)) as origin:

        def described(age: float | None) -> alb.Listener:
            group = alb.TargetGroup("group", origin.address, tunnel=alb.TunnelPolicy(max_age=age))
            return listener(alb.Forward(group), name="door")

        async with balancing(described(None)) as gateway:
            first = await upgraded(gateway)
            await gateway.load_balancer.apply(described(0.2))
            second = await upgraded(gateway)
            assert (await read_frame(second)).code == 1001
            first.send(HELLO)
            assert await first.read_exactly(len(HELLO)) == HELLO


async def test_ping_interval_has_to_be_below_the_load_balancers_idle_timeout() -> None:
    """Where the policy leaves the idle timeout to it."""
    group = alb.TargetGroup("chat", "127.0.0.1:1", tunnel=alb.TunnelPolicy(ping_interval=30))
    with pytest.raises(alb.ConfigurationError, match=r"listeners\[0\]: the ping_interval of target group 'chat': 30 is not below"):
        alb.LoadBalancer(listener(alb.Forward(group)), idle_timeout=30)


# Asked again.


class Guard:
    """A recheck that says what the test wants."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[alb.Tunnel] = []

    async def __call__(self, tunnel: alb.Tunnel) -> bool:
        self.asked.append(tunnel)
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        return bool(answer)


async def told(both: Ends, code: int) -> None:
    """Both sides are told with this code, and the tunnel is over."""
    for peer, mask in ((both.client, True), (both.target, False)):
        goodbye = await read_frame(peer)
        assert goodbye.code == code
        peer.send(frame(CLOSE, goodbye.payload, mask=mask))
        assert await peer.read_to_end() == b""
        peer.send_fin()
    await gone(both.gateway)


async def looked(guard: Guard, times: int) -> None:
    """Wait until it was asked so often, and has answered."""
    async with asyncio.timeout(5):
        while len(guard.asked) < times:
            await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)


async def test_recheck_is_asked_again_and_again_and_may_refuse() -> None:
    """With the request that opened the tunnel at hand; a refusal is 1008."""
    guard = Guard(True, True, False)
    fields = (*UPGRADE, "Authorization: Bearer abc")
    async with ends(alb.TunnelPolicy(idle_timeout=1000, recheck=guard, recheck_every=60), fields=fields) as both:
        both.later(44)
        assert not guard.asked
        both.later(1)  # The clock's chance is a half, so the first time comes after three quarters.
        await looked(guard, 1)
        assert guard.asked == [both.tunnel]
        assert guard.asked[0].request.headers["Authorization"] == "Bearer abc"
        assert guard.asked[0].request.path == "/ws"
        both.later(59)
        assert len(guard.asked) == 1
        both.later(1)
        await looked(guard, 2)
        assert both.end is None
        both.later(60)
        await told(both, 1008)
        assert both.end is alb.TunnelEnd.RECHECK
        assert both.gateway.counters["Failure_TunnelNotAllowedAnyMore"] == 1


async def test_recheck_that_raises_ends_the_tunnel_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """1011, a counter, and the traceback in the log; nothing else notices."""
    guard = Guard(LookupError("no such session"))
    async with ends(alb.TunnelPolicy(idle_timeout=1000, recheck=guard)) as both:
        both.later(60)
        await told(both, 1011)
        assert both.end is alb.TunnelEnd.ERROR
        assert both.gateway.counters["Failure_TunnelRecheckFailed"] == 1
        assert "LookupError: no such session" in caplog.text


async def test_recheck_that_takes_too_long_ends_the_tunnel() -> None:
    """It is cancelled after the time that hooks have."""
    guard = Guard(asyncio.Event())
    async with ends(alb.TunnelPolicy(idle_timeout=1000, recheck=guard), limits=alb.Limits(hook_timeout=0.05)) as both:
        both.later(60)
        await told(both, 1011)
        assert both.gateway.counters["Failure_TunnelRecheckFailed"] == 1


async def test_recheck_is_asked_once_at_a_time_and_dropped_when_the_tunnel_ends() -> None:
    """A slow answer is not overtaken; nobody waits for it when it does not matter any more."""
    slow = asyncio.Event()
    guard = Guard(slow)
    async with ends(alb.TunnelPolicy(idle_timeout=1000, recheck=guard)) as both:
        both.later(60)
        await looked(guard, 1)
        both.later(60)
        both.later(60)
        await looked(guard, 1)
        assert len(guard.asked) == 1
        both.client.reset()
        await gone(both.gateway)
        assert both.end is alb.TunnelEnd.CLIENT


async def test_recheck_may_close_the_tunnel_itself() -> None:
    """With a code of its own, and without waiting for itself."""

    async def kick(tunnel: alb.Tunnel) -> bool:
        await tunnel.close(4401, "log in again")
        return True

    async with ends(alb.TunnelPolicy(idle_timeout=1000, recheck=kick)) as both:
        both.later(60)
        await told(both, 4401)
        assert both.end is alb.TunnelEnd.CLOSED


async def test_recheck_that_is_no_coroutine_is_an_error_that_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """A plain function is not awaited; it would block the loop if it did anything worth while."""
    async with ends(alb.TunnelPolicy(idle_timeout=1000, recheck=lambda _: True)) as both:  # type: ignore[arg-type,return-value]
        both.later(60)
        await told(both, 1011)
        assert "can't be used in 'await' expression" in caplog.text
