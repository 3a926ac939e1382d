"""Settings of target groups are changed again and again, while requests and tunnels go on."""

from __future__ import annotations

import asyncio
from typing import Any

import albkit as alb
from albkit.events import Event, TargetEjected, TargetStateChanged
from tests.functional.test_apply import Load
from tests.functional.test_hooks import Keeper
from tests.support.balancing import balancing, listener
from tests.support.peers import request, target
from tests.support.tunnels import SWITCHED, UPGRADE, echo, switching


def _tenant(asked: alb.Request) -> str | None:
    return asked.path.split("/")[1]


_SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"health_check": alb.HealthCheck("/up", interval=0.05, timeout=2)},
    {"health_check": alb.HealthCheck("/other", interval=0.02, timeout=2, matcher="200-299"), "slow_start": 1},
    {"algorithm": "least_response_time", "ejection": alb.Ejection(consecutive_failures=1, duration=0.05)},
    {"algorithm": "weighted_random", "anomaly_mitigation": "on"},
    {"stickiness": alb.LbCookie(60, while_draining="honor"), "deregistration_delay": 1},
    {"stickiness": alb.LbCookie(60, secrets="a secret of sixteen bytes"), "algorithm": "by_traffic"},
    {"stickiness": alb.AppCookie("session"), "minimum_healthy_targets": "50%"},
    {"stickiness": _tenant, "algorithm": "ip_hash"},
    {"stickiness": alb.SourceAddress(), "algorithm": alb.ConsistentHash(load_bound=None)},
    {"algorithm": "consistent_hash", "health_check": alb.HealthCheck(protocol="TCP", interval=0.05, timeout=2)},
    {"limit": 2, "waiting_line": 50, "waiting_timeout": 20},
    {"limit": 1, "waiting_line": 50, "waiting_timeout": 20, "slow_start": 1},
)


async def test_hundred_changes_of_settings_under_load_fail_no_request() -> None:
    """Health checks, algorithms, stickiness, limits, weights and targets change 100 times.

    No failed request, no tunnel touched; what did not change keeps its counters and its health.
    """
    told: list[Event] = []
    async with (
        Keeper() as a,
        Keeper() as b,
        Keeper() as c,
        Keeper() as d,
        target(switching(SWITCHED, echo)) as upgrades,
    ):
        ws = alb.TargetGroup("ws", upgrades.address)
        steady = alb.TargetGroup("steady", d.address, health_check=alb.HealthCheck("/up", interval=0.05, timeout=2))
        fixed = (
            alb.Rule(1, alb.HttpHeader("Upgrade", "websocket"), alb.Forward(ws)),
            alb.Rule(2, alb.PathPattern("/2/*"), alb.Forward(steady)),
        )

        def described(turn: int) -> alb.Listener:
            settings = dict(_SETTINGS[turn % len(_SETTINGS)])
            limit = settings.pop("limit", None)
            three = [a.port, b.port, c.port]
            targets = [
                alb.Target("127.0.0.1", port, weight=1 + (turn + place) % 3, max_concurrency=limit)
                for place, port in enumerate(three)
                if (turn + place) % 4
            ]
            web = alb.TargetGroup("web", targets, **settings)
            return listener(alb.Forward(web), *fixed, name="main")

        async with balancing(described(0)) as it:
            balancer = it.load_balancer
            tunnels = [await it.client() for _ in range(3)]
            for tunnel in tunnels:
                tunnel.send(request("GET", "/ws", *UPGRADE))
                assert (await tunnel.response()).status == 101
            (member,) = it.runtime.choices["steady"].group.members.values()
            async with asyncio.timeout(10):
                while member.state != alb.TargetHealthState.HEALTHY:
                    await asyncio.sleep(0.01)
            balancer.subscribe(told.append)
            load = Load()
            clients = [await it.client() for _ in range(8)]
            async with asyncio.timeout(50), asyncio.TaskGroup() as tasks:
                for place, client in enumerate(clients):
                    tasks.create_task(load.ask(client, "POST" if place % 2 else "GET"))
                for turn in range(1, 101):
                    requests = member.requests
                    await balancer.apply(described(turn))
                    assert it.runtime.choices["steady"].group.members[d.address] is member
                    assert member.requests >= requests
                    await load.some_more(8)
                    for tunnel in tunnels:
                        tunnel.send(b"turn %3d" % turn)
                        assert await tunnel.read_exactly(8) == b"turn %3d" % turn
                load.over = True
            assert not [name for name in it.counters if name.startswith(("Failure", "HTTPCode_ELB"))], it.counters
            assert it.counters["TunnelCount"] == it.counters["ActiveTunnelCount"] == 3
            assert "ActiveWaitingRequestCount" not in it.counters
            assert not [event for event in told if isinstance(event, TargetStateChanged) and event.group in ("steady", "ws")]
            assert not [event for event in told if isinstance(event, TargetEjected)]
            assert member.state == alb.TargetHealthState.HEALTHY
            assert all(len(origin.heads) > 20 for origin in (a, b, c, d))
