"""Sessions whose target drains: with while_draining="honor" they stay until the deregistration delay is over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

import albkit as alb
from albkit.events import Event, TargetDrained
from tests.functional.test_sticky_sessions import Browser, Kind, Shop, shops
from tests.support.balancing import Balancing, balancing, listener
from tests.support.clock import FakeClock
from tests.support.frames import closing, read_frame
from tests.support.peers import Conversation, RawClient, request, target
from tests.support.tunnels import SWITCHED, UPGRADE

SECRET = "correct horse battery"
DELAY = 300.0
HONOR = {"while_draining": "honor"}
DRAINING = alb.TargetHealthState.DRAINING

HONORING = {
    "lb-cookie": Kind(alb.LbCookie(**HONOR)),  # type: ignore[arg-type]
    "lb-cookie-sealed": Kind(alb.LbCookie(secrets=SECRET, **HONOR)),  # type: ignore[arg-type]
    "app-cookie": Kind(alb.AppCookie("SESSION", **HONOR)),  # type: ignore[arg-type]
    "route-in-cookie": Kind(alb.RouteSuffix("JSESSIONID", **HONOR)),
    "route-in-path": Kind(alb.RouteSuffix("JSESSIONID", **HONOR), in_path=True),
}
any_kind = pytest.mark.parametrize("kind", HONORING.values(), ids=HONORING)
LB_COOKIE = HONORING["lb-cookie"]


class Scene:
    """A load balancer in front of two targets, a session with one of them, and time in the test's hands."""

    def __init__(self, it: Balancing, clock: FakeClock, group: alb.TargetGroup, bound: Shop, other: Shop, browser: Browser) -> None:
        self.it = it
        self.balancer = it.load_balancer
        self.clock = clock
        self.group = group
        self.bound = bound
        """The session's target."""
        self.other = other
        self.browser = browser

    async def deregister(self) -> asyncio.Task[None]:
        """Deregister the session's target; a task that ends when that is drained."""
        await self.balancer.deregister_targets("group", self.bound.declared)
        waiting = asyncio.ensure_future(self.balancer.drained("group", self.bound.declared))
        await asyncio.sleep(0)
        return waiting

    def later(self, seconds: float) -> None:
        """Time passes, and deadlines are looked at."""
        self.clock.advance(seconds)
        self.it.runtime.sweep.look(self.clock.now)

    async def newcomer(self) -> str:
        """Who answers a client that was not here before."""
        answer = await Browser(self.it).get()
        assert answer.status == 200
        return answer.body.decode()

    def states(self) -> dict[str, alb.TargetHealthState]:
        return {str(one.target): one.state for one in self.balancer.describe_target_health("group")}


@contextlib.asynccontextmanager
async def scene(kind: Kind = LB_COOKIE, *, stickiness: Any = None, **settings: Any) -> AsyncIterator[Scene]:
    """Two targets, and a session with one of them."""
    clock = FakeClock()
    async with shops("a", "b") as found:
        targets = [shop.declared for shop in found]
        group = alb.TargetGroup("group", targets, stickiness=stickiness if stickiness is not None else kind.setting, **settings)
        async with balancing(listener(alb.Forward(group), name="door"), clock=clock, idle_timeout=4000) as it:
            browser = kind.browser(it)
            name = (await kind.ask(browser)).body
            bound, other = found if found[0].name.encode() == name else found[::-1]
            yield Scene(it, clock, group, bound, other, browser)


async def over(waiting: asyncio.Task[None]) -> None:
    """Wait until a target is drained."""
    async with asyncio.timeout(5):
        await waiting


@any_kind
async def test_session_keeps_coming_until_the_delay_is_over_and_no_other_does(kind: Kind) -> None:
    """From the first second to the last; then it moves without an error, and the target is drained."""
    async with scene(kind) as it:
        told: list[Event] = []
        it.balancer.subscribe(told.append)
        waiting = await it.deregister()
        for seconds in (0, 1, 150, 148.9):
            it.later(seconds)
            assert {(await kind.ask(it.browser, anew=True)).body.decode() for _ in range(2)} == {it.bound.name}
            assert {await it.newcomer() for _ in range(4)} == {it.other.name}
            assert it.states()[str(it.bound.declared)] is DRAINING
            assert not waiting.done()
        it.later(0.1)
        await over(waiting)
        assert [event for event in told if isinstance(event, TargetDrained)] == [TargetDrained("group", it.bound.declared)]
        assert list(it.states()) == [str(it.other.declared)]
        answers = [await kind.ask(it.browser) for _ in range(4)]
        assert {(answer.status, answer.body.decode()) for answer in answers} == {(200, it.other.name)}
        assert "HTTPCode_ELB_5XX_Count" not in it.it.counters


