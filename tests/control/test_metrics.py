"""`LoadBalancer.metrics` (`control/metrics.py`, `control/metric_sources.py`), of load balancers that serve requests."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import albkit as alb
from albkit.state.metrics import DERIVED_METRICS, HOST_METRICS, LISTENER_METRICS, LOAD_METRICS, TRAFFIC_METRICS
from tests.support.balancing import balancing, group_of, listener, named
from tests.support.clock import FakeClock
from tests.support.gateway import running
from tests.support.peers import Conversation, RawClient, request, response, target
from tests.support.tunnels import echo, gone, switching, upgraded

FIXED = alb.FixedResponse(200)
LOAD = {metric.name for metric in LOAD_METRICS}
TRAFFIC = {metric.name for metric in TRAFFIC_METRICS.values()}
HOSTS = {metric.name for metric in HOST_METRICS}


async def _get(port: int, path: str = "/", method: str = "GET") -> int:
    client = await RawClient.connect(port)
    try:
        return (await client.get(path, method=method)).status
    finally:
        await client.close()


async def _until_closed(load_balancer: alb.LoadBalancer) -> None:
    """Until no client is connected."""
    async with asyncio.timeout(5):
        while any(view["ActiveConnectionCount"] for view in load_balancer.metrics.listeners.values()):
            await asyncio.sleep(0)


async def test_every_dimension_counts_a_request() -> None:
    """Load balancer, listener, rule, group and target."""
    async with target(None, response()) as one:
        rule = alb.Rule(10, alb.PathPattern("/x"), group_of(one.address))
        async with balancing(listener(FIXED, rule, name="web")) as it:
            assert await _get(it.port, "/x") == 200
            assert await _get(it.port, "/y") == 200
            metrics = it.load_balancer.metrics
            assert metrics.load_balancer["RequestCount"] == 1
            assert metrics.load_balancer["HTTP_Fixed_Response_Count"] == 1
            assert metrics.listeners["web"]["ExchangeCount"] == 2
            assert metrics.listeners["web"]["HTTPCode_2XX_Count"] == 2
            assert {priority: rule["RuleHitCount"] for priority, rule in metrics.rules["web"].items()} == {10: 1, 0: 1}
            assert metrics.groups["group"]["RequestCount"] == 1
            assert metrics.targets["group"][one.address]["RequestCount"] == 1
            for view in (metrics.load_balancer, metrics.groups["group"], metrics.targets["group"][one.address]):
                times = view["TargetResponseTime"]
                assert times.count == 1
                assert 0 < times.p50 <= times.p99
                assert times.sum == times.mean > 0


async def test_dimensions_have_their_metrics() -> None:
    """Each by the name that the tables of the documentation have."""
    async with balancing(listener(group_of("127.0.0.1:9"), name="web")) as it:
        metrics = it.load_balancer.metrics
        assert set(metrics.load_balancer) == {*it.load_balancer.counters, *LOAD}
        assert set(metrics.groups["group"]) == TRAFFIC | HOSTS | LOAD | {metric.name for metric in DERIVED_METRICS}
        assert set(metrics.targets["group"]["127.0.0.1:9"]) == TRAFFIC | LOAD
        assert set(metrics.listeners["web"]) == {metric.name for metric in LISTENER_METRICS.values()}
        views: list[Any] = [
            metrics.load_balancer,
            metrics.groups["group"],
            metrics.targets["group"]["127.0.0.1:9"],
            metrics.listeners["web"],
        ]
        for view in views:
            assert len(view) == len(dict(view)) > 5
        counters = it.load_balancer.counters
        assert {name: metrics.load_balancer[name] for name in counters} == counters
        of_group = it.load_balancer.counters_of("group")
        assert {name: metrics.groups["group"][name] for name in of_group} == of_group
        of_target = it.load_balancer.counters_of("group", "127.0.0.1:9")
        assert {name: metrics.targets["group"]["127.0.0.1:9"][name] for name in of_target} == of_target


async def test_unknown_name_is_a_key_error() -> None:
    """At every level."""
    async with balancing(listener(group_of("127.0.0.1:9"), name="web")) as it:
        metrics = it.load_balancer.metrics
        views: list[Any] = [metrics.load_balancer, metrics.listeners, metrics.rules, metrics.groups, metrics.targets]
        views += [metrics.targets["group"], metrics.listeners["web"], metrics.rules["web"], metrics.groups["group"]]
        for view in views:
            with pytest.raises(KeyError):
                view["nothing"]
            assert "nothing" not in view


async def test_load_balancer_that_was_never_started_has_metrics() -> None:
    """All 0, and no groups."""
    metrics = alb.LoadBalancer(alb.Listener(0, FIXED)).metrics
    assert {value for name, value in metrics.load_balancer.items() if name != "TargetResponseTime"} == {0}
    assert metrics.load_balancer["TargetResponseTime"].count == 0
    assert (list(metrics.listeners), list(metrics.groups), list(metrics.targets)) == ([], [], [])
    assert "albkit_running" in metrics.prometheus()
    assert metrics.loop is None


async def test_view_of_a_target_that_left_is_refused_and_its_group_keeps_the_counts() -> None:
    """It must not show those of its group."""
    async with named("one", "two") as (one, two), balancing(listener(group_of(one.address, two.address))) as it:
        for _ in range(4):
            await _get(it.port)
        metrics = it.load_balancer.metrics
        view = metrics.targets["group"][one.address]
        assert view["TargetResponseTime"].count == 2
        await it.load_balancer.deregister_targets("group", one.address)
        await it.load_balancer.drained("group", one.address)
        with pytest.raises(KeyError):
            view["RequestCount"]
        with pytest.raises(KeyError):
            view["TargetResponseTime"]
        assert list(metrics.targets["group"]) == [two.address]
        assert metrics.groups["group"]["RequestCount"] == 4
        assert metrics.groups["group"]["TargetResponseTime"].count == 4


async def test_response_times_of_a_removed_group_are_those_of_the_load_balancer() -> None:
    """As all its counters."""
    async with target(None, response()) as one, balancing(listener(group_of(one.address))) as it:
        await _get(it.port)
        await it.load_balancer.apply([listener(FIXED)])
        metrics = it.load_balancer.metrics
        assert list(metrics.groups) == []
        assert metrics.load_balancer["TargetResponseTime"].count == 1
        assert metrics.load_balancer["RequestCount"] == 1


async def test_counters_continue_after_a_restart_and_gauges_are_0_meanwhile() -> None:
    """Of the load balancer, of listeners and of rules; those of a group begin anew and are part of the load balancer's."""
    async with target(None, response()) as one:
        rule = alb.Rule(7, alb.PathPattern("/x"), group_of(one.address))
        load_balancer = alb.LoadBalancer(listener(FIXED, rule, name="web"))
        metrics = load_balancer.metrics
        for _ in range(2):
            async with load_balancer:
                await _get(load_balancer.listeners[0].port, "/x")
                await _get(load_balancer.listeners[0].port, "/y")
                await _until_closed(load_balancer)
                assert metrics.groups["group"]["RequestCount"] == 1
            assert metrics.listeners["web"]["ActiveConnectionCount"] == 0
            assert metrics.groups["group"]["ActiveRequestCount"] == 0
            assert metrics.load_balancer["UnHealthyHostCount"] == 0
        assert metrics.load_balancer["RequestCount"] == 2
        assert metrics.load_balancer["TargetResponseTime"].count == 2
        assert metrics.listeners["web"]["ExchangeCount"] == 4
        assert metrics.listeners["web"]["NewConnectionCount"] == 4
        assert {priority: rule["RuleHitCount"] for priority, rule in metrics.rules["web"].items()} == {7: 2, 0: 2}


