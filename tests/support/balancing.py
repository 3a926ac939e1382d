"""A load balancer with any listeners, for tests of rules, actions and changes while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import albkit as alb
from tests.support.gateway import Running, leaving_nothing
from tests.support.peers import RawClient, Target, response, target


class Balancing(Running):
    """A running load balancer with any number of listeners."""

    async def client_of(self, place: int) -> RawClient:
        """A client of the listener at this place."""
        client = await RawClient.connect(self.load_balancer.listeners[place].port)
        self.clients.append(client)
        return client


def listener(default: Any, *rules: alb.Rule, **settings: Any) -> alb.Listener:
    """A listener on a free port of this machine alone."""
    return alb.Listener(0, default, rules, host="127.0.0.1", **settings)


def group_of(*targets: str, **settings: Any) -> alb.Forward:
    """Forwards to a group of these targets, which is called `group`."""
    return alb.Forward(alb.TargetGroup("group", targets, **settings))


@contextlib.asynccontextmanager
async def balancing(*listeners: alb.Listener, **settings: Any) -> AsyncIterator[Balancing]:
    """A load balancer with these listeners; at the end nothing may be left of what went through it."""
    settings.setdefault("stop_timeout", 0.2)
    load_balancer = alb.LoadBalancer(listeners, **settings)
    async with leaving_nothing(Balancing(load_balancer)) as it:
        yield it


@contextlib.asynccontextmanager
async def named(*names: str) -> AsyncIterator[list[Target]]:
    """Targets that answer with their names."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(target(None, response(body=name.encode()))) for name in names]