async def test_idle_connections_to_a_target_that_keeps_its_sessions_are_used_until_the_end() -> None:
    """One connection for all of it, closed when the delay is over."""
    async with scene() as it:
        waiting = await it.deregister()
        for _ in range(8):
            it.later(30)
            assert (await it.browser.get(anew=True)).body.decode() == it.bound.name
        (conversation,) = it.bound.origin.conversations
        assert not conversation.over.is_set()
        it.later(60)
        await over(waiting)
        async with asyncio.timeout(5):
            await conversation.over.wait()
        assert it.it.runtime.connections.count == 0


async def test_last_target_keeps_its_sessions_while_others_get_503() -> None:
    """There is nobody else to send new ones to."""
    async with scene() as it:
        waiting = await it.deregister()
        await it.balancer.deregister_targets("group", it.other.declared)
        assert (await Browser(it.it).get()).status == 503
        assert (await it.browser.get()).body.decode() == it.bound.name
        it.later(DELAY)
        await over(waiting)
        assert (await it.browser.get()).status == 503


async def test_session_whose_draining_target_dies_moves() -> None:
    """Nobody checks it any more, so the first request that finds it dead goes elsewhere; the new cookie names that one."""
    async with scene() as it:
        await it.deregister()
        await it.bound.origin.close()
        for _ in range(3):
            answer = await it.browser.get()
            assert (answer.status, answer.body.decode()) == (200, it.other.name)
        assert it.it.counters["RetryCount"] == 1


async def test_request_that_outlasts_the_delay_is_502_and_the_target_drained() -> None:
    """Of a session that came while its target drained."""
    release = asyncio.Event()

    async def slow(conversation: Conversation) -> None:
        while True:
            await conversation.head()
            await release.wait()
            conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")

    clock = FakeClock()
    async with target(slow) as origin:
        group = alb.TargetGroup("group", origin.address, stickiness=LB_COOKIE.setting)
        async with balancing(listener(alb.Forward(group)), clock=clock, idle_timeout=4000) as it:
            browser = Browser(it)
            release.set()
            await browser.get()
            release.clear()
            await it.load_balancer.deregister_targets("group", origin.address)
            late = asyncio.ensure_future(browser.get())
            async with asyncio.timeout(5):
                while not it.runtime.registry.group("group").members[origin.address].outstanding:
                    await asyncio.sleep(0)
                clock.advance(DELAY)
                it.runtime.sweep.look(clock.now)
                assert (await late).status == 502
                await it.load_balancer.drained("group", origin.address)
            assert it.counters["Failure_DeregistrationDelayOver"] == 1


async def test_group_cookie_does_not_rebalance_a_session_that_is_kept() -> None:
    """Though its group has nobody for new ones."""
    clock = FakeClock()
    async with shops("a", "b") as (a, b):
        blue = alb.TargetGroup("blue", a.declared, stickiness=LB_COOKIE.setting)
        green = alb.TargetGroup("green", b.declared, stickiness=LB_COOKIE.setting)
        action = alb.Forward({blue: 1, green: 1}, stickiness=600, on_failure="rebalance")
        async with balancing(listener(action), clock=clock, idle_timeout=4000) as it:
            browser = Browser(it)
            while (await browser.get()).body != b"a":
                browser = Browser(it)
                clock._chance = iter([0.1] * 9).__next__
            await it.load_balancer.deregister_targets("blue", a.declared)
            assert {(await browser.get()).body for _ in range(4)} == {b"a"}
            clock.advance(DELAY)
            it.runtime.sweep.look(clock.now)
            await it.load_balancer.drained("blue", a.declared, timeout=5)
            assert {(await browser.get()).body for _ in range(4)} == {b"b"}


@any_kind
async def test_delay_of_nothing_keeps_nobody(kind: Kind) -> None:
    """The target is drained at once, and the session moves."""
    async with scene(kind, deregistration_delay=0) as it:
        await over(await it.deregister())
        answer = await kind.ask(it.browser)
        assert (answer.status, answer.body.decode()) == (200, it.other.name)


