"""Hooks that do not end when they are cancelled, or take their time: nobody waits for them, and they reach into nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextvars import ContextVar

import pytest

import albkit as alb
from albkit.proxy.hook_tasks import HookTasks
from tests.support.balancing import Balancing, balancing, listener
from tests.support.frames import CLOSE, read_frame
from tests.support.peers import RawClient, Target, request, target
from tests.support.tunnels import UPGRADE, ends, gone, holding, switching

SHORT = alb.Limits(hook_timeout=0.05)


class Stubborn:
    """A hook that waits, and when it is cancelled goes on until it is released."""

    def __init__(self, *, swallows: bool) -> None:
        self.swallows = swallows
        """Whether it does not even let the cancellation through."""
        self.began = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.release = asyncio.Event()
        self.ended = 0

    async def __call__(self, _: object) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            while not self.release.is_set():
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    if not self.swallows:
                        raise
            if not self.swallows:
                raise
        finally:
            self.ended += 1


BOTH = pytest.mark.parametrize("swallows", [True, False], ids=["swallows", "slow-finally"])


@contextlib.asynccontextmanager
async def door(hook: Stubborn, origin: Target, **settings: object) -> AsyncIterator[Balancing]:
    """Hooks at /hook, everything else forwarded; nothing of the hook is left behind."""
    group = alb.TargetGroup("group", origin.address)
    rule = alb.Rule(1, alb.PathPattern("/hook"), [hook, alb.Forward(group)])
    async with balancing(listener(alb.Forward(group), rule), **settings) as it:
        try:
            yield it
        finally:
            hook.release.set()
            while hook.ended < hook.began.is_set():
                await asyncio.sleep(0)


@BOTH
async def test_client_gets_its_500_when_the_time_is_over(*, swallows: bool) -> None:
    """Not when the hook has ended; its connection goes on, and nothing is sent to the target."""
    hook = Stubborn(swallows=swallows)
    async with target() as origin, door(hook, origin, limits=SHORT) as it:
        client = await it.client()
        async with asyncio.timeout(5):
            assert (await client.get("/hook")).status == 500
            assert hook.ended == 0
            assert (await client.get("/")).status == 200
        assert it.counters["Failure_HookTimeout"] == 1
        assert len(origin.heads) == 1


@BOTH
async def test_client_that_leaves_is_not_kept(*, swallows: bool) -> None:
    """All that was held for it is given back while the hook still goes on."""
    hook = Stubborn(swallows=swallows)
    async with target() as origin, door(hook, origin) as it:
        client = await it.client()
        client.send(request("GET", "/hook"))
        async with asyncio.timeout(5):
            await hook.began.wait()
            client.reset()
            while it.runtime.clients:
                await asyncio.sleep(0)
            await hook.cancelled.wait()
        assert hook.ended == 0
        assert it.counters["Failure_ClientClosed"] == 1


@BOTH
@pytest.mark.parametrize("timed_out", [True, False], ids=["timed-out", "going-on"])
async def test_stop_ends_everything_else_and_names_the_hook(caplog: pytest.LogCaptureFixture, *, swallows: bool, timed_out: bool) -> None:
    """Tunnels, connections and the sweep end within the time of the stop; a warning tells of what does not."""
    hook = Stubborn(swallows=swallows)
    limits = SHORT if timed_out else alb.Limits()
    async with target(switching(then=holding)) as origin, door(hook, origin, limits=limits, stop_timeout=0.2) as it:
        tunnels = []
        for _ in range(5):
            tunnels.append(await it.client())
            tunnels[-1].send(request("GET", "/ws", *UPGRADE))
            assert (await tunnels[-1].response()).status == 101
        client = await it.client()
        client.send(request("GET", "/hook"))
        gateway = it.runtime
        async with asyncio.timeout(5):
            await (hook.cancelled if timed_out else hook.began).wait()
            await it.load_balancer.stop()
            assert (gateway.clients, gateway.tunnels, gateway.connections.count) == (set(), {}, 0)
            for one in tunnels:
                assert (await read_frame(one)).code == 1001
                assert await one.is_closed()
        assert hook.ended == 0
        warnings = [record.getMessage() for record in caplog.records if "did not end" in record.getMessage()]
        assert len(warnings) == 1
        assert "Stubborn object" in warnings[0]


async def test_stop_lets_a_hook_end_that_needs_a_moment(caplog: pytest.LogCaptureFixture) -> None:
    """And is silent then."""
    ended = asyncio.Event()
    began = asyncio.Event()

    async def tidy(_: alb.Request) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _turn in range(10):
                await asyncio.sleep(0)
            ended.set()

    async with target() as origin, balancing(listener([tidy, alb.Forward(alb.TargetGroup("g", origin.address))]), stop_timeout=0) as it:
        client = await it.client()
        client.send(request("GET", "/"))
        async with asyncio.timeout(5):
            await began.wait()
            await it.load_balancer.stop()
        assert ended.is_set()
    assert not [record for record in caplog.records if "did not end" in record.getMessage()]


async def test_stop_that_is_cancelled_leaves_no_client_and_no_tunnel() -> None:
    """Also where it waits for a hook."""
    hook = Stubborn(swallows=True)
    async with target() as origin, door(hook, origin, limits=SHORT, stop_timeout=60) as it:
        client = await it.client()
        assert (await client.get("/hook")).status == 500
        gateway = it.runtime
        stopping = asyncio.ensure_future(it.load_balancer.stop())
        async with asyncio.timeout(5):
            while gateway.clients:
                await asyncio.sleep(0)
            stopping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stopping
        assert hook.ended == 0


async def test_hook_that_was_given_up_reads_no_other_request() -> None:
    """The body that it asks for then is the next request's."""
    told: list[object] = []
    go_on = asyncio.Event()
    over = asyncio.Event()

    async def late(request: alb.Request) -> None:
        body = request.body
        try:
            await asyncio.Event().wait()
        finally:
            await go_on.wait()
            try:
                told.append(await body(100))
            except RuntimeError as error:
                told.append(error)
            over.set()

    async with target() as origin:
        group = alb.TargetGroup("group", origin.address)
        rule = alb.Rule(1, alb.PathPattern("/hook"), [late, alb.Forward(group)])
        async with balancing(listener(alb.Forward(group), rule), limits=SHORT) as it:
            client = await it.client()
            assert (await client.get("/hook")).status == 500
            client.send(request("POST", "/", "Content-Length: 6", body=b"sec"))
            await origin.arrived()
            go_on.set()
            async with asyncio.timeout(5):
                while not (over.is_set() or told):
                    await asyncio.sleep(0)
                client.send(b"ret")
                assert (await client.response()).status == 200
            assert origin.conversations[0].received.endswith(b"secret")
    assert [type(one) for one in told] == [RuntimeError]


