"""Objects of the program's own that raise wherever they are touched: each costs its own exchange or tunnel, a counter and a line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import pytest
from multidict import CIMultiDict

import albkit as alb
from albkit.errors import name_of, told
from albkit.wire.http1.responses import validated_response
from tests.support.balancing import balancing, listener
from tests.support.frames import read_frame
from tests.support.peers import request, target
from tests.support.tunnels import UPGRADE, ends, gone, holding, switching


class Whatever(BaseException):
    """Not even an Exception."""


class Unspeakable(Exception):
    """Says nothing of itself."""

    def __repr__(self) -> str:
        raise ValueError("no words")

    __str__ = __repr__


class UnspeakableToTheEnd(Exception):
    """Is cancelled when it is to say something."""

    def __repr__(self) -> str:
        raise asyncio.CancelledError

    __str__ = __repr__


class Untouchable:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise LookupError(name)

    def __bool__(self) -> bool:
        raise LookupError("bool")

    def __eq__(self, other: object) -> bool:
        raise LookupError("eq")

    def __hash__(self) -> int:
        raise LookupError("hash")

    def __repr__(self) -> str:
        raise LookupError("repr")

    __str__ = __repr__


RAISED = pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError,
        GeneratorExit,
        Whatever,
        Unspeakable,
        UnspeakableToTheEnd,
        StopIteration,
        StopAsyncIteration,
        TimeoutError,
        RecursionError,
        AssertionError,
    ],
)


@pytest.fixture(autouse=True)
def _lines_come_whole(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A line whose making raises fails the test, as pytest's handler lets nothing pass."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.records:
        assert record.getMessage()


def lines(caplog: pytest.LogCaptureFixture, reason: str) -> list[str]:
    """What was told of failures of this kind."""
    return [message for message in (record.getMessage() for record in caplog.records) if message.startswith(reason + ":")]


async def costs_its_exchange(
    caplog: pytest.LogCaptureFixture, *, actions: Sequence[Any] = (), conditions: Any = None, **group: Any
) -> None:
    """500 with a counter and one line; on the same connection the next request is served."""
    async with target() as origin:
        good = alb.TargetGroup("good", origin.address)
        bad = alb.TargetGroup("bad", origin.address, **group)
        rule = alb.Rule(1, conditions or alb.PathPattern("/bad"), [*actions, alb.Forward(bad)])
        async with balancing(listener(alb.Forward(good), rule)) as it:
            client = await it.client()
            async with asyncio.timeout(5):
                assert (await client.get("/bad")).status == 500
                assert (await client.get("/good")).status == 200
            assert it.counters["Failure_HookFailed"] == it.counters["HTTPCode_ELB_500_Count"] == 1
            assert len(origin.heads) == 1
    assert len(lines(caplog, "HookFailed")) == 1


# Actions.


@RAISED
async def test_action_that_raises_anything(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """Its own cancellation is one error more: nobody has cancelled the exchange."""

    async def action(_: alb.Request) -> None:
        await asyncio.sleep(0)
        raise error

    await costs_its_exchange(caplog, actions=[action])
    assert "action" in lines(caplog, "HookFailed")[0]


@RAISED
async def test_action_that_raises_before_there_is_anything_to_await(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """A plain function that returns an awaitable is an action as well."""

    def action(_: alb.Request) -> Any:
        raise error

    await costs_its_exchange(caplog, actions=[action])


async def test_action_whose_own_work_was_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """The task that it waits for, not its own."""

    async def action(_: alb.Request) -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    await costs_its_exchange(caplog, actions=[action])
    assert "cancelled" in lines(caplog, "HookFailed")[0]


class EvilFields(Mapping[str, str]):
    """Fails when it is read."""

    def __getitem__(self, key: str) -> str:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise asyncio.CancelledError

    def __len__(self) -> int:
        raise GeneratorExit


class OnceGood(Mapping[str, str]):
    """Good when it is looked at for the first time."""

    def __init__(self) -> None:
        self.looks = 0

    def __getitem__(self, key: str) -> str:
        return "good"

    def __iter__(self) -> Iterator[str]:
        self.looks += 1
        yield "X-Good" if self.looks == 1 else "X-Evil\r\nSet-Cookie: a"

    def __len__(self) -> int:
        return 1


class EvilText(str):
    """Text that fails when it is used."""

    def encode(self, *_: object, **__: object) -> bytes:
        raise LookupError("encode")

    def lower(self) -> str:
        raise LookupError("lower")

    def __format__(self, _: str) -> str:
        raise LookupError("format")

    def isascii(self) -> bool:
        raise LookupError("isascii")


class EvilBytes(bytes):
    """Bytes that lie about their length."""

    def __len__(self) -> int:
        return 7


ANSWERS: dict[str, Callable[[], Any]] = {
    "all": Untouchable,
    "status": lambda: alb.Response(Untouchable()),  # type: ignore[arg-type]
    "headers": lambda: alb.Response(200, headers=Untouchable()),  # type: ignore[arg-type]
    "fields": lambda: alb.Response(200, headers=EvilFields()),
    "body": lambda: alb.Response(200, body=Untouchable()),  # type: ignore[arg-type]
    "value": lambda: alb.Response(200, headers={"X": Untouchable()}),  # type: ignore[dict-item]
    "object": object,
}
"""What pytest is not shown, since it would look at it."""


@pytest.mark.parametrize("which", ANSWERS)
async def test_action_that_returns_what_cannot_be_looked_at(which: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where it is neither a Response nor None, or a Response of such things."""

    async def action(_: alb.Request) -> Any:
        return ANSWERS[which]()

    await costs_its_exchange(caplog, actions=[action])