async def test_counters_of_a_listener_without_a_name_continue_although_its_port_is_another() -> None:
    """It is the same one of the configuration."""
    load_balancer = alb.LoadBalancer(listener(FIXED))
    for _ in range(2):
        async with load_balancer:
            await _get(load_balancer.listeners[0].port)
            key = str(load_balancer.listeners[0].port)
            assert list(load_balancer.metrics.listeners) == [key]
    assert load_balancer.metrics.listeners[key]["ExchangeCount"] == 2


async def test_listener_continues_its_counters_on_another_port() -> None:
    """`apply` opens a new socket for the same name. A connection of the old one still counts as open."""
    async with balancing(listener(FIXED, name="web")) as it:
        metrics = it.load_balancer.metrics
        client = await it.client()
        assert (await client.get()).status == 200
        await it.load_balancer.apply([alb.Listener(0, FIXED, host="127.0.0.2", name="web")])
        assert list(metrics.listeners) == ["web"]
        assert metrics.listeners["web"]["ExchangeCount"] == 1
        assert await client.is_closed()
        await _until_closed(it.load_balancer)
        other = await RawClient.connect(it.port, host="127.0.0.2")
        assert (await other.get()).status == 200
        assert metrics.listeners["web"]["ExchangeCount"] == 2
        assert metrics.listeners["web"]["ActiveConnectionCount"] == 1
        await other.close()
        await _until_closed(it.load_balancer)
        assert metrics.listeners["web"]["ActiveConnectionCount"] == 0