# Tunnels.


async def tunnel_of(it: Scene) -> tuple[RawClient, Conversation]:
    """Both ends of a tunnel that the session opens."""
    client = await it.it.client()
    cookies = "; ".join(f"{name}={value}" for name, value in it.browser.jar.items())
    client.send(request("GET", "/ws", *UPGRADE, f"Cookie: {cookies}"))
    answer = await client.response()
    assert answer.status == 101
    assert answer.get(b"x-name") == it.bound.name.encode()
    return client, it.bound.origin.conversations[-1]


async def leave(*peers: Any, code: int) -> None:
    """Each has got a Close with this code, answers it and sees the end."""
    async with asyncio.timeout(5):
        for peer in peers:
            assert (await read_frame(peer)).code == code
            peer.send(closing(code, mask=isinstance(peer, RawClient)))
        for peer in peers:
            assert await peer.is_closed()
            await peer.close()


@any_kind
async def test_session_may_open_a_tunnel_and_it_ends_within_the_delay(kind: Kind) -> None:
    """In the spread at its end, with the policy's code, on both sides; behind it the target is drained."""
    if kind.in_path:
        return
    async with scene(kind, tunnel=alb.TunnelPolicy(drain_code=4001, drain_spread=30)) as it:
        waiting = await it.deregister()
        it.later(100)
        client, conversation = await tunnel_of(it)
        (tunnel,) = it.balancer.tunnels
        it.later(DELAY - 100 - 31)
        assert tunnel.end is None
        it.later(30.9)
        assert tunnel.end is alb.TunnelEnd.DRAIN
        await leave(client, conversation, code=4001)
        it.later(0.1)
        await over(waiting)
        assert it.it.counters["TunnelEnd_Drain"] == 1


async def test_tunnel_from_before_the_drain_and_one_from_within_end_alike() -> None:
    """Each within the spread."""
    async with scene(tunnel=alb.TunnelPolicy(drain_spread=30)) as it:
        before = await tunnel_of(it)
        waiting = await it.deregister()
        within = await tunnel_of(it)
        it.later(DELAY - 31)
        assert [tunnel.end for tunnel in it.balancer.tunnels] == [None, None]
        it.later(30.9)
        assert [tunnel.end for tunnel in it.balancer.tunnels] == [alb.TunnelEnd.DRAIN] * 2
        await leave(*before, code=1001)
        await leave(*within, code=1001)
        it.later(0.1)
        await over(waiting)


@pytest.mark.parametrize("left", [10, 5, 1])
async def test_upgrade_goes_elsewhere_while_tunnels_are_being_closed(left: float) -> None:
    """A client whose tunnel was closed would come back at once, to be closed again; other requests of the session are kept still."""
    async with scene(deregistration_delay=20, tunnel=alb.TunnelPolicy(drain_spread=10)) as it:
        waiting = await it.deregister()
        cookies = "; ".join(f"{name}={value}" for name, value in it.browser.jar.items())
        it.later(20 - left)
        assert (await it.browser.get()).body.decode() == it.bound.name
        client = await it.it.client()
        client.send(request("GET", "/ws", *UPGRADE, f"Cookie: {cookies}"))
        answer = await client.response()
        assert (answer.status, answer.get(b"x-name")) == (101, it.other.name.encode())
        it.later(left)
        await over(waiting)
        assert all(tunnel.end is None for tunnel in it.balancer.tunnels)


async def test_newcomers_upgrade_goes_elsewhere() -> None:
    """No new session means no new tunnel either."""
    async with scene() as it:
        await it.deregister()
        for _ in range(3):
            assert (await Browser(it.it).upgrade()).get(b"x-name") == it.other.name.encode()


