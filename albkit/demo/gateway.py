"""The demo's rules, and the running demo: three targets and the load balancer in front of them, with HTTPS if it can be had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

import attrs

from albkit.demo.certificate import self_signed
from albkit.demo.targets import NAMES, ChatRoom, DemoTarget
from albkit.demo.traffic import Traffic
from albkit.load_balancer import LoadBalancer
from albkit.model.actions.fixed_response import FixedResponse
from albkit.model.actions.forward import Forward
from albkit.model.certificate import Certificate
from albkit.model.conditions.host_header import HostHeader
from albkit.model.conditions.path_pattern import PathPattern
from albkit.model.listener import Listener
from albkit.model.rule import Rule
from albkit.model.stickiness.lb_cookie import LbCookie
from albkit.model.target_group import TargetGroup

__all__ = ("TEAPOT", "Demo", "demo_listener")

TEAPOT = "I am a teapot, and no target was asked.\n"

Describe = Callable[[int, Sequence[DemoTarget]], Listener]


def demo_listener(port: int, targets: Sequence[DemoTarget]) -> Listener:
    """The listener that the demo shows."""
    addresses = [target.address for target in targets]
    web = TargetGroup("web", addresses, stickiness=LbCookie(duration=3600))
    api = TargetGroup("api", addresses)
    last = TargetGroup(f"{targets[-1].name}-only", addresses[-1])
    greeter = TargetGroup("greeter", [target.grpc_address for target in targets], protocol_version="GRPC")
    rules = [
        Rule(10, PathPattern("/teapot"), FixedResponse(418, TEAPOT)),
        Rule(20, HostHeader("*.demo.localhost"), Forward(last)),
        Rule(30, PathPattern("/api/*"), Forward(api)),
        Rule(40, PathPattern("/ws"), Forward(web)),
        Rule(50, PathPattern("/demo.Greeter/*"), Forward(greeter)),
    ]
    return Listener(port, Forward(web), rules, host="127.0.0.1")


class Demo:
    """The targets and the load balancer, as an async context manager.

    Args:
        port: The load balancer's port; 0 takes a free one.
        https_port: The same for HTTPS. Without the packages of `albkit[tls]` there is no HTTPS.
        describe: Creates the listener, for a demo with other rules.
        admin_port: The port of the admin API and the live page; 0 takes a free one.
        traffic: Whether to send traffic of its own.
        settings: As for `LoadBalancer`.
    """

    targets: tuple[DemoTarget, ...]
    listener: Listener
    load_balancer: LoadBalancer
    admin_url: str
    """The URL of the live page."""
    certificate: bytes | None
    """The certificate of the HTTPS listener, as PEM; `None` without HTTPS."""

    def __init__(
        self,
        port: int = 0,
        https_port: int = 0,
        describe: Describe = demo_listener,
        *,
        admin_port: int = 0,
        traffic: bool = False,
        **settings: Any,
    ) -> None:
        self._admin_port = admin_port
        self._traffic = traffic
        self._port = port
        self._https_port = https_port
        self._describe = describe
        self._settings = {"stop_timeout": 2, **settings}
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """The URL of the load balancer."""
        return self.load_balancer.listeners[0].url

    @property
    def https_url(self) -> str:
        """The URL of the load balancer for HTTPS; empty without HTTPS."""
        return self.load_balancer.listeners[1].url if self.certificate is not None else ""

    async def __aenter__(self) -> Demo:
        async with AsyncExitStack() as stack:
            room = ChatRoom()
            self.targets = tuple(DemoTarget(name, room) for name in NAMES)
            for target in self.targets:
                await target.start()
                stack.push_async_callback(target.stop)
            self.listener = self._describe(self._port, self.targets)
            listeners = [self.listener]
            self.certificate = None
            pair = self_signed()
            if pair is not None:
                self.certificate = pair[0]
                certificate = Certificate(*pair)
                listeners.append(attrs.evolve(self.listener, port=self._https_port, protocol="HTTPS", certificates=certificate))
            self.load_balancer = LoadBalancer(listeners, **self._settings)
            await stack.enter_async_context(self.load_balancer)
            # It ends with the load balancer.
            self.admin_url = (await self.load_balancer.admin(port=self._admin_port)).url
            if self._traffic:
                await stack.enter_async_context(Traffic(self.url))
            # Only now: if a target or the load balancer cannot start, everything before it is stopped here.
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()
