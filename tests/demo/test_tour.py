"""The tour holds against a gateway that is right, and each of its steps finds the gateway that is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

import albkit as alb
from albkit.demo.gateway import Demo, demo_listener
from albkit.demo.targets import DemoTarget
from albkit.demo.tour import STEPS, Outcome, Step, Tour
from tests.demo import spoiler
from tests.demo.spoiler import Spoiler, spoiled
from tests.support.peers import target

TITLES = {
    "page": "the page is served",
    "spread": "the API is balanced over all targets",
    "forwarded": "targets get the client's address",
    "cookies": "both stickiness cookies are set",
    "session": "a cookie keeps a session on its target",
    "echo": "a WebSocket echoes",
    "pinned": "a WebSocket reaches its session's target",
    "chat": "a chat message reaches the other member",
    "body": "a body of 1 MiB comes back whole",
    "stream": "server-sent events arrive one by one",
    "slow": "slow responses do not delay each other",
    "fixed": "a fixed response needs no target",
    "host": "a rule routes by host",
    "h2-page": "HTTP/2 serves the page",
    "h2-slow": "HTTP/2 requests share one connection",
    "h2-streams": "eight event streams leave room for a request",
    "h2-websocket": "a WebSocket opens on an HTTP/2 stream",
    "h2-grpc": "gRPC calls are balanced one by one",
    "lost": "a stopped target costs no failed GET",
    "counters": "the counters are right",
    "admin": "the admin API and its page answer",
}


def steps(*names: str) -> list[Step]:
    wanted = [TITLES[name] for name in names]
    return [step for step in STEPS if step.title in wanted]


def tour_of(demo: Demo, url: str | None = None) -> Tour:
    counters = lambda: demo.load_balancer.counters  # noqa: E731
    return Tour(url or demo.url, demo.targets, counters, http2_url=demo.https_url, certificate=demo.certificate, admin_url=demo.admin_url)


def failed(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {outcome.title: outcome.seen for outcome in outcomes if not outcome.held}


def group(name: str, targets: Sequence[DemoTarget], **settings: Any) -> alb.TargetGroup:
    return alb.TargetGroup(name, [target.address for target in targets], **settings)


def without_rule(priority: int, port: int, targets: Sequence[DemoTarget]) -> alb.Listener:
    right = demo_listener(port, targets)
    return alb.Listener(port, right.default_actions, [rule for rule in right.rules if rule.priority != priority], host="127.0.0.1")


def no_teapot(port: int, targets: Sequence[DemoTarget]) -> alb.Listener:
    return without_rule(10, port, targets)


def no_host_rule(port: int, targets: Sequence[DemoTarget]) -> alb.Listener:
    return without_rule(20, port, targets)


def greedy_host_rule(port: int, targets: Sequence[DemoTarget]) -> alb.Listener:
    """The rule applies to every host."""
    only = alb.Rule(20, alb.HostHeader("*"), alb.Forward(group("only", targets[-1:])))
    return alb.Listener(port, alb.Forward(group("web", targets)), only, host="127.0.0.1")


def sticky_api(port: int, targets: Sequence[DemoTarget]) -> alb.Listener:
    """One group for all, sticky."""
    return alb.Listener(port, alb.Forward(group("web", targets, stickiness=alb.LbCookie())), host="127.0.0.1")


def narrow_api(port: int, targets: Sequence[DemoTarget]) -> alb.Listener:
    """The third target gets nothing."""
    return alb.Listener(port, alb.Forward(group("web", targets[:2])), host="127.0.0.1")


def without_http2(port: int, targets: Sequence[DemoTarget]) -> alb.Listener:
    right = demo_listener(port, targets)
    return attrs.evolve(right, http2=False, rules=[rule for rule in right.rules if rule.priority != 50])


def without_http2_websocket(port: int, targets: Sequence[DemoTarget]) -> alb.Listener:
    return attrs.evolve(demo_listener(port, targets), http2_websocket=False)


def no_grpc_rule(port: int, targets: Sequence[DemoTarget]) -> alb.Listener:
    return without_rule(50, port, targets)


def one_greeter(port: int, targets: Sequence[DemoTarget]) -> alb.Listener:
    """All calls have the same target."""
    greeter = alb.TargetGroup("one", targets[0].grpc_address, protocol_version="GRPC")
    right = without_rule(50, port, targets)
    return attrs.evolve(right, rules=[*right.rules, alb.Rule(50, alb.PathPattern("/demo.Greeter/*"), alb.Forward(greeter))])


def no_stickiness(port: int, targets: Sequence[DemoTarget]) -> alb.Listener:
    return alb.Listener(port, alb.Forward(group("web", targets)), host="127.0.0.1")


def one_for_all(port: int, targets: Sequence[DemoTarget]) -> alb.Listener:
    """Sticky, but every session is on the same target."""
    return alb.Listener(port, alb.Forward(group("web", targets[:1], stickiness=alb.LbCookie())), host="127.0.0.1")


async def test_right_gateway_passes_every_step() -> None:
    """All held, and each outcome was told as it came."""
    told: list[str] = []
    async with Demo() as demo:
        outcomes = await tour_of(demo).walk(told.append)
    assert failed(outcomes) == {}
    assert [outcome.title for outcome in outcomes] == list(TITLES.values())
    assert all(line.startswith("  ok ") for line in told)
    assert len(told) == len(STEPS)


async def test_right_gateway_behind_a_relay_passes_every_step() -> None:
    """The relay of the tests below spoils nothing by itself."""
    async with Demo() as demo, spoiled(Spoiler, demo.url) as relay:
        assert failed(await tour_of(demo, relay.url).walk(lambda _: None)) == {}


@pytest.mark.parametrize(
    ("describe", "step"),
    [
        (narrow_api, "spread"),
        (sticky_api, "spread"),
        (no_stickiness, "cookies"),
        (sticky_api, "cookies"),
        (no_stickiness, "session"),
        (one_for_all, "session"),
        (no_stickiness, "pinned"),
        (no_teapot, "fixed"),
        (no_host_rule, "host"),
        (greedy_host_rule, "host"),
        (no_stickiness, "lost"),
        (without_http2, "h2-page"),
        (without_http2, "h2-slow"),
        (without_http2, "h2-streams"),
        (without_http2, "h2-websocket"),
        (without_http2, "h2-grpc"),
        (without_http2_websocket, "h2-websocket"),
        (no_grpc_rule, "h2-grpc"),
        (one_greeter, "h2-grpc"),
        (no_teapot, "counters"),
    ],
)
async def test_gateway_with_wrong_rules_fails_the_step(describe: Callable[[int, Sequence[DemoTarget]], alb.Listener], step: str) -> None:
    """The step that a rule is for finds that it is wrong, and says what it expected and saw."""
    told: list[str] = []
    async with Demo(describe=describe) as demo:
        outcomes = await tour_of(demo).walk(told.append, steps(step))
    assert list(failed(outcomes)) == [TITLES[step]]
    assert told[0].startswith("  FAILED  ")
    assert "expected" in told[0]
    assert "saw" in told[0]


@pytest.mark.parametrize("step", ["h2-slow", "h2-streams"])
async def test_gateway_with_too_few_streams_fails_the_step(step: str) -> None:
    """The step needs more streams at a time than a browser has connections."""
    async with Demo(limits=alb.Limits(http2_streams=6)) as demo:
        outcomes = await tour_of(demo).walk(lambda _: None, steps(step))
    assert list(failed(outcomes)) == [TITLES[step]]
    assert "RST_STREAM with code 7" in outcomes[0].seen


async def test_without_the_packages_for_tls_http2_is_shown_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install .` is enough for the demo and all of its tour."""
    monkeypatch.setattr("albkit.demo.certificate.find_spec", lambda _: None)
    async with Demo() as demo:
        assert (demo.certificate, demo.https_url, len(demo.load_balancer.listeners)) == (None, "", 1)
        outcomes = await tour_of(demo).walk(lambda _: None)
    assert failed(outcomes) == {}
    assert "by prior knowledge" in next(outcome.seen for outcome in outcomes if outcome.title == TITLES["h2-page"])