async def test_answer_is_looked_at_once() -> None:
    """What was found good is what is sent, whatever kind of text, number or mapping it was."""

    async def action(request: alb.Request) -> alb.Response:
        if request.path == "/fields":
            return alb.Response(HTTPStatus.CREATED, headers=OnceGood(), body=EvilBytes(b"body"))
        return alb.Response(200, headers={EvilText("X-Text"): EvilText("text")})

    async with target() as origin, balancing(listener([action, alb.Forward(alb.TargetGroup("g", origin.address))])) as it:
        client = await it.client()
        got = await client.get("/fields")
        assert (got.status, got.get(b"x-good"), got.body) == (201, b"good", b"body")
        assert (await client.get("/text")).get(b"x-text") == b"text"


def test_fields_that_stand_twice_in_an_answer_stay_twice() -> None:
    """As Set-Cookie may, in a multidict."""
    answer = validated_response(alb.Response(200, headers=CIMultiDict([("Set-Cookie", "a=1"), ("set-cookie", "b=2")])))
    assert isinstance(answer, alb.Response)
    assert list((answer.headers or {}).items()) == [("Set-Cookie", "a=1"), ("set-cookie", "b=2")]


# Conditions, algorithms, keys.


@RAISED
async def test_condition_that_raises_anything(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """It runs in the exchange's own task, which nobody has cancelled."""

    def condition(request: alb.Request) -> bool:
        if request.path == "/bad":
            raise error
        return False

    await costs_its_exchange(caplog, conditions=condition)


async def test_condition_that_returns_neither_true_nor_false(caplog: pytest.LogCaptureFixture) -> None:
    """Asking for its truth raises."""
    await costs_its_exchange(caplog, conditions=lambda request: Untouchable() if request.path == "/bad" else False)


class Algorithm:
    """Does as told."""

    def __init__(self, error: type[BaseException] | None = None, choice: Any = None, *, also: type[BaseException] | None = None) -> None:
        self.error = error
        self.choice = choice
        self.also = also

    def joined(self, _: object) -> None:
        if self.also is not None:
            raise self.also

    left = started = finished = joined

    def answered(self, _: object, __: float) -> None:
        if self.also is not None:
            raise self.also

    transferred = answered

    def choose(self, candidates: Sequence[Any], _: Any) -> Any:
        if self.error is not None:
            raise self.error
        return self.choice if self.choice is not None else candidates[0]


@RAISED
async def test_algorithm_that_raises_anything(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """When it is to choose."""
    await costs_its_exchange(caplog, algorithm=Algorithm(error))


async def test_algorithm_that_chooses_what_cannot_be_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    """It is no candidate."""
    await costs_its_exchange(caplog, algorithm=Algorithm(choice=Untouchable()))


@RAISED
async def test_algorithm_that_raises_anything_when_it_is_told(error: type[BaseException]) -> None:
    """That costs nobody anything but a line."""
    async with target() as origin:
        group = alb.TargetGroup("group", origin.address, algorithm=Algorithm(also=error))
        async with balancing(listener(alb.Forward(group))) as it:
            client = await it.client()
            async with asyncio.timeout(5):
                assert (await client.get("/")).status == 200
                await it.load_balancer.deregister_targets("group", origin.address)


@RAISED
async def test_sticky_key_that_raises_anything(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """While a target is chosen."""

    def key(_: alb.Request) -> str:
        raise error

    await costs_its_exchange(caplog, stickiness=key)


async def test_sticky_key_that_cannot_be_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    """It is neither text nor None."""
    await costs_its_exchange(caplog, stickiness=lambda _: Untouchable())


async def test_sticky_key_of_a_strange_kind_of_text() -> None:
    """It is text."""
    async with target() as origin:
        group = alb.TargetGroup("group", origin.address, stickiness=lambda _: EvilText("key"))
        async with balancing(listener(alb.Forward(group))) as it:
            assert (await (await it.client()).get("/")).status == 200


# What has no exchange.


@RAISED
async def test_subscriber_and_tunnel_callbacks_that_raise_anything(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """Whoever else listens is told, and what they are told of goes on."""

    def raises(_: object) -> None:
        raise error

    told: list[object] = []
    async with target(switching(then=holding)) as origin:
        group = alb.TargetGroup("group", origin.address)
        async with balancing(listener(alb.Forward(group))) as it:
            for one in (raises, told.append):
                it.load_balancer.subscribe(one)
                it.load_balancer.on_tunnel(one, one)
            client = await it.client()
            client.send(request("GET", "/ws", *UPGRADE))
            assert (await client.response()).status == 101
            client.reset()
            async with asyncio.timeout(5):
                while len(told) < 2:
                    await asyncio.sleep(0)
            await it.load_balancer.deregister_targets("group", origin.address)
            assert len(told) > 2
    assert [record.getMessage() for record in caplog.records if "raises" in record.getMessage()]


class EvilCallable:
    """Raises when it is called, compared or asked for its name."""

    def __call__(self, _: object) -> None:
        raise LookupError("called")

    def __getattribute__(self, name: str) -> Any:
        raise LookupError(name)

    def __repr__(self) -> str:
        raise LookupError("repr")

    def __eq__(self, other: object) -> bool:
        raise LookupError("eq")

    __hash__ = None  # type: ignore[assignment]


async def test_subscribers_that_cannot_be_compared_come_and_go() -> None:
    """One is known by what it is."""
    heard: list[object] = []
    async with target() as origin:
        group = alb.TargetGroup("group", origin.address)
        async with balancing(listener(alb.Forward(group))) as it:
            stop_evil = it.load_balancer.subscribe(EvilCallable())
            stop_good = it.load_balancer.subscribe(heard.append)
            gone_evil = it.load_balancer.on_tunnel(EvilCallable(), EvilCallable())
            gone_good = it.load_balancer.on_tunnel(heard.append, heard.append)
            await it.load_balancer.register_targets("group", "127.0.0.1:9")
            assert heard
            for stop in (stop_good, stop_evil, gone_good, gone_evil, stop_good):
                stop()
            before = len(heard)
            await it.load_balancer.register_targets("group", "127.0.0.1:10")
            assert len(heard) == before


@RAISED
async def test_recheck_that_raises_anything(error: type[BaseException]) -> None:
    """What cannot be checked is not allowed."""

    async def recheck(_: alb.Tunnel) -> bool:
        raise error

    await ends_with(recheck, 1011, "TunnelRecheckFailed")


async def test_recheck_whose_answer_is_neither_true_nor_false() -> None:
    """Nor can that be checked."""

    async def recheck(_: alb.Tunnel) -> Any:
        return Untouchable()

    await ends_with(recheck, 1011, "TunnelRecheckFailed")


async def test_recheck_that_is_no_coroutine() -> None:
    """A plain function: its answer cannot be awaited."""
    await ends_with(lambda _: True, 1011, "TunnelRecheckFailed")


async def test_recheck_that_says_no_in_a_way_of_its_own() -> None:
    """Anything false."""

    async def recheck(_: alb.Tunnel) -> Any:
        return []

    await ends_with(recheck, 1008, "TunnelNotAllowedAnyMore")


async def ends_with(recheck: Any, code: int, reason: str) -> None:
    """Both sides get this Close, and it is counted once."""
    async with ends(alb.TunnelPolicy(idle_timeout=1000, recheck=recheck)) as both:
        both.later(60)
        async with asyncio.timeout(5):
            assert (await read_frame(both.client)).code == code
            assert (await read_frame(both.target)).code == code
        both.client.reset()
        both.target.reset()
        await gone(both.gateway)
        assert both.gateway.counters[f"Failure_{reason}"] == 1


@RAISED
async def test_health_probe_that_raises_anything(error: type[BaseException]) -> None:
    """The check has failed, and the target is asked again."""
    asked = 0

    async def probe(_: alb.Target) -> bool:
        nonlocal asked
        asked += 1
        raise error

    async with target() as origin:
        check = alb.HealthCheck(probe=probe, interval=0.02, timeout=0.01)
        group = alb.TargetGroup("group", origin.address, health_check=check)
        async with balancing(listener(alb.Forward(group))) as it:
            async with asyncio.timeout(5):
                while asked < 3:
                    await asyncio.sleep(0.005)  # It is the interval that is waited for.
            (health,) = it.load_balancer.describe_target_health("group")
            assert health.state == "unhealthy"


@pytest.mark.parametrize("kind", ["object", "text"])
async def test_health_probe_that_returns_what_cannot_be_looked_at(kind: str) -> None:
    """It is not True."""

    async def probe(_: alb.Target) -> Any:
        return Untouchable() if kind == "object" else EvilText("no")

    async with target() as origin:
        check = alb.HealthCheck(probe=probe, interval=0.02, timeout=0.01)
        group = alb.TargetGroup("group", origin.address, health_check=check)
        async with balancing(listener(alb.Forward(group))) as it, asyncio.timeout(5):
            while it.load_balancer.describe_target_health("group")[0].state != "unhealthy":
                await asyncio.sleep(0.005)  # It is the interval that is waited for.
            assert it.load_balancer.describe_target_health("group")[0].reason == "Target.FailedHealthChecks"


# The words themselves.


@pytest.mark.parametrize("kind", [Untouchable, Unspeakable, UnspeakableToTheEnd, EvilCallable])
def test_what_cannot_say_what_it_is_is_told_by_its_type(kind: type) -> None:
    """And never raises."""
    thing = kind()
    assert type(thing).__name__ in told(thing)
    assert type(thing).__name__ in name_of(thing)


def test_words_are_bounded_and_plain() -> None:
    """Whatever kind of text a __repr__ returns, and however long."""

    class Long:
        def __repr__(self) -> str:
            return EvilText("x" * 100_000)

    words = told(Long())
    assert type(words) is str
    assert len(words) == 500
    assert (told("a"), name_of(told)) == ("'a'", "told")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_is_not_kept_from_it(error: type[BaseException]) -> None:
    """Not even in a __repr__."""

    class Ends:
        def __repr__(self) -> str:
            raise error

    with pytest.raises(error):
        told(Ends())