async def test_upgrade_that_is_answered_behind_the_delay_opens_no_tunnel() -> None:
    """The session was kept when it asked, and is not when the target answers."""
    release = asyncio.Event()

    async def late(conversation: Conversation) -> None:
        while b"\r\nUpgrade:" not in await conversation.head():
            conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await release.wait()
        conversation.send(SWITCHED)
        await conversation.read_to_end()

    clock = FakeClock()
    async with target(late) as origin:
        group = alb.TargetGroup("group", origin.address, stickiness=LB_COOKIE.setting)
        async with balancing(listener(alb.Forward(group)), clock=clock, idle_timeout=4000) as it:
            browser = Browser(it)
            await browser.get()
            await it.load_balancer.deregister_targets("group", origin.address)
            asking = asyncio.ensure_future(browser.upgrade())
            async with asyncio.timeout(5):
                while not it.runtime.registry.group("group").members[origin.address].outstanding:
                    await asyncio.sleep(0)
                clock.advance(DELAY)
                it.runtime.sweep.look(clock.now)
                release.set()
                assert (await asking).status in (502, 503)
                await it.load_balancer.drained("group", origin.address)
            assert "TunnelCount" not in it.counters


# Coming back, and ending early.


@any_kind
async def test_target_registered_again_while_it_drains_has_sessions_old_and_new(kind: Kind) -> None:
    """drained() returns; the old delay means nothing any more, and a second drain has a delay of its own."""
    async with scene(kind) as it:
        waiting = await it.deregister()
        it.later(200)
        await it.balancer.register_targets("group", it.bound.declared)
        await over(waiting)
        assert DRAINING not in it.states().values()
        it.later(150)
        assert (await kind.ask(it.browser)).body.decode() == it.bound.name
        assert {await it.newcomer() for _ in range(4)} == {"a", "b"}
        again = await it.deregister()
        it.later(DELAY - 1)
        assert (await kind.ask(it.browser)).body.decode() == it.bound.name
        assert {await it.newcomer() for _ in range(4)} == {it.other.name}
        assert not again.done()
        it.later(1)
        await over(again)
        assert (await kind.ask(it.browser)).body.decode() == it.other.name


async def test_tunnel_opened_in_a_drain_outlives_it_where_the_target_comes_back() -> None:
    """As one that was there before."""
    async with scene() as it:
        waiting = await it.deregister()
        await tunnel_of(it)
        await it.balancer.register_targets("group", it.bound.declared)
        await over(waiting)
        it.later(DELAY + 1)
        (tunnel,) = it.balancer.tunnels
        assert tunnel.end is None


async def test_deregistering_again_does_not_prolong_the_delay() -> None:
    """The first one counts."""
    async with scene() as it:
        waiting = await it.deregister()
        it.later(200)
        await it.balancer.deregister_targets("group", it.bound.declared)
        it.later(100)
        await over(waiting)


async def test_stop_does_not_wait_for_the_delay() -> None:
    """Neither does whoever waits for the drain."""
    async with scene() as it:
        waiting = await it.deregister()
        assert (await it.browser.get()).body.decode() == it.bound.name
        async with asyncio.timeout(5):
            await it.balancer.stop()
            await waiting
        assert it.clock.now == FakeClock().now
        await it.balancer.start()


def changed(it: Scene, **changes: Any) -> alb.Listener:
    """The description with another group of the same name."""
    settings: dict[str, Any] = {"stickiness": it.group.stickiness} | changes
    return listener(alb.Forward(alb.TargetGroup("group", settings.pop("targets", it.group.targets), **settings)), name="door")


@any_kind
@pytest.mark.parametrize("after", ["rebalance", "none"])
async def test_apply_that_takes_honor_away_lets_the_sessions_go(kind: Kind, after: str) -> None:
    """The target is drained at once, and the session moves."""
    async with scene(kind) as it:
        waiting = await it.deregister()
        assert (await kind.ask(it.browser)).body.decode() == it.bound.name
        await it.balancer.apply(changed(it, stickiness=alb.LbCookie() if after == "rebalance" else None))
        await over(waiting)
        answer = await kind.ask(it.browser)
        assert (answer.status, answer.body.decode()) == (200, it.other.name)
        assert list(it.states()) == [str(it.other.declared)]


async def test_apply_that_changes_something_else_keeps_the_sessions() -> None:
    """Another duration, another delay, another target beside it."""
    async with scene() as it, shops("c") as (c,):
        waiting = await it.deregister()
        targets = [it.other.declared, c.declared]
        await it.balancer.apply(changed(it, targets=targets, deregistration_delay=20, stickiness=alb.LbCookie(600, while_draining="honor")))
        assert (await it.browser.get()).body.decode() == it.bound.name
        assert not waiting.done()
        it.later(DELAY)
        await over(waiting)