async def test_gateway_that_removes_forwarded_for_fails_the_step() -> None:
    """The step looks at what the target got."""
    async with Demo(xff_header_processing="remove") as demo:
        outcomes = await tour_of(demo).walk(lambda _: None, steps("forwarded"))
    assert failed(outcomes) == {TITLES["forwarded"]: "X-Forwarded-For at the target: expected '203.0.113.7, 127.0.0.1', saw None"}


@pytest.mark.parametrize(
    ("kind", "step", "reason"),
    [
        (spoiler.OtherPage, "page", "the name of one target"),
        (spoiler.OneCookie, "cookies", "['AWSALB']"),
        (spoiler.BareSwitch, "pinned", "the cookies of the 101"),
        (spoiler.ForgetfulHandshake, "pinned", "the target of a further WebSocket"),
        (spoiler.LoudEcho, "echo", "HÄLLO"),
        (spoiler.DeafChat, "chat", "but it did not"),
        (spoiler.ShortBody, "body", "1048575 bytes"),
        (spoiler.BufferedStream, "stream", "event 1 before event 2"),
        (spoiler.OneAtATime, "slow", "side by side"),
        (spoiler.NoRetry, "lost", "502"),
    ],
)
async def test_gateway_that_spoils_what_passes_fails_the_step(
    kind: type[Spoiler], step: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step finds the one thing that is wrong, and says it."""
    monkeypatch.setattr("albkit.demo.tour._PATIENCE", 10 if step == "slow" else 1.5)
    async with Demo() as demo, spoiled(kind, demo.url) as relay:
        outcomes = await tour_of(demo, relay.url).walk(lambda _: None, steps(step))
    assert list(failed(outcomes)) == [TITLES[step]]
    assert reason in outcomes[0].seen


async def test_counters_that_stand_still_fail_the_step() -> None:
    """Not even the other steps' counts are mistaken for its own."""
    async with Demo() as demo:
        frozen = dict(demo.load_balancer.counters)
        tour = Tour(demo.url, demo.targets, lambda: frozen)
        outcomes = await tour.walk(lambda _: None, steps("counters"))
    assert list(failed(outcomes)) == [TITLES["counters"]]


async def test_server_that_answers_anything_with_nothing_fails_every_step() -> None:
    """No step is content with a 200."""
    async with Demo() as demo, target(None, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as origin:
        outcomes = await Tour(f"http://{origin.address}", demo.targets, lambda: demo.load_balancer.counters).walk(lambda _: None)
    assert list(failed(outcomes)) == list(TITLES.values())


async def test_gateway_that_is_not_there_fails_every_step() -> None:
    """A refused connection is an outcome, not a traceback."""
    async with Demo() as demo:
        tour = tour_of(demo)
        await demo.load_balancer.stop()
        outcomes = await tour.walk(lambda _: None)
    assert list(failed(outcomes)) == list(TITLES.values())


async def test_gateway_that_hangs_fails_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step has an end."""
    monkeypatch.setattr("albkit.demo.tour._PATIENCE", 0.1)
    never = asyncio.Event()

    async def silent(_: object) -> None:
        await never.wait()

    async with Demo() as demo, target(silent) as origin:
        outcomes = await tour_of(demo, f"http://{origin.address}").walk(lambda _: None, steps("page"))
    assert failed(outcomes) == {TITLES["page"]: "expected the step to end within 0.1 seconds, but it did not"}
