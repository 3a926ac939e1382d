"""What an operator sees of a load balancer, and does with it, by its public names."""

from __future__ import annotations

import logging
import time

import pytest

import albkit as alb
from albkit.model.descriptions import FailureDescription
from tests.support.clock import FakeClock
from tests.support.gateway import running
from tests.support.peers import response, target
from tests.support.tunnels import gone, holding, switching, upgraded


async def test_listeners_of_the_same_port_have_ids_of_their_own(unused_tcp_port: int) -> None:
    """A name, else a port; two on the same port of different addresses differ."""
    action, port = alb.FixedResponse(200), unused_tcp_port
    listeners = [alb.Listener(port, action, host="127.0.0.1"), alb.Listener(port, action, host="127.0.0.2")]
    async with alb.LoadBalancer([*listeners, alb.Listener(0, action, host="127.0.0.1", name="web")]) as load_balancer:
        assert [one.id for one in load_balancer.describe_listeners()] == [str(port), f"{port}#2", "web"]
        assert [one.id for one in load_balancer.describe_rules()] == [f"{port}/0", f"{port}#2/0", "web/0"]


async def test_rules_keep_their_words_and_count_their_hits() -> None:
    """Also over a new configuration, where another rule has other words."""

    def of_the_program(request: alb.Request) -> bool:
        return request.path == "/own"

    def rules(path: str) -> list[alb.Rule]:
        return [alb.Rule(5, of_the_program, alb.FixedResponse(201)), alb.Rule(7, alb.PathPattern(path), alb.FixedResponse(418))]

    async with running("10.0.0.1:80", rules=rules("/a")) as gateway:
        client = await gateway.client()
        await client.get("/a")
        described = {one.priority: one for one in gateway.load_balancer.describe_rules()}
        assert described[5].conditions[0].endswith("of_the_program() holds")
        assert (described[7].conditions, described[7].action, described[7].hits) == (("path is /a",), "answer 418 (text/plain)", 1)
        assert (described[0].conditions, described[0].action) == ((), "forward to group")
        listener = gateway.load_balancer.listeners[0].listener
        await gateway.load_balancer.apply(alb.Listener(0, listener.default_actions, rules("/b"), host="127.0.0.1"))
        described = {one.priority: one for one in gateway.load_balancer.describe_rules()}
        assert (described[7].conditions, described[7].hits) == (("path is /b",), 0)


async def test_groups_are_described_in_words() -> None:
    """Their algorithm, stickiness and health check."""
    group = alb.TargetGroup("app", "10.0.0.1:80", stickiness=alb.LbCookie(60), health_check=alb.HealthCheck("/up", interval=7, port=81))
    other = alb.TargetGroup("other", [], stickiness=lambda request: request.host, health_check=alb.HealthCheck(protocol="TCP"))
    stream = alb.TargetGroup("stream", "10.0.0.2:80", health_check=alb.HealthCheck())
    forwards = alb.Forward({group: 1, other: 1}, 60)
    listeners = [alb.Listener(0, forwards, host="127.0.0.1"), alb.Listener(0, alb.Forward(stream), host="127.0.0.1", protocol="TCP")]
    async with alb.LoadBalancer(listeners) as load_balancer:
        described = {one.name: one for one in load_balancer.describe_target_groups()}
        assert (described["app"].stickiness, described["app"].health_check) == ("bound by its cookie", "GET /up on port 81 every 7 s")
        assert (described["app"].protocol, described["app"].targets, described["app"].algorithm) == ("HTTP", 1, "round_robin")
        assert described["other"].health_check == "TCP connection every 30 s"
        assert described["other"].stickiness is not None
        assert described["other"].stickiness.startswith("bound by ")
        assert (described["stream"].protocol, described["stream"].health_check) == ("TCP", "TCP connection every 30 s")


async def test_times_stay_the_same_while_the_clocks_drift_a_little() -> None:
    """A time that changed by a microsecond in each description would be a change for every reader."""
    clock = FakeClock()
    async with target(None, response()) as web, running(web.address, clock=clock) as gateway:
        client = await gateway.client()
        await client.get("/")
        (first,) = gateway.load_balancer.describe_targets()
        assert first.last_active_at is not None
        gateway.load_balancer._describer._offset += 0.001
        offset = gateway.load_balancer._describer._offset
        (second,) = gateway.load_balancer.describe_targets()
        assert gateway.load_balancer._describer._offset == offset
        gateway.load_balancer._describer._offset += 100
        (third,) = gateway.load_balancer.describe_targets()
        assert third.last_active_at == first.last_active_at
        assert second.last_active_at == pytest.approx(first.last_active_at, abs=0.01)