async def test_target_that_apply_leaves_out_keeps_its_sessions() -> None:
    """As one that was deregistered by a call."""
    async with scene() as it:
        await it.balancer.apply(changed(it, targets=[it.other.declared]))
        assert (await it.browser.get()).body.decode() == it.bound.name
        assert {await it.newcomer() for _ in range(4)} == {it.other.name}
        it.later(DELAY)
        await it.balancer.drained("group", it.bound.declared, timeout=5)
        assert (await it.browser.get()).body.decode() == it.other.name


@pytest.mark.parametrize("drains", ["before", "with-it"])
async def test_apply_that_removes_the_group_lets_the_sessions_go(drains: str) -> None:
    """No request can come any more, so there is nothing to wait for."""
    async with scene() as it:
        if drains == "before":
            waiting = await it.deregister()
        else:
            waiting = asyncio.ensure_future(asyncio.sleep(0))
        await it.balancer.apply(listener(alb.FixedResponse(200, "gone"), name="door"))
        await over(waiting)
        assert (await it.browser.get()).body == b"gone"
        async with asyncio.timeout(5):
            await it.bound.origin.conversations[0].over.wait()
        assert it.it.runtime.connections.count == 0


async def test_tunnel_goes_on_where_apply_takes_honor_away() -> None:
    """It ends within the spread as it would have, and then the target is drained."""
    async with scene() as it:
        waiting = await it.deregister()
        client, conversation = await tunnel_of(it)
        await it.balancer.apply(changed(it, stickiness=alb.LbCookie()))
        (tunnel,) = it.balancer.tunnels
        it.later(DELAY - 31)
        assert tunnel.end is None
        assert not waiting.done()
        it.later(30.9)
        await leave(client, conversation, code=1001)
        await over(waiting)


@pytest.mark.parametrize(
    "setting",
    [alb.LbCookie(), alb.AppCookie("SESSION"), alb.RouteSuffix("JSESSIONID"), alb.SourceAddress()],
    ids=["lb-cookie", "app-cookie", "route", "source-address"],
)
async def test_rebalance_keeps_nobody(setting: Any) -> None:
    """The default: drained at once, idle connections closed, requests and upgrades of the session go elsewhere."""
    async with scene(stickiness=setting) as it:
        (conversation,) = it.bound.origin.conversations
        await over(await it.deregister())
        async with asyncio.timeout(5):
            await conversation.over.wait()
        answer = await it.browser.get()
        assert (answer.status, answer.body.decode()) == (200, it.other.name)
        assert (await it.browser.upgrade()).get(b"x-name") == it.other.name.encode()
        assert len(it.bound.origin.conversations) == 1


async def test_rebalance_moves_the_session_while_its_target_drains() -> None:
    """A tunnel keeps the target in its drain; that makes no difference to requests, and it lives on."""
    async with scene(stickiness=alb.LbCookie()) as it:
        await tunnel_of(it)
        waiting = await it.deregister()
        assert it.states()[str(it.bound.declared)] is DRAINING
        for _ in range(3):
            assert (await it.browser.get()).body.decode() == it.other.name
        (tunnel,) = it.balancer.tunnels
        assert tunnel.end is None
        assert not waiting.done()
        it.later(DELAY)
        it.later(2.1)
        await over(waiting)


@pytest.mark.parametrize("kind", [HONORING["lb-cookie"], HONORING["app-cookie"]], ids=["lb-cookie", "app-cookie"])
async def test_sessions_stay_through_a_hundred_drains(kind: Kind) -> None:
    """Targets leave and come back by turns while 20 sessions ask: each stays with its target all the time."""
    async with scene(kind) as it:
        browsers = [it.browser, *(Browser(it.it) for _ in range(19))]
        homes = [(await kind.ask(browser)).body for browser in browsers]
        assert set(homes) == {b"a", b"b"}
        for turn in range(100):
            shop = (it.bound, it.other)[turn % 2]
            await it.balancer.deregister_targets("group", shop.declared)
            it.later(10)
            seen = await asyncio.gather(*(kind.ask(browser) for browser in browsers))
            assert [answer.body for answer in seen] == homes
            await it.balancer.register_targets("group", shop.declared)
        assert "HTTPCode_ELB_5XX_Count" not in it.it.counters