async def test_hook_that_hangs_on_the_body_and_swallows_everything_reads_no_more_of_it() -> None:
    """The 500 ends the connection, since the rest of the body cannot be told from a request."""
    told: list[BaseException] = []
    over = asyncio.Event()

    async def greedy(request: alb.Request) -> None:
        while not over.is_set() and len(told) < 10:
            try:
                await request.body()
            except (RuntimeError, asyncio.CancelledError) as error:
                told.append(error)
                if isinstance(error, RuntimeError):
                    over.set()

    async with target() as origin, balancing(listener([greedy, alb.Forward(alb.TargetGroup("g", origin.address))]), limits=SHORT) as it:
        client = await it.client()
        client.send(request("POST", "/", "Content-Length: 10", body=b"half"))
        async with asyncio.timeout(5):
            got = await client.response()
            assert (got.status, got.get(b"connection")) == (500, b"close")
            await over.wait()
        assert [type(error) for error in told] == [asyncio.CancelledError, RuntimeError]
        assert origin.heads == []


async def test_hook_that_fails_after_it_was_given_up_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Its error has no exchange any more, but is not lost."""

    async def fails_late(_: alb.Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("while tidying up")

    async with target() as origin, balancing(listener([fails_late, alb.Forward(alb.TargetGroup("g", origin.address))]), limits=SHORT) as it:
        client = await it.client()
        assert (await client.get("/")).status == 500
        assert it.counters["Failure_HookTimeout"] == 1
    (record,) = [record for record in caplog.records if "after it was cancelled" in record.getMessage()]
    assert "fails_late" in record.getMessage()
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_what_a_hook_notes_in_a_context_variable_the_next_one_finds() -> None:
    """And no other request's hooks do."""
    variable: ContextVar[str] = ContextVar("variable", default="")
    seen: list[str] = []

    async def first(request: alb.Request) -> None:
        seen.append(variable.get())
        variable.set(request.path)
        await asyncio.sleep(0)

    async def second(_: alb.Request) -> alb.Response:
        return alb.Response(200, body=variable.get().encode())

    async with target() as origin, balancing(listener([first, second, alb.Forward(alb.TargetGroup("g", origin.address))])) as it:
        client = await it.client()
        assert (await client.get("/a")).body == b"/a"
        assert (await client.get("/b")).body == b"/b"
    assert seen == ["", ""]


@BOTH
async def test_recheck_that_takes_too_long_ends_its_tunnel_all_the_same(*, swallows: bool) -> None:
    """What is not checked in time is not allowed, whether or not the recheck ends."""
    hook = Stubborn(swallows=swallows)
    async with ends(alb.TunnelPolicy(idle_timeout=1000, recheck=hook), limits=SHORT) as both:
        both.later(60)
        async with asyncio.timeout(5):
            goodbye = await read_frame(both.client)
            assert (goodbye.opcode, goodbye.code) == (CLOSE, 1011)
            assert (both.end, hook.ended) == (alb.TunnelEnd.ERROR, 0)
            both.client.reset()
            both.target.reset()
            await gone(both.gateway)
            assert both.gateway.counters["Failure_TunnelRecheckFailed"] == 1
            await both.gateway.load_balancer.stop()
            hook.release.set()
            while not hook.ended:
                await asyncio.sleep(0)


async def test_hundreds_of_stubborn_hooks_are_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """With their number."""
    hook = Stubborn(swallows=True)
    async with target() as origin, door(hook, origin, limits=SHORT) as it:
        clients: list[RawClient] = [await it.client() for _ in range(200)]
        async with asyncio.timeout(10):
            for client in clients:
                client.send(request("GET", "/hook"))
            for client in clients:
                assert (await client.response()).status == 500
            await it.load_balancer.stop()
        hook.release.set()
        async with asyncio.timeout(5):
            while hook.ended < 200:
                await asyncio.sleep(0)
    warnings = [record.getMessage() for record in caplog.records if "did not end" in record.getMessage()]
    assert len(warnings) == 1
    assert "(200 calls)" in warnings[0]


async def test_hook_that_has_failed_is_not_taken_for_a_cancelled_one(caplog: pytest.LogCaptureFixture) -> None:
    """The client leaves twice in one turn: the first time ends the wait of the hook, the second one that of the exchange."""
    tasks = HookTasks(asyncio.get_running_loop())
    failed = asyncio.get_running_loop().create_future()

    async def hook() -> None:
        await failed

    task = tasks.start(hook(), hook)
    await asyncio.sleep(0)
    failed.set_exception(ValueError("the client left"))
    asyncio.get_running_loop().call_soon(tasks.cancel, task)
    await asyncio.sleep(0)
    assert task.done()
    await asyncio.sleep(0)
    assert caplog.records == []
