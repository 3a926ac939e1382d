"""A load balancer in front of one group, for tests that need no more."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import albkit as alb
from albkit.proxy.runtime import Runtime
from tests.support.peers import RawClient

AnyRunning = TypeVar("AnyRunning", bound="Running")


class Running:
    """A running load balancer and the clients that a test opened towards it."""

    def __init__(self, load_balancer: alb.LoadBalancer) -> None:
        self.load_balancer = load_balancer
        self.clients: list[RawClient] = []

    @property
    def port(self) -> int:
        return self.load_balancer.listeners[0].port

    @property
    def counters(self) -> dict[str, int]:
        """Those that are not zero."""
        return {name: count for name, count in self.load_balancer.counters.items() if count}

    @property
    def runtime(self) -> Runtime:
        runtime = self.load_balancer._runtime
        assert runtime is not None
        return runtime

    async def client(self, *, slow: bool = False) -> RawClient:
        client = await RawClient.connect(self.port, slow=slow)
        self.clients.append(client)
        return client


@contextlib.asynccontextmanager
async def leaving_nothing(it: AnyRunning) -> AsyncIterator[AnyRunning]:
    """Runs the load balancer and closes the test's clients; at the end nothing may be left of what went through it."""
    load_balancer = it.load_balancer
    async with load_balancer:
        gateway = it.runtime
        entrances = {running.listener_runtime for running in load_balancer.listeners}
        try:
            yield it
        finally:
            for client in it.clients:
                await client.close()
            entrances |= {running.listener_runtime for running in load_balancer.listeners}
    guests = [listener_runtime.limiter.count for listener_runtime in entrances if listener_runtime.limiter.count]
    assert not guests, f"counted as connected behind the end: {guests}"
    left = {name: count for name, count in load_balancer.counters.items() if name.startswith("Active") and count}
    assert not left, f"counted as open behind the end: {left}"
    outstanding = {
        repr(member): member.outstanding for state in gateway.registry.groups for member in state.members.values() if member.outstanding
    }
    assert not outstanding, f"outstanding behind the end: {outstanding}"
    assert not gateway.clients
    assert not gateway.tunnels
    assert gateway.connections.count == 0


@contextlib.asynccontextmanager
async def running(
    *targets: Any, rules: Any = (), hooks: Any = (), stickiness: Any = None, tunnel: alb.TunnelPolicy | None = None, **settings: Any
) -> AsyncIterator[Running]:
    """A load balancer on a free port in front of `targets`; at the end nothing may be left of what went through it."""
    group = alb.TargetGroup("group", list(targets), stickiness=stickiness, tunnel=tunnel or alb.TunnelPolicy())
    settings.setdefault("stop_timeout", 0.2)
    load_balancer = alb.LoadBalancer(alb.Listener(0, [*hooks, alb.Forward(group)], rules, host="127.0.0.1"), **settings)
    async with leaving_nothing(Running(load_balancer)) as it:
        yield it