async def test_listener_keeps_its_counters_under_another_name(unused_tcp_port: int) -> None:
    """It is the same socket. A later listener of the old name begins at 0."""

    def here(port: int, name: str) -> alb.Listener:
        return alb.Listener(port, FIXED, host="127.0.0.1", name=name)

    async with balancing(here(unused_tcp_port, "old")) as it:
        metrics = it.load_balancer.metrics
        await _get(unused_tcp_port)
        await it.load_balancer.apply([here(unused_tcp_port, "new")])
        await it.load_balancer.apply([here(unused_tcp_port, "new"), here(0, "old")])
        assert {key: view["ExchangeCount"] for key, view in metrics.listeners.items()} == {"new": 1, "old": 0}
        await _get(it.load_balancer.listeners[1].port)
        assert {key: view["ExchangeCount"] for key, view in metrics.listeners.items()} == {"new": 1, "old": 1}


async def test_listeners_with_the_same_port_have_different_keys(tmp_path: Path) -> None:
    """Unix sockets without a name have the port that targets are told."""
    async with balancing(*(alb.Listener(80, FIXED, host=f"unix:{tmp_path}/{name}") for name in "abc")) as it:
        assert list(it.load_balancer.metrics.listeners) == ["80", "80#2", "80#3"]
        assert list(it.load_balancer.metrics.rules) == ["80", "80#2", "80#3"]
        list(text_string_to_metric_families(it.load_balancer.metrics.prometheus()))


async def test_rejected_connection_counts_for_its_listener() -> None:
    """As for the load balancer."""
    async with balancing(listener(FIXED, name="web", max_connections=1), listener(FIXED, name="other")) as it:
        await (await it.client()).get()
        refused = await it.client()
        assert await refused.is_closed()
        metrics = it.load_balancer.metrics
        assert metrics.listeners["web"]["RejectedConnectionCount"] == metrics.load_balancer["RejectedConnectionCount"] == 1
        assert metrics.listeners["web"]["ActiveConnectionCount"] == metrics.listeners["web"]["NewConnectionCount"] == 1
        assert metrics.listeners["other"]["RejectedConnectionCount"] == 0


async def test_tunnel_has_the_response_time_of_its_handshake_as_soon_as_it_is_open() -> None:
    """Not days later, when it ends."""
    async with target(switching(then=echo)) as one, running(one.address) as it:
        client = await upgraded(it)
        metrics = it.load_balancer.metrics
        view = metrics.targets["group"][one.address]
        assert view["TargetResponseTime"].count == 1
        assert (view["ActiveRequestCount"], view["OpenTunnelCount"]) == (1, 1)
        assert metrics.groups["group"]["OpenTunnelCount"] == 1
        (key,) = metrics.listeners
        assert metrics.listeners[key]["ActiveConnectionCount"] == 1
        await client.close()
        await gone(it)
        assert metrics.listeners[key]["ActiveConnectionCount"] == 0
        assert (view["ActiveRequestCount"], view["OpenTunnelCount"], view["TargetResponseTime"].count) == (0, 0, 1)