async def test_unknown_groups_and_targets() -> None:
    """A group that is none is an error; a target that is none is left out."""
    async with running("10.0.0.1:80") as gateway:
        load_balancer = gateway.load_balancer
        with pytest.raises(LookupError, match="there is no target group 'nobody'; the groups are \\['group'\\]"):
            load_balancer.describe_targets("nobody")
        with pytest.raises(alb.ConfigurationError):
            load_balancer.describe_targets("group", "nonsense")
        assert [one.address for one in load_balancer.describe_targets("group", ["10.0.0.1:80", "10.0.0.2:80"])] == ["10.0.0.1:80"]


async def test_load_balancer_that_does_not_run_can_be_described() -> None:
    """Before the start there is nothing, and after the stop what was there at the end."""
    group = alb.TargetGroup("group", "10.0.0.1:80")
    load_balancer = alb.LoadBalancer(alb.Listener(0, alb.Forward(group), host="127.0.0.1"), name="mine")
    assert load_balancer.describe().is_running is False
    assert load_balancer.describe().started_at is None
    assert (
        list(load_balancer.describe_targets()) == list(load_balancer.describe_target_groups()) == load_balancer.describe_listeners() == []
    )
    with pytest.raises(LookupError):
        load_balancer.describe_targets("group")
    await load_balancer.start()
    assert load_balancer.describe().name == "mine"
    assert load_balancer.describe().is_running
    assert abs((load_balancer.describe().started_at or 0) - time.time()) < 60
    await load_balancer.stop()
    assert load_balancer.describe().is_running is False
    assert [one.address for one in load_balancer.describe_targets()] == ["10.0.0.1:80"]
    assert load_balancer.describe_listeners() == []


async def test_failures_are_reported_until_unsubscribed(caplog: pytest.LogCaptureFixture) -> None:
    """Only failures, with short texts of printable characters; a callback that raises is logged, and stays."""
    caplog.set_level(logging.CRITICAL, "albkit")
    async with target(None, response()) as web, running(web.address) as gateway:
        found: list[FailureDescription] = []

        def collect(failure: FailureDescription) -> None:
            found.append(failure)
            raise ValueError

        unsubscribe = gateway.load_balancer.on_failure(collect)
        client = await gateway.client()
        assert (await client.get("/")).status == 200
        for path in ("/\x01", "/" + "x" * 1000):
            client = await gateway.client()
            client.send(f"GET {path} HTTP/1.1\r\n\r\n".encode())
            assert (await client.response()).status == 400
        assert [failure.status for failure in found] == [400, 400]
        for failure in found:
            assert all(len(text) <= 1000 and text.isprintable() for text in (failure.detail, failure.request))
            assert (failure.side, failure.listener, failure.client.partition(":")[0]) == ("client", str(gateway.port), "127.0.0.1")
        unsubscribe()
        unsubscribe()
        client = await gateway.client()
        client.send(b"nonsense\r\n\r\n")
        await client.response()
        assert len(found) == 2
        assert gateway.runtime.ended is None


async def test_tunnels_are_closed_in_steps_and_counted() -> None:
    """By number, by target, all; and never twice."""
    async with target(switching(then=holding)) as web, running(web.address) as gateway:
        clients = [await upgraded(gateway) for _ in range(40)]
        load_balancer = gateway.load_balancer
        first, second, *_ = load_balancer.tunnels
        assert await load_balancer.close_tunnels(ids=[first.id, second.id, 999]) == 2
        assert await load_balancer.close_tunnels(ids=[first.id]) == 0
        assert await load_balancer.close_tunnels("nobody") == 0
        assert await load_balancer.close_tunnels("group", "10.0.0.9:80") == 0
        assert await load_balancer.close_tunnels("group", web.address, code=3000, reason="off") == 38
        assert await load_balancer.close_tunnels() == 0
        with pytest.raises(ValueError, match="close code 1005"):
            await load_balancer.close_tunnels(code=1005)
        with pytest.raises(alb.ConfigurationError):
            await load_balancer.close_tunnels(target="nonsense")
        frames = sorted([await client.read_exactly(4) for client in clients])
        assert frames == [b"\x88\x02\x03\xe9"] * 2 + [b"\x88\x05\x0b\xb8"] * 38
        for client in clients:
            await client.close()
        await gone(gateway)
