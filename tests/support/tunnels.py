"""A tunnel whose two ends are in the test's hands."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import albkit as alb
from tests.support.clock import FakeClock
from tests.support.gateway import Running, running
from tests.support.peers import Conversation, RawClient, Script, request, target

__all__ = ("RAW_SWITCHED", "SWITCHED", "UPGRADE", "Ends", "echo", "ends", "gone", "holding", "switching", "upgraded")

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
RAW_SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
"""Without Sec-WebSocket-Accept: no WebSocket as RFC 6455 knows it, so what follows are bytes."""
COMPRESSED = SWITCHED[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"


def switching(answer: bytes = SWITCHED, then: Script | None = None) -> Script:
    """A target that answers an upgrade, then does as told."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(answer)
        await conversation.drain()
        if then is not None:
            await then(conversation)

    return script


async def echo(conversation: Conversation) -> None:
    """Sends back what comes."""
    while data := await conversation.read():
        conversation.send(data)
        await conversation.drain()


async def holding(_: Conversation) -> None:
    """Leaves the conversation to the test."""
    await asyncio.Event().wait()


async def upgraded(gateway: Running, *fields: str, slow: bool = False) -> RawClient:
    """A client whose upgrade was answered with 101; it asked with `fields`, those of a WebSocket unless given."""
    client = await gateway.client(slow=slow)
    client.send(request("GET", "/ws", *(fields or UPGRADE)))
    assert (await client.response()).status == 101
    return client


async def gone(gateway: Running) -> None:
    """Wait until no tunnel is left."""
    async with asyncio.timeout(5):
        while gateway.runtime.tunnels:
            await asyncio.sleep(0)


class Ends:
    """Both ends of one tunnel, and the load balancer between them."""

    def __init__(self, gateway: Running, client: RawClient, conversation: Conversation, clock: FakeClock) -> None:
        self.gateway = gateway
        self.client = client
        self.target = conversation
        self.clock = clock
        (self.tunnel,) = gateway.load_balancer.tunnels
        self._before = client.sent, conversation.sent

    def later(self, seconds: float) -> None:
        """What has moved so far is noticed; then time passes, and deadlines are looked at."""
        self.gateway.runtime.sweep.look(self.clock.now)
        self.clock.advance(seconds)
        self.gateway.runtime.sweep.look(self.clock.now)

    async def settle(self) -> None:
        """Wait until all that the two ends have sent has come to the load balancer."""
        client, conversation = self._before
        async with asyncio.timeout(5):
            while self.tunnel.bytes_in < self.client.sent - client or self.tunnel.bytes_out < self.target.sent - conversation:
                await asyncio.sleep(0)

    @property
    def end(self) -> alb.TunnelEnd | None:
        """What ended the tunnel."""
        return self.tunnel.end


@contextlib.asynccontextmanager
async def ends(
    policy: alb.TunnelPolicy | None = None,
    *,
    answer: bytes = SWITCHED,
    fields: tuple[str, ...] = UPGRADE,
    before: float = 0.0,
    **settings: Any,
) -> AsyncIterator[Ends]:
    """A tunnel under a policy, with time in the test's hands.

    Args:
        policy: Of the target group.
        answer: The target's.
        fields: What the client asks with.
        before: Seconds for which its connection has been there before.
        settings: Of the load balancer.
    """
    clock = FakeClock()
    tunnel = policy if policy is not None else alb.TunnelPolicy()
    async with (
        target(switching(answer, then=holding)) as origin,
        running(origin.address, tunnel=tunnel, clock=clock, **settings) as gateway,
    ):
        client = await gateway.client()
        while not gateway.runtime.clients:
            await asyncio.sleep(0)
        clock.advance(before)
        client.send(request("GET", "/ws", *fields))
        assert (await client.response()).status == 101
        yield Ends(gateway, client, await origin.arrived(), clock)