async def _hang_up(conversation: Conversation) -> None:
    await conversation.head()
    conversation.writer.close()


async def test_attempt_without_a_response_has_no_response_time() -> None:
    """Only the successful one has, however many there were."""
    async with target(_hang_up) as broken, target(None, response()) as one, running(broken.address, one.address) as it:
        assert await _get(it.port) == 200
        assert await _get(it.port) == 200
        metrics = it.load_balancer.metrics
        assert metrics.groups["group"]["RetryCount"] >= 1
        assert metrics.targets["group"][broken.address]["TargetResponseTime"].count == 0
        assert metrics.targets["group"][one.address]["TargetResponseTime"].count == 2


async def test_response_time_is_from_the_request_to_the_response_head() -> None:
    """ALB's target_processing_time: the wait for the head alone, and not the body."""
    clock = FakeClock()

    async def slow(conversation: Conversation) -> None:
        await conversation.head()
        clock.advance(2.0)
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nto")
        await body.wait()
        conversation.send(b"do")
        await conversation.read()

    body = asyncio.Event()
    async with target(slow) as one, running(one.address, clock=clock) as it:
        client = await it.client()
        client.send(request("GET", "/"))
        await client.read_until(b"to")
        clock.advance(30.0)
        body.set()
        await client.read_until(b"do")
        times = it.load_balancer.metrics.load_balancer["TargetResponseTime"]
        assert times.sum == 2.0
        assert times.p50 == pytest.approx(2.0, rel=0.1)


async def test_request_count_per_target_divides_by_healthy_or_registered_targets() -> None:
    """docs/alb.md 8."""
    async with named("one", "two") as (one, two), balancing(listener(group_of(one.address, two.address))) as it:
        for _ in range(4):
            await _get(it.port)
        view = it.load_balancer.metrics.groups["group"]
        assert view["RequestCountPerTarget"] == 2.0
        member = it.runtime.registry.group("group").members[one.address]
        state, member.state = member.state, alb.TargetHealthState.HEALTHY
        assert view["RequestCountPerTarget"] == 4.0
        assert view["HealthyHostCount"] == 1
        member.state = state
        await it.load_balancer.deregister_targets("group", [one.address, two.address])
        await it.load_balancer.drained("group", two.address)
        assert view["RequestCountPerTarget"] == 0.0


async def test_last_activity_is_the_end_of_the_last_exchange_and_now_while_one_is_open() -> None:
    """For those who stop what is idle. A group remembers it when the target has left."""
    clock = FakeClock()
    async with target(switching(then=echo)) as one, running(one.address, clock=clock) as it:
        metrics = it.load_balancer.metrics
        views = [metrics.load_balancer, metrics.groups["group"], metrics.targets["group"][one.address]]
        assert [view["LastActivityTime"] for view in views] == [0.0] * 3
        client = await upgraded(it)
        clock.advance(10.0)
        assert [view["LastActivityTime"] for view in views] == [clock.wall] * 3
        ended = clock.wall
        await client.close()
        await gone(it)
        clock.advance(3600.0)
        assert [view["LastActivityTime"] for view in views] == [pytest.approx(ended)] * 3
        await it.load_balancer.deregister_targets("group", one.address)
        await it.load_balancer.drained("group", one.address)
        assert [view["LastActivityTime"] for view in views[:2]] == [pytest.approx(ended)] * 2


async def test_text_for_prometheus_is_the_same_in_steps() -> None:
    """A coroutine, and chunks, for those who must not hold the loop."""
    async with target(None, response()) as one, running(one.address, clock=FakeClock()) as it:
        await _get(it.port)
        await _until_closed(it.load_balancer)
        metrics = it.load_balancer.metrics
        text = metrics.prometheus()
        assert 'albkit_target_requests_total{load_balancer="albkit",target_group="group",target="' in text
        assert await metrics.prometheus_in_steps() == text
        assert "".join(metrics.prometheus_chunks()) == text
        assert metrics.content_type == "text/plain; version=0.0.4; charset=utf-8"
