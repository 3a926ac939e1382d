"""The front door for programs that embed albkit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from albkit.clock import SYSTEM, Clock
from albkit.model.listener import Listener
from albkit.model.settings import Settings
from albkit.proxy.gateway import Gateway
from albkit.proxy.listener import RunningListener
from albkit.state.counters import Counters

__all__ = ("LoadBalancer",)


class LoadBalancer:
    """An application load balancer inside the running event loop.

    Use it as an async context manager, or `await start()` and later `await stop()`; it can be started again after it was stopped. It
    installs no signal handlers and ends nothing but itself. All of it runs on the loop's thread: call it from there.

    Args:
        listeners: One `Listener` or a list.
        name: 1 to 32 letters, digits and hyphens; the Host of HTTP/1.0 requests that bring none. `"albkit"` by default.
        idle_timeout: Seconds, above 0 to 4000, 60 by default: how long a client or target connection may stay without a byte in either
            direction. Then 408 where a request was awaited, 504 where the target was; between two requests the connection just closes.
        client_keep_alive: Seconds, above 0 to 604800, 3600 by default: the age at which a client connection gets one more answer, with
            `Connection: close`.
        desync_mitigation_mode: `"monitor"`, `"defensive"` (default) or `"strictest"`.
        drop_invalid_header_fields: Remove request fields whose name holds anything but letters, digits and hyphens; `False` by default.
        preserve_host_header: Send Host as the client did; `False` by default: lower case, with the listener's port unless 80 or 443.
        xff_header_processing: `"append"` (default), `"preserve"` or `"remove"`.
        xff_client_port: Write the client's port into X-Forwarded-For; `False` by default.
        stop_timeout: Seconds, 0 and more, 5 by default, for exchanges and tunnels to end after `stop()` was called.
        limits: `Limits(...)`: how large and how slow a peer may be.
        clock: Time and chance; for tests.

    Raises:
        ConfigurationError: listing every fault with its path.
    """

    def __init__(self, listeners: Listener | Sequence[Listener], *, clock: Clock = SYSTEM, **settings: Any) -> None:
        self._settings = Settings(listeners, **settings)
        self._clock = clock
        self._counters = Counters()
        self._gateway: Gateway | None = None
        self._running: tuple[RunningListener, ...] = ()

    @property
    def listeners(self) -> tuple[RunningListener, ...]:
        """The open listeners, in the order given; each has `url` and `port`. Empty while the load balancer is not running."""
        return self._running

    @property
    def counters(self) -> Mapping[str, int]:
        """Every counter by ALB's metric name, as of now. They go on counting over stops and starts."""
        return self._counters.as_mapping()

    async def start(self) -> None:
        """Open every listener. On failure nothing stays open.

        Raises:
            OSError: a port cannot be opened; the text says why and what to do.
            RuntimeError: it is running already.
        """
        if self._gateway is not None:
            raise RuntimeError("the load balancer is running already; stop() it first")
        gateway = self._gateway = Gateway(self._settings, asyncio.get_running_loop(), self._clock, self._counters)
        running = [RunningListener(listener, gateway) for listener in self._settings.listeners]
        try:
            for listener in running:
                await listener.open()
        except BaseException:
            for listener in running:
                await listener.close()
            self._gateway = None
            raise
        gateway.sweep.start()
        self._running = tuple(running)

    async def stop(self) -> None:
        """Close the listeners and idle connections, give exchanges and tunnels `stop_timeout`, then cut what is left.

        Returns when every socket is closed. Does nothing when the load balancer is not running.
        """
        gateway, self._gateway = self._gateway, None
        if gateway is None:
            return
        running, self._running = self._running, ()
        for listener in running:
            await listener.close()
        await gateway.stop(self._settings.stop_timeout)

    async def __aenter__(self) -> LoadBalancer:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()
